"""Yoyak: an open MLOps stack for dialogue summarization, Korean first."""

__version__ = "0.1.0"
