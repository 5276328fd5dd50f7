"""The history: estimates and songs in one SQLite file."""
