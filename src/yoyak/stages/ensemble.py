"""yoyak ensemble <strategy>: one summary of the members' candidates, split by split."""

from __future__ import annotations

import json
from dataclasses import asdict

from yoyak import params, project
from yoyak.errors import UserError
from yoyak.files import atomic_path
from yoyak.params.stages import EnsembleParams
from yoyak.stages.arguments import StrategyName
from yoyak.tracking import lineage, runs


def run(name: StrategyName, /) -> None:
    """Combine the members' candidates of each split by a strategy of params.yaml."""
    p = params.load(EnsembleParams, key=name)
    members = p.strategy.members or list(p.members)
    if len(members) < p.min_members:
        raise UserError(
            f"ensemble.strategies.{name} has {len(members)} member ({', '.join(members)}), and ensemble.min_members "
            f"requires {p.min_members}: name more, or set min_members to 1 to pass one member through."
        )
    folders = {member: project.predictions_folder(member) for member in members}
    inputs = lineage.digests([project.EVAL_SPLITS, *folders.values()])
    with runs.stage_run("ensemble", member=name, params=params.dump(p, name), inputs=inputs) as run:
        from yoyak.ensemble.splits import combine_splits

        out = project.ensemble_folder(name)
        with atomic_path(out) as work:
            work.mkdir()
            result = combine_splits(
                p.strategy,
                project.EVAL_SPLITS,
                folders,
                work,
                granularity=p.granularity,
                processes=p.processes,
                seed=p.seed,
            )
        run.log_metrics({f"weight_{member}": weight for member, weight in result.combiner.weights.items()})
        run.log_artifact(out, project.ENSEMBLES.name)
    print(json.dumps(asdict(result.info), ensure_ascii=False))
