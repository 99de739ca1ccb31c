"""Signals, imports and memory of this process, and whether another one is still alive."""

from __future__ import annotations

import gc
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import subprocess

TERMINATED = 128 + signal.SIGTERM
"""Exit code of a process that was asked to end by SIGTERM, as shells report it."""


M_MMAP_THRESHOLD = -3
"""The number of a parameter of glibc's ``mallopt``: blocks of so many bytes get pages of their own."""
LARGE_BLOCK = 2**24
"""With 1 MiB, the kernel clears pages for a fifth of the time of a training of the sample's BART."""


class Terminated(SystemExit):
    """Ends a process that was asked to by SIGTERM, with a sentence that says what it has saved."""

    def __init__(self, sentence: str) -> None:
        super().__init__(TERMINATED)
        self.sentence = sentence

    def __str__(self) -> str:
        return self.sentence


def process_name() -> str:
    """Return ``host:pid`` of this process."""
    return f"{socket.gethostname()}:{os.getpid()}"


def is_gone(name: str) -> bool:
    """Return whether ``name`` is a process of this machine that no longer runs; False where that cannot be known."""
    host, _, pid = name.rpartition(":")
    if host != socket.gethostname() or not pid.isdigit():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False


@contextmanager
def without_garbage_collection() -> Iterator[None]:
    """Do not look for garbage in the block.

    Imports and models make objects that stay, all of which Python looks at again and again: it takes a fifth of the
    time of importing torch and transformers.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def return_freed_memory() -> None:
    """Let the C library return large blocks to the system as soon as they are freed, where it is glibc.

    By default, glibc raises the size from which it does so up to 32 MB as such blocks are freed. Smaller ones then stay
    in its heap, where blocks of other sizes do not fit: a training holds up to twice what is alive. The environment
    variable MALLOC_MMAP_THRESHOLD_ overrides this.
    """
    import ctypes
    import platform

    if platform.libc_ver()[0] == "glibc" and "MALLOC_MMAP_THRESHOLD_" not in os.environ:
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK)


@contextmanager
def without_packages(*names: str) -> Iterator[None]:
    """Let libraries that are imported in the block believe that these optional packages are not installed.

    Libraries import an optional package that is installed even if what needs it is never used, which can take longer
    than everything else that they import. Packages that are already imported are left alone.
    """
    hidden = [name for name in names if name not in sys.modules]
    # Python's documented way to make an import fail, and `find_spec` return None.
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


@contextmanager
def exit_on_sigterm() -> Iterator[None]:
    """Let SIGTERM leave the block as SystemExit, where nobody else handles it."""

    def leave(signum: int, frame: FrameType | None) -> None:
        raise SystemExit(TERMINATED)

    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


@contextmanager
def ignore_interrupts() -> Iterator[None]:
    """Keep another Ctrl-C from interrupting the block, which cleans up."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)


def stop(process: subprocess.Popen[bytes], *, grace: float) -> None:
    """End a process with all its children: by SIGTERM, and those that still run after ``grace`` seconds by force."""
    import psutil

    if process.poll() is not None:
        return
    with ignore_interrupts():
        with suppress(psutil.NoSuchProcess):
            everyone = [psutil.Process(process.pid)]
            everyone += everyone[0].children(recursive=True)
            # Each of them, since one that ends does not pass the signal on to its children.
            for member in everyone:
                with suppress(psutil.NoSuchProcess):
                    member.terminate()
            _, alive = psutil.wait_procs(everyone, timeout=grace)
            for member in alive:
                with suppress(psutil.NoSuchProcess):
                    member.kill()
            psutil.wait_procs(alive, timeout=1.0)
        process.wait()
