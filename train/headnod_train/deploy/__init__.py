"""From a run to listeners: bundles with their card, other formats, signatures, and the rollout."""
