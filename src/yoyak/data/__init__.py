"""Data files: reading, cleaning, checking, splitting, views; samples/ generates the sample corpus."""
