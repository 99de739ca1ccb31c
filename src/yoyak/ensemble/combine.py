"""A strategy made ready on dev, and its summaries of any rows.

fitted = fit(strategy, members, dev_rows, references, granularity="morpheme", seed=20)
outcomes = list(combine_all(fitted.combiner, rows, processes=2))
"""

from __future__ import annotations

import json
import multiprocessing
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter
from tqdm import tqdm

from yoyak.ensemble import stack, weights
from yoyak.ensemble.mbr import mbr
from yoyak.ensemble.pool import Outcome, Row
from yoyak.ensemble.vote import vote
from yoyak.errors import UserError
from yoyak.files import write_json
from yoyak.params.base import Granularity
from yoyak.params.ensemble import Mbr, OfCandidates, Stack, VotePositional
from yoyak.scoring.rouge import rouge

BATCH = 500
"""Dialogues that are combined at once: bounds the memory, whatever the file."""
FILE = "combiner.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Combiner:
    """A strategy with all that it learned: what is needed to combine the candidates of its members."""

    strategy: OfCandidates
    granularity: str
    weights: Mapping[str, float]
    """By member, in the members' order; they sum to one."""
    model: stack.Reranker | None = None
    """The fitted reranker of `stack`."""

    @property
    def pass_through(self) -> bool:
        """Whether there is one member only, whose own answer is taken."""
        return len(self.weights) == 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """A combiner and what it makes of the rows that it was fitted on."""

    combiner: Combiner
    outcomes: list[Outcome]
    """Of what is fitted, each made by a fit that did not see the row (cross-fitting): fit to be scored."""


def fit(
    strategy: OfCandidates,
    members: Sequence[str],
    rows: Sequence[Row],
    references: Sequence[Sequence[str]],
    *,
    granularity: str,
    seed: int,
) -> Fitted:
    """Make a strategy ready on dev: find its weights, fit its reranker."""
    if len(members) == 1:
        found = _combiner(strategy, granularity, {members[0]: 1.0})
        return Fitted(combiner=found, outcomes=combine(found, rows))
    if isinstance(strategy, Stack):
        ready, outcomes_of = _stack(strategy, members, rows, references, granularity)
    else:
        ready, outcomes_of = _voters(strategy, members, rows, references, granularity, seed)
    every = range(len(rows))
    combiner = ready(every)
    if not (isinstance(strategy, Stack) or strategy.weights == "fit"):
        return Fitted(combiner=combiner, outcomes=outcomes_of(combiner, every))
    folds = stack.fold_of([row.dialogue for row in rows], getattr(strategy, "folds", 5))
    outcomes: dict[int, Outcome] = {}
    for fold in range(folds.max() + 1):
        inside, outside = np.flatnonzero(folds == fold).tolist(), np.flatnonzero(folds != fold).tolist()
        outcomes |= dict(zip(inside, outcomes_of(ready(outside), inside), strict=True))
    return Fitted(combiner=combiner, outcomes=[outcomes[place] for place in every])


Ready = Callable[[Sequence[int]], Combiner]
"""A strategy made ready on some of the rows."""
OutcomesOf = Callable[[Combiner, Sequence[int]], list[Outcome]]
"""What a combiner makes of some of the rows."""


def _stack(
    strategy: Stack,
    members: Sequence[str],
    rows: Sequence[Row],
    references: Sequence[Sequence[str]],
    granularity: str,
) -> tuple[Ready, OutcomesOf]:
    """What a candidate is described by depends on its row alone, so that all are described and scored once."""
    described = stack.describe(rows, members, granularity)
    texts = [rows[row].candidates[member][rank].text for row, member, rank in described.origins]
    scores = _scores(texts, [references[row] for row, _, _ in described.origins], granularity)

    def ready(places: Sequence[int]) -> Combiner:
        part, kept = stack.part(described, places)
        return _combiner(strategy, granularity, weights.equal(members), stack.fit(part, scores[kept]))

    def outcomes_of(combiner: Combiner, places: Sequence[int]) -> list[Outcome]:
        assert combiner.model is not None
        return stack.choose([rows[place] for place in places], stack.part(described, places)[0], combiner.model)

    return ready, outcomes_of


def _voters(
    strategy: Any,
    members: Sequence[str],
    rows: Sequence[Row],
    references: Sequence[Sequence[str]],
    granularity: str,
    seed: int,
) -> tuple[Ready, OutcomesOf]:
    """Strategies whose members have weights."""
    scores = {}
    if strategy.weights in ("dev", "fit"):
        scores = {m: _scores([row.best(m) for row in rows], references, granularity) for m in members}

    def outcomes_of(combiner: Combiner, places: Sequence[int]) -> list[Outcome]:
        return combine(combiner, [rows[place] for place in places])

    def ready(places: Sequence[int]) -> Combiner:
        if isinstance(strategy.weights, dict):
            given: Mapping[str, float] = strategy.weights
            kept = {name: value for name, value in given.items() if name in members}
            heard = any(given.get(name, 0) for name in strategy.members or given)
            if heard and len(kept) == len(members) and not any(kept.values()):
                # Without the ones who have all the weight, nobody counts more than the others.
                return _combiner(strategy, granularity, weights.equal(members))
            return _combiner(strategy, granularity, weights.normalised(kept, members))
        if strategy.weights == "equal":
            return _combiner(strategy, granularity, weights.equal(members))
        means = {member: float(values[list(places)].mean()) for member, values in scores.items()}
        if strategy.weights == "dev":
            return _combiner(strategy, granularity, weights.by_score(means))
        targets = [references[place] for place in places]

        def measure(tried: Mapping[str, float]) -> float:
            found = outcomes_of(_combiner(strategy, granularity, tried), places)
            return float(_scores([outcome.text for outcome in found], targets, granularity).mean())

        return _combiner(strategy, granularity, weights.fitted(means, measure, seed))

    return ready, outcomes_of


def _combiner(
    strategy: OfCandidates, granularity: str, found: Mapping[str, float], model: stack.Reranker | None = None
) -> Combiner:
    return Combiner(strategy=strategy, granularity=granularity, weights=found, model=model)


def _scores(texts: Sequence[str], references: Sequence[Sequence[str]], granularity: str) -> np.ndarray:
    return rouge(texts, references, granularity=granularity, multi_reference="mean", weights=stack.SHARES)["combined"]


def combine(combiner: Combiner, rows: Sequence[Row]) -> list[Outcome]:
    """Return one summary of each row."""
    strategy, granularity = combiner.strategy, combiner.granularity
    if combiner.pass_through:
        member = next(iter(combiner.weights))
        return [Outcome(text=row.best(member), score=1.0, member=member) for row in rows]
    if combiner.model is not None:
        return stack.choose(rows, stack.describe(rows, list(combiner.weights), granularity), combiner.model)
    if isinstance(strategy, Stack):
        raise ValueError("a reranker has to be fitted before it can choose")
    if isinstance(strategy, Mbr):
        return mbr(rows, combiner.weights, granularity, strategy)
    return vote(rows, combiner.weights, granularity, positional=isinstance(strategy, VotePositional))


def combine_all(
    combiner: Combiner, rows: Iterable[Row], *, processes: int = 1, total: int | None = None
) -> Iterator[Outcome]:
    """Yield one summary of each row, batch by batch, with a progress bar; memory does not grow with the rows."""
    for (outcome,) in combine_each([combiner], rows, processes=processes, total=total):
        yield outcome


def combine_each(
    combiners: Sequence[Combiner], rows: Iterable[Row], *, processes: int = 1, total: int | None = None
) -> Iterator[tuple[Outcome, ...]]:
    """Yield what each of some combiners makes of a row; rows are read once and the processes shared."""
    stream = iter(rows)
    batches = iter(lambda: list(islice(stream, BATCH)), [])
    bar = tqdm(total=total, desc=combiners[0].strategy.type, unit="dialogue", delay=3, leave=False)
    with bar:
        for outcomes in _spread(combiners, batches, processes):
            bar.update(len(outcomes))
            yield from outcomes


Outcomes = list[tuple[Outcome, ...]]
"""By row, then by combiner."""


def _combine_each(combiners: Sequence[Combiner], rows: Sequence[Row]) -> Outcomes:
    return list(zip(*(combine(combiner, rows) for combiner in combiners), strict=True))


def _spread(combiners: Sequence[Combiner], batches: Iterator[list[Row]], processes: int) -> Iterator[Outcomes]:
    if processes == 1:
        yield from (_combine_each(combiners, batch) for batch in batches)
        return
    # A forked child would inherit locks that Kiwi's and torch's threads hold.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context) as pool:
        waiting: deque[Future[Outcomes]] = deque()
        for batch in batches:
            waiting.append(pool.submit(_combine_each, combiners, batch))
            if len(waiting) > 2 * processes:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _number(value: Any) -> float:
    if not np.isfinite(found := float(value)):
        raise ValueError(f"{value} is no number")
    return found


def save(combiner: Combiner, folder: Path) -> None:
    """Write a combiner as JSON: its weights, and the reranker's coefficients by feature."""
    value: dict[str, Any] = {
        "strategy": combiner.strategy.model_dump(),
        "granularity": combiner.granularity,
        "weights": dict(combiner.weights),
    }
    if combiner.model is not None:
        names = (*stack.FEATURES, *(f"member {member}" for member in combiner.weights))
        coefficients = dict(zip(names, combiner.model.coefficients, strict=True))
        value["reranker"] = {"intercept": combiner.model.intercept, "coefficients": coefficients}
    write_json(folder / FILE, value)


def load(folder: Path) -> Combiner:
    """Read what `save` wrote; UserError where it is damaged."""
    try:
        value = json.loads((folder / FILE).read_text(encoding="utf-8"))
        strategy: OfCandidates = TypeAdapter(OfCandidates).validate_python(value["strategy"])
        shares = {str(member): _number(weight) for member, weight in value["weights"].items()}
        model = None
        if isinstance(strategy, Stack) and len(shares) > 1:
            names = (*stack.FEATURES, *(f"member {member}" for member in shares))
            found = value["reranker"]["coefficients"]
            model = stack.Reranker(
                _number(value["reranker"]["intercept"]), tuple(_number(found[name]) for name in names)
            )
        if not any(shares.values()) or min(shares.values()) < 0:
            raise ValueError("no member has a weight")
        granularity = TypeAdapter(Granularity).validate_python(value["granularity"])
        return _combiner(strategy, granularity, shares, model)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{folder / FILE} is damaged ({type(error).__name__}): `dvc repro` makes it anew.") from error
