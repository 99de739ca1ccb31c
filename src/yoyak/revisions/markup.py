"""Text from data files, params and branches as Markdown that shows it and does nothing else.

A report is posted where people are: nothing in it may notify anyone, link anywhere, load anything or end a table.
"""

from __future__ import annotations

import html
import re
import unicodedata

from yoyak.reporting.formats import escape_markdown

WORD_JOINER = "\u2060"
"""Invisible; between the characters of a mention or a reference, it takes their meaning away."""
_REFERENCES = re.compile(
    r"""
    (?<=@)(?=[\w-])                 # @person, someone@example.com, owner/repository@commit
    | (?<=[#!])(?=\d)               # #12, !12
    | (?<=\bGH-)(?=\d)              # GH-12
    | (?<=:)(?=//|\w+:)             # https://example.com, :shortcode:
    | (?<=\bwww)(?=\.)              # www.example.com
    | (?<=\bmailto)(?=:) | (?<=\bxmpp)(?=:)
    """,
    re.VERBOSE | re.IGNORECASE,
)
_COMMITS = re.compile(r"\b([0-9a-f]{3})([0-9a-f]{4,})\b", re.IGNORECASE)


def to_markdown(text: str) -> str:
    """Return a text for one line of Markdown, such as a cell of a table."""
    return _neutralise(escape_markdown(_clean(text)))


def to_html(text: str) -> str:
    """Return a text for an HTML element in Markdown, on one line: an empty line would end the HTML."""
    lines = (_neutralise(html.escape(_clean(line))) for line in text.splitlines())
    return "<br>".join(line for line in lines if line.strip())


def _clean(text: str) -> str:
    """Replace control characters, and those that turn the direction of text around."""
    return "".join(
        "\ufffd"
        if (unicodedata.category(char) == "Cc" and not char.isspace())
        or unicodedata.category(char) == "Cs"
        or "\u202a" <= char <= "\u202e"
        or "\u2066" <= char <= "\u2069"
        else char
        for char in text
    )


def _neutralise(text: str) -> str:
    text = _REFERENCES.sub(WORD_JOINER, text)
    # Dollar signs begin a formula.
    return _COMMITS.sub(_split_commit, text).replace("$", "&#36;")


def _split_commit(match: re.Match[str]) -> str:
    """Split what looks like a commit; numbers without a letter stay as they are, since so few commits look so."""
    whole = match[0]
    return whole if whole.isdigit() or whole.isalpha() else f"{match[1]}{WORD_JOINER}{match[2]}"
