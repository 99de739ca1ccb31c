"""ROUGE of this package as a local module of Hugging Face evaluate."""
