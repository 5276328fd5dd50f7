"""What a collection looks like before anything learns from it."""
