"""Feature extraction: audio windows become MFCC or log-mel frames."""
