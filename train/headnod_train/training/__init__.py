"""Training: an archive becomes a float network, and that an int8 network."""
