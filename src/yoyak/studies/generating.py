"""Studies of how trained members write: generation's values, and how an ensemble combines what they wrote.

Members are loaded once and never trained. Each decoding setting is decoded once, whichever worker comes first; trials
that differ only in how candidates are combined read those from disk.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from yoyak import project
from yoyak.errors import UserError, nearest
from yoyak.files import atomic_path, read_result, write_json
from yoyak.params import Params
from yoyak.params.ensemble import KeptTrials
from yoyak.params.generation import Generation
from yoyak.params.studies import GenerationStudy, check_strategy
from yoyak.params.study_files import apply_values
from yoyak.studies import files, records, scoring
from yoyak.studies.kinds import Kind, RunningTrial, StoppedError
from yoyak.studies.outcome import Summary
from yoyak.studies.training import MODEL

if TYPE_CHECKING:
    from yoyak.data.records import Dialogue
    from yoyak.decoding.candidates import Candidate
    from yoyak.decoding.summarizer import Summarizer
    from yoyak.ensemble.combine import Combiner

TIMING = "timing.json"
DECODING, COMBINING = "generation.", "ensemble."
CANDIDATES = "generation.num_return_sequences"
KEPT_PASSES = 8
"""Decoding passes that a worker keeps in memory."""


class GenerationKind(Kind):
    """Trials differ in how dev is summarized."""

    schema = GenerationStudy
    measures = ("combined", "latency")
    study: GenerationStudy

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.rows: dict[str, list[Dialogue]] = {}
        self.summarizers: dict[str, Summarizer] = {}
        self.model_digests: dict[str, str] = {}
        self.split_digests: dict[str, str] = {}
        self.software = ""
        """What runs the models: the digest of the code, and the versions of libraries."""
        self._read = lru_cache(KEPT_PASSES)(self._read_pass)
        self.members = self.study.members or self._members_of_params()
        self.models = self._find_models(self.members)
        """The folder of each model, by the name that it has here."""

    def check(self) -> None:
        """Refuse models that have not been trained, and dimensions that decide something else."""
        super().check()
        known = [path.name for path in project.MODELS.glob("*") if path.is_dir()]
        for member, folder in self.models.items():
            if not folder.is_dir():
                raise UserError(
                    f"{self.folder}.yaml: {folder} is missing{nearest(member, known)}: `dvc repro train@{member}` "
                    f"trains it."
                    if isinstance(self.members, list)
                    else f"{folder} is missing: the study {self.members.study} was run on another machine."
                )
        if not project.DEV_SPLIT.is_file():
            raise UserError(f"{project.DEV_SPLIT} is missing: `dvc repro prepare` creates it.")
        settings = apply_values(self.tree, {}, "params.yaml")
        strategy, strategies = self.study.strategy, settings.ensemble.strategies
        if strategy is not None and strategy not in strategies:
            raise UserError(f"{self.folder}.yaml: strategy: there is no '{strategy}'{nearest(strategy, strategies)}.")
        if strategy is not None and strategies[strategy].needs_likelihoods:
            raise UserError(
                f"{self.folder}.yaml: strategy: {strategy} needs the models' likelihoods of each other's summaries, "
                "which a study does not compute: choose another."
            )
        allowed = (DECODING,) if strategy is None else (DECODING, f"{COMBINING}strategies.{strategy}.")
        for key in self.study.dimensions:
            if not key.startswith(allowed):
                raise UserError(
                    f"{self.folder}.yaml: dimensions.{key} does not change how {', '.join(self.models)} "
                    f"summarize: use keys of {' or '.join(allowed)}…"
                )

    def inputs(self) -> Sequence[Path]:
        """Return dev and the models."""
        return [project.DEV_SPLIT, *self.models.values()]

    def code(self) -> str:
        """Return a digest of the code that decodes, combines and scores."""
        from yoyak.tracking import lineage

        package = Path(__file__).parents[1]
        names = ("decoding", "ensemble", "korean", "models", "scoring")
        paths = (path.relative_to(package) for name in names for path in sorted((package / name).rglob("*.py")))
        return lineage.source_digest(package, paths)

    def base(self) -> Mapping[str, Any]:
        """Return what params.yaml says about generation, ensembles and scores."""
        return {key: self.tree[key] for key in ("generation", "ensemble", "scoring", "seed") if key in self.tree}

    def warning(self) -> str:
        """Return how the models were chosen, if a study did."""
        if isinstance(self.members, list):
            return ""
        summary = self._summary_of(self.members)
        return (
            f"Its models are the {self.members.top_k} best of the {sum(summary.states.values())} trials of "
            f"{self.members.study}, which were chosen on dev too."
        )

    def open(self) -> None:
        """Load the members and the rows."""
        from yoyak.decoding.loading import load_member
        from yoyak.tracking import lineage

        self.rows = scoring.read_splits()
        self.split_digests = {split: lineage.digest(project.split_file(split)) for split in self.rows}
        self.software = json.dumps([self.code(), lineage.versions()], sort_keys=True)
        for member, folder in self.models.items():
            self.model_digests[member] = lineage.digest(folder)
            self.summarizers[member] = load_member(folder)

    def settings(self, values: Mapping[str, Any]) -> Params:
        """Return the params of a trial."""
        return apply_values(self.tree, self.adopted(values), f"{self.folder}.yaml")

    def adopted(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the trial's values, with no more candidates than beams."""
        tree = apply_values(self.tree, {}, "params.yaml").generation
        beams = values.get("generation.num_beams", tree.num_beams)
        candidates = values.get(CANDIDATES, tree.num_return_sequences)
        return {**values, **({CANDIDATES: beams} if candidates > beams else {})}

    def run(self, trial: RunningTrial, values: Mapping[str, Any]) -> Mapping[str, float]:
        """Summarize dev as the values say, and score it."""
        settings = self.settings(values)
        rows = self.rows[project.DEV]
        if self.study.pruner.type == "wilcoxon" and len(self.models) == 1:
            scores, latency = self._score_in_batches(trial, settings, rows)
        else:
            passes = {member: self._decode(member, project.DEV, settings, trial) for member in self.models}
            latency = sum(seconds for _, seconds in passes.values()) / len(rows)
            texts = self._combine(settings, {member: found for member, (found, _) in passes.items()}, project.DEV)
            scores = scoring.score_dialogues(texts, rows, settings)
        return {"combined": sum(scores) / len(scores), "latency": 1000 * latency}

    def score(self, folder: Path, values: Mapping[str, Any]) -> Mapping[str, Sequence[float]]:
        """Summarize and score all of dev and gate; what an ensemble learns, it learns on dev."""
        settings = self.settings(values)
        scores = {}
        for split, rows in self.rows.items():
            found = {member: self._decode(member, split, settings, None)[0] for member in self.models}
            scores[split] = scoring.score_dialogues(self._combine(settings, found, split), rows, settings)
        return scores

    def _members_of_params(self) -> KeptTrials:
        """Return what params.yaml says of this study's members; UserError if it says nothing, or the wrong number."""
        name, known = self.folder.name, apply_values(self.tree, {}, "params.yaml").ensemble.members
        members = known.get(name)
        if members is None:
            raise UserError(
                f"{self.folder}.yaml has no members, and ensemble.members of params.yaml no '{name}'"
                f"{nearest(name, known)}: add {name}: {{study: hyperparameter, top_k: 3}} there."
            )
        try:
            check_strategy(members, self.study.strategy)
        except ValueError as error:
            raise UserError(f"{self.folder}.yaml: strategy: {error}.") from error
        return members

    def _summary_of(self, members: KeptTrials) -> Summary:
        path = project.STUDIES / members.study / files.SUMMARY
        return read_result(path, Summary, command=f"yoyak study run {members.study}")

    def _find_models(self, members: list[str] | KeptTrials) -> dict[str, Path]:
        """Return the folder of each model; UserError if a study has not kept as many."""
        if isinstance(members, list):
            return {member: project.model_folder(member) for member in members}
        folder = project.STUDIES / members.study
        summary = self._summary_of(members)
        if len(summary.kept) < members.top_k:
            raise UserError(
                f"{self.folder}.yaml: members.top_k is {members.top_k}, and {members.study} has kept "
                f"{len(summary.kept)} models: raise its keep, or run more trials."
            )
        return {
            f"{members.study}-{rank}": folder / files.TRIALS / str(number) / MODEL
            for rank, number in enumerate(summary.kept[: members.top_k], 1)
        }

    def _score_in_batches(
        self, trial: RunningTrial, settings: Params, rows: Sequence[Dialogue]
    ) -> tuple[list[float], float]:
        """Score dialogue by dialogue, so that a trial that is worse on the first ones ends there, with their mean."""
        from optuna.exceptions import TrialPruned

        [member] = self.models
        scores: list[float] = []
        seconds = 0.0
        for start in range(0, len(rows), settings.generation.batch_size):
            if trial.should_stop():
                raise StoppedError
            batch = rows[start : start + settings.generation.batch_size]
            began = time.perf_counter()
            texts = self._summarize(member, batch, settings.generation)
            seconds += time.perf_counter() - began
            new = scoring.score_dialogues([found[0].text for found in texts], batch, settings)
            first, scores = len(scores), [*scores, *new]
            try:
                for index, score in enumerate(new, first):
                    trial.log(index, {"value": score})
                    trial.report(index, score)
            except TrialPruned:
                # Raised further, Optuna would take the score of the last dialogue for the trial's value.
                trial.note(records.PRUNED, True)
                reached = scores[: index + 1]
                return reached, seconds / len(scores)
        return scores, seconds / len(rows)

    def _summarize(self, member: str, rows: Sequence[Dialogue], generation: Generation) -> list[list[Candidate]]:
        from yoyak.decoding.summarizer import texts_to_read

        summarizer = self.summarizers[member]
        return summarizer.summarize(texts_to_read(summarizer, rows), generation=generation).candidates

    def _decode(
        self, member: str, split: str, settings: Params, trial: RunningTrial | None
    ) -> tuple[dict[str, list[Candidate]], float]:
        """Return a member's candidates by fname, and the seconds that decoding them took when it was done."""
        # The batch changes how long a pass takes, and not what it gives.
        ignored = set() if "latency" in self.study.objectives else {"batch_size"}
        search = settings.generation.model_dump(exclude=ignored)
        described = json.dumps(
            [self.model_digests[member], self.split_digests[split], self.software, search], sort_keys=True
        )
        key = hashlib.sha256(described.encode()).hexdigest()[:20]
        folder = self.folder / files.DECODED / key
        if not folder.is_dir():
            folder.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(f"{folder}.lock"):
                if not folder.is_dir():
                    self._write_pass(member, split, settings.generation, folder, trial)
                    if trial is not None:
                        trial.note("decoded", [member])
        return self._read(folder)

    def _write_pass(
        self, member: str, split: str, generation: Generation, folder: Path, trial: RunningTrial | None
    ) -> None:
        from yoyak.decoding.candidates import write_candidates

        rows, candidates = self.rows[split], []
        started = time.perf_counter()
        for start in range(0, len(rows), generation.batch_size):
            if trial is not None and trial.should_stop():
                raise StoppedError
            candidates += self._summarize(member, rows[start : start + generation.batch_size], generation)
        seconds = time.perf_counter() - started
        with atomic_path(folder) as work:
            work.mkdir()
            write_candidates(work / "candidates.jsonl", zip([row.fname for row in rows], candidates, strict=True))
            write_json(work / TIMING, {"seconds": seconds})

    def _read_pass(self, folder: Path) -> tuple[dict[str, list[Candidate]], float]:
        from yoyak.decoding.candidates import read_candidates

        seconds = json.loads((folder / TIMING).read_text(encoding="utf-8"))["seconds"]
        return read_candidates(folder / "candidates.jsonl"), seconds

    def _combine(self, settings: Params, found: Mapping[str, Mapping[str, list[Candidate]]], split: str) -> list[str]:
        """Return one summary for each dialogue."""
        if self.study.strategy is None:
            [candidates] = found.values()
            return [best[0].text for best in candidates.values()]
        from yoyak.ensemble.combine import combine
        from yoyak.ensemble.fitting import fit
        from yoyak.ensemble.pool import make_row

        def rows_of(name: str, of: Mapping[str, Mapping[str, list[Candidate]]]) -> list[Any]:
            return [
                make_row(row, {member: candidates[row.fname] for member, candidates in of.items()})
                for row in self.rows[name]
            ]

        dev = found if split == project.DEV else {
            member: self._decode(member, project.DEV, settings, None)[0] for member in found
        }  # fmt: skip
        dev_rows = rows_of(project.DEV, dev)
        fitted = fit(
            settings.ensemble.strategies[self.study.strategy],
            list(found),
            dev_rows,
            [row.summaries for row in self.rows[project.DEV]],
            granularity=settings.ensemble.granularity,
            seed=settings.seed,
        )
        if split == project.DEV:
            return [outcome.text for outcome in fitted.outcomes]
        combiner: Combiner = fitted.combiner
        return [outcome.text for outcome in combine(combiner, rows_of(split, found))]
