"""Whether the facts of a summary are right: numbers, times, dates, names, things, masks, and who does what.

Where the data know what a summary has to state (`yoyak.data.facts`), each fact has to be in it, and nothing that is
known to be wrong. In any data, numbers, names and masks that the dialogue does not have are made up, and the speakers
are mixed up if the summary is closer to its references once they are swapped. What a reference has is not made up.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, get_args

import numpy as np

from yoyak.behaviour.accuracy_results import EVERY, FactAccuracy, FactRate, make_fact_rates
from yoyak.behaviour.changes import swap_names
from yoyak.data.facts import NO_FACTS, Fact, KnownFacts, SplitFacts
from yoyak.data.records import Dialogue, in_parts
from yoyak.korean.facts import Facts, find_facts, find_made_up
from yoyak.korean.masks import find_masks, split_mask
from yoyak.korean.numbers import CLOCK, DAY, MINUTE, MONTH, WEEKDAY, Number
from yoyak.params.base import ROUGE_WEIGHTS
from yoyak.scoring.rouge import rouge

Kind = Literal["number", "time", "date", "name", "thing", "mask", "person"]
KINDS: tuple[Kind, ...] = get_args(Kind)
WINDOW = 1000
"""Dialogues whose summaries are checked at once."""
_NUMERIC = ("number", "time", "date")
_UNITS: dict[str, Kind] = {CLOCK: "time", MINUTE: "time", DAY: "date", MONTH: "date", WEEKDAY: "date"}
_AFTER = (
    "은|는|이|가|을|를|과|와|의|에|에서|에게|에게서|에는|에도|께|께서|한테|으로|로|으로는|로는|으로써|로써|도|만|까지|부터|이나|나|이랑|랑|"
    "처럼|보다|마다|씩|째|쯤|경|짜리|행|발|용|뿐|뿐인|인|이다|라고|이라고|이라는|라는|이며|이고|고|인데|하다|한다|하고|해|했다|하는|하기|"
    "합니다|입니다|이에요|예요|였다|이었다|요|들|이라|라"
)
"""What may follow a word within a Korean eojeol: particles, the copula, and suffixes."""
_AUXILIARIES = frozenset({"한다", "했다", "합니다", "준다", "줬다", "주었다", "줍니다", "된다", "됐다", "됩니다"})


def measure_facts(
    splits: Mapping[str, Sequence[Dialogue]],
    known: SplitFacts,
    systems: Mapping[str, Mapping[str, Mapping[str, str]]],
    confidence: float,
) -> FactAccuracy:
    """Return how many summaries of each system (``systems[system][split][fname]``) have their facts right.

    A system is measured on the dialogues that it has summarized.
    """
    counter = FactCounter(known, list(systems), list(splits))
    for split, rows in splits.items():
        for part in in_parts(rows, WINDOW):
            counter.add(split, part, {name: [of[split].get(row.fname) for row in part] for name, of in systems.items()})
    return counter.finish(confidence)


class FactCounter:
    """Counts how many summaries have their facts right, some dialogues at a time."""

    def __init__(self, known: SplitFacts, systems: Sequence[str], splits: Sequence[str]) -> None:
        self.known, self.systems, self.splits = known, systems, splits
        self._slices: dict[str, set[str]] = {split: set() for split in splits}
        self._counts: dict[tuple[str, str, str], dict[str, tuple[int, int]]] = {}
        """By system, split and slice, and then by kind: how many summaries have it right, and how many have it."""

    def add(self, split: str, rows: Sequence[Dialogue], texts: Mapping[str, Sequence[str | None]]) -> None:
        """Check the summaries that each system wrote of some dialogues; None where it wrote none."""
        # Systems often write the same.
        pairs = dict.fromkeys(
            (index, text) for system in self.systems for index, text in enumerate(texts[system]) if text is not None
        )
        facts = self.known.get(split, {})
        checked = check_facts(
            [text for _, text in pairs],
            [rows[index] for index, _ in pairs],
            [facts.get(rows[index].fname, NO_FACTS) for index, _ in pairs],
        )
        results = dict(zip(pairs, checked, strict=True))
        self._slices[split] |= {row.slice for row in rows} - {""}
        for system in self.systems:
            for index, text in enumerate(texts[system]):
                if text is None:
                    continue
                for part in {EVERY, rows[index].slice or EVERY}:
                    counts = self._counts.setdefault((system, split, part), {})
                    for kind, is_right in results[index, text].items():
                        if kind == EVERY and facts and rows[index].fname not in facts:
                            # Nobody can tell whether it has everything right: its share would be that of other figures.
                            continue
                        right, n = counts.get(kind, (0, 0))
                        counts[kind] = (right + is_right, n + 1)

    def finish(self, confidence: float) -> FactAccuracy:
        """Return the rates of all summaries that were added."""
        rates: list[FactRate] = []
        for split in self.splits:
            for system in self.systems:
                for part in (EVERY, *sorted(self._slices[split])):
                    counts = self._counts.get((system, split, part), {})
                    rates += make_fact_rates(counts, system=system, split=split, slice=part, confidence=confidence)
        known = {split: len(self.known.get(split, {})) for split in self.splits}
        return FactAccuracy(confidence=confidence, known=known, rates=tuple(rates))


def check_facts(
    summaries: Sequence[str], rows: Sequence[Dialogue], known: Sequence[KnownFacts], names: Sequence[str] = ()
) -> list[dict[str, bool]]:
    """Return, for each summary, whether it is right, by kind and under `EVERY`.

    Only kinds that the summary states or should state have an entry. ``names`` are taken for names wherever they occur.
    """
    summaries = [unicodedata.normalize("NFC", text) for text in summaries]
    own = find_facts(summaries, names)
    # A reference may compute a number, or name in one word what the dialogue describes.
    made_up = find_made_up(summaries, ["\n".join([row.dialogue, *row.summaries]) for row in rows], names, own)
    wordings = [text for facts in known for text in _numeric_wordings(facts)]
    meant = dict(zip(wordings, find_facts(wordings), strict=True))
    mixed_up = _find_mixed_up(summaries, rows)
    results = []
    for index, summary in enumerate(summaries):
        result: dict[str, bool] = {}

        def note(kind: str, right: bool, result: dict[str, bool] = result) -> None:
            result[kind] = result.get(kind, True) and right

        for kind in _stated_kinds(own[index]):
            note(kind, True)
        for text in made_up[index]["numbers"]:
            note(_kind_of(text, own[index].numbers), False)
        for _ in made_up[index]["names"]:
            note("name", False)
        for mask in made_up[index]["masks"]:
            note("person" if _is_speaker(mask) else "mask", False)
        for fact in known[index].stated:
            note(fact.kind, _states(summary, own[index], fact, meant))
        if mixed_up[index] is not None:
            note("person", not mixed_up[index])
        result[EVERY] = all(result.values()) and not any(_mentions(summary, text) for text in known[index].wrong)
        results.append(result)
    return results


def share_stated(summary: str, known: KnownFacts) -> float:
    """Return the share of the known facts that a summary states; 1 if nothing is known."""
    summary = unicodedata.normalize("NFC", summary)
    wordings = list(_numeric_wordings(known))
    own, *found = find_facts([summary, *wordings])
    meant = dict(zip(wordings, found, strict=True))
    stated = [_states(summary, own, fact, meant) for fact in known.stated]
    return sum(stated) / len(stated) if stated else 1.0


def _states(summary: str, own: Facts, fact: Fact, meant: Mapping[str, Facts]) -> bool:
    return any(_mentions(summary, text) for text in fact.wordings) or (
        fact.kind in _NUMERIC and any(_has_numbers(meant[text], own) for text in fact.wordings)
    )


def _numeric_wordings(facts: KnownFacts) -> Iterable[str]:
    return (text for fact in facts.stated if fact.kind in _NUMERIC for text in fact.wordings)


def _stated_kinds(facts: Facts) -> set[str]:
    kinds: set[str] = {_UNITS.get(number.unit, "number") for number in facts.numbers if number.sure}
    if facts.names:
        kinds.add("name")
    if any(not _is_speaker(mask) for mask in facts.masks):
        kinds.add("mask")
    return kinds


def _first_speaker(text: str) -> str | None:
    return next((mask for mask in find_masks(text) if _is_speaker(mask)), None)


def _predicate(text: str) -> list[str]:
    """Return the last word, or the last two where the last one says nothing: 가기로 한다, 보내 준다."""
    words = text.rstrip(" .").split()
    return words[-2:] if words and words[-1] in _AUXILIARIES else words[-1:]


def _is_speaker(mask: str) -> bool:
    return split_mask(mask)[0] == "Person"


def _kind_of(text: str, numbers: Sequence[Number]) -> Kind:
    unit = next((number.unit for number in numbers if number.text == text), "")
    return _UNITS.get(unit, "number")


def _mentions(summary: str, text: str) -> bool:
    """Return whether a text occurs in a summary as words of its own, spaces aside, perhaps with a particle."""
    words = r"\s*".join(re.escape(word) for word in unicodedata.normalize("NFC", text).split())
    pattern = rf"(?<![0-9A-Za-z가-힣#]){words}(?:(?:{_AFTER})(?![가-힣])|(?![0-9A-Za-z가-힣]))"
    return re.search(pattern, summary, re.IGNORECASE) is not None


def _has_numbers(meant: Facts, own: Facts) -> bool:
    """Return whether a summary has all numbers of a wording, however they are written."""
    return bool(meant.numbers) and all(any(each.matches(other) for other in own.numbers) for each in meant.numbers)


def _find_mixed_up(summaries: Sequence[str], rows: Sequence[Dialogue]) -> list[bool | None]:
    """Return whether each summary has its speakers mixed up.

    None if that cannot be told: no speaker is named, or the summary says with another verb what another speaker does,
    as who buys and who sells are both right.
    """
    found: list[bool | None] = [None] * len(rows)
    tried: list[tuple[int, str]] = []
    for index, (summary, row) in enumerate(zip(summaries, rows, strict=True)):
        masks = dict.fromkeys(mask for text in row.summaries for mask in find_masks(text))
        speakers = [mask for mask in masks if _is_speaker(mask)]
        first = _first_speaker(summary)
        comparable = any(_predicate(summary) == _predicate(text) for text in row.summaries)
        if len(speakers) > 1 and first and comparable:
            found[index] = False
            pairs = [(one, other) for number, one in enumerate(speakers) for other in speakers[number + 1 :]]
            tried += [(index, swap_names(summary, *pair)) for pair in pairs]
    if not tried:
        return found
    indices = sorted({index for index, _ in tried})
    before = dict(zip(indices, _similarity([summaries[i] for i in indices], [rows[i] for i in indices]), strict=True))
    after = _similarity([text for _, text in tried], [rows[index] for index, _ in tried])
    for (index, _), score in zip(tried, after, strict=True):
        if score > before[index] + 1e-9:
            found[index] = True
    return found


def _similarity(texts: Sequence[str], rows: Sequence[Dialogue]) -> np.ndarray:
    """Return ROUGE to the nearest reference, by eojeol: a speaker with another particle is another word."""
    references = [row.summaries for row in rows]
    return rouge(texts, references, granularity="eojeol", multi_reference="max", weights=ROUGE_WEIGHTS)["combined"]
