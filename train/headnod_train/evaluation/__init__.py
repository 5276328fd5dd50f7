"""What a model is worth on music whose genre is known, through the classes of the device."""
