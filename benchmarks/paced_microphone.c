/* A microphone of ALSA that hears a file again and again, at the pace of sound.
 *
 * It wakes its reader once a period, as hardware does, and has no thread; a sound server's client has one, which wakes
 * by the server's clock. The file holds frames of 48 kHz, 16 bit, little-endian; of one channel unless `channels` says
 * otherwise. With `refused` it cannot be opened, with that error number, as one that is busy (16) or denied (13).
 *
 *   cc -shared -fPIC -DPIC -O2 -o paced_microphone.so paced_microphone.c -lasound
 *
 *   pcm_type.paced { lib "paced_microphone.so" }
 *   pcm.microphone { type paced channels 2 file "music.raw" }
 *
 * The interface is that of the ALSA library's reference, "PCM External Plugin SDK".
 */
#include <alsa/asoundlib.h>
#include <alsa/pcm_external.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

typedef struct {
    snd_pcm_ioplug_t io;
    struct timespec began;
    FILE *music;
} microphone;

static int start(snd_pcm_ioplug_t *io)
{
    microphone *mic = io->private_data;
    uint64_t period = 1000000000ull * io->period_size / io->rate;
    struct timespec each = {period / 1000000000ull, period % 1000000000ull};
    struct itimerspec ticks = {.it_interval = each, .it_value = each};
    clock_gettime(CLOCK_MONOTONIC, &mic->began);
    return timerfd_settime(io->poll_fd, 0, &ticks, NULL);
}

static int stop(snd_pcm_ioplug_t *io)
{
    struct itimerspec never = {0};
    return timerfd_settime(io->poll_fd, 0, &never, NULL);
}

static snd_pcm_sframes_t pointer(snd_pcm_ioplug_t *io)
{
    microphone *mic = io->private_data;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    double passed = (now.tv_sec - mic->began.tv_sec) + 1e-9 * (now.tv_nsec - mic->began.tv_nsec);
    return (uint64_t)(passed * io->rate) % io->buffer_size;
}

static snd_pcm_sframes_t transfer(snd_pcm_ioplug_t *io, const snd_pcm_channel_area_t *areas, snd_pcm_uframes_t offset,
                                  snd_pcm_uframes_t size)
{
    microphone *mic = io->private_data;
    size_t width = areas[0].step / 8;
    char *samples = (char *)areas[0].addr + areas[0].first / 8 + offset * width;
    for (snd_pcm_uframes_t have = 0; have < size;) {
        size_t more = fread(samples + have * width, width, size - have, mic->music);
        if (!more)
            rewind(mic->music);
        have += more;
    }
    return size;
}

static int poll_revents(snd_pcm_ioplug_t *io, struct pollfd *polled, unsigned int count, unsigned short *events)
{
    uint64_t ticks;
    (void)io;
    *events = count && polled[0].revents & POLLIN && read(polled[0].fd, &ticks, sizeof ticks) > 0 ? POLLIN : 0;
    return 0;
}

static int leave(snd_pcm_ioplug_t *io)
{
    microphone *mic = io->private_data;
    close(io->poll_fd);
    fclose(mic->music);
    free(mic);
    return 0;
}

static const snd_pcm_ioplug_callback_t callbacks = {
    .start = start, .stop = stop, .pointer = pointer, .transfer = transfer, .poll_revents = poll_revents, .close = leave,
};

SND_PCM_PLUGIN_DEFINE_FUNC(paced)
{
    static const unsigned int accesses[] = {SND_PCM_ACCESS_RW_INTERLEAVED}, formats[] = {SND_PCM_FORMAT_S16_LE};
    snd_config_t *named;
    const char *file;
    (void)root;
    if (stream != SND_PCM_STREAM_CAPTURE || snd_config_search(conf, "file", &named) < 0 ||
        snd_config_get_string(named, &file) < 0)
        return -EINVAL;
    long channels = 1, refused = 0;
    if (snd_config_search(conf, "channels", &named) >= 0)
        snd_config_get_integer(named, &channels);
    if (snd_config_search(conf, "refused", &named) >= 0 && snd_config_get_integer(named, &refused) >= 0 && refused)
        return -refused;
    microphone *mic = calloc(1, sizeof *mic);
    if (!mic)
        return -ENOMEM;
    mic->music = fopen(file, "rb");
    mic->io = (snd_pcm_ioplug_t){
        .version = SND_PCM_IOPLUG_VERSION, .name = "a file at the pace of sound", .callback = &callbacks, .private_data = mic,
        .poll_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC), .poll_events = POLLIN,
    };
    int failed = mic->io.poll_fd < 0 || !mic->music ? -errno : snd_pcm_ioplug_create(&mic->io, name, stream, mode);
    if (failed < 0) {
        if (mic->music)
            fclose(mic->music);
        if (mic->io.poll_fd >= 0)
            close(mic->io.poll_fd);
        free(mic);
        return failed;
    }
    snd_pcm_ioplug_set_param_list(&mic->io, SND_PCM_IOPLUG_HW_ACCESS, 1, accesses);
    snd_pcm_ioplug_set_param_list(&mic->io, SND_PCM_IOPLUG_HW_FORMAT, 1, formats);
    snd_pcm_ioplug_set_param_minmax(&mic->io, SND_PCM_IOPLUG_HW_CHANNELS, channels, channels);
    snd_pcm_ioplug_set_param_minmax(&mic->io, SND_PCM_IOPLUG_HW_RATE, 48000, 48000);
    snd_pcm_ioplug_set_param_minmax(&mic->io, SND_PCM_IOPLUG_HW_PERIOD_BYTES, 1 << 10, 1 << 18);
    snd_pcm_ioplug_set_param_minmax(&mic->io, SND_PCM_IOPLUG_HW_PERIODS, 2, 16);
    *pcmp = mic->io.pcm;
    return 0;
}
SND_PCM_PLUGIN_SYMBOL(paced);
