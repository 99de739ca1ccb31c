"""Other masks and other names of speakers, in a dialogue and its summaries alike."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from yoyak.data.augmenting.edits import NOTHING_TO_CHANGE, Source
from yoyak.data.augmenting.turns import split_turns
from yoyak.data.records import Dialogue
from yoyak.korean.kiwi import analyse
from yoyak.korean.masks import distinct_masks, split_mask
from yoyak.korean.renaming import rename

UNCLEAR = "a particle whose form after the new name is unclear"
OTHER_FORM = "a speaker who is also called by another form of the name"
_NAME_LABEL = re.compile(r"([가-힣]{2,4})\s?[:：]\s*")


@dataclass(frozen=True, slots=True)
class Names:
    """What can be renamed to what: only to masks that train has, since these are tokens."""

    masks: dict[str, list[str]] = field(default_factory=dict)
    """By name of the mask: those with a number."""
    speakers: list[str] = field(default_factory=list)
    """Korean names of speakers."""


def collect_names(rows: Sequence[Dialogue]) -> Names:
    """Return the masks and the names of speakers in the training set, in an order that does not depend on the rows'."""
    masks: dict[str, list[str]] = {}
    for mask in distinct_masks(text for row in rows for text in (row.dialogue, *row.summaries)):
        name, number = split_mask(mask)
        if number:
            masks.setdefault(name, []).append(mask)
    labels = sorted({name for row in rows for name in _speakers(row.dialogue)})
    # A label may also be a role, such as 의사, that another one does not replace.
    tagged = zip(labels, analyse(labels), strict=True)
    return Names(masks, [label for label, tokens in tagged if [token.tag for token in tokens] == ["NNP"]])


def rename_all(source: Source, names: Names, rng: random.Random) -> Dialogue | str:
    """Give numbered masks other numbers, and speakers with a Korean name another one; particles follow.

    ``#Person1#은`` becomes ``#Person2#는``.
    """
    row = source.row
    text = "\n".join((row.dialogue, *row.summaries))
    speakers = _draw_speakers(row.dialogue, text, names, rng)
    if any(_has_other_form(name, text) for name in speakers):
        return OTHER_FORM
    new_names = {**_draw_masks(text, names, rng), **speakers}
    if all(old == new for old, new in new_names.items()):
        return NOTHING_TO_CHANGE
    dialogue, *summaries = (rename(each, new_names) for each in (row.dialogue, *row.summaries))
    if not all(renamed.sure for renamed in (dialogue, *summaries)):
        return UNCLEAR
    return replace(row, dialogue=dialogue.text, summaries=tuple(renamed.text for renamed in summaries))


def _speakers(dialogue: str) -> list[str]:
    matches = (_NAME_LABEL.fullmatch(label) for label, _ in split_turns(dialogue))
    return list(dict.fromkeys(match[1] for match in matches if match))


def _has_other_form(name: str, text: str) -> bool:
    """Return whether somebody is called 지훈 where the label is 김지훈, or the other way round."""
    given = name[-2:]
    whole = len(re.findall(rf"(?<!\w){name}", text))
    return text.count(given) > whole


def _draw_masks(text: str, names: Names, rng: random.Random) -> dict[str, str]:
    new_names: dict[str, str] = {}
    for pool in names.masks.values():
        present = [mask for mask in pool if mask in text]
        if present and len(pool) > 1:
            drawn = rng.sample(pool, len(present))
            while drawn == present:
                drawn = rng.sample(pool, len(present))
            new_names |= dict(zip(present, drawn, strict=True))
    return new_names


def _draw_speakers(dialogue: str, text: str, names: Names, rng: random.Random) -> dict[str, str]:
    present = [speaker for speaker in _speakers(dialogue) if speaker in names.speakers]
    free = [name for name in names.speakers if name not in text]
    return dict(zip(present, rng.sample(free, len(present)), strict=True)) if len(free) >= len(present) else {}
