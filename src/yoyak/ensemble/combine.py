"""A fitted strategy: `combine` returns one summary per row, `save` and `load` store it as JSON.

`fitting.fit` fits one on dev.
"""

from __future__ import annotations

import json
import math
import multiprocessing
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter
from tqdm import tqdm

from yoyak.ensemble import rankers, stack
from yoyak.ensemble.features import describe, feature_names
from yoyak.ensemble.likelihood import choose_likeliest
from yoyak.ensemble.mbr import mbr
from yoyak.ensemble.pool import Outcome, Row
from yoyak.ensemble.vote import vote
from yoyak.errors import UserError
from yoyak.files import write_json
from yoyak.params.base import Granularity
from yoyak.params.ensemble import Auto, Likelihood, Mbr, OfCandidates, Ranker, Stack, VotePositional

BATCH = 500
"""Number of dialogues per batch, which bounds the memory for any file."""
FILE = "combiner.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Combiner:
    """A fitted strategy: everything needed to combine its members' candidates."""

    strategy: OfCandidates
    granularity: str
    weights: Mapping[str, float]
    """By member, in the members' order; they sum to one."""
    model: stack.Reranker | None = None
    """The fitted reranker of `stack`."""
    scorers: tuple[str, ...] = ()
    """The members that have to score all candidates first, in the members' order."""

    @property
    def pass_through(self) -> bool:
        """Whether there is a single member, whose summaries are passed through."""
        return len(self.weights) == 1


def combine(combiner: Combiner, rows: Sequence[Row]) -> list[Outcome]:
    """Return one summary per row."""
    strategy, granularity = combiner.strategy, combiner.granularity
    if combiner.pass_through:
        member = next(iter(combiner.weights))
        return [Outcome(text=row.best(member), score=1.0, member=member) for row in rows]
    if combiner.model is not None:
        members = list(combiner.weights)
        described = describe(rows if combiner.model.ranker else [], members, granularity, combiner.scorers)
        return stack.choose(rows, described, combiner.model, combiner.weights, granularity)
    if isinstance(strategy, Stack | Auto):
        raise ValueError(f"{strategy.type} must be fitted before it can choose")
    if isinstance(strategy, Likelihood):
        return choose_likeliest(rows, combiner.weights, strategy.length_penalty)
    if isinstance(strategy, Mbr):
        return mbr(rows, combiner.weights, granularity, strategy)
    return vote(rows, combiner.weights, granularity, positional=isinstance(strategy, VotePositional))


def combine_all(
    combiner: Combiner, rows: Iterable[Row], *, processes: int = 1, total: int | None = None
) -> Iterator[Outcome]:
    """Yield one summary per row, batch by batch, with a progress bar; memory does not grow with the rows."""
    for (outcome,) in combine_each([combiner], rows, processes=processes, total=total):
        yield outcome


def combine_each(
    combiners: Sequence[Combiner], rows: Iterable[Row], *, processes: int = 1, total: int | None = None
) -> Iterator[tuple[Outcome, ...]]:
    """Yield the outcomes of several combiners for each row; rows are read only once and processes are shared."""
    stream = iter(rows)
    batches = iter(lambda: list(islice(stream, BATCH)), [])
    bar = tqdm(total=total, desc=combiners[0].strategy.type, unit="dialogue", delay=3, leave=False)
    with bar:
        for outcomes in _run_batches(combiners, batches, processes):
            bar.update(len(outcomes))
            yield from outcomes


Outcomes = list[tuple[Outcome, ...]]
"""By row, then by combiner."""


def _combine_batch(combiners: Sequence[Combiner], rows: Sequence[Row]) -> Outcomes:
    return list(zip(*(combine(combiner, rows) for combiner in combiners), strict=True))


def _run_batches(combiners: Sequence[Combiner], batches: Iterator[list[Row]], processes: int) -> Iterator[Outcomes]:
    if processes == 1:
        yield from (_combine_batch(combiners, batch) for batch in batches)
        return
    # A forked child would inherit locks held by threads of Kiwi and torch.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context) as pool:
        pending: deque[Future[Outcomes]] = deque()
        for batch in batches:
            pending.append(pool.submit(_combine_batch, combiners, batch))
            if len(pending) > 2 * processes:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def save(combiner: Combiner, folder: Path) -> None:
    """Write a combiner as JSON: its weights, and its reranker."""
    value: dict[str, Any] = {
        "strategy": combiner.strategy.model_dump(),
        "granularity": combiner.granularity,
        "weights": dict(combiner.weights),
    }
    if combiner.scorers:
        value["scorers"] = list(combiner.scorers)
    if combiner.model is not None:
        names = feature_names(list(combiner.weights), combiner.scorers)
        value["reranker"] = {
            "member": combiner.model.member,
            "lowest_score": combiner.model.lowest_score,
        }
        if combiner.model.ranker is not None:
            value["reranker"] |= {
                "kind": combiner.model.kind,
                "margin": combiner.model.margin,
                **rankers.to_json(combiner.model.ranker, names),
            }
    write_json(folder / FILE, value)


def load(folder: Path) -> Combiner:
    """Read a combiner. Raises UserError if the file is missing or damaged."""
    path = folder / FILE
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        strategy: OfCandidates = TypeAdapter(OfCandidates).validate_python(value["strategy"])
        weights = {str(member): _parse_finite(weight) for member, weight in value["weights"].items()}
        scorers = tuple(str(member) for member in value.get("scorers", ()))
        if not {*scorers} <= weights.keys():
            raise ValueError("a scorer is not a member")
        model = None
        if isinstance(strategy, Stack) and len(weights) > 1:
            saved = value["reranker"]
            if saved["member"] not in weights:
                raise ValueError("the best member is not a member")
            lowest = saved["lowest_score"]
            model = stack.Reranker(
                member=saved["member"], lowest_score=None if lowest is None else _parse_finite(lowest)
            )
            if "kind" in saved:
                model = replace(
                    model,
                    kind=TypeAdapter(Ranker).validate_python(saved["kind"]),
                    ranker=rankers.from_json(saved, feature_names(list(weights), scorers)),
                    margin=_parse_finite(saved["margin"]),
                )
        if not any(weights.values()) or min(weights.values()) < 0:
            raise ValueError("no member has a positive weight")
        granularity = TypeAdapter(Granularity).validate_python(value["granularity"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path} is damaged ({type(error).__name__}): `dvc repro` recreates it.") from error
    return Combiner(strategy=strategy, granularity=granularity, weights=weights, model=model, scorers=scorers)


def _parse_finite(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{value} is not a finite number")
    return number
