"""Changes of a summary after a model has written it: broken masks, repeats, and the style of its sentences.

Each function is pure and idempotent.
"""

from __future__ import annotations

import re

from yoyak.korean.josa import PARTICLE, agree
from yoyak.korean.masks import MASK, find_masks, split_mask

MAX_REPEATED = 12
"""The longest run of words that is looked for twice in a row."""
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")
_SPACED_PARTICLE = re.compile(rf"({MASK.pattern}) ((?:은|는|을|를|과|와|의|에게|에게서|께|한테)(?![가-힣]))")


def restore_masks(summary: str, dialogue: str) -> str:
    """Return a summary whose masks are spelled as in the dialogue, each with the particle that agrees with it.

    ``# Person1 #``, ``#Person1`` and ``Person1`` become ``#Person1#`` if the dialogue has that mask, and the space in
    ``#Person1# 은`` goes. Without a ``#``, a name that has no number must be written as in the mask: ``email`` stays.
    """
    found = dict.fromkeys(find_masks(dialogue))
    if not found:
        return summary
    # A dialogue may have thousands, of which a pattern takes seconds to compile.
    written = re.sub(r"\s", "", summary).casefold()
    masks = [mask for mask in found if mask.strip("#").casefold() in written]
    by_name = {mask.strip("#").casefold(): mask for mask in masks}
    names = "|".join(_name_pattern(mask) for mask in sorted(masks, key=len, reverse=True)) or "(?!)"
    broken = rf"(?<![\w#])(?:#\s?)?((?i:{names}))(?![A-Za-z0-9_])(?:\s?#(?!\s?[A-Z]))?({PARTICLE})?"

    def restore(match: re.Match[str]) -> str:
        if match[1] is None:
            return match[0]
        mask = by_name[re.sub(r"\s", "", match[1]).casefold()]
        if "#" not in match[0] and not split_mask(mask)[1] and match[1] not in mask:
            # Only its capital tells #Email# from the word.
            return match[0]
        return mask + (agree(mask, match[2]) if match[2] else "")

    # Whole masks come first, so that the end of one is not taken for the beginning of the next.
    text = re.sub(rf"{MASK.pattern}|{broken}", restore, summary)
    return _SPACED_PARTICLE.sub(lambda match: match[1] + agree_or_keep(match[1], match[2]), text)


def agree_or_keep(mask: str, form: str) -> str:
    """Return a particle in the form that it takes after a mask; one that has a single form as it is."""
    return agree(mask, form) if re.fullmatch(PARTICLE, form) else form


def drop_repeats(summary: str) -> str:
    """Return a summary without what it says twice: later sentences that equal an earlier one, and runs of words.

    Of two or more words that follow each other twice in a row, and of a word that does so three times, one is left.
    """
    sentences = list(dict.fromkeys(_SENTENCE_END.split(summary)))
    return " ".join(" ".join(_drop_runs(sentence.split(" "))) for sentence in sentences)


def _drop_runs(words: list[str]) -> list[str]:
    for size in range(min(MAX_REPEATED, len(words) // 2), 0, -1):
        times = 2 if size > 1 else 3
        start = 0
        while start + times * size <= len(words):
            run = words[start : start + size]
            count = 1
            while words[start + count * size : start + (count + 1) * size] == run:
                count += 1
            if count >= times:
                del words[start + size : start + count * size]
            else:
                start += 1
    return words


def _name_pattern(mask: str) -> str:
    name, number = split_mask(mask)
    return rf"{re.escape(name.strip('#'))}\s?{number}" if number else re.escape(name)
