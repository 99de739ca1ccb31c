"""Cleaning text: Unicode NFC, no invisible characters, single spaces, one turn per line. Changes are counted.

Every function here is idempotent. Counts are by kind of change, in characters, lines or turns.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from dataclasses import replace

from yoyak.data.records import Dialogue
from yoyak.korean.masks import MASK

CHANGE_KINDS = {
    "control_characters": "control characters and lone surrogates removed",
    "zero_width_characters": "zero-width characters and byte order marks removed",
    "unicode_nfc": "texts normalized to Unicode NFC",
    "whitespace": "lines in which runs of whitespace became one space or were stripped, and Hangul fillers replaced",
    "line_breaks": "line breaks inside a summary, id, topic or slice that became a space",
    "literal_line_breaks": "backslash-n written out between turns that became a line break",
    "blank_lines": "blank lines between turns dropped",
    "joined_labels": "speaker labels on a line of their own joined to the line below",
    "empty_turns": "turns with a speaker but no words dropped",
    "empty_references": "empty references dropped where there are several",
    "truncated": "dialogues truncated to data.max_chars at the end of a turn",
}
"""Every kind of change, and what its count means."""

Changes = Counter[str]

_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff]")
_ZERO_WIDTH = re.compile(r"[\u00ad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff]")
# Joiners are part of the spelling in Arabic and Indic scripts and join emoji; anywhere else they are artifacts.
_JOINER = re.compile(r"(?<![\u0600-\u0dff\ufe0f\u2190-\u2bff\U0001f000-\U0001faff])[\u200c\u200d]")
# Hangul fillers are letters in Unicode but render as blanks; people use them to send an empty chat message.
_FILLER = re.compile(r"[\u3164\uffa0]")
_SPACE = re.compile(r"\s+")
# In a speaker's label a mask may have any letter case; elsewhere it begins with a capital.
_LABEL = rf"(?:(?i:{MASK.pattern})|(?=[\w.\-]*[^\W\d])[\w.\-]{{1,40}})\s?[:：]"
_LABELLED = re.compile(_LABEL)
_LITERAL_BREAK = re.compile(r"(?:\\r)?\\n")
_LITERAL_TURN = re.compile(rf"(?:\\r)?\\n(?: |\\r|\\n)*{_LABEL}")


def clean_row(row: Dialogue, max_chars: int) -> tuple[Dialogue, Changes]:
    """Return a row with all its texts cleaned and its dialogue truncated to ``max_chars`` characters."""
    changes: Changes = Counter()

    def line(text: str) -> str:
        cleaned, line_changes = clean_line(text)
        changes.update(line_changes)
        return cleaned

    dialogue, dialogue_changes = clean_dialogue(row.dialogue)
    changes.update(dialogue_changes)
    if len(dialogue) > max_chars:
        dialogue = truncate(dialogue, max_chars)
        changes["truncated"] += 1
    summaries = [line(summary) for summary in row.summaries]
    references = tuple(summary for summary in summaries if summary)
    if references and len(references) < len(summaries):
        changes["empty_references"] += len(summaries) - len(references)
    return (
        replace(
            row,
            fname=line(row.fname),
            dialogue=dialogue,
            summaries=references,
            topic=line(row.topic),
            slice=line(row.slice),
        ),
        changes,
    )


def clean_line(text: str) -> tuple[str, Changes]:
    """Return a text as one clean line, and the changes by kind."""
    text, changes = _clean_characters(text)
    lines = text.strip().split("\n")
    changes["line_breaks"] += len(lines) - 1
    cleaned = [_squeeze(line, changes) for line in lines]
    return " ".join(line for line in cleaned if line), +changes


def clean_dialogue(text: str) -> tuple[str, Changes]:
    """Return a dialogue as clean turns joined by newlines, and the changes by kind.

    A literal backslash-n is treated as a line break if a speaker's label follows at least one of them. Labels such as
    ``#Person1#:`` and ``Doctor:`` are left unchanged. A label alone on its line is joined to the next line, unless
    that has its own label; then it is an empty turn.
    """
    text, changes = _clean_characters(text)
    lines = _squeezed_lines(text, changes)
    if "\\n" in text and any(_LITERAL_TURN.search(line) for line in lines):
        text, count = _LITERAL_BREAK.subn("\n", "\n".join(lines))
        changes["literal_line_breaks"] += count
        lines = _squeezed_lines(text, Counter())
    turns: list[str] = []
    pending_label = ""
    for line in lines:
        label = _LABELLED.match(line)
        if pending_label and label:
            changes["empty_turns"] += 1
        elif pending_label:
            changes["joined_labels"] += 1
        turn = f"{pending_label} {line}" if pending_label and not label else line
        pending_label = line if label and label.end() == len(line) else ""
        if not pending_label:
            turns.append(turn)
    if pending_label:
        changes["empty_turns"] += 1
    return "\n".join(turns), +changes


def truncate(dialogue: str, max_chars: int) -> str:
    """Return as many of the first turns of a clean dialogue as fit into ``max_chars`` characters.

    If even the first turn is too long, it is truncated at a space, or within a word if there is none.
    """
    if len(dialogue) <= max_chars:
        return dialogue
    end = dialogue.rfind("\n", 0, max_chars + 1)
    if end < 0:
        label = _LABELLED.match(dialogue)
        end = dialogue.rfind(" ", label.end() + 1 if label else 1, max_chars + 1)
    return dialogue[: end if end > 0 else max_chars].rstrip()


def _clean_characters(text: str) -> tuple[str, Changes]:
    """Return NFC text without invisible characters and with ``\\n`` as the only line ending."""
    changes: Changes = Counter()
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    text, changes["control_characters"] = _CONTROL.subn("", text)
    if text.isascii():
        return text, changes
    text, changes["zero_width_characters"] = _ZERO_WIDTH.subn("", text)
    normal = unicodedata.normalize("NFC", text)
    changes["unicode_nfc"] = int(normal != text)
    joined, joiners = _JOINER.subn("", normal)
    changes["zero_width_characters"] += joiners
    if joiners:
        joined = unicodedata.normalize("NFC", joined)
    spaced, changes["whitespace"] = _FILLER.subn(" ", joined)
    return spaced, changes


def _squeezed_lines(text: str, changes: Changes) -> list[str]:
    lines = [_squeeze(line, changes) for line in text.strip("\n").split("\n")]
    kept = [line for line in lines if line]
    changes["blank_lines"] += len(lines) - len(kept) if kept else 0
    return kept


def _squeeze(line: str, changes: Changes) -> str:
    squeezed = _SPACE.sub(" ", line).strip()
    changes["whitespace"] += squeezed != line
    return squeezed
