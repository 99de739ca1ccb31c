"""The evaluation of every system on every split: members, ensembles, extractive baselines and the extractive oracle.

`evaluate_systems` scores, `write_evaluation` writes ``summary.json`` and ``dialogues.csv``, `metrics` gives the few
numbers that ``dvc metrics show`` prints. All of it is arithmetic on texts: no model, no GPU, no network.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import combinations
from typing import Any

import numpy as np

from yoyak.data.records import Dialogue
from yoyak.errors import UserError, nearest
from yoyak.files import atomic_path, write_json
from yoyak.params import Scoring
from yoyak.scoring.baselines import BASELINES, baseline, oracle, turns
from yoyak.scoring.bootstrap import comparisons, intervals
from yoyak.scoring.rouge import METRICS, PROTOCOLS, reference_scores

Predictions = Mapping[str, Mapping[str, Mapping[str, str]]]

DEV = "dev"
ALL = "all"
ORACLE = "oracle"
COMPARED = ("combined", "rouge1")
PAIRED = 9
"""Of so many members every two are compared; of more, each with the best one."""
COLUMNS = ("split", "fname", "slice", "topic", "turns", "dialogue_chars", "system", *METRICS)
DIGITS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """What `write_evaluation` writes."""

    summary: dict[str, Any]
    """Content of summary.json: primary, systems, splits, scores, comparisons, and what is best on dev."""
    dialogues: list[tuple[Any, ...]]
    """Rows of dialogues.csv by `COLUMNS`: each dialogue with each system, primary granularity and protocol."""
    primary: dict[str, np.ndarray] = field(compare=False)
    """By system: the score that models are chosen by, of each dialogue of all splits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A split, or a slice of one."""

    split: str
    slice: str
    places: np.ndarray
    """Where its dialogues are among those of all splits."""


def evaluate_systems(
    splits: Mapping[str, Sequence[Dialogue]],
    predictions: Predictions,
    scoring: Scoring,
    seed: int,
    ensembles: Predictions | None = None,
) -> Evaluation:
    """Score members (``predictions[member][split][fname]``), ensembles, baselines and oracle on every split and slice.

    The best of each kind is that of the dev set by the primary score: combined ROUGE at the first granularity by
    ``scoring.multi_reference``. Comparisons are paired: every two members (the better one on dev first; of more than
    `PAIRED` the best one with each), every member against the best baseline of the part and the best on dev, and
    every ensemble against the best member.

    Raises UserError for a split without dialogues, a dialogue without reference or prediction, a name that two
    systems share, a missing dev split.
    """
    ensembles = ensembles or {}
    if not scoring.granularities:
        raise UserError("scoring.granularities is empty: name at least one, the first is what models are chosen by.")
    _check(splits, predictions, ensembles)
    rows = [row for split in splits.values() for row in split]
    parts = list(parts_of(splits))
    texts = _texts(splits, {**predictions, **ensembles}, scoring)
    table = _table(texts, [row.summaries for row in rows], scoring)
    primary = table[0, PROTOCOLS.index(scoring.multi_reference)]
    rank = _ranking(primary, parts, list(texts))
    kinds = dict.fromkeys(predictions, "member") | dict.fromkeys(ensembles, "ensemble")
    kinds |= dict.fromkeys(BASELINES, "baseline") | {ORACLE: "oracle"}
    best = {kind: next((name for name in rank if kinds[name] == kind), None) for kind in set(kinds.values())}
    options = {"samples": scoring.bootstrap_samples, "confidence": scoring.confidence, "seed": seed}
    counts: dict[str, dict[str, int]] = {name: {} for name in splits}
    for part in parts:
        counts[part.split][part.slice] = len(part.places)
    summary = {
        "primary": {
            "granularity": scoring.granularities[0],
            "multi_reference": scoring.multi_reference,
            "metric": "combined",
        },
        "confidence": scoring.confidence,
        "bootstrap_samples": scoring.bootstrap_samples,
        "systems": [{"name": name, "kind": kinds[name]} for name in texts],
        "splits": counts,
        "scores": [row for part in parts for row in _score_rows(table, part, list(texts), scoring, options)],
        "comparisons": [row for part in parts for row in _comparison_rows(primary, part, kinds, rank, options)],
        "best_member": best["member"],
        "best_ensemble": best.get("ensemble"),
        "best_baseline": best["baseline"],
    }
    return Evaluation(
        summary=summary,
        dialogues=list(_dialogue_rows(splits, primary, list(texts))),
        primary=dict(zip(texts, primary[METRICS.index("combined")], strict=True)),
    )


def write_evaluation(evaluation: Evaluation, folder: str | os.PathLike[str], analysis: Mapping[str, Any]) -> None:
    """Write summary.json, dialogues.csv and ensembles.json into ``folder``, which is replaced as a whole."""
    with atomic_path(folder) as work:
        work.mkdir()
        write_json(work / "summary.json", evaluation.summary)
        write_json(work / "ensembles.json", analysis)
        with (work / "dialogues.csv").open("w", encoding="utf-8", newline="") as out:
            writer = csv.writer(out, lineterminator="\n")
            writer.writerow(COLUMNS)
            writer.writerows(evaluation.dialogues)


def metrics(evaluation: Evaluation) -> dict[str, dict[str, dict[str, float]]]:
    """Return {system: {split: {metric: mean}}} of members, ensembles and ``best_baseline``, by the primary score."""
    summary = evaluation.summary
    names = {row["name"]: row["name"] for row in summary["systems"] if row["kind"] in ("member", "ensemble")}
    names[summary["best_baseline"]] = "best_baseline"
    keys = ("granularity", "multi_reference")
    found: dict[str, dict[str, dict[str, float]]] = {name: {} for name in names.values()}
    for row in summary["scores"]:
        wanted = row["slice"] == ALL and all(row[key] == summary["primary"][key] for key in keys)
        if wanted and row["system"] in names:
            found[names[row["system"]]].setdefault(row["split"], {})[row["metric"]] = row["mean"]
    return found


def _check(splits: Mapping[str, Sequence[Dialogue]], members: Predictions, ensembles: Predictions) -> None:
    if not members:
        raise UserError("There is no member to evaluate: name at least one with predictions.")
    if DEV not in splits:
        raise UserError(f"The evaluation needs a split named '{DEV}', on which the best member is chosen.")
    for split, rows in splits.items():
        if not rows:
            raise UserError(f"Split '{split}' holds no dialogue to score.")
        for row in rows:
            if not row.summaries:
                raise UserError(f"Dialogue '{row.fname}' of split '{split}' has no reference summary to score by.")
            if row.slice == ALL:
                raise UserError(f"Dialogue '{row.fname}' of split '{split}': a slice may not be named '{ALL}'.")
    for kind, systems in (("Member", members), ("Ensemble", ensembles)):
        for name, parts in systems.items():
            if name in (*BASELINES, ORACLE, "best_baseline"):
                raise UserError(f"{kind} '{name}' needs another name: the evaluation has that one for a baseline.")
            if kind == "Ensemble" and name in members:
                raise UserError(f"Ensemble '{name}' needs another name: a member has that one.")
            for split, rows in splits.items():
                if split not in parts:
                    raise UserError(f"{kind} '{name}' has no predictions for split '{split}'{nearest(split, parts)}.")
                missing = next((row.fname for row in rows if row.fname not in parts[split]), None)
                if missing is not None:
                    raise UserError(f"{kind} '{name}' has no prediction for dialogue '{missing}' of split '{split}'.")


def parts_of(splits: Mapping[str, Sequence[Dialogue]]) -> Iterator[Part]:
    """Yield every split whole (slice `ALL`) and each of its slices."""
    start = 0
    for split, rows in splits.items():
        yield Part(split=split, slice=ALL, places=np.arange(start, start + len(rows)))
        for name in sorted({row.slice for row in rows} - {""}):
            places = [start + place for place, row in enumerate(rows) if row.slice == name]
            yield Part(split=split, slice=name, places=np.array(places))
        start += len(rows)


def _texts(
    splits: Mapping[str, Sequence[Dialogue]], predictions: Predictions, scoring: Scoring
) -> dict[str, list[str]]:
    """Return every system's summaries of the dialogues of all splits: those given, baselines, oracle."""
    rows = [row for split in splits.values() for row in split]
    texts = {
        name: [parts[split][row.fname] for split, rows in splits.items() for row in rows]
        for name, parts in predictions.items()
    }
    for name in BASELINES:
        texts[name] = [baseline(name, row.dialogue) for row in rows]
    texts[ORACLE] = oracle(
        [row.dialogue for row in rows],
        [row.summaries for row in rows],
        granularity=scoring.granularities[0],
        multi_reference=scoring.multi_reference,
        weights=scoring.weights,
    )
    return texts


def _table(texts: Mapping[str, list[str]], references: list[tuple[str, ...]], scoring: Scoring) -> np.ndarray:
    """Return F1 as [granularity, protocol, metric, system, dialogue]."""
    table = np.empty((len(scoring.granularities), len(PROTOCOLS), len(METRICS), len(texts), len(references)))
    # One dialogue's summaries side by side, each once: its references are then still at hand, n-grams counted.
    pairs = [(place, text) for place, found in enumerate(zip(*texts.values(), strict=True)) for text in found]
    different = {pair: number for number, pair in enumerate(dict.fromkeys(pairs))}
    back = [different[pair] for pair in pairs]
    for place, granularity in enumerate(scoring.granularities):
        scores = reference_scores(
            [text for _, text in different],
            [references[dialogue] for dialogue, _ in different],
            granularity=granularity,
            weights=scoring.weights,
            processes=scoring.processes,
        )
        for row, protocol in enumerate(PROTOCOLS):
            values = scores.reduce(protocol)[back].reshape(len(references), len(texts), len(METRICS))
            table[place, row] = values.transpose(2, 1, 0)
    return table


def _ranking(primary: np.ndarray, parts: list[Part], systems: list[str]) -> list[str]:
    """Return the systems from the best on dev by the combined score to the worst; ties keep their order."""
    dev = next(part for part in parts if part.split == DEV and part.slice == ALL)
    means = primary[METRICS.index("combined")][:, dev.places].mean(axis=1)
    return [systems[place] for place in np.argsort(-means, kind="stable")]


def _score_rows(
    table: np.ndarray, part: Part, systems: list[str], scoring: Scoring, options: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    values = np.moveaxis(table[..., part.places], 3, 0)
    shape, count = values.shape[:-1], values.shape[-1]
    found = intervals(values.reshape(-1, count), **options)
    for (system, granularity, protocol, metric), interval in zip(np.ndindex(shape), found, strict=True):
        yield {
            "system": systems[system],
            "split": part.split,
            "slice": part.slice,
            "granularity": scoring.granularities[granularity],
            "multi_reference": PROTOCOLS[protocol],
            "metric": METRICS[metric],
            **rounded(asdict(interval)),
            "n": count,
        }


def _comparison_rows(
    primary: np.ndarray, part: Part, kinds: Mapping[str, str], rank: list[str], options: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    values = {name: primary[:, place][:, part.places] for place, name in enumerate(kinds)}
    members = [name for name in rank if kinds[name] == "member"]
    combined = METRICS.index("combined")
    on_dev = next(name for name in rank if name in BASELINES)
    here = max(BASELINES, key=lambda name: values[name][combined].mean())
    pairs = [
        *(pair for pair in combinations(members, 2) if len(members) <= PAIRED or members[0] in pair),
        *((name, members[0]) for name in rank if kinds[name] == "ensemble"),
        *((member, other) for member in members for other in dict.fromkeys([here, on_dev])),
    ]
    rows = [(system, against, metric) for system, against in pairs for metric in COMPARED]
    differences = [
        values[system][METRICS.index(metric)] - values[against][METRICS.index(metric)]
        for system, against, metric in rows
    ]
    found = comparisons(differences, **options)
    for (system, against, metric), comparison in zip(rows, found, strict=True):
        yield {
            "system": system,
            "against": against,
            "split": part.split,
            "slice": part.slice,
            "metric": metric,
            **rounded(asdict(comparison)),
        }


def _dialogue_rows(
    splits: Mapping[str, Sequence[Dialogue]], primary: np.ndarray, systems: list[str]
) -> Iterator[tuple[Any, ...]]:
    rows = [(split, row) for split, rows in splits.items() for row in rows]
    for place, (split, row) in enumerate(rows):
        about = (split, row.fname, row.slice, row.topic, len(turns(row.dialogue)), len(row.dialogue))
        for number, system in enumerate(systems):
            yield (*about, system, *(round(float(value), DIGITS) for value in primary[:, number, place]))


def rounded(values: dict[str, Any]) -> dict[str, Any]:
    """Round so that files do not differ between machines whose arithmetic differs in the last bit."""
    return {key: round(value, DIGITS) if isinstance(value, float) else value for key, value in values.items()}
