"""Model bundles: their manifest, the network and the numbers that prove it."""
