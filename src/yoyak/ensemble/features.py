"""What rerankers see of a candidate: features that need no reference, and depend on the candidate's row alone.

They are the member's score and rank, lengths, agreement with the other candidates, which of the dialogue's words,
names, numbers and masks are kept or made up, and how likely the members find each other's candidates, if they have
scored them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from yoyak.ensemble.pool import CACHE_LINES, Row
from yoyak.ensemble.utility import rouge_matrix
from yoyak.korean.facts import find_made_up
from yoyak.korean.masks import MASK
from yoyak.params.base import ROUGE_WEIGHTS
from yoyak.scoring.tokenize import tokenizer

_NUMBER = re.compile(r"\d+(?:[.,:]\d+)*|[일이삼사오육칠팔구십백천만]+(?=[시분명개원월일층번])")
_NAME = re.compile(r"[가-힣]{2,4}(?=\s?(?:씨|님|선생|과장|부장|대리|팀장|고객|환자))|\b[A-Z][a-z]+\b")

FEATURES = (
    "score", "score_in_member", "rank", "first", "changed_input",
    "tokens", "tokens_to_mean", "share_of_dialogue",
    "agreement", "agreement_of_firsts", "copies",
    "words_from_dialogue", "masks_kept", "masks_made_up", "numbers_from_dialogue", "numbers_kept", "numbers_made_up",
    "names_kept", "names_made_up", "repeated",
)  # fmt: skip
"""Features of a candidate. For each member follow whether it wrote the candidate, and how similar that is to what the
member likes best; for each that scored the candidates, how likely it finds it, also compared with the likeliest one."""


class Described(NamedTuple):
    """The candidates of some rows and their features."""

    origins: list[tuple[int, str, int]]
    """Row index, member and rank of each candidate."""
    values: np.ndarray
    """[candidates, features]"""


def feature_names(members: Sequence[str], scorers: Sequence[str]) -> tuple[str, ...]:
    """Return the names of all features; ``scorers`` are the members whose likelihoods are used."""
    return (
        *FEATURES,
        *(f"member {name}" for name in members),
        *(f"similarity to {name}" for name in members),
        *(f"likelihood of {name}" for name in scorers),
        *(f"likelihood of {name}, to the highest" for name in scorers),
        *(("likelihood", "likelihood, to the highest") if scorers else ()),
    )


def describe(rows: Sequence[Row], members: Sequence[str], granularity: str, scorers: Sequence[str] = ()) -> Described:
    """Return the features of every candidate."""
    units = tokenizer(granularity, CACHE_LINES)
    units.tokenize_all([candidate.text for row in rows for nbest in row.candidates.values() for candidate in nbest])
    made_up = iter(_count_made_up(rows, members))
    origins: list[tuple[int, str, int]] = []
    blocks: list[np.ndarray] = []
    for row_index, row in enumerate(rows):
        pool = [(member, rank) for member in members for rank in range(len(row.candidates[member]))]
        origins += [(row_index, member, rank) for member, rank in pool]
        candidates = [row.candidates[member][rank] for member, rank in pool]
        tokens = [units.tokenize(candidate.text) for candidate in candidates]
        dialogue = units.tokenize(row.dialogue)
        dialogue_tokens, facts = set(dialogue), _extract_facts(row.dialogue)
        similarity = rouge_matrix(tokens, ROUGE_WEIGHTS)
        agreement = (similarity.sum(1) - np.diag(similarity)) / max(1, len(pool) - 1)
        firsts = [column for column, (_, rank) in enumerate(pool) if rank == 0]
        mean = float(np.mean([len(text) for text in tokens])) or 1.0
        values: list[list[float]] = []
        for number, (member, rank) in enumerate(pool):
            candidate, text = candidates[number], tokens[number]
            scores = [other.score for other in row.candidates[member]]
            others_first = [column for column in firsts if pool[column][0] != member]
            numbers_made_up, names_made_up = next(made_up)
            masks_kept, masks_made_up, numbers_from_dialogue, numbers_kept, names_kept = _compare_facts(
                candidate.text, facts
            )
            values.append([
                candidate.score,
                (candidate.score - float(np.mean(scores))) / (float(np.std(scores)) or 1.0),
                rank, float(rank == 0), float(candidate.view > 0),
                len(text), len(text) / mean, len(text) / max(1, len(dialogue)),
                agreement[number],
                float(similarity[number, others_first].mean()) if others_first else 0.0,
                sum(other.text == candidate.text for other in candidates) - 1,
                sum(token in dialogue_tokens for token in text) / max(1, len(text)),
                masks_kept, masks_made_up, numbers_from_dialogue, numbers_kept, numbers_made_up,
                names_kept, names_made_up,
                1 - len(set(text)) / max(1, len(text)),
                *(float(member == name) for name in members),
            ])  # fmt: skip
        likelihoods = np.array(
            [[row.likelihoods[name][candidate.text] for name in scorers] for candidate in candidates]
        ).reshape(len(pool), len(scorers))
        if scorers:
            likelihoods = np.hstack([likelihoods, likelihoods - likelihoods.max(0)])
            mean_of_all = likelihoods[:, : len(scorers)].mean(1, keepdims=True)
            likelihoods = np.hstack([likelihoods, mean_of_all, mean_of_all - mean_of_all.max()])
        blocks.append(np.hstack([np.array(values, float), similarity[:, firsts], likelihoods]))
    width = len(feature_names(members, scorers))
    return Described(origins, np.vstack(blocks) if blocks else np.zeros((0, width)))


def select_rows(described: Described, rows: Sequence[int]) -> tuple[Described, np.ndarray]:
    """Return the candidates of some rows, renumbered in the order of ``rows``, and their indices among all."""
    numbers = {row: number for number, row in enumerate(rows)}
    kept = np.array([index for index, (row, _, _) in enumerate(described.origins) if row in numbers], int)
    origins = [(numbers[row], member, rank) for row, member, rank in (described.origins[index] for index in kept)]
    return Described(origins, described.values[kept]), kept


_MADE_UP: dict[tuple[str, str], tuple[int, int]] = {}
"""What has been counted, by dialogue and text: a strategy describes the same candidates once without each member."""


def _count_made_up(rows: Sequence[Row], members: Iterable[str]) -> list[tuple[int, int]]:
    """Return how many numbers and names each candidate has that its dialogue has not."""
    members = list(members)
    pairs = [
        (row.dialogue, candidate.text) for row in rows for member in members for candidate in row.candidates[member]
    ]
    missing = list(dict.fromkeys(pair for pair in pairs if pair not in _MADE_UP))
    found = find_made_up([text for _, text in missing], [dialogue for dialogue, _ in missing])
    counts = {pair: (len(kinds["numbers"]), len(kinds["names"])) for pair, kinds in zip(missing, found, strict=True)}
    known = [counts.get(pair) or _MADE_UP[pair] for pair in pairs]
    if len(_MADE_UP) > CACHE_LINES:
        _MADE_UP.clear()
    _MADE_UP.update(counts)
    return known


def _extract_facts(dialogue: str) -> tuple[set[str], set[str], set[str]]:
    """Return the masks, numbers and names of a dialogue."""
    # The contents of masks count as neither numbers nor names.
    unmasked = MASK.sub(" ", dialogue)
    return set(MASK.findall(dialogue)), set(_NUMBER.findall(unmasked)), set(_NAME.findall(unmasked))


def _compare_facts(text: str, facts: tuple[set[str], set[str], set[str]]) -> tuple[float, float, float, float, float]:
    masks, numbers, names = facts
    own_masks, own_numbers = set(MASK.findall(text)), set(_NUMBER.findall(MASK.sub(" ", text)))
    return (
        len(own_masks & masks) / max(1, len(masks)),
        float(len(own_masks - masks)),
        len(own_numbers & numbers) / len(own_numbers) if own_numbers else 1.0,
        len(own_numbers & numbers) / max(1, len(numbers)),
        sum(name in text for name in names) / max(1, len(names)),
    )
