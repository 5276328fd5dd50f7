"""Feature extraction: windows of audio become MFCC or log-mel frames."""
