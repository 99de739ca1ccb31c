"""Ensemble analysis: the gain over the best member, each member's contribution, and the headroom.

`analyse` computes evaluation/ensembles.json. All figures use the primary score (combined ROUGE at the first
granularity, with the multi-reference protocol of params.yaml), for every split and slice but gate, which nobody should
compare ensembles on:

- ``gain``: the score of a strategy minus that of the best member on dev, paired.
- ``contributions``: ``change`` is the score of a strategy with all its members minus its score without this one,
  paired (null if it was not run without it); ``share`` is the share of summaries that the member wrote,
  ``of_several`` that of summaries that combine text of several members.
- ``agreement``: the mean ROUGE between the summaries of each pair of members, and the share of identical ones.
- ``oracle``: the best candidate of all members for each dialogue, chosen by the references; ``headroom`` is its gain
  over the best member, ``captured`` is the share of it that a strategy gains.
"""

from __future__ import annotations

from array import array
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

import numpy as np

from yoyak.data.records import Dialogue, in_parts
from yoyak.decoding.candidates import Candidate
from yoyak.ensemble.conclusion import write_conclusion
from yoyak.ensemble.info import EnsembleInfo
from yoyak.ensemble.parts import Bootstrap, DialogueFigures, PartSums, analyse_part
from yoyak.ensemble.splits import Choice
from yoyak.ensemble.utility import rouge_matrix
from yoyak.errors import UserError
from yoyak.params import Scoring
from yoyak.params.ensemble import Strategy
from yoyak.project import DEV, GATE
from yoyak.scoring.baselines import split_turns
from yoyak.scoring.ensembles import (
    EnsembleAnalysis,
    StrategyInfo,
)
from yoyak.scoring.evaluation import WINDOW, Evaluation
from yoyak.scoring.metrics import METRICS
from yoyak.scoring.results import ALL
from yoyak.scoring.rouge import reference_scores
from yoyak.scoring.tokenize import tokenizer

Candidates = Mapping[str, Mapping[str, Mapping[str, Sequence[Candidate]]]]
"""By member, split and fname, best first."""
Choices = Mapping[str, Mapping[str, Mapping[str, Choice]]]
"""By ensemble, split and fname."""


def analyse(
    splits: Mapping[str, Collection[Dialogue]],
    evaluation: Evaluation,
    strategies: Mapping[str, Strategy],
    candidates: Candidates,
    choices: Choices,
    scoring: Scoring,
    seed: int,
    learned: Mapping[str, EnsembleInfo] | None = None,
) -> EnsembleAnalysis:
    """Return the analysis of all ensembles on every split and slice but gate.

    Args:
        splits: The dialogues that ``evaluation`` scored.
        strategies: The ensembles' params by name; there may be none.
        candidates: The candidates of all members that an ensemble may use.
        choices: The choices of all ensembles.
        learned: What is known of strategies over candidates, by name.
    """
    analyser = Analyser(list(candidates), list(choices), scoring)
    for split, rows in splits.items():
        for part in in_parts(rows, WINDOW):
            analyser.add(
                split,
                part,
                {member: [of[split].get(row.fname) for row in part] for member, of in candidates.items()},
                {name: [of[split].get(row.fname) for row in part] for name, of in choices.items()},
            )
    return analyser.finish(evaluation, strategies, seed, learned)


class Analyser:
    """Computes the figures of every dialogue, some dialogues at a time, and then averages them over parts of the data.

    Dialogues of gate are left out, and those without candidates of some member: where no member has summarized more
    than a sample.
    """

    def __init__(self, members: Sequence[str], ensembles: Sequence[str], scoring: Scoring) -> None:
        self.members, self.ensembles, self.scoring = members, ensembles, scoring
        self._shown = array("b")
        """Of every dialogue: whether it is analysed."""
        self._parts: dict[str, dict[str, PartSums]] = {}
        """By split and slice."""
        self._oracle = array("d")
        self._without: dict[tuple[str, str], array[float]] = {}
        """By ensemble and excluded member."""
        self._turns, self._chars = array("i"), array("i")

    def add(
        self,
        split: str,
        rows: Sequence[Dialogue],
        candidates: Mapping[str, Sequence[Sequence[Candidate] | None]],
        choices: Mapping[str, Sequence[Choice | None]],
    ) -> None:
        """Compute the figures of the next dialogues, given each member's candidates and each ensemble's choices."""
        members = [candidates[member] for member in self.members]
        shown = [split != GATE and all(of[index] for of in members) for index in range(len(rows))]
        self._shown.extend(shown)
        kept = [index for index, is_shown in enumerate(shown) if is_shown]
        if not kept:
            return
        rows = [rows[index] for index in kept]
        nbests = [[of[index] or () for of in members] for index in kept]
        chosen = {name: [_require(choices[name][index], name, split) for index in kept] for name in self.ensembles}
        first = len(self._oracle)
        if not first:
            self._without = {(name, member): array("d") for name in chosen for member in chosen[name][0].without}
        self._score(rows, nbests, chosen)
        self._turns.extend(len(split_turns(row.dialogue)) for row in rows)
        self._chars.extend(len(row.dialogue) for row in rows)
        compared = _compare_members([[nbest[0].text for nbest in row] for row in nbests], self.scoring)
        for index, (row, (agreement, same)) in enumerate(zip(rows, compared, strict=True)):
            for part in self._parts_of(split, row):
                part.indices.append(first + index)
                part.agreement += agreement
                part.same += same
                for name, row_choices in chosen.items():
                    part.writers[name][row_choices[index].member] += 1

    def finish(
        self,
        evaluation: Evaluation,
        strategies: Mapping[str, Strategy],
        seed: int,
        learned: Mapping[str, EnsembleInfo] | None = None,
    ) -> EnsembleAnalysis:
        """Return the analysis; ``evaluation`` has to be of the same dialogues, in the same order."""
        summary, scoring = evaluation.summary, self.scoring
        shown = np.frombuffer(self._shown, bool)
        systems = dict.fromkeys((*self.members, *self.ensembles, summary.best_member))
        primary = {name: evaluation.primary[name][shown] for name in systems}
        dev = np.array(self._parts[DEV][ALL].indices)

        def rank(names: Iterable[str]) -> list[str]:
            return sorted(names, key=lambda name: -float(primary[name][dev].mean()))

        members, ensembles = rank(self.members), rank(self.ensembles)
        infos = {name: _describe(strategies[name], members, (learned or {}).get(name)) for name in ensembles}
        figures = DialogueFigures(
            best_member=primary[summary.best_member],
            oracle=np.array(self._oracle),
            strategies={name: primary[name] for name in ensembles},
            without={
                key: np.array(self._without[key]) for name in ensembles for key in self._without if key[0] == name
            },
            turns=np.array(self._turns),
            chars=np.array(self._chars),
            order=[self.members.index(member) for member in members],
        )
        bootstrap = Bootstrap(samples=scoring.bootstrap_samples, confidence=scoring.confidence, seed=seed)
        parts = {
            split: {
                name: analyse_part(figures, slices[name], infos, bootstrap)
                for name in (ALL, *sorted(slices.keys() - {ALL}))
            }
            for split, slices in self._parts.items()
        }
        return EnsembleAnalysis(
            primary=summary.primary,
            confidence=scoring.confidence,
            best_member=summary.best_member,
            best_ensemble=summary.best_ensemble,
            conclusion=write_conclusion(parts, infos, summary.best_member, summary.best_ensemble, scoring.confidence),
            members=tuple(members),
            strategies=infos,
            splits=parts,
        )

    def _score(
        self,
        rows: Sequence[Dialogue],
        nbests: Sequence[Sequence[Sequence[Candidate]]],
        chosen: Mapping[str, Sequence[Choice]],
    ) -> None:
        """Score all candidates, and what the ensembles would write without each member."""
        pools = [dict.fromkeys(candidate.text for nbest in row for candidate in nbest) for row in nbests]
        texts = [
            pool | dict.fromkeys(text for of in chosen.values() for text in of[index].without.values())
            for index, pool in enumerate(pools)
        ]
        scores = _score_texts(texts, [row.summaries for row in rows], self.scoring)
        self._oracle.extend(max(by_text[text] for text in pool) for by_text, pool in zip(scores, pools, strict=True))
        for (name, member), values in self._without.items():
            values.extend(by_text[choice.without[member]] for by_text, choice in zip(scores, chosen[name], strict=True))

    def _parts_of(self, split: str, row: Dialogue) -> list[PartSums]:
        slices = self._parts.setdefault(split, {})
        for name in (ALL, row.slice):
            if name and name not in slices:
                slices[name] = PartSums(len(self.members), self.ensembles)
        return [slices[name] for name in (ALL, row.slice) if name]


def _require(choice: Choice | None, name: str, split: str) -> Choice:
    if choice is None:
        raise UserError(f"ensemble '{name}' has not summarized all dialogues of {split}: `dvc repro` does.")
    return choice


def _describe(strategy: Strategy, all_members: Sequence[str], learned: EnsembleInfo | None) -> StrategyInfo:
    members = tuple(strategy.members or all_members)
    return StrategyInfo(
        type=getattr(strategy, "type", ""),
        members=members,
        pass_through=len(members) == 1,
        reranker=learned.reranker if learned else None,
        choice=learned.choice if learned else None,
    )


def _score_texts(
    texts: Sequence[Mapping[str, None]], references: Sequence[Sequence[str]], scoring: Scoring
) -> list[dict[str, float]]:
    """Return the primary score of each text of each dialogue."""
    scores = reference_scores(
        [text for row in texts for text in row],
        [row_references for row, row_references in zip(texts, references, strict=True) for _ in row],
        granularity=scoring.granularities[0],
        weights=scoring.weights,
        processes=scoring.processes,
    ).reduce(scoring.multi_reference)[:, METRICS.index("combined")]
    values = iter(scores.tolist())
    return [{text: next(values) for text in row} for row in texts]


def _compare_members(summaries: Sequence[Sequence[str]], scoring: Scoring) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield [members, members] of each dialogue: the ROUGE between their summaries, and whether they are the same."""
    units = tokenizer(scoring.granularities[0])
    for row in summaries:
        distinct = list(dict.fromkeys(row))
        indices = np.array([distinct.index(text) for text in row])
        matrix = rouge_matrix(units.tokenize_all(distinct), scoring.weights)
        # A text always agrees with itself, even one without tokens.
        np.fill_diagonal(matrix, 1.0)
        yield matrix[np.ix_(indices, indices)], indices[:, None] == indices[None]
