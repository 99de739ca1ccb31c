"""An ensemble of any models over any file: what `yoyak combine MODEL… --input …` does.

It writes ensemble_output_<time>.csv, individual_model_<i>_<time>.csv and ensemble_metadata_<time>.json.
"""

from __future__ import annotations

import csv
import hashlib
import shutil
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from yoyak.data.records import Dialogue, write_jsonl
from yoyak.ensemble import weights as weighing
from yoyak.ensemble.combine import Combiner, combine_all
from yoyak.ensemble.info import describe_combiner
from yoyak.ensemble.members import ROWS, Job, Result, candidates_file, run_jobs
from yoyak.ensemble.pool import read_rows
from yoyak.ensemble.sources import Source, find_sources
from yoyak.errors import UserError
from yoyak.files import atomic_path, write_json
from yoyak.params import Generation, Scoring
from yoyak.params.ensemble import OfCandidates, Weighted
from yoyak.tracking import lineage

LOCK, PARTIAL = ".lock", ".partial"
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
    if options.weights is not None and len(options.weights) != len(uris):
        raise UserError(f"--weights has {len(options.weights)} numbers for {len(uris)} models: give one for each.")
    if out.exists() and not out.is_dir():
        raise UserError(f"--output {out} is a file: name a folder.")
    sources, errors = _find(uris)
    # What can be known before the models run is said before.
    _check_enough(list(sources), options)
    _combiner(list(sources), sources, options)
    out.mkdir(parents=True, exist_ok=True)
    with _alone(out):
        return _combine_sources(sources, errors, rows, source, out, options)


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    """Keep a second command out of the folder: both would write the same candidates."""
    lock = FileLock(out / LOCK, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise UserError(
            f"another `yoyak combine` is writing to {out}: wait for it, or name another --output."
        ) from None
    try:
        yield
    finally:
        lock.release()
        (out / LOCK).unlink(missing_ok=True)


def _combine_sources(
    sources: Mapping[str, Source],
    errors: dict[str, str],
    rows: Sequence[Dialogue],
    source: str,
    out: Path,
    options: Options,
) -> Path:
    work = out / PARTIAL
    work.mkdir(exist_ok=True)
    write_jsonl(work / ROWS, rows)
    results = _predict(sources, errors, work, options)
    members = [name for name in sources if name in results]
    _check_enough(members, options)
    combiner = _combiner(members, sources, options)
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
            "md5": sources[name].md5,
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
        **asdict(describe_combiner(combiner)),
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


def _find(uris: Sequence[str]) -> tuple[dict[str, Source], dict[str, str]]:
    """Return the models by label, and why others cannot be used."""
    sources: dict[str, Source] = {}
    errors: dict[str, str] = {}
    known: dict[str, str] = {}
    for place, (uri, found) in enumerate(find_sources(uris)):
        if isinstance(found, str):
            _skip(errors, uri, found)
            continue
        md5 = lineage.digest(found.folder)
        if md5 in known:
            _skip(errors, uri, f"it is the same model as {known[md5]}.")
            continue
        label = _label(found, sources)
        known[md5] = label
        sources[label] = replace(found, md5=md5, place=place)
    return sources, errors


def _predict(sources: Mapping[str, Source], errors: dict[str, str], work: Path, options: Options) -> dict[str, Result]:
    """Return what became of the models that have written; the others are named in ``errors``."""
    results: dict[str, Result] = {}
    salt = lineage.digest(work / ROWS) + options.generation.model_dump_json()
    jobs = [Job(name=name, folder=found.folder, key=_md5(salt + found.md5)) for name, found in sources.items()]
    for result in run_jobs(jobs, work, options.generation, workers=len(jobs) if options.parallel else 1):
        if result.error:
            _skip(errors, result.job.name, result.error)
        else:
            results[result.job.name] = result
    return results


def scores(rows: Sequence[Dialogue], texts: Mapping[str, Sequence[str]], options: Options) -> dict[str, Any]:
    """Return ROUGE with intervals, and the gain over the best single model, on the rows that have references."""
    places = [place for place, row in enumerate(rows) if row.summaries]
    if not places:
        return {}
    from yoyak.scoring.bootstrap import bootstrap_intervals, paired_bootstrap
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
            for one in bootstrap_intervals(values[metric][None], **draws)
        }
        for name, values in found.items()
    }
    best = max((name for name in texts if name != ENSEMBLE), key=lambda name: table[name]["combined"]["mean"])
    gain = paired_bootstrap(found[ENSEMBLE]["combined"], found[best]["combined"], **draws)
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


def _check_enough(members: Sequence[str], options: Options) -> None:
    if not members:
        raise UserError(
            "no model can be used; train some with `dvc repro` (or one with `yoyak train bart`), then name "
            "models:/yoyak-bart@champion or models/bart."
        )
    if len(members) < options.min_members:
        raise UserError(
            f"only {', '.join(members)} can be used and {options.min_members} are needed: put the others right, or "
            f"pass it through with --min-members {len(members)}."
        )


def _combiner(members: Sequence[str], sources: Mapping[str, Source], options: Options) -> Combiner:
    """Return the strategy with its weights, or the reranker that the pipeline fitted for these members."""
    kind = getattr(options.strategy, "weights", None)

    def combiner(found: Mapping[str, float]) -> Combiner:
        return Combiner(strategy=options.strategy, granularity=options.granularity, weights=found)

    if len(members) == 1:
        return combiner({members[0]: 1.0})
    if options.weights is not None:
        if kind is None:
            raise UserError(f"{options.strategy.type} has no weights: leave --weights out, or take another strategy.")
        return combiner(weighing.normalised({m: options.weights[sources[m].place] for m in members}, members))
    if kind == "equal":
        return combiner(weighing.equal(members))
    if kind == "dev":
        scores = {name: score for name in members if (score := sources[name].dev_score) is not None}
        if len(scores) == len(members):
            return combiner(weighing.by_score(scores))
    # What was fitted speaks of the pipeline's members: each model must be one of them.
    own = {name: sources[name].member for name in members}
    if options.learned is not None and sorted(own.values()) == sorted(options.learned.weights):
        return _renamed(options.learned, {member: name for name, member in own.items()})
    if kind is None:
        fitted = ", ".join(options.learned.weights) if options.learned is not None else "no members yet"
        raise UserError(
            f"{options.strategy.type} was fitted for {fitted}, not for {', '.join(own.values())}: name those models "
            "(`dvc repro` fits it), or take mbr or vote."
        )
    if isinstance(kind, dict):
        return combiner(weighing.normalised({name: kind[own[name]] for name in members if own[name] in kind}, members))
    unknown = [name for name in members if sources[name].dev_score is None]
    reason = f"no dev score of {unknown[0]} is known" if kind == "dev" else "its weights have to be fitted on dev"
    if isinstance(options.strategy, Weighted):
        raise UserError(f"{options.strategy.type}: {reason}; give --weights, one number for each model, or take vote.")
    return combiner(weighing.equal(members))


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
