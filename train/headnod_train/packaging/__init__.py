"""Bundles: a model with everything that a listener needs, and its card."""
