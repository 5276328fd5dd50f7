"""Model bundles: manifest, network and golden values."""
