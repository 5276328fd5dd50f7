"""The parts alone: front ends beside one another, and the networks without theirs."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable

import numpy as np

from benchmarks.material import bundles
from headnod import GenreModel
from headnod.features.frontend import Audio, FrontEnd
from headnod.features.windows import FrameCache, Window

_HOP = 1708


FLOOR = "numpy FFT alone, float32 (the floor)"
"""numpy's transform of the same frames: no front end of numpy can cost less."""


def ours(window: Audio, front_end: FrontEnd) -> dict[str, Callable[[], object]]:
    """Log-mel of one window, with no frame taken over from the one before, and the floor under it."""
    frames = frames_of(window, front_end)
    spectrum = np.empty((len(frames), front_end.n_fft // 2 + 1), np.complex64)
    cache, place = FrameCache(front_end), iter(range(1, 1 << 30))
    return {
        "headnod": lambda: cache.mel(Window(window, next(place) * (front_end.hop - 1))),
        FLOOR: lambda: np.fft.rfft(frames, axis=1, norm="forward", out=spectrum),  # type: ignore[arg-type]  # stubs know double only
    }


def frames_of(window: Audio, front_end: FrontEnd) -> Audio:
    """Its frames, shape (frames, n_fft)."""
    return np.lib.stride_tricks.sliding_window_view(window, front_end.n_fft)[:: front_end.hop].copy()


def front_ends(audio: Audio) -> dict[str, Callable[[], object]]:
    """Log-mel of one window by each library that is installed; all but librosa's usual on our frames."""
    front_end = FrontEnd()
    window = audio[: front_end.window_samples].copy()
    frames = frames_of(window, front_end)
    turns: dict[str, Callable[[], object]] = {
        **ours(window, front_end),
        "numpy FFT alone, as numpy does by itself": lambda: np.fft.rfft(frames, axis=1),
    }
    makers = {
        "librosa": _librosa,
        "scipy": _scipy,
        "kaldi_native_fbank": _kaldi,
        "python_speech_features": _speech_features,
        "pyfftw": _fftw,
    }
    for name, make in makers.items():
        if importlib.util.find_spec(name):
            turns[f"{name}, FFT alone" if name in {"scipy", "pyfftw"} else name] = make(window, frames)
    return turns


def _librosa(window: Audio, _frames: Audio) -> Callable[[], object]:
    import librosa  # noqa: PLC0415 - only where it is installed

    def draw() -> object:
        mel = librosa.feature.melspectrogram(y=window, sr=22_050, n_fft=2048, hop_length=_HOP, n_mels=128, center=False)
        return librosa.power_to_db(mel, top_db=None)

    return draw


def _scipy(_window: Audio, frames: Audio) -> Callable[[], object]:
    import scipy.fft  # noqa: PLC0415

    return lambda: scipy.fft.rfft(frames, axis=1)


def _fftw(_window: Audio, frames: Audio) -> Callable[[], object]:
    import pyfftw  # noqa: PLC0415

    plan: Callable[[], object] = pyfftw.builders.rfft(frames, axis=1)
    return plan


def _kaldi(window: Audio, _frames: Audio) -> Callable[[], object]:
    import kaldi_native_fbank as knf  # noqa: PLC0415

    options = knf.FbankOptions()
    options.frame_opts.samp_freq = 22_050
    options.frame_opts.frame_length_ms = 1e3 * 2048 / 22_050
    options.frame_opts.frame_shift_ms = 1e3 * _HOP / 22_050
    options.frame_opts.dither = 0.0
    options.mel_opts.num_bins = 128

    def draw() -> object:
        fbank = knf.OnlineFbank(options)
        fbank.accept_waveform(22_050, window)
        return fbank.num_frames_ready

    return draw


def _speech_features(window: Audio, _frames: Audio) -> Callable[[], object]:
    import python_speech_features  # noqa: PLC0415

    return lambda: python_speech_features.logfbank(
        window, 22_050, winlen=2048 / 22_050, winstep=_HOP / 22_050, nfilt=128, nfft=2048
    )


def networks() -> dict[str, Callable[[], object]]:
    """Each bundle's scores of features that are there already."""
    turns: dict[str, Callable[[], object]] = {}
    for name, folder in bundles().items():
        model = GenreModel.load(folder)
        features = np.zeros((model.front_end.frames, model.front_end.n_features), np.float32)
        turns[name] = lambda model=model, features=features: model.scores(features)  # type: ignore[misc]
    return turns
