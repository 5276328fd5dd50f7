"""Bundles: what a listener needs of a model in one folder, with the card that says what it is."""
