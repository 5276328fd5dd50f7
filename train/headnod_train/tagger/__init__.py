"""A large music tagger as a teacher: MusiCNN's published weights, our own forward pass."""
