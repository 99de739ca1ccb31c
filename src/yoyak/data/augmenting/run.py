"""Adding rows to the training set: drawing which ones are copied, changing the copies, and leaving out bad ones.

What a row gives depends only on the row, on ``augmentation`` of params.yaml and, for renaming, on the names that train
has: not on the order of rows.
"""

from __future__ import annotations

import difflib
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from tqdm import tqdm

from yoyak.data.augmenting import noise, pseudo, variation
from yoyak.data.augmenting.dropping import drop_turns
from yoyak.data.augmenting.edits import Source
from yoyak.data.augmenting.renaming import collect_names, rename_all
from yoyak.data.augmenting.rewriting import draw_turns, put_together
from yoyak.data.keys import dialogue_key
from yoyak.data.records import Dialogue
from yoyak.korean.facts import find_made_up
from yoyak.params.augmentation import Augmentation, Edits, Method, Rewriting
from yoyak.project import TRAIN

EDITS: Mapping[str, Callable[[Source, float, random.Random], Dialogue | str]] = {
    "aeda": noise.insert_punctuation,
    "spacing": noise.change_spacing,
    "typos": noise.mistype,
    "fillers": noise.insert_fillers,
    "turn_drop": drop_turns,
    "endings": variation.vary_endings,
    "particles": variation.vary_particles,
}
LOST = "lost a mask, number or name of the summary"
EXAMPLES = 3
"""Shown of each method."""

Rewrite = Callable[[str, Rewriting, Sequence[str]], Mapping[str, str | None]]
"""Rewrites turns by the models of a method, given its name; None for those that are too long."""


@dataclass(slots=True, kw_only=True)
class _Result:
    """What a method gave so far."""

    drawn: int = 0
    added: list[Dialogue] = field(default_factory=list)
    filtered: Counter[str] = field(default_factory=Counter)
    turns: Counter[str] = field(default_factory=Counter)
    """Of models: why rewritten turns were not kept."""
    examples: list[dict[str, str]] = field(default_factory=list)

    def describe(self) -> dict[str, Any]:
        """Return its part of the report."""
        return {
            "drawn": self.drawn,
            "added": len(self.added),
            "filtered": dict(sorted(self.filtered.items())),
            **({"turns_left_as_they_were": dict(sorted(self.turns.items()))} if self.turns else {}),
        }


def augment_train(
    splits: Mapping[str, Sequence[Dialogue]],
    settings: Augmentation,
    pseudo_labels: Sequence[Dialogue] = (),
    rewrite: Rewrite | None = None,
    train_summaries: Sequence[Dialogue] = (),
) -> tuple[list[Dialogue], dict[str, Any]]:
    """Return the rows to add to train, and a report of them, ready for JSON.

    Args:
        splits: All splits. A row whose dialogue would be in one of the others is left out.
        pseudo_labels: Unlabelled dialogues with a model's summaries.
        rewrite: Required if a method with models is on.
        train_summaries: Rows of train with a model's summaries.
    """
    train = splits[TRAIN]
    in_others = {dialogue_key(row.dialogue): name for name in splits if name != TRAIN for row in splits[name]}
    in_train = {dialogue_key(row.dialogue) for row in train}
    methods = settings.methods
    results = {name: _Result() for name in methods}
    names = collect_names(train) if "renaming" in results else None
    pending: dict[str, list[tuple[Source, list[int]]]] = {}
    for row in tqdm(train, desc="augment train", unit="row", leave=False, delay=1, disable=not results):
        source = Source(row)
        for name, method in methods.items():
            # A string seed gives the same draws in every process and on every machine.
            rng = random.Random(f"{settings.seed}\n{name}\n{row.fname}")
            if rng.random() >= method.share:
                continue
            results[name].drawn += 1
            if isinstance(method, Rewriting):
                pending.setdefault(name, []).append((source, draw_turns(source, method.rate, rng)))
                continue
            changed = (
                rename_all(source, names, rng) if names and name == "renaming" else _edit(name, method, source, rng)
            )
            _add(results[name], name, source, changed, in_others, in_train)
    for name, sources in pending.items():
        add = partial(_add, in_others=in_others, in_train=in_train)
        _rewrite_all(results[name], name, settings, sources, rewrite, add)
    labels = settings.pseudo_labels
    known = {**dict.fromkeys(in_train, TRAIN), **in_others}
    for method_name, file, rows, taken in (
        (pseudo.METHOD, labels.dialogues, pseudo_labels, known),
        (pseudo.TRAIN_METHOD, labels.train_summaries, train_summaries, in_others),
    ):
        if file is None:
            continue
        result = results[method_name] = _Result(drawn=len(rows))
        result.added = pseudo.filter_pseudo_labels(rows, taken, labels, result.filtered, method_name)
        result.examples = [
            {"fname": row.fname, "before": row.dialogue, "after": row.summaries[0]} for row in result.added[:EXAMPLES]
        ]
    report = {
        "rows": {"train": len(train), "added": sum(len(result.added) for result in results.values())},
        "methods": {name: result.describe() for name, result in results.items()},
        "examples": [{"method": name, **each} for name, result in results.items() for each in result.examples],
    }
    return [row for result in results.values() for row in result.added], report


def _edit(name: str, method: Method, source: Source, rng: random.Random) -> Dialogue | str:
    assert isinstance(method, Edits)
    return EDITS[name](source, method.rate, rng)


def _rewrite_all(
    result: _Result,
    name: str,
    settings: Augmentation,
    sources: Sequence[tuple[Source, list[int]]],
    rewrite: Rewrite | None,
    add: Callable[..., None],
) -> None:
    method = settings.methods[name]
    assert isinstance(method, Rewriting) and rewrite is not None
    texts = sorted({source.turns[index][1] for source, indices in sources for index in indices})
    rewritten = rewrite(name, method, texts)
    for source, indices in sources:
        add(result, name, source, put_together(source, indices, rewritten, method, result.turns))


def _add(
    result: _Result,
    name: str,
    source: Source,
    changed: Dialogue | str,
    in_others: Mapping[str, str],
    in_train: Set[str],
) -> None:
    """Add a changed row, or count why it is left out."""
    reason = changed if isinstance(changed, str) else _find_fault(source, changed, in_others, in_train)
    if reason:
        result.filtered[reason] += 1
        return
    assert isinstance(changed, Dialogue)
    row = source.row
    result.added.append(replace(changed, fname=f"{row.fname}~{name}", source=row.fname, method=name))
    if len(result.examples) < EXAMPLES:
        before, after = _differing_turns("\n".join((row.dialogue, *row.summaries)), changed)
        result.examples.append({"fname": row.fname, "before": before, "after": after})


def _find_fault(source: Source, changed: Dialogue, in_others: Mapping[str, str], in_train: Set[str]) -> str:
    """Return why a changed row must not be added; empty if it may."""
    key = dialogue_key(changed.dialogue)
    if key in in_others:
        return f"also in {in_others[key]}"
    # Other spaces leave the key as it is.
    if key in in_train and key != dialogue_key(source.row.dialogue):
        return "another row of train"
    return LOST if loses_facts(source, changed) else ""


def loses_facts(source: Source, changed: Dialogue) -> bool:
    """Return whether a summary of a changed row states a mask, number or name that its dialogue has no longer."""
    row = source.row
    # Analysing both dialogues takes long, and most changes leave these texts alone.
    if row.summaries == changed.summaries and all(text in changed.dialogue for text in source.anchors):
        return False
    before = find_made_up(row.summaries, [row.dialogue] * len(row.summaries))
    after = find_made_up(changed.summaries, [changed.dialogue] * len(changed.summaries))
    if row.summaries != changed.summaries:
        # Other names, so that only their number can be compared.
        return any(len(new[kind]) > len(old[kind]) for old, new in zip(before, after, strict=True) for kind in new)
    return any(set(new[kind]) - set(old[kind]) for old, new in zip(before, after, strict=True) for kind in new)


def _differing_turns(text: str, changed: Dialogue) -> tuple[str, str]:
    """Return the lines of both texts, summaries included, that the other one does not have in their place."""
    before, after = text.split("\n"), "\n".join((changed.dialogue, *changed.summaries)).split("\n")
    blocks = [
        block
        for block in difflib.SequenceMatcher(None, before, after, autojunk=False).get_opcodes()
        if block[0] != "equal"
    ]
    return (
        "\n".join(line for _, start, end, _, _ in blocks for line in before[start:end]),
        "\n".join(line for _, _, _, start, end in blocks for line in after[start:end]),
    )
