"""Data files: reading, checking, cleaning, splitting; the generator of the sample corpus is in samples/."""
