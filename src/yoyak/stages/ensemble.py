"""yoyak ensemble <strategy>: one summary of the members' candidates, split by split."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from yoyak import params, project
from yoyak.errors import UserError
from yoyak.failures import describe_failures, find_failures, write_failure
from yoyak.files import atomic_path
from yoyak.params.ensemble import without_members
from yoyak.params.stages import EnsembleParams
from yoyak.stages.arguments import StrategyName
from yoyak.tracking import lineage, runs


def run(name: StrategyName, /) -> None:
    """Combine the members' candidates of each split by a strategy of params.yaml."""
    p = params.load(EnsembleParams, key=name)
    strategy, failures = p.strategy, find_failures({member: project.predictions_folder(member) for member in p.members})
    if failures:
        strategy = without_members(strategy, failures)
    # params.yaml is refused if a strategy names one of these.
    sampled = [name for name, member in p.members.items() if member.sample_size is not None]
    members = [member for member in p.members if member not in failures and member not in sampled]
    if strategy.members is not None:
        members = strategy.members
    elif sampled:
        print(
            f"ensemble.strategies.{name} goes without {', '.join(sampled)}: an ensemble needs the summaries of all "
            "dialogues, and max_samples leaves some out",
            file=sys.stderr,
        )
    if len(members) < p.min_members and failures:
        reason = f"ensemble.min_members is {p.min_members}, and {describe_failures(failures)}"
        write_failure(project.ensemble_folder(name), reason)
        print(f"ensemble.strategies.{name} is left out: {reason}", file=sys.stderr)
        return
    if len(members) < p.min_members:
        raise UserError(
            f"ensemble.strategies.{name} has {len(members)} member ({', '.join(members)}), and ensemble.min_members "
            f"requires {p.min_members}: name more, or set min_members to 1 to pass one member through."
        )
    folders = {member: project.predictions_folder(member) for member in members}
    scores = find_scores(members) if strategy.uses_likelihoods and len(members) > 1 else {}
    if strategy.needs_likelihoods and len(members) > 1 and not scores:
        raise UserError(
            f"ensemble.strategies.{name} needs likelihoods, and none of {', '.join(members)} can score what others "
            "wrote: members behind an API cannot. Choose mbr without length_penalty, or vote."
        )
    inputs = lineage.digests([project.EVAL_SPLITS, *folders.values(), *scores.values()])
    with runs.stage_run("ensemble", member=name, params=params.dump(p, name), inputs=inputs) as run:
        from yoyak.ensemble.splits import combine_splits

        out = project.ensemble_folder(name)
        with atomic_path(out) as work:
            work.mkdir()
            result = combine_splits(
                strategy,
                project.EVAL_SPLITS,
                folders,
                work,
                granularity=p.granularity,
                processes=p.processes,
                seed=p.seed,
                scores=scores,
            )
        run.log_metrics({f"weight_{member}": weight for member, weight in result.combiner.weights.items()})
        run.log_artifact(out, project.ENSEMBLES.name)
    print(json.dumps(asdict(result.info), ensure_ascii=False))


def find_scores(members: Sequence[str]) -> dict[str, Path]:
    """Return the folders with the likelihoods of those members that can score; UserError if they are missing."""
    folders = {member: project.candidate_scores_folder(member) for member in members}
    missing = [folder for folder in folders.values() if not folder.is_dir()]
    if missing:
        raise UserError(f"{missing[0]} is missing: run `yoyak score_candidates` first.")
    failures = find_failures(folders)
    return {member: folder for member, folder in folders.items() if member not in failures}
