"""Registering an ensemble of a pipeline's members as one model, which says which versions it consists of."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yoyak import project
from yoyak.params import Generation
from yoyak.params.ensemble import OfCandidates, OfModels, Soft, Soup
from yoyak.registration.packaging import log_member, log_model, model_identity, with_generation
from yoyak.registry import promotion
from yoyak.registry.evaluations import attach_evaluations
from yoyak.registry.lineage_record import is_recorded, version_tags
from yoyak.registry.versions import Version
from yoyak.tracking import lineage, restore, runs
from yoyak.tracking.stage_run import StageRun, flatten


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ensemble:
    """An ensemble of the pipeline."""

    name: str
    strategy: OfCandidates | OfModels
    members: Mapping[str, Version]
    """The versions of those members that it uses."""
    weights: Mapping[str, float]

    @property
    def folder(self) -> Path:
        return project.ensemble_folder(self.name)

    @property
    def versions(self) -> dict[str, dict[str, Any]]:
        """What the model says of its members."""
        return {
            member: {"name": version.name, "version": version.version, "run_id": version.run_id}
            for member, version in self.members.items()
        }

    @property
    def inputs(self) -> Sequence[Path]:
        return [self.folder, *(project.model_folder(member) for member in self.members)]


def register_ensemble(
    registered_name: str,
    name: str,
    strategy: OfCandidates | OfModels,
    *,
    generation: Generation,
    members: Mapping[str, Version],
    scores: Mapping[str, Mapping[str, float]],
    example: str,
    trained_on: Iterable[str],
    experiment: str,
) -> Version:
    """Return the version of the registered model that is the ensemble ``name``; created if there is none.

    Args:
        members: The versions of all members.
        scores: The ensemble's means by split and metric, kept as tags.
        example: A dialogue.
        trained_on: Keys of the dialogues that its members and weights were trained or chosen on.
        experiment: Where it comes from, if not from a commit.
    """
    info = json.loads((project.ensemble_folder(name) / "info.json").read_text(encoding="utf-8"))
    ensemble = _Ensemble(
        name=name,
        strategy=strategy,
        members={member: members[member] for member in info["members"]},
        weights=info["weights"],
    )
    inputs = lineage.digests(ensemble.inputs)
    identity = model_identity(" ".join(inputs.values()), generation)
    existing = promotion.find_usable(registered_name, promotion.IDENTITY, identity)
    if existing is not None:
        model_id, run_id = existing.model_id, existing.run_id
        origin = {} if is_recorded(existing) else version_tags(run_id, strategy=name)
    else:
        params = {"ensemble": strategy, "generation": generation}
        with _saved(ensemble, generation) as folder:
            with runs.stage_run("register", member=name, params=params, inputs=inputs) as run:
                model_id, run_id = _log(run, folder, ensemble, generation, example), run.run_id
            origin = version_tags(run_id, folder, strategy=name)
    if restore.is_active(run_id):
        attach_evaluations(run_id, model_id, (), trained_on)
    return promotion.register_ensemble(
        registered_name,
        model_id=model_id,
        run_id=run_id,
        tags={
            **origin,
            promotion.IDENTITY: identity,
            "variant": "soup" if isinstance(strategy, Soup) else "ensemble",
            "strategy": strategy.type,
            **flatten({"score": scores}),
            **{f"member.{member}": f"{used.name}/{used.version}" for member, used in ensemble.members.items()},
        },
        experiment=experiment,
    )


@contextmanager
def _saved(ensemble: _Ensemble, generation: Generation) -> Iterator[Path]:
    """Yield the folder that is logged: the single model that a soup is, or all members of any other ensemble."""
    if isinstance(ensemble.strategy, Soup):
        with with_generation(project.soup_folder(ensemble.name), generation) as view:
            yield view
        return
    from yoyak.ensemble import combine
    from yoyak.ensemble.summarizer import save_ensemble

    soft = isinstance(ensemble.strategy, Soft)
    with tempfile.TemporaryDirectory(prefix="yoyak-") as temporary:
        folder = Path(temporary, "ensemble")
        save_ensemble(
            folder,
            {member: project.model_folder(member) for member in ensemble.members},
            generation,
            ensemble.versions,
            combiner=None if soft else combine.load(ensemble.folder),
            soft=ensemble.weights if soft else None,
        )
        yield folder


def _log(run: StageRun, folder: Path, ensemble: _Ensemble, generation: Generation, example: str) -> str:
    if isinstance(ensemble.strategy, Soup):
        return log_member(run, folder, example=example)
    metadata = {"ensemble": ensemble.name, "strategy": ensemble.strategy.type, "members": ensemble.versions}
    return log_model(run, folder, name=ensemble.name, generation=generation, example=example, metadata=metadata)
