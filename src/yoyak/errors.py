"""User-facing errors: one sentence that says what is wrong, where, and what would be right."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """Something the user can fix; its message is one whole sentence.

    The command line prints only the message and exits with 1; the traceback goes to the log file.
    """


class UnavailableError(UserError):
    """Something that a model needs fails, such as its endpoint: whoever sends a dialogue can do nothing about it."""


def nearest(name: str, choices: Iterable[str], count: int = 1) -> str:
    """Return `` (did you mean 'x'?)`` for the ``count`` choices most like ``name``, or else the list of choices.

    The result is meant to be put before the full stop of a sentence. It is empty when there are no choices.
    """
    known = sorted(set(choices))
    folded = {choice.casefold(): choice for choice in known}
    if difflib.get_close_matches(name.casefold(), folded, n=1, cutoff=0.6):
        close = difflib.get_close_matches(name.casefold(), folded, n=count, cutoff=0.0)
        *others, last = (f"'{folded[choice]}'" for choice in close)
        return f" (did you mean {', '.join(others)}{' or ' if others else ''}{last}?)"
    if known:
        listed = ", ".join(known[:12]) + (", …" if len(known) > 12 else "")
        return f" (known: {listed})"
    return ""


def first_line(error: BaseException, limit: int = 200) -> str:
    """Return the first line of an error's message, at most ``limit`` characters, or its type if it has no message."""
    lines = str(error).strip().splitlines()
    return lines[0][:limit] if lines else type(error).__name__
