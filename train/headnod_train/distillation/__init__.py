"""Distillation: training data with the scores of teachers, and networks that learn from them."""
