"""The command line, `yoyak <verb>`."""

from yoyak.cli.app import main

__all__ = ["main"]
