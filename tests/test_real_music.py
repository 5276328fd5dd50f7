"""Real music: the shipped model hears it, and audio and archive are two ways to the same features.

The collection has no licence and stays outside the project; the figures show with `--log-cli-level=info`.
"""

import dataclasses
import logging
from pathlib import Path

import numpy as np
import pytest

from headnod.audio.audio_file import audio_file
from headnod.features.windows import FrameCache, windows
from headnod.pipeline.listener import classify

DATA = Path(__file__).parents[2] / "shared" / "data" / "gtzan"
pytestmark = pytest.mark.skipif(not (DATA / "logmel.npz").is_file(), reason=f"the collection is not at {DATA}")

RIGHT, AGREEING = 0.5, 0.9
_log = logging.getLogger(__name__)


@pytest.fixture(scope="module")
def archive(model):
    archives = pytest.importorskip("headnod_train.dataset.archive")
    return archives.read_archive(DATA / "logmel.npz", model.front_end).subset("valid")


@pytest.fixture(scope="module")
def clips(archive):
    """The clip of each valid track that has one, by the track's number."""
    stored = {path.stem: path for path in sorted((DATA / "audio").glob("*/*"))}
    return {number: stored[name] for number, name in enumerate(map(str, archive.tracks)) if name in stored}


@pytest.fixture(scope="module")
def beginnings(clips, model):
    """The lossless clips, which are the first seconds of their tracks, as samples."""
    found = {}
    for number, path in clips.items():
        if path.suffix == ".flac":
            with audio_file(path, model.front_end.sample_rate) as blocks:
                found[number] = np.concatenate(list(blocks))
    assert len(found) > 40
    return found


@pytest.fixture(scope="module")
def first_samples():
    """Where each frame of the archive begins in its track."""
    with np.load(DATA / "logmel.npz") as arrays:
        return dict(zip(map(str, arrays["track"]), arrays["first_sample"], strict=True))


def archive_windows(archive, number, audio, front_end):
    """The archive's log-mel of each 3 s that the clip holds too, and its first frame."""
    from headnod_train.dataset.archive import window_starts

    inside = (audio.size - front_end.n_fft) // front_end.hop
    for start in window_starts(inside, front_end):
        yield start, archive.log_mel(number)[start : start + front_end.frames]


def test_at_least_half_of_the_clips_are_named_right(archive, clips, model):
    right = 0
    for number, path in clips.items():
        with audio_file(path, model.front_end.sample_rate) as blocks:
            right += classify(str(path), blocks, model).genre == archive.genres[number]
    _log.info("%d of %d clips are named right (%.1f %%)", right, len(clips), 100 * right / len(clips))
    assert len(clips) > 90
    assert right >= RIGHT * len(clips)


def test_the_archive_and_the_audio_give_the_same_features(archive, beginnings, model, first_samples):
    """On the archive's own frames, which lie up to a quarter of a frame beside the front end's hop."""
    front_end = model.front_end
    one_frame = dataclasses.replace(front_end, frames=1)
    alike, correlations = [], []
    for number, audio in beginnings.items():
        first = first_samples[str(archive.tracks[number])]
        padded = np.concatenate([np.zeros(-first.min(), np.float32), audio])
        for start, stored in archive_windows(archive, number, audio, front_end):
            begun = first[start : start + front_end.frames] - first.min()
            heard = np.concatenate([one_frame.log_mel(padded[place : place + front_end.n_fft]) for place in begun])
            ours, theirs = front_end.cepstra(heard), front_end.cepstra(stored)
            correlations.append(np.corrcoef(ours.ravel(), theirs.ravel())[0, 1])
            alike.append(model.scores(ours).argmax() == model.scores(theirs).argmax())
    _log.info("%.2f %% of %d windows agree on the same frames", 100 * np.mean(alike), len(alike))
    _log.info("features correlate by %.5f in the median", np.median(correlations))
    assert np.median(correlations) > 0.999
    assert np.mean(alike) >= AGREEING


def test_the_archive_is_no_further_from_a_listener_than_a_listener_who_began_a_moment_later(
    archive, beginnings, model, first_samples
):
    """Windows begin where they begin: frames that lie otherwise change a doubtful answer, on either path."""
    front_end, cache, later = model.front_end, FrameCache(model.front_end), 512
    every = 3 * front_end.sample_rate
    from_archive, from_audio = [], []
    for number, audio in beginnings.items():
        first = first_samples[str(archive.tracks[number])]
        for window in windows([audio[:-later]], front_end.window_samples, every, grid=front_end.hop):
            start = int(np.abs(first - window.start).argmin())
            answer = model.scores(cache.features(window)).argmax()
            stored = front_end.cepstra(archive.log_mel(number)[start : start + front_end.frames])
            shifted = front_end.mfcc(audio[window.start + later : window.end + later])
            from_archive.append(model.scores(stored).argmax() == answer)
            from_audio.append(model.scores(shifted).argmax() == answer)
    shares = 100 * np.mean(from_archive), 100 * np.mean(from_audio)
    _log.info(
        "%.2f %% of %d windows agree as heard, %.2f %% with 512 samples later", shares[0], len(from_audio), shares[1]
    )
    assert len(from_audio) > 200
    assert shares[0] >= shares[1] - 2.0
