"""A server of the command line, started as a person starts it, and ended by Ctrl-C."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

# Tests that a shell runs in the background ignore Ctrl-C, and so would what they start.
YOYAK = (
    "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "from yoyak.cli import main; sys.exit(main())"
)


@dataclass(frozen=True, kw_only=True)
class Started:
    """A running `yoyak`, and what it has printed."""

    process: subprocess.Popen[bytes]
    out: str

    @property
    def url(self) -> str:
        return re.findall(r"http://[\d.]+:\d+", self.out)[0]

    def children(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def end(self, number: int = signal.SIGINT) -> int:
        """Send a signal; return the exit code once it and all its children are gone."""
        everyone = self.children()
        self.process.send_signal(number)
        code = self.process.wait(120)
        _, surviving = psutil.wait_procs(everyone, timeout=30)
        assert not surviving
        return code


@contextmanager
def yoyak(*arguments: str, ready: str) -> Iterator[Started]:
    """Start `yoyak` in this folder and wait until it has printed ``ready``; it ends with the block at the latest."""
    out, err = Path(f"{arguments[0]}.out"), Path(f"{arguments[0]}.err")
    with out.open("wb") as stdout, err.open("wb") as stderr:
        process = subprocess.Popen([sys.executable, "-c", YOYAK, *arguments], stdout=stdout, stderr=stderr)
    try:
        deadline = time.monotonic() + 300
        while ready not in out.read_text(encoding="utf-8"):
            assert process.poll() is None, err.read_text(encoding="utf-8")
            assert time.monotonic() < deadline, err.read_text(encoding="utf-8")
            time.sleep(0.1)
        yield Started(process=process, out=out.read_text(encoding="utf-8"))
    finally:
        if process.poll() is None:
            children = psutil.Process(process.pid).children(recursive=True)
            for started in (process, *children):
                with suppress(ProcessLookupError):
                    os.kill(started.pid, signal.SIGKILL)
            process.wait()
