"""yoyak score_candidates: how likely each member finds the candidates of all members."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

from yoyak import params, project
from yoyak.failures import find_failures, write_failure
from yoyak.files import atomic_path
from yoyak.params.stages import ScoreCandidatesParams
from yoyak.tracking import lineage, runs

README = "Each member's log-likelihood of all members' candidates, for the strategies that use it.\n"
UNABLE = "models of the family {family} cannot tell how likely a given text is"


def run() -> None:
    """Write candidate_scores/: each member's log-likelihood of all members' candidates, by teacher forcing.

    Only what a strategy of params.yaml uses is computed, and of that what is not known from an earlier run. Members
    behind an API cannot score what others wrote.
    """
    p = params.load(ScoreCandidatesParams)
    failures = find_failures({member: project.predictions_folder(member) for member in p.members})
    usable = [name for name, member in p.members.items() if name not in failures and member.sample_size is None]
    using = [strategy for strategy in p.strategies.values() if strategy.uses_likelihoods]
    wanted = {member for strategy in using for member in strategy.members or usable}
    members = [member for member in usable if member in wanted]
    if len(members) < 2:
        with atomic_path(project.CANDIDATE_SCORES) as work:
            _start(work)
        print("nothing to score: no strategy of several members uses likelihoods", file=sys.stderr)
        return
    predictions = {member: project.predictions_folder(member) for member in members}
    models = {member: project.model_folder(member) for member in members}
    inputs = lineage.digests([project.EVAL_SPLITS, *predictions.values(), *models.values()])
    with runs.stage_run("score_candidates", params=params.dump(p), inputs=inputs) as run:
        from yoyak.decoding.loading import can_score, load_scorer
        from yoyak.ensemble.candidate_scores import identify_scorer, score_splits
        from yoyak.models.spec import load_spec

        with atomic_path(project.CANDIDATE_SCORES) as work:
            _start(work)
            for member, folder in models.items():
                out = work / member
                if not can_score(folder):
                    reason = UNABLE.format(family=p.members[member].family)
                    write_failure(out, reason)
                    print(f"{member} scores no candidates: {reason}", file=sys.stderr)
                    continue
                out.mkdir()
                print(member, file=sys.stderr)
                scored = score_splits(
                    partial(load_scorer, folder),
                    identify_scorer(inputs[folder.as_posix()]),
                    load_spec(folder).preprocessing,
                    project.EVAL_SPLITS,
                    predictions,
                    out,
                )
                print(f"{scored.candidates} candidates, {scored.computed} of them new", file=sys.stderr)
                run.log_metrics({f"{member}_candidates": scored.candidates, f"{member}_computed": scored.computed})
        run.log_artifact(project.CANDIDATE_SCORES)


def _start(folder: Path) -> None:
    """Make the folder; its file keeps it, even if no member scores."""
    folder.mkdir()
    (folder / "README.md").write_text(README, encoding="utf-8")
