/* Makes a microphone fail as hardware does, for a program that reads it through ALSA.
 *
 * A virtual microphone can vanish with its sound server, but cannot report what
 * a kernel driver reports. This library, preloaded before libasound, answers in its
 * place. The first letter of the file that ALSA_FAULT_FILE names says how:
 *
 *     n   unplugged: every call ends with ENODEV, the state is DISCONNECTED
 *     x   one overrun: the next look for samples ends with EPIPE, and the letter is gone
 *
 * and with an empty file all is well.
 *
 *     cc -shared -fPIC -o alsa_faults.so alsa_faults.c -ldl
 *     ALSA_FAULT_FILE=fault LD_PRELOAD="./alsa_faults.so libasound.so.2" program
 *
 * libasound stands in the list because PortAudio is loaded late, and RTLD_NEXT
 * finds only what was loaded early.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

enum { UNPLUGGED = 'n', OVERRUN = 'x' };

/* SND_PCM_STATE_DISCONNECTED of alsa/pcm.h, which need not be installed. */
static const int DISCONNECTED = 8;

static int fault(void)
{
    const char *path = getenv("ALSA_FAULT_FILE");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    char letter = 0;
    if (file < 0)
        return 0;
    if (read(file, &letter, 1) != 1)
        letter = 0;
    close(file);
    return letter;
}

static void end_fault(void)
{
    close(open(getenv("ALSA_FAULT_FILE"), O_WRONLY | O_TRUNC | O_CLOEXEC));
}

/* libasound's own function of this name, looked up once. */
#define REAL(name, ...)                          \
    static __typeof__(&name) real;               \
    if (!real)                                   \
        real = (__typeof__(real))dlsym(RTLD_NEXT, #name); \
    return real(__VA_ARGS__)

long snd_pcm_avail_update(void *pcm)
{
    switch (fault()) {
    case UNPLUGGED:
        return -ENODEV;
    case OVERRUN:
        end_fault();
        return -EPIPE;
    }
    REAL(snd_pcm_avail_update, pcm);
}

int snd_pcm_state(void *pcm)
{
    if (fault() == UNPLUGGED)
        return DISCONNECTED;
    REAL(snd_pcm_state, pcm);
}

int snd_pcm_poll_descriptors_revents(void *pcm, struct pollfd *files, unsigned count, unsigned short *events)
{
    if (fault() == UNPLUGGED) {
        *events = POLLERR | POLLNVAL;
        return 0;
    }
    REAL(snd_pcm_poll_descriptors_revents, pcm, files, count, events);
}

int snd_pcm_prepare(void *pcm)
{
    if (fault() == UNPLUGGED)
        return -ENODEV;
    REAL(snd_pcm_prepare, pcm);
}

int snd_pcm_start(void *pcm)
{
    if (fault() == UNPLUGGED)
        return -ENODEV;
    REAL(snd_pcm_start, pcm);
}

int snd_pcm_drop(void *pcm)
{
    if (fault() == UNPLUGGED)
        return -ENODEV;
    REAL(snd_pcm_drop, pcm);
}
