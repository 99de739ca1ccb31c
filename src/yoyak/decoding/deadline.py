"""Ending a search that nobody waits for any more: every search checks at each of its steps.

    with ends_when(lambda: time.monotonic() > deadline):
        summarizer.summarize(dialogues)  # raises AbandonedError once that is so

It applies to the calls of the block in this thread, whichever summarizer they reach: a search may be several calls
down, in a member of an ensemble.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_is_over: ContextVar[Callable[[], bool] | None] = ContextVar("is_over", default=None)


class AbandonedError(Exception):
    """A search was ended before it had a result."""


@contextmanager
def ends_when(is_over: Callable[[], bool]) -> Iterator[None]:
    """Let the searches of the block end with `AbandonedError` once ``is_over`` returns True."""
    token = _is_over.set(is_over)
    try:
        yield
    finally:
        _is_over.reset(token)


def check_deadline() -> None:
    """Raise `AbandonedError` if the search is over. Called at each step of a search, so it must stay cheap."""
    is_over = _is_over.get()
    if is_over is not None and is_over():
        raise AbandonedError("The search was ended: nobody waits for its result.")
