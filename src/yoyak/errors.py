"""Errors that a person reads: one sentence that says what is wrong, where, and what would be right."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """Something the person at the keyboard can put right; its message is one whole sentence.

    The command line prints the message alone and exits with 1; the traceback goes to the log file.
    """


def nearest(name: str, choices: Iterable[str]) -> str:
    """Return `` (did you mean 'x'?)`` for the choice most like ``name``, or what there is to choose from.

    The result is meant to be put before the full stop of a sentence. It is empty when there is no choice at all.
    """
    known = sorted(set(choices))
    folded = {choice.casefold(): choice for choice in known}
    close = difflib.get_close_matches(name.casefold(), folded, n=1, cutoff=0.6)
    if close:
        return f" (did you mean '{folded[close[0]]}'?)"
    if known:
        shown = ", ".join(known[:12]) + (", …" if len(known) > 12 else "")
        return f" (known: {shown})"
    return ""
