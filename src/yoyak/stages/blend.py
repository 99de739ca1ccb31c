"""yoyak blend <name>: summaries by members that decode together, or by a soup of them."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict

from yoyak import params, project
from yoyak.data.records import read_jsonl
from yoyak.errors import UserError
from yoyak.failures import describe_failures, find_failures, write_failure
from yoyak.files import atomic_path
from yoyak.models.families import family_of
from yoyak.models.spec import load_spec
from yoyak.params.ensemble import without_members
from yoyak.params.stages import BlendParams
from yoyak.stages.arguments import BlendName
from yoyak.tracking import lineage, runs


def run(name: BlendName, /) -> None:
    """Write ensembles/<name>/: the summaries of every split by a strategy that runs models, and a soup's model."""
    p = params.load(BlendParams, key=name)
    strategy = p.strategy
    failures = find_failures({member: project.model_folder(member) for member in strategy.members})
    if failures:
        strategy = without_members(strategy, failures)
        if len(strategy.members) < p.min_members:
            reason = f"ensemble.min_members is {p.min_members}, and {describe_failures(failures)}"
            write_failure(project.ensemble_folder(name), reason)
            print(f"ensemble.models.{name} is left out: {reason}", file=sys.stderr)
            return
    if len(strategy.members) < p.min_members:
        raise UserError(
            f"ensemble.models.{name} has {len(strategy.members)} member ({', '.join(strategy.members)}), and "
            f"ensemble.min_members requires {p.min_members}: name more, or set min_members to 1 to pass one member "
            "through."
        )
    splits = {split: read_jsonl(path) for split, path in project.eval_splits().items()}
    folders = {member: project.model_folder(member) for member in strategy.members}
    for member, folder in folders.items():
        family_of(load_spec(folder), f"ensemble.models.{name}: {member}")
    inputs = lineage.digests([project.EVAL_SPLITS, *folders.values()])
    with runs.stage_run("blend", member=name, params=params.dump(p, name), inputs=inputs) as run:
        from yoyak.ensemble.blending import blend_splits

        out = project.ensemble_folder(name)
        with atomic_path(out) as work:
            work.mkdir()
            info = blend_splits(
                name, strategy, folders, splits, work, generation=p.generation, granularity=p.granularity
            )
        run.log_metrics({f"weight_{member}": weight for member, weight in info.weights.items()})
        # A soup's model is logged where it is registered.
        for path in sorted(path for path in out.iterdir() if path.is_file()):
            run.log_artifact(path, out.as_posix())
    print(json.dumps(asdict(info), ensure_ascii=False))
