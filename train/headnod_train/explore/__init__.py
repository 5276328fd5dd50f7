"""A collection before training: statistics, label errors, classical methods for comparison, and a game."""
