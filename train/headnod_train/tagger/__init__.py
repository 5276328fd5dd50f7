"""MusiCNN, a published music tagger, as a teacher: its weights, our forward pass."""
