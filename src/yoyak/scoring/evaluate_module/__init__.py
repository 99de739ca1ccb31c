"""Holds the folder that `evaluate.load` reads."""
