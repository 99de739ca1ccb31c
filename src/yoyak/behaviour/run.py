"""Checking what a member writes for the cases and their changed versions, and for the test split."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from yoyak.behaviour.cases import CaseFile
from yoyak.behaviour.changes import changes_of, swap_names, text_of
from yoyak.behaviour.results import CHECKS, Behaviour, Failure, Rate, make_rate
from yoyak.data.records import Dialogue
from yoyak.korean.facts import KINDS, find_facts, find_made_up
from yoyak.params.base import ROUGE_WEIGHTS, Granularity
from yoyak.scoring.rouge import rouge

GRANULARITIES: dict[str, Granularity] = {"ko": "morpheme", "en": "english"}
"""The unit of the similarity of two summaries, by language."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One try of a check."""

    check: str
    case: str
    detail: str = ""
    """What is wrong; empty if the check passed."""
    dialogue: str = ""
    summary: str = ""
    changed_dialogue: str = ""
    changed_summary: str = ""
    similarity: float | None = None


def run_behaviour(
    member: str,
    files: Mapping[str, CaseFile],
    summaries: Mapping[str, str],
    test: Sequence[Dialogue],
    predictions: Mapping[str, str],
    *,
    refuses: Callable[[str], bool],
    confidence: float,
    examples: int,
) -> Behaviour:
    """Return the results of all checks.

    Args:
        member: The name under which the results are kept.
        files: The cases, by the name of their file.
        summaries: The member's summary of each text of `changes.texts_of`, by the text.
        test: The test split.
        predictions: The summaries of the test split, by fname.
        refuses: Whether the server refuses a dialogue.
        confidence: Of the intervals.
        examples: Failures of each check to keep.
    """
    outcomes = [outcome for file in files.values() for outcome in _try_empty(file, refuses)]
    passed = {}
    for key, file in files.items():
        unchanged = list(_try_cases(file, summaries))
        failed = {outcome.case for outcome in unchanged if outcome.detail}
        passed[key] = 1 - len(failed) / len(file.dialogues)
        outcomes += [*unchanged, *_try_changes(file, summaries)]
    names = [name for file in files.values() for name in file.names]
    outcomes += _try_test(test, [predictions[row.fname] for row in test], names)
    with_reference = [row for row in test if row.summaries]
    references = list(_try_test(with_reference, [row.summaries[0] for row in with_reference], names))
    return Behaviour(
        member=member,
        cases=tuple(files),
        confidence=confidence,
        rates=_rates(outcomes, confidence),
        references=_rates(references, confidence),
        failures=tuple(_failures(outcomes, examples)),
        passed=passed,
    )


def _try_empty(file: CaseFile, refuses: Callable[[str], bool]) -> Iterator[Outcome]:
    for number, dialogue in enumerate(file.empty, 1):
        detail = "" if refuses(dialogue) else "is not refused"
        yield Outcome("empty_accepted", f"empty {number}", detail, dialogue)


def _try_cases(file: CaseFile, summaries: Mapping[str, str]) -> Iterator[Outcome]:
    dialogues = [text_of(case) for case in file.dialogues]
    written = [summaries[dialogue] for dialogue in dialogues]
    found = find_made_up(written, dialogues, file.names)
    for case, dialogue, summary, made_up in zip(file.dialogues, dialogues, written, found, strict=True):
        if len(case.turns) == 1:
            detail = "" if any(letter.isalpha() for letter in summary) else "there is no summary"
            yield Outcome("one_turn_empty", case.name, detail, dialogue, summary)
        if case.mentions:
            missing = [mention for mention in case.mentions if mention.casefold() not in summary.casefold()]
            yield Outcome("mentions_missing", case.name, ", ".join(missing), dialogue, summary)
        if case.never:
            wrong = [word for word in case.never if word.casefold() in summary.casefold()]
            yield Outcome("never_mentioned", case.name, ", ".join(wrong), dialogue, summary)
        for kind in KINDS:
            yield Outcome(f"{kind}_made_up", case.name, ", ".join(made_up[kind]), dialogue, summary)


def _try_changes(file: CaseFile, summaries: Mapping[str, str]) -> Iterator[Outcome]:
    changes = list(changes_of(file))
    if not changes:
        return
    before, after = [], []
    for change in changes:
        old, new = summaries[text_of(change.case)], summaries[change.text]
        if change.speakers:
            # Swapping twice makes the particles agree, which a model may get wrong.
            old, new = (
                swap_names(swap_names(old, *change.speakers), *change.speakers),
                swap_names(new, *change.speakers),
            )
        before.append(" ".join(old.split()))
        after.append(" ".join(new.split()))
    scores = rouge(
        after,
        [[text] for text in before],
        granularity=GRANULARITIES[file.language],
        multi_reference="mean",
        weights=ROUGE_WEIGHTS,
    )["combined"]
    facts = find_facts([*before, *after], file.names)
    for index, change in enumerate(changes):
        if change.speakers:
            detail = "" if before[index] == after[index] else "not the same after swapping back"
        else:
            same = facts[index].content == facts[index + len(changes)].content
            detail = "" if same else "other masks, numbers or names"
        dialogue = text_of(change.case)
        yield Outcome(
            change.check, change.case.name, detail, dialogue, summaries[dialogue], change.text, summaries[change.text],
            1.0 if before[index] == after[index] else float(scores[index]),
        )  # fmt: skip


def _try_test(rows: Sequence[Dialogue], summaries: Sequence[str], names: Sequence[str]) -> Iterator[Outcome]:
    found = find_made_up(summaries, [row.dialogue for row in rows], names)
    for row, summary, made_up in zip(rows, summaries, found, strict=True):
        for kind in KINDS:
            yield Outcome(f"test_{kind}_made_up", row.fname, ", ".join(made_up[kind]), row.dialogue, summary)


def _rates(outcomes: Sequence[Outcome], confidence: float) -> dict[str, Rate]:
    rates = {}
    for check in CHECKS:
        tries = [outcome for outcome in outcomes if outcome.check == check]
        if not tries:
            continue
        similarities = [outcome.similarity for outcome in tries if outcome.similarity is not None]
        mean = round(sum(similarities) / len(similarities), 6) if similarities else None
        rates[check] = make_rate(check, sum(bool(outcome.detail) for outcome in tries), len(tries), confidence, mean)
    return rates


def _failures(outcomes: Sequence[Outcome], examples: int) -> Iterator[Failure]:
    for check in CHECKS:
        failed = [outcome for outcome in outcomes if outcome.check == check and outcome.detail]
        for outcome in failed[:examples]:
            yield Failure(
                check=check,
                case=outcome.case,
                detail=outcome.detail,
                dialogue=outcome.dialogue,
                summary=outcome.summary,
                changed_dialogue=outcome.changed_dialogue,
                changed_summary=outcome.changed_summary,
            )
