"""Front ends of the kinds that a bundle can have."""

from headnod.features.frontend import FrontEnd

TAGGER = FrontEnd(
    sample_rate=16_000, n_fft=512, hop=256, frames=187, n_mels=96, f_max=8_000.0, n_mfcc=0, floor_db=-100.0,
    compression="log10", level="power",
)  # fmt: skip
"""The input of the MusiCNN tagger, with its level set."""

SMALL_POWER = FrontEnd(
    sample_rate=16_000, n_fft=512, hop=256, frames=30, n_mels=16, f_max=8_000.0, n_mfcc=0, floor_db=-100.0,
    compression="log10", level="power",
)  # fmt: skip
"""A window of 7,936 samples of the same kind, and little to compute."""
