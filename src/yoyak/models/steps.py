"""The named steps before and after a model: they change a dialogue before it is read, and a summary that is written.

    prepare_dialogue(dialogue, spec.preprocessing)
    finish_summary(summary, dialogue, spec.preprocessing, generation.postprocessing)

A step is a pure function of texts, so that training, `predict` and a server apply the same. Every one is idempotent.
docs/processing.md describes them for users, and docs/develop.md how to add one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from yoyak.korean import tidying
from yoyak.korean.polishing import drop_repeats, restore_masks
from yoyak.korean.style import to_plain_style, to_polite_style

PLAIN_MASKS, TOPIC = "plain_masks", "topic"


def _keep(text: str) -> str:
    return text


INPUT_STEPS: Mapping[str, Callable[[str], str]] = {
    "clean_symbols": tidying.clean_symbols,
    "drop_fillers": tidying.drop_fillers,
    PLAIN_MASKS: tidying.plain_masks,
    # A text alone does not have it: whoever has the row adds it.
    TOPIC: _keep,
}
"""By name: a function of the dialogue."""
OUTPUT_STEPS: Mapping[str, Callable[[str, str], str]] = {
    "restore_masks": restore_masks,
    "drop_repeats": lambda summary, _: drop_repeats(summary),
    "plain_style": lambda summary, _: to_plain_style(summary),
    "polite_style": lambda summary, _: to_polite_style(summary),
}
"""By name: a function of the summary and its dialogue."""
NEED_KIWI = ("plain_style", "polite_style")
"""The steps that import Kiwi."""


def add_topics(dialogues: Sequence[str], topics: Sequence[str], steps: Sequence[str]) -> list[str]:
    """Return dialogues with their topics, if ``topic`` is among the steps; those without one as they are."""
    if TOPIC not in steps:
        return list(dialogues)
    return [tidying.add_topic(dialogue, topic) for dialogue, topic in zip(dialogues, topics, strict=True)]


def prepare_dialogue(dialogue: str, steps: Sequence[str]) -> str:
    """Return what a model reads of a dialogue."""
    for name in steps:
        dialogue = INPUT_STEPS[name](dialogue)
    return dialogue


def prepare_target(summary: str, steps: Sequence[str]) -> str:
    """Return what a model learns to write in place of a reference: the same, with masks as the dialogue has them."""
    return tidying.plain_masks(summary) if PLAIN_MASKS in steps else summary


def finish_summary(summary: str, dialogue: str, preprocessing: Sequence[str], postprocessing: Sequence[str]) -> str:
    """Return a summary as it is given out; one of which a step would leave nothing is kept as it was before."""
    if PLAIN_MASKS in preprocessing:
        summary = restore_masks(summary, dialogue)
    for name in postprocessing:
        summary = OUTPUT_STEPS[name](summary, dialogue) or summary
    return summary
