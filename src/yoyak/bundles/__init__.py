"""A model as one ZIP file, written and read."""
