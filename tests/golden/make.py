"""Golden numbers of the front end: what librosa says of signals that are made by a formula.

    python tests/golden/make.py

librosa is the witness here and in the tests, and never a part of headnod. It
computes in double precision, so all that differs is the front end's own rounding.
"""

import warnings
from pathlib import Path

import numpy as np

from headnod.features.frontend import Audio, FrontEnd
from headnod.inference.model import chirp

STORED = Path(__file__).with_name("front_end.npz")

_TAGGER = {
    "sample_rate": 16_000, "n_fft": 512, "hop": 256, "frames": 24, "n_mels": 96, "f_max": 8000.0, "floor_db": -100.0,
}  # fmt: skip

FRONT_ENDS = {
    "the default": FrontEnd(),
    "96 bands": FrontEnd(frames=12, n_mels=96, n_mfcc=20),
    "frames of 512 and 40 bands": FrontEnd(frames=12, n_fft=512, hop=512, n_mels=40, n_mfcc=13),
    "frames of 1024 and 64 bands": FrontEnd(frames=12, n_fft=1024, hop=300, n_mels=64, n_mfcc=64),
    "frames of 4096": FrontEnd(frames=12, n_fft=4096, hop=2048),
    "edges inside the spectrum": FrontEnd(frames=12, n_mels=64, f_min=60.0, f_max=8000.0),
    "bands narrower than a bin": FrontEnd(frames=12, n_fft=512, hop=512, n_mels=256),
    "a part of the spectrum": FrontEnd(frames=12, f_min=1200.0, f_max=4000.0),
    "16 kHz and a near floor": FrontEnd(
        frames=12, sample_rate=16_000, f_max=7600.0, n_mels=80, floor_db=-60.0, range_db=40.0
    ),
    "the tagger's bands, level set": FrontEnd(**_TAGGER, n_mfcc=0, compression="log10", level="power"),
    "the whole transform of them": FrontEnd(**_TAGGER, n_mfcc=96, compression="log10", level="power", level_db=3.0),
    "log10 without its mean": FrontEnd(**_TAGGER, n_mfcc=0, compression="log10"),
    "HTK bands of one height, level set": FrontEnd(
        frames=12, n_mels=64, n_mfcc=0, mel_scale="htk", mel_norm="none", level="power", level_db=-10.0
    ),
    "HTK bands of one area": FrontEnd(frames=12, n_mels=64, n_mfcc=20, f_min=40.0, mel_scale="htk"),
}


def noise(front_end: FrontEnd) -> Audio:
    """White noise, as long as a window; it swells, so that frames differ."""
    rng = np.random.default_rng(1)
    swell = np.linspace(0.01, 0.5, front_end.window_samples)
    return (swell * (2.0 * rng.random(front_end.window_samples) - 1.0)).astype(np.float32)


SIGNALS = {"chirp": chirp, "noise": noise}


def witness(front_end: FrontEnd, audio: Audio) -> tuple[np.ndarray, np.ndarray]:
    """The log-mel and the MFCCs of audio, as librosa computes them."""
    import librosa

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Empty filters detected", category=UserWarning)
        power = librosa.feature.melspectrogram(
            y=audio.astype(np.float64),
            sr=front_end.sample_rate,
            n_fft=front_end.n_fft,
            hop_length=front_end.hop,
            center=False,
            n_mels=front_end.n_mels,
            fmin=front_end.f_min,
            fmax=front_end.f_max,
            htk=front_end.mel_scale == "htk",
            norm="slaney" if front_end.mel_norm == "area" else None,
            dtype=np.float64,
        )
    floor = 10.0 ** (front_end.floor_db / 10.0)
    log_mel = librosa.power_to_db(power, ref=1.0, amin=floor, top_db=None)
    level = 10.0 ** (front_end.level_db / 10.0)
    if front_end.compression == "log10":
        scale = level / np.maximum(power, floor).mean() if front_end.level == "power" else 1.0
        heard = np.log10(1.0 + 10_000.0 * scale * np.maximum(power, floor))
    else:
        limited = librosa.power_to_db(librosa.db_to_power(log_mel), ref=1.0, amin=floor, top_db=front_end.range_db)
        scale = level / librosa.db_to_power(limited).mean() if front_end.level == "power" else 1.0
        heard = limited + 10.0 * np.log10(scale)
    if front_end.level == "mean":
        heard = heard - heard.mean()
    if front_end.n_mfcc:
        heard = librosa.feature.mfcc(S=heard, n_mfcc=front_end.n_mfcc, dct_type=2, norm="ortho")
    return log_mel.T, heard.T


def main() -> None:
    """Write what librosa says of every signal through every front end."""
    arrays = {}
    for name, front_end in FRONT_ENDS.items():
        for signal, make in SIGNALS.items():
            log_mel, cepstra = witness(front_end, make(front_end))
            arrays[f"{name}, {signal}, log-mel"] = log_mel.astype(np.float32)
            arrays[f"{name}, {signal}, cepstra"] = cepstra.astype(np.float32)
    np.savez_compressed(STORED, **arrays)


if __name__ == "__main__":
    main()
