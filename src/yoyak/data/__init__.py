"""Data files: reading, cleaning, checking, splitting, augmentation; samples/ generates the sample corpus."""
