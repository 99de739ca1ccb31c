"""An ensemble of any models over any file: what `yoyak ensemble --models … --input …` does.

It writes ensemble_output_<time>.csv, individual_model_<i>_<time>.csv and ensemble_metadata_<time>.json.
"""

from __future__ import annotations

import csv
import hashlib
import shutil
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from yoyak import lineage
from yoyak.data.records import Dialogue, write_jsonl
from yoyak.ensemble import weights as weighing
from yoyak.ensemble.combine import Combiner, combine_all
from yoyak.ensemble.members import ROWS, Job, Result, candidates_file, run_jobs
from yoyak.ensemble.pool import read_rows
from yoyak.ensemble.sources import Source, find_sources
from yoyak.ensemble.splits import about_combiner
from yoyak.errors import UserError
from yoyak.files import atomic_path, write_json
from yoyak.params import Generation, Scoring
from yoyak.params_ensemble import OfCandidates

PARTIAL = ".partial"
"""Where the models' candidates are until all is done."""
ENSEMBLE = "ensemble"
"""What the combined summaries are called among the scores."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How the models are combined."""

    strategy: OfCandidates
    granularity: str
    generation: Generation
    scoring: Scoring
    min_members: int
    parallel: bool
    weights: Sequence[float] | None
    """In the order of the models; None takes what the strategy says."""
    seed: int
    learned: Combiner | None = None
    """What the pipeline fitted, for a strategy that is fitted on dev."""


def combine_models(uris: Sequence[str], rows: Sequence[Dialogue], source: str, out: Path, options: Options) -> Path:
    """Summarize ``rows`` with every model and combine them; return the file with the ensemble's summaries.

    Models that are missing or broken are named on stderr, listed in the metadata and left out. Raises UserError where
    fewer are left than ``min_members``.
    """
    _check_weights(options, uris)
    out.mkdir(parents=True, exist_ok=True)
    work = out / PARTIAL
    work.mkdir(exist_ok=True)
    write_jsonl(work / ROWS, rows)
    sources, results, errors = _predict(uris, work, options)
    members = [name for name in sources if name in results]
    _check_enough(members, errors, options)
    combiner = _combiner(members, sources, uris, options)
    files = {member: candidates_file(work, results[member].job) for member in members}
    started = time.perf_counter()
    outcomes = list(combine_all(combiner, read_rows(work / ROWS, files), total=len(rows)))
    seconds = time.perf_counter() - started
    texts = {name: [row.best(name) for row in read_rows(work / ROWS, {name: files[name]})] for name in members}
    stamp = datetime.now().strftime("%Y%m%d_%H%M%S")
    individual = {name: out / f"individual_model_{number}_{stamp}.csv" for number, name in enumerate(members, 1)}
    for name, path in individual.items():
        _write(path, rows, texts[name])
    final = out / f"ensemble_output_{stamp}.csv"
    together = [outcome.text for outcome in outcomes]
    _write(final, rows, together)
    models = [
        {
            "member": name,
            "uri": sources[name].uri,
            **sources[name].about,
            "md5": lineage.digest(sources[name].folder),
            "file": individual[name].name,
            "chosen": sum(outcome.member == name for outcome in outcomes),
            **results[name].facts,
        }
        for name in members
    ]
    metadata = {
        "created": datetime.now().astimezone().isoformat(timespec="seconds"),
        "input": {"file": source, "dialogues": len(rows), "md5": lineage.digest(work / ROWS)},
        "output": final.name,
        **about_combiner(combiner),
        "strategy": options.strategy.model_dump(),
        "generation": options.generation.model_dump(),
        "models": models,
        "errors": [{"model": name, "error": sentence} for name, sentence in errors.items()],
        "scores": scores(rows, {ENSEMBLE: together, **texts}, options),
        "seconds": {**{name: results[name].facts.get("seconds") for name in members}, "combining": round(seconds, 2)},
        "versions": lineage.versions(),
    }
    write_json(out / f"ensemble_metadata_{stamp}.json", metadata)
    shutil.rmtree(work)
    return final


def _predict(
    uris: Sequence[str], work: Path, options: Options
) -> tuple[dict[str, Source], dict[str, Result], dict[str, str]]:
    """Return the models by label, what those that can be used have written, and why the others cannot."""
    sources: dict[str, Source] = {}
    results: dict[str, Result] = {}
    errors: dict[str, str] = {}
    for uri, found in find_sources(uris):
        if isinstance(found, Source):
            sources[_label(found, sources)] = found
        else:
            _skip(errors, uri, found)
    salt = lineage.digest(work / ROWS) + options.generation.model_dump_json()
    jobs = [
        Job(name=name, folder=found.folder, key=_md5(salt + lineage.digest(found.folder)))
        for name, found in sources.items()
    ]
    for result in run_jobs(jobs, work, options.generation, workers=len(jobs) if options.parallel else 1):
        if result.error:
            _skip(errors, result.job.name, result.error)
        else:
            results[result.job.name] = result
    return sources, results, errors


def scores(rows: Sequence[Dialogue], texts: Mapping[str, Sequence[str]], options: Options) -> dict[str, Any]:
    """Return ROUGE with intervals, and the gain over the best single model, on the rows that have references."""
    places = [place for place, row in enumerate(rows) if row.summaries]
    if not places:
        return {}
    from yoyak.scoring.bootstrap import intervals, paired
    from yoyak.scoring.rouge import METRICS, rouge

    settings = options.scoring
    draws: dict[str, Any] = {
        "samples": settings.bootstrap_samples,
        "confidence": settings.confidence,
        "seed": options.seed,
    }
    references = [rows[place].summaries for place in places]
    found = {
        name: rouge(
            [written[place] for place in places],
            references,
            granularity=options.granularity,
            multi_reference=settings.multi_reference,
            weights=settings.weights,
        )
        for name, written in texts.items()
    }
    table = {
        name: {
            metric: {"mean": round(one.mean, 6), "low": round(one.low, 6), "high": round(one.high, 6)}
            for metric in METRICS
            for one in intervals(values[metric][None], **draws)
        }
        for name, values in found.items()
    }
    best = max((name for name in texts if name != ENSEMBLE), key=lambda name: table[name]["combined"]["mean"])
    gain = paired(found[ENSEMBLE]["combined"], found[best]["combined"], **draws)
    return {
        "dialogues": len(places),
        "granularity": options.granularity,
        "multi_reference": settings.multi_reference,
        "systems": table,
        "gain": {
            "over": best,
            "combined": round(gain.difference, 6),
            "low": round(gain.low, 6),
            "high": round(gain.high, 6),
            "p_value": round(gain.p_value, 6),
        },
    }


def _label(source: Source, taken: Iterable[str]) -> str:
    """Return the source's label, with a number where another one has it."""
    label, number, known = source.label, 1, set(taken)
    while label in known:
        number += 1
        label = f"{source.label} ({number})"
    return label


def _skip(errors: dict[str, str], name: str, sentence: str) -> None:
    errors[name] = sentence
    print(f"left out {name}: {sentence}", file=sys.stderr)


def _check_weights(options: Options, uris: Sequence[str]) -> None:
    if options.weights is not None and len(options.weights) != len(uris):
        raise UserError(f"--weights has {len(options.weights)} numbers for {len(uris)} models: give one for each.")


def _check_enough(members: Sequence[str], errors: Mapping[str, str], options: Options) -> None:
    if not members:
        raise UserError(
            "none of the models can be used, see above; train some with `dvc repro` (or one with `yoyak train bart`), "
            "then name models:/yoyak-bart@champion or models/bart."
        )
    if len(members) < options.min_members:
        raise UserError(
            f"only {', '.join(members)} can be used and {options.min_members} are needed: put the others right, or "
            f"pass it through with --min-members {len(members)}."
        )


def _combiner(members: Sequence[str], sources: Mapping[str, Source], uris: Sequence[str], options: Options) -> Combiner:
    def combiner(found: Mapping[str, float]) -> Combiner:
        return Combiner(strategy=options.strategy, granularity=options.granularity, weights=found)

    if len(members) == 1:
        return combiner({members[0]: 1.0})
    if options.weights is not None:
        given = dict(zip(uris, options.weights, strict=True))
        return combiner(weighing.normalised({name: given[sources[name].uri] for name in members}, members))
    kind = getattr(options.strategy, "weights", None)
    if kind == "equal":
        return combiner(weighing.equal(members))
    if options.learned is not None:
        # What was fitted speaks of the pipeline's members: each model must be one of them.
        own = {name: str(sources[name].about.get("lineage", {}).get("member", name)) for name in members}
        if sorted(own.values()) == sorted(options.learned.weights):
            return _renamed(options.learned, {member: name for name, member in own.items()})
        raise UserError(
            f"{options.strategy.type} was fitted for {', '.join(options.learned.weights)}, not for "
            f"{', '.join(own.values())}: name those models, or take another strategy."
        )
    known = {name: sources[name].about.get("scores", {}).get("dev.combined") for name in members}
    unknown = [name for name, score in known.items() if score is None]
    if unknown or kind != "dev":
        reason = f"no dev score of {unknown[0]} is known" if unknown else "it has to be fitted on dev"
        raise UserError(
            f"{options.strategy.type}: {reason}; give --weights, one number for each model, or take mbr or vote."
        )
    return combiner(weighing.by_score({name: float(score) for name, score in known.items() if score is not None}))


def _renamed(combiner: Combiner, names: Mapping[str, str]) -> Combiner:
    found = {names[member]: weight for member, weight in combiner.weights.items()}
    return Combiner(strategy=combiner.strategy, granularity=combiner.granularity, weights=found, model=combiner.model)


def _write(path: Path, rows: Sequence[Dialogue], texts: Sequence[str]) -> None:
    with atomic_path(path) as work, work.open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(["fname", "summary"])
        writer.writerows((row.fname, text) for row, text in zip(rows, texts, strict=True))


def _md5(text: str) -> str:
    return hashlib.md5(text.encode()).hexdigest()
