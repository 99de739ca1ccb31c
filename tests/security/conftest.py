"""Fixtures of the server."""

from live_server import live, tiny_export  # noqa: F401
