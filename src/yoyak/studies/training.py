"""Studies whose trials train a member, and the one that tries its params; `comparing` has the others.

A trial trains as `yoyak train` does, on the same prepared data, or on other data if its values change how that is
prepared. It reports each evaluation, by which it may be pruned, and goes on from its last checkpoint if its process
died.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yoyak import project
from yoyak.errors import UserError, nearest
from yoyak.files import write_json, write_text
from yoyak.params import Params, TrainedMember
from yoyak.params.studies import HyperparameterStudy
from yoyak.params.study_files import apply_values
from yoyak.studies import preparing, scoring
from yoyak.studies.kinds import Kind, RunningTrial, StoppedError

if TYPE_CHECKING:
    from yoyak.data.records import Dialogue

MEASURES = ("combined", "eval_loss", "parameters", "seconds", "latency")
REPORTED = {"combined": "eval_combined", "eval_loss": "eval_loss"}
"""By objective: the metric of an evaluation by which trials are pruned."""
MODEL, TRAINED_ON, SECONDS = "model", "trained_on.txt", "seconds.json"
"""Of a trial: its model, the keys of the dialogues that trained or chose it, and how long all attempts took so far."""
LATENCY_DIALOGUES = 32
"""Of dev: so many are summarized one by one to measure the latency."""
KEPT_DATA = 2
"""Sets of prepared data that a worker keeps in memory."""
MEASURES_ROWS = ("evaluation_dialogues", "fold")
"""Params of a member that decide which dialogues its trainings are measured on."""
MEASURES_LOSS = ("label_smoothing", "max_target_tokens", "tokenizer", "checkpoint")
"""Those that decide what its loss on dev is a loss of."""
NO_VALUES = "{}"
DATA_CODE = ("data", "preparation")


class Trained(Kind):
    """What these kinds have in common."""

    measures = MEASURES

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._read_data = lru_cache(KEPT_DATA)(self._open_data)

    def member_of(self, values: Mapping[str, Any]) -> str:
        """Return the member that a trial trains."""
        raise NotImplementedError

    def trained(self) -> Sequence[str]:
        """Return the members that trials train."""
        raise NotImplementedError

    def overrides(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the values of params.yaml that a trial sets, by dotted key."""
        raise NotImplementedError

    def variations(self) -> Iterable[Mapping[str, Any]]:
        """Return sets of values that trials try, by dotted key of params.yaml, with every key that one of them sets."""
        return ()

    def settings(self, values: Mapping[str, Any]) -> Params:
        """Return the params of a trial."""
        return self._apply(self.overrides(values))

    def check(self) -> None:
        """Refuse what params.yaml, the data or the study does not have."""
        super().check()
        for path in (project.TRAIN_SPLIT, project.DEV_SPLIT, project.MASKS):
            if not path.is_file():
                raise UserError(f"{path} is missing: `dvc repro prepare` creates it.")

    def check_data(self) -> None:
        """Raise UserError if trials would be compared on other rows than the project has."""
        for values in self.variations():
            if any(key.startswith("data.") for key in values):
                preparing.prepare_as(self._apply(values), values, f"{self.folder}.yaml")

    def check_member(self, name: str) -> None:
        """Raise UserError if there is no member of this name that is trained."""
        members = self.tree.get("members") or {}
        if name not in members:
            raise UserError(f"{self.folder}.yaml: members has no '{name}'{nearest(name, members)}.")
        if not isinstance(apply_values(self.tree, {}, "params.yaml").members[name], TrainedMember):
            raise UserError(f"{self.folder}.yaml: members.{name} is not trained, so there is nothing to study.")

    @property
    def measures_by(self) -> Sequence[str]:
        """Return the params of a member that decide how a trial is measured, and so are the same in all of them.

        Otherwise the best trial may just be the one that was measured in the most favourable way.
        """
        return (*MEASURES_ROWS, *(MEASURES_LOSS if "eval_loss" in self.study.objectives else ()))

    def check_measured(self, member: str, where: str, keys: Iterable[str]) -> None:
        """Raise UserError if one of the keys in which trials differ decides how they are measured."""
        fixed = {"scoring", *(f"members.{member}.{name}" for name in self.measures_by)}
        if "eval_loss" in self.study.objectives:
            fixed |= {"tokenizers", "data.mask_tokens"}
        for key in keys:
            parts = key.split(".")
            if fixed & {".".join(parts[:length]) for length in range(1, len(parts) + 1)}:
                raise UserError(
                    f"{self.folder}.yaml: {where}.{key} decides how trials are measured, which has to be the same for "
                    f"all that are compared by {' and '.join(self.study.objectives)}: leave it out, or set it in "
                    "params.yaml."
                )

    def inputs(self) -> Sequence[Path]:
        """Return the prepared data, and the files that it is prepared from if trials prepare it otherwise."""
        prepared = [project.TRAIN_SPLIT, project.DEV_SPLIT, project.MASKS, project.TOKENIZERS]
        return [*prepared, self.raw] if self.prepares else prepared

    def base(self) -> Mapping[str, Any]:
        """Return how data is prepared, if trials prepare it, and the steps after the model."""
        kept = {
            key: self.tree[key] for key in ("augmentation", "data", "tokenizers") if self.prepares and key in self.tree
        }
        steps = self._apply({}).generation.postprocessing
        return {**kept, **({"postprocessing": list(steps)} if steps else {})}

    def checkpoints(self) -> Mapping[str, str]:
        """Return the digest or commit of each checkpoint that a member starts from."""
        from yoyak.training.recovery import identify_checkpoint

        members, found = self._apply({}).members, {}
        for name in self.trained():
            key, member = f"members.{name}.checkpoint", members[name]
            assert isinstance(member, TrainedMember)
            for checkpoint in (member.checkpoint, *(values[key] for values in self.variations() if key in values)):
                if checkpoint is not None:
                    found[checkpoint] = identify_checkpoint(member.model_copy(update={"checkpoint": checkpoint}))
        return found

    @cached_property
    def prepares(self) -> bool:
        """Whether trials change how data is prepared."""
        return any(preparing.of_data(values) for values in self.variations())

    @property
    def raw(self) -> Path:
        """The folder of the data files."""
        return Path(self._apply({}).data.folder)

    def code(self) -> str:
        """Return a digest of the code that training runs."""
        from yoyak.tracking import lineage
        from yoyak.training.recovery import CODE_PACKAGES

        package = Path(__file__).parents[1]
        rooms = (*CODE_PACKAGES, *DATA_CODE) if self.prepares else CODE_PACKAGES
        paths = {path for room in rooms for path in (package / room).rglob("*.py")}
        paths.add(package / "data" / "augmenting" / "views.py")
        return lineage.source_digest(package, sorted(path.relative_to(package) for path in paths))

    def open(self) -> None:
        """Import torch and transformers, load what scores, and read the data.

        Whatever waits for the first trial makes that one slower than the others, and `seconds` may be an objective.
        """
        from yoyak.models.libraries import import_trainer

        import_trainer()
        import datasets  # noqa: F401

        from yoyak.scoring import rouge  # noqa: F401
        from yoyak.scoring.tokenize import tokenizer
        from yoyak.training import trainer  # noqa: F401

        for granularity in self._apply({}).scoring.granularities:
            tokenizer(granularity).tokenize_all(["네"])
        self._read_data(NO_VALUES)

    def run(self, trial: RunningTrial, values: Mapping[str, Any]) -> Mapping[str, float]:
        """Train a member, and measure it."""
        from yoyak.data.keys import hash_dialogue
        from yoyak.studies.stopping import StopAtStep
        from yoyak.training.recovery import lock_checkpoints, remove_checkpoints
        from yoyak.training.selection import CheckpointScoring
        from yoyak.training.trainer import train_member

        name, settings = self.member_of(values), self.settings(values)
        # Trials with other objectives, or several, are not pruned.
        reported = REPORTED.get(next(iter(self.study.objectives)), "eval_combined")
        member = settings.members[name]
        assert isinstance(member, TrainedMember)
        data = self._data_of(values)
        train, dev = self._split(member, data)
        evaluations, started = 0, time.perf_counter()
        spent = trial.folder / SECONDS
        earlier = json.loads(spent.read_text(encoding="utf-8")) if spent.is_file() else 0.0

        def log(step: int, metrics: Mapping[str, float]) -> None:
            nonlocal evaluations
            trial.log(step, metrics)
            write_json(spent, earlier + time.perf_counter() - started)
            if "eval_combined" in metrics:
                # Trials with batches of other sizes have other steps, but as many evaluations.
                evaluations += 1
                trial.report(evaluations, metrics[reported])

        checkpoints = trial.folder / "checkpoints"
        with lock_checkpoints(checkpoints):
            result = train_member(
                name,
                member,
                _load_tokenizer(member, data),
                train,
                dev,
                scoring=CheckpointScoring(
                    granularity=settings.scoring.granularities[0],
                    multi_reference=settings.scoring.multi_reference,
                    weights=settings.scoring.weights,
                ),
                seed=settings.seed,
                out=trial.folder / MODEL,
                checkpoints=checkpoints,
                log=log,
                postprocessing=settings.generation.postprocessing,
                callbacks=[StopAtStep(trial.should_stop, StoppedError)],
            )
            remove_checkpoints(checkpoints)
        metrics, seconds = result.metrics, round(earlier + result.metrics.seconds, 1)
        keys = sorted({hash_dialogue(row.dialogue) for row in (*data.train, *data.dev)})
        write_text(trial.folder / TRAINED_ON, "\n".join(keys) + "\n")
        trial.note("training", {"steps": metrics.steps, "seconds": seconds})
        measures = {
            "combined": metrics.eval_combined,
            "eval_loss": metrics.eval_loss,
            "parameters": float(metrics.parameters),
            "seconds": seconds,
        }
        if "latency" in self.study.objectives:
            dialogues = [row.dialogue for row in data.dev[:LATENCY_DIALOGUES]]
            measures["latency"] = _measure_latency(trial.folder / MODEL, dialogues, settings)
        if not self.study.keep:
            shutil.rmtree(trial.folder / MODEL)
        return measures

    def score(self, folder: Path, values: Mapping[str, Any]) -> Mapping[str, Sequence[float]]:
        """Summarize all of dev and gate with the trial's model."""
        if not (folder / MODEL).is_dir():
            raise UserError(f"{folder / MODEL} is not on this machine.")
        from yoyak.decoding.loading import load_member
        from yoyak.decoding.summarizer import texts_to_read

        settings = self.settings(values)
        summarizer = load_member(folder / MODEL)
        return {
            split: scoring.score_dialogues(
                summarizer.summarize(texts_to_read(summarizer, rows), generation=settings.generation).texts,
                rows,
                settings,
            )
            for split, rows in scoring.read_splits().items()
        }

    def _split(
        self, member: TrainedMember, data: preparing.TrainingData
    ) -> tuple[Sequence[Dialogue], Sequence[Dialogue]]:
        """Return the rows that a member is trained on, and those that choose its checkpoint."""
        if member.fold is None:
            return data.train, data.dev
        from yoyak.data.folding import hold_out

        train, dev = hold_out(data.train, member.fold.index, member.fold.of)
        given = self._read_data(NO_VALUES)
        if data is not given and dev != hold_out(given.train, member.fold.index, member.fold.of)[1]:
            raise UserError(
                f"{self.folder}.yaml: this trial's data gives the fold other rows to hold out, on which trials are "
                f"compared: study a member without a fold."
            )
        return train, dev

    def _apply(self, values: Mapping[str, Any]) -> Params:
        return apply_values(self.tree, values, f"{self.folder}.yaml")

    def _data_of(self, values: Mapping[str, Any]) -> preparing.TrainingData:
        """Return the data of a trial."""
        return self._read_data(json.dumps(preparing.of_data(self.overrides(values)), sort_keys=True))

    def _open_data(self, described: str) -> preparing.TrainingData:
        values = json.loads(described)
        if not values:
            return preparing.read_data()
        from yoyak.tracking import lineage

        return preparing.open_data(self.folder, self._apply(values), values, lineage.digest(self.raw))


class Hyperparameter(Trained):
    """Trials differ in the params of one member."""

    schema = HyperparameterStudy
    study: HyperparameterStudy

    def check(self) -> None:
        """Refuse dimensions that do not change how the member is trained."""
        super().check()
        self.check_member(self.study.member)
        for key in self.study.dimensions:
            if key != "seed" and not key.startswith((f"members.{self.study.member}.", *preparing.KEYS)):
                hint = (
                    "a study of the kind generation tries it"
                    if key.startswith(("generation.", "ensemble."))
                    else f"use keys of members.{self.study.member}, data or tokenizers"
                )
                raise UserError(
                    f"{self.folder}.yaml: dimensions.{key} does not change how {self.study.member} is trained: {hint}."
                )
        self.check_measured(self.study.member, "dimensions", self.study.dimensions)
        self._check_sample()
        self.check_data()

    def _check_sample(self) -> None:
        """Raise UserError if trials with other seeds would be compared on other dialogues of dev."""
        if "seed" not in self.study.dimensions:
            return
        member = self._apply({}).members[self.study.member]
        assert isinstance(member, TrainedMember)
        _, dev = self._split(member, self._read_data(NO_VALUES))
        if member.evaluation_dialogues < len(dev):
            raise UserError(
                f"{self.folder}.yaml: dimensions.seed also draws the dialogues that trials are compared on: set "
                f"members.{self.study.member}.evaluation_dialogues to {len(dev)}, which is all of them, or leave the "
                "seed out."
            )

    def variations(self) -> Iterable[Mapping[str, Any]]:
        """Return the ends of each dimension."""
        return [{key: value} for key, dimension in self.study.dimensions.items() for value in dimension.corners()]

    def base(self) -> Mapping[str, Any]:
        """Return the params of the member, the seed, how checkpoints are scored, and how trials prepare data."""
        kept = {"members": {self.study.member: self.tree["members"][self.study.member]}}
        return {**super().base(), **kept, **{key: self.tree[key] for key in ("seed", "scoring") if key in self.tree}}

    def member_of(self, values: Mapping[str, Any]) -> str:
        """Return the study's member."""
        return self.study.member

    def trained(self) -> Sequence[str]:
        """Return the study's member."""
        return [self.study.member]

    def overrides(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the values themselves."""
        return values


def _load_tokenizer(member: TrainedMember, data: preparing.TrainingData) -> Any:
    from yoyak.models.checkpoints import open_source
    from yoyak.models.tokenizers import load_tokenizer

    if member.tokenizer:
        return load_tokenizer(data.tokenizers / member.tokenizer, data.masks)
    source = open_source(str(member.checkpoint), member.revision)
    return load_tokenizer(source.tokenizer, data.masks, source.revision)


def _measure_latency(folder: Path, dialogues: Sequence[str], settings: Params) -> float:
    """Return the milliseconds that one dialogue takes, summarized alone: the median over some."""
    import statistics

    from yoyak.decoding.loading import load_member

    summarizer = load_member(folder)
    times = []
    for dialogue in dialogues:
        started = time.perf_counter()
        summarizer.summarize([dialogue], generation=settings.generation)
        times.append(1000 * (time.perf_counter() - started))
    return statistics.median(times)
