"""Listeners that are not there: what a crowd of them would publish."""
