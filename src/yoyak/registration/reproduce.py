"""Making a version once more from its commit, and comparing weights and scores with what was registered.

    reproduction = reproduce("models:/yoyak@champion")
    print(format_reproduction(reproduction))

The stages that the version comes from run again, from the data to the scores, in a temporary work tree and with a
tracking store of their own: neither the project nor MLflow is changed.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from yoyak import project
from yoyak.errors import UserError, nearest
from yoyak.params.load import PARAMS_FILE
from yoyak.params.overrides import read_yaml
from yoyak.registration.worktree import WorkTree, checked_out, pull
from yoyak.registry.lineage import Lineage, Stage, read_lineage, stage_names, to_stage
from yoyak.registry.resolve import fetch_model, locate
from yoyak.registry.verify import Difference, compare_params, compare_versions
from yoyak.tracking import lineage as tracked

Verdict = Literal["identical", "within tolerance", "different"]
TOLERANCE = 0.005
"""The difference in combined ROUGE that is tolerated if weights differ."""
CHECK, SCORES, EVALUATE = "check", "score_candidates", "evaluate"
VARYING = (project.RECEIPTS, project.TRAINING)
"""Outputs that differ from run to run: ids and timings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageDifference:
    """What differs in a stage: the paths of inputs and outputs, and the params with their values before and now."""

    stage: str
    deps: tuple[str, ...]
    params: Mapping[str, tuple[str, str]]
    outs: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """What differs, in one sentence."""
        parts = [f"its input {path} differs" for path in self.deps]
        for key, (before, now) in self.params.items():
            parts.append(f"{key} was {before or 'not set'} and is {now or 'not set'}")
        parts += [f"its output {path} differs" for path in self.outs]
        return f"{self.stage}: {', '.join(parts)}."


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorDifference:
    """A tensor of the weights that differs."""

    member: str
    name: str
    largest: float | None
    """Largest absolute difference; None if shapes differ or one model does not have the tensor."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReproducedScore:
    """Combined ROUGE of a split, as registered and as reproduced."""

    split: str
    recorded: float
    reproduced: float

    @property
    def change(self) -> float:
        """The reproduced score less the registered one."""
        return self.reproduced - self.recorded


@dataclass(frozen=True, slots=True, kw_only=True)
class Reproduction:
    """The result of `reproduce`."""

    version: str
    commit: str
    verdict: Verdict
    tolerance: float
    weights: bool | None
    """Whether all weights are the same; None if the registered ones are not known any more."""
    stages: tuple[StageDifference, ...]
    """Stages that differ, in the order of the pipeline."""
    tensors: tuple[TensorDifference, ...]
    scores: tuple[ReproducedScore, ...]
    """Of every split, also of those that are equal."""
    environment: tuple[Difference, ...]
    """Packages that have another version here."""
    seconds: float


def reproduce(
    uri: str, *, root: str | Path | None = None, commit: str = "", tolerance: float = TOLERANCE
) -> Reproduction:
    """Make a version once more and compare it with what was registered.

    The reproduction is ``identical`` if all weights, summaries and scores are, ``within tolerance`` if the scores
    differ by at most ``tolerance``, else ``different``. Raises UserError where the version cannot be made again.

    Args:
        uri: ``models:/yoyak@champion``, ``yoyak@champion`` or ``yoyak/3``. Of an exported model its source is made.
        root: The project's folder; by default the current one, or above it.
        commit: Another commit to make it from than the one that it was registered at, such as HEAD.
    """
    folder = Path(root).resolve() if root is not None else project.project_root()
    lineage = read_lineage(uri)
    lineage = lineage.source or lineage
    target = commit or _find_commit(lineage)
    started = time.monotonic()
    with checked_out(folder, target) as tree:
        print(f"making {lineage.label} from {target[:12]} in {tree.project}", file=sys.stderr)
        pull(tree, target)
        strategy = _strategy(lineage)
        members = _keep(tree, lineage.member, strategy)
        for base in {entry.base for entry in (lineage, *lineage.members) if entry.base and entry.base.md5}:
            _provide_checkpoint(folder, tree, base.checkpoint, base.md5)
        recorded = _recorded_stages(lineage, tree)
        names = _stages_to_run(tree, members, strategy)
        tree.run("dvc", "repro", "--single-item", "--force", "--no-commit", "--no-run-cache", *names)
        made = {name: to_stage(name, entry) for name, entry in tracked.read_lock(tree.project).items()}
        differing = tuple(_compare_stages(names, recorded, made))
        tensors, weights = _compare_weights(lineage, tree, differing, recorded)
        scores = tuple(_compare_scores(lineage, tree, strategy or lineage.member))
    if weights is None and not scores and not any(name in recorded for name in made if name != EVALUATE):
        raise UserError(
            f"{lineage.label} was made once more, but nothing of it is known any more that it could be compared with: "
            "neither its stages, its weights nor its scores."
        )
    return Reproduction(
        version=lineage.label,
        commit=target,
        verdict=_judge(differing, weights, scores, tolerance),
        tolerance=tolerance,
        weights=weights,
        stages=differing,
        tensors=tensors,
        scores=scores,
        environment=tuple(compare_versions(lineage.versions, lineage.label)),
        seconds=time.monotonic() - started,
    )


def format_reproduction(reproduction: Reproduction) -> str:
    """Return the result as text for people."""
    r = reproduction
    lines = [f"{r.version} made once more from {r.commit[:12]} in {r.seconds:.0f} s: {r.verdict}."]
    if r.weights is not None:
        lines.append("Weights are the same." if r.weights else f"Weights differ in {len(r.tensors)} tensors.")
    lines += [
        f"  {tensor.member} {tensor.name}: "
        + ("another shape, or missing" if tensor.largest is None else f"by up to {tensor.largest:.3g}")
        for tensor in r.tensors[:10]
    ]
    if len(r.tensors) > 10:
        lines.append(f"  … and {len(r.tensors) - 10} more")
    if r.scores:
        lines.append(f"Combined ROUGE, tolerance {r.tolerance:g}:")
        lines += [
            f"  {score.split:<12} {score.recorded:.4f} registered, {score.reproduced:.4f} now, {score.change:+.4f}"
            for score in r.scores
        ]
    if r.stages:
        lines += ["What differs, first things first:", *(f"  {stage.sentence}" for stage in r.stages)]
    if r.environment:
        lines += ["Libraries that differ:", *(f"  {difference.sentence}" for difference in r.environment)]
    return "\n".join(lines) + "\n"


def _find_commit(lineage: Lineage) -> str:
    """Return the commit that a version can be made from. Raises UserError where there is none."""
    label = lineage.label
    if lineage.bundle_digest:
        raise UserError(f"{label} was imported from a bundle, and was not trained here: there is nothing to run.")
    if lineage.experiment:
        raise UserError(
            f"{label} comes from the experiment '{lineage.experiment}', whose params are in no commit: `dvc exp apply` "
            f"it and commit, then name that commit with --commit."
        )
    if not lineage.commit:
        raise UserError(f"{label} has no commit: it was registered outside of a git repository.")
    if lineage.dirty:
        raise UserError(
            f"{label} was made with changes that {lineage.commit[:12]} does not have: if they were committed later, "
            f"name that commit with --commit."
        )
    return lineage.commit


def _strategy(lineage: Lineage) -> str:
    """Return the strategy that an ensemble is, or an empty string for a member."""
    for stage in lineage.stages:
        kind, _, name = stage.name.partition("@")
        if kind in ("ensemble", "blend"):
            return name
    if lineage.members:
        raise UserError(f"{lineage.label} does not say which strategy it is: register it again with `dvc repro`.")
    return ""


def _keep(tree: WorkTree, member: str, strategy: str) -> list[str]:
    """Leave only what is to be made in the work tree's params.yaml, and return its members.

    The pipeline is then no larger than necessary, and evaluates nothing else. What a stage reads stays as it is.
    """
    from ruamel.yaml import YAML

    path = tree.project / PARAMS_FILE
    values = read_yaml(path)
    members, ensemble = values.get("members") or {}, values.get("ensemble") or {}
    for section in ("strategies", "models"):
        if section in ensemble:
            ensemble[section] = {key: value for key, value in ensemble[section].items() if key == strategy}
    if strategy:
        if not any(ensemble.get(section) for section in ("strategies", "models")):
            raise UserError(f"{PARAMS_FILE} of the commit has no strategy '{strategy}'.")
    elif member not in members:
        raise UserError(f"{PARAMS_FILE} of the commit has no member '{member}'{nearest(member, members)}.")
    else:
        values["members"] = {member: members[member]}
    if (values.get("registry") or {}).get("ensemble") not in (None, strategy):
        values["registry"]["ensemble"] = None
    with path.open("w", encoding="utf-8") as out:
        YAML(typ="safe").dump(values, out)
    return list(values["members"])


def _provide_checkpoint(root: Path, tree: WorkTree, checkpoint: str, md5: str) -> None:
    """Copy a local checkpoint that neither git nor DVC has from the project, if it is still the same."""
    target, source = tree.project / checkpoint, root / checkpoint
    if target.exists():
        return
    if not source.is_dir() or tracked.digest(source) != md5:
        raise UserError(f"The training started from {checkpoint} with md5 {md5[:12]}: put that folder back.")
    shutil.copytree(source, target)


def _recorded_stages(lineage: Lineage, tree: WorkTree) -> dict[str, Stage]:
    """Return the stages as they were when the version was made: of an older version, those of its commit."""
    recorded = {stage.name: stage for entry in (*lineage.members, lineage) for stage in entry.stages}
    if recorded:
        return recorded
    return {name: to_stage(name, entry) for name, entry in tracked.read_lock(tree.project).items()}


def _stages_to_run(tree: WorkTree, members: Sequence[str], strategy: str) -> list[str]:
    """Return the stages to run, in order, by the commit's own dvc.yaml."""
    definitions = read_yaml(tree.project / "dvc.yaml").get("stages", {})
    of_members = dict.fromkeys(name for member in members for name in stage_names(member=member))
    if CHECK in definitions:
        # Every training waits for it; commits from before it was added do not have it.
        of_members[CHECK] = None
    wanted = [name for kind in definitions for name in of_members if name.partition("@")[0] == kind]
    if strategy:
        if SCORES in definitions:
            wanted.append(SCORES)
        ensemble = read_yaml(tree.project / PARAMS_FILE)["ensemble"]
        wanted.append(f"{'blend' if strategy in (ensemble.get('models') or {}) else 'ensemble'}@{strategy}")
    return [*wanted, EVALUATE]


def _compare_stages(
    names: Sequence[str], recorded: Mapping[str, Stage], made: Mapping[str, Stage]
) -> Iterator[StageDifference]:
    for name in names:
        if name not in recorded or name not in made or name == EVALUATE:
            continue
        before, now = recorded[name], made[name]
        difference = StageDifference(
            stage=name,
            deps=_differing(before.deps, now.deps),
            params=compare_params(before.params, now.params),
            outs=_differing(before.outs, now.outs),
        )
        if difference.deps or difference.params or difference.outs:
            yield difference


def _differing(before: Mapping[str, str], now: Mapping[str, str]) -> tuple[str, ...]:
    paths = [path for path in {**before, **now} if not any(Path(path).is_relative_to(folder) for folder in VARYING)]
    return tuple(path for path in paths if before.get(path) != now.get(path))


def _compare_weights(
    lineage: Lineage, tree: WorkTree, stages: Sequence[StageDifference], recorded: Mapping[str, Stage]
) -> tuple[tuple[TensorDifference, ...], bool | None]:
    """Return the tensors that differ, and whether all weights are the same (None if that is not known)."""
    same: list[bool] = []
    tensors: list[TensorDifference] = []
    for entry in lineage.members or (lineage,):
        folder = project.model_folder(entry.member)
        if not (tree.project / folder).is_dir():
            continue
        known = any(folder.as_posix() in stage.outs for stage in recorded.values())
        if known and not any(folder.as_posix() in stage.outs for stage in stages):
            same.append(True)
            continue
        try:
            before = _load_weights(fetch_model(locate(f"models:/{entry.label}")))
        except UserError:
            if known:
                same.append(False)
            continue
        found = list(_compare_tensors(entry.member, before, _load_weights(tree.project / folder)))
        same.append(not found)
        tensors += found
    return tuple(tensors), all(same) if same else None


def _load_weights(folder: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return {name: tensor for file in sorted(folder.glob("*.safetensors")) for name, tensor in load_file(file).items()}


def _compare_tensors(member: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[TensorDifference]:
    import torch

    for name in {**before, **now}:
        old, new = before.get(name), now.get(name)
        if old is None or new is None or old.shape != new.shape:
            yield TensorDifference(member=member, name=name, largest=None)
        elif not torch.equal(old, new):
            largest = (old.double() - new.double()).abs().max().item()
            yield TensorDifference(member=member, name=name, largest=largest)


def _compare_scores(lineage: Lineage, tree: WorkTree, system: str) -> Iterator[ReproducedScore]:
    """Yield the scores of every split that the version has as a tag."""
    path = tree.project / project.SCORES / f"{system}.json"
    if not path.is_file():
        return
    for split, score in json.loads(path.read_text(encoding="utf-8")).items():
        if split in lineage.scores:
            yield ReproducedScore(split=split, recorded=lineage.scores[split], reproduced=score)


def _judge(
    stages: Sequence[StageDifference], weights: bool | None, scores: Sequence[ReproducedScore], tolerance: float
) -> Verdict:
    outs = any(stage.outs for stage in stages)
    if weights is not False and not outs and all(abs(score.change) < 1e-6 for score in scores):
        return "identical"
    if scores and all(abs(score.change) <= tolerance for score in scores):
        return "within tolerance"
    return "different"
