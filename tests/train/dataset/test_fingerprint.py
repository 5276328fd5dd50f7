"""The same recording is known again, and no other is taken for it."""

import io
import logging
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from headnod.features.frontend import FrontEnd
from headnod_train.dataset.extraction import as_levels
from headnod_train.dataset.split import MOST_DIFFERENT_BITS, duplicate_groups, fingerprint, near_duplicates

from .conftest import RATE, tune

FRONT_END = FrontEnd()
DATA = Path(__file__).parents[4] / "shared" / "data" / "gtzan"
real = pytest.mark.skipif(not (DATA / "logmel.npz").is_file(), reason=f"the collection is not at {DATA}")
_log = logging.getLogger(__name__)


def printed(audio):
    return fingerprint(as_levels(FRONT_END.log_mel(np.ascontiguousarray(audio, np.float32)))[0])


def coded(audio, kind, subtype):
    file = io.BytesIO()
    soundfile.write(file, np.clip(audio, -1, 1), RATE, format=kind, subtype=subtype)
    file.seek(0)
    return soundfile.read(file, dtype="float32")[0]


def resampled(audio, rate):
    return soxr.resample(soxr.resample(audio, RATE, rate), rate, RATE)


CHANGES = {
    "20 dB softer": lambda audio: 0.1 * audio,
    "clipped": lambda audio: np.clip(4 * audio, -1, 1),
    "through 16 kHz": lambda audio: resampled(audio, 16_000),
    "Ogg Vorbis": lambda audio: coded(audio, "OGG", "VORBIS"),
    "MP3": lambda audio: coded(audio, "MP3", "MPEG_LAYER_III"),
    "half a second later": lambda audio: audio[RATE // 2 :],
    "half a frame later": lambda audio: audio[FRONT_END.hop // 2 :],
    "noise at 20 dB": lambda audio: (
        audio + 0.1 * audio.std() * np.random.default_rng(0).standard_normal(audio.size).astype(np.float32)
    ),
    "all at once": lambda audio: coded(resampled(0.3 * audio[RATE // 2 :], 16_000), "OGG", "VORBIS"),
}


@pytest.fixture(scope="module")
def known():
    return [printed(tune(seed, 12.0)) for seed in range(20)]


@pytest.mark.parametrize("change", CHANGES)
def test_a_copy_is_found_among_other_tracks(known, change):
    found = near_duplicates([*known, printed(CHANGES[change](tune(3, 12.0)))])
    assert [(one, other) for one, other, _ in found] == [(3, len(known))]
    assert found[0][2] <= MOST_DIFFERENT_BITS


def test_tracks_that_are_unlike_have_no_group(known):
    assert duplicate_groups(known).tolist() == [-1] * len(known)


def test_copies_of_copies_are_one_group_and_groups_count_from_0():
    tunes = [tune(seed, 20.0) for seed in range(4)]
    rows = [tunes[2], tunes[0], tunes[2][3 * RATE :], tunes[3], tunes[0], tunes[2][6 * RATE :]]
    assert duplicate_groups([printed(audio) for audio in rows]).tolist() == [0, 1, 0, -1, 1, 0]


@pytest.mark.parametrize("dull", ["a tone", "noise", "mostly silence"])
def test_dull_sound_is_not_taken_for_a_recording_that_is_known(dull):
    def sound(seed):
        rng = np.random.default_rng(seed)
        if dull == "a tone":
            return 0.2 * np.sin(2 * np.pi * rng.uniform(100, 3000) * np.arange(10 * RATE) / RATE)
        if dull == "noise":
            return 0.1 * rng.standard_normal(10 * RATE)
        return np.concatenate([tune(seed, 1.0), np.zeros(9 * RATE)])

    assert near_duplicates([printed(sound(seed)) for seed in range(12)]) == []


def test_nothing_and_one_track_have_no_duplicates():
    assert duplicate_groups([]).tolist() == []
    assert duplicate_groups([printed(tune(1))]).tolist() == [-1]


@real
def test_no_two_tracks_of_the_filtered_gtzan_are_the_same_recording():
    with np.load(DATA / "logmel.npz") as archive:
        prints = [fingerprint(levels) for levels in archive["levels"]]
    assert near_duplicates(prints) == []


@real
@pytest.mark.long
def test_clips_of_gtzan_are_known_again_among_all_tracks():
    with np.load(DATA / "logmel.npz") as archive:
        names = list(map(str, archive["track"]))
        prints = [fingerprint(levels) for levels in archive["levels"]]
    clips = {path.stem: soundfile.read(path, dtype="float32")[0] for path in sorted((DATA / "audio").glob("*/*"))}
    clips = {name: audio for name, audio in clips.items() if audio.size > 14 * RATE}
    for change, changed in CHANGES.items():
        copies = list(clips)
        found = near_duplicates([*prints, *(printed(changed(clips[name])) for name in copies)])
        right = {(names.index(name), len(names) + place) for place, name in enumerate(copies)}
        met = {(one, other) for one, other, _ in found}
        _log.info("%s: %d of %d found, %d wrong", change, len(met & right), len(right), len(met - right))
        assert not met - right
        assert len(met & right) >= 0.95 * len(right)
