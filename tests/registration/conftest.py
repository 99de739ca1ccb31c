"""The tiny exported model of the bench's tests."""

from bench.conftest import subject

__all__ = ["subject"]
