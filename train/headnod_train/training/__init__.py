"""Music in, a float network out, and then an int8 one: recipe, augmentation, training, quantising."""
