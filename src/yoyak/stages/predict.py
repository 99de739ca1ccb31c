"""yoyak predict <member>: a member's candidates for every split but train."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from yoyak import params, project
from yoyak.failures import read_failure, write_failure
from yoyak.files import atomic_path
from yoyak.params.stages import PredictParams
from yoyak.stages.arguments import MemberName
from yoyak.tracking import lineage


def run(member: MemberName, /) -> None:
    """Write predictions/<member>/: n-best candidates of each dialogue, and after them those of its views.

    The dialogues of the behaviour tests are summarized greedily, but not by a member that is to summarize only a
    sample of each split.
    """
    p = params.load(PredictParams)
    from yoyak.data.records import DialogueFile, read_jsonl
    from yoyak.data.sampling import draw_sample
    from yoyak.decoding.candidates import WHOLE, write_candidates
    from yoyak.models.spec import load_spec
    from yoyak.tracking import runs
    from yoyak.tracking.traces import traced

    folder, out = project.model_folder(member), project.predictions_folder(member)
    reason = read_failure(folder)
    if reason:
        write_failure(out, reason)
        _train_again_next_time(member)
        print(f"members.{member} was not trained: {reason}", file=sys.stderr)
        return
    inputs = lineage.digests([project.EVAL_SPLITS, project.CASE_DIALOGUES, folder])
    with runs.stage_run("predict", member=member, params=params.dump(p), inputs=inputs) as run:
        from yoyak.decoding.loading import load_member
        from yoyak.decoding.predicting import predict_split
        from yoyak.decoding.summarizer import check_new_tokens

        summarizer = load_member(folder)
        check_new_tokens(summarizer, member, p.generation.max_new_tokens)
        size = load_spec(folder).max_samples
        with atomic_path(out) as work, traced(run):
            work.mkdir()
            for split, path in project.eval_splits().items():
                rows = draw_sample(DialogueFile(path), size, p.seed)
                done = predict_split(
                    summarizer, rows, work / path.name, generation=p.generation, views=p.views, seed=p.seed
                )
                if p.views:
                    run.log_metrics({f"{split}_views": done.views})
                    requested = p.views * done.dialogues
                    note = "" if done.views == requested else f" of {requested}: the others would have repeated one"
                    print(f"{split}: {done.views} views{note}", file=sys.stderr)
                run.log_metrics({f"{split}_dialogues": done.dialogues, f"{split}_truncated": done.truncated})
                run.log_metrics({f"{split}_read_{how}": n for how, n in done.read.items() if how != WHOLE})
                sentence = done.describe_readings()
                if sentence:
                    print(f"{split}: {sentence}", file=sys.stderr)
                run.log_metrics({f"{split}_{name}": value for name, value in done.measures.items()})
            if size is None:
                cases = read_jsonl(project.CASE_DIALOGUES)
                greedy = p.generation.model_copy(update={"num_beams": 1, "num_return_sequences": 1})
                summaries = summarizer.summarize([row.dialogue for row in cases], generation=greedy)
                path = work / project.case_predictions_file(member).relative_to(out)
                path.parent.mkdir()
                write_candidates(path, zip([row.fname for row in cases], summaries.candidates, strict=True))
        run.log_artifact(out, project.PREDICTIONS.name)


def _train_again_next_time(member: str) -> None:
    """Remove an output of a training that failed, also from DVC's cache: the next `dvc repro` then trains it again.

    It is done here since DVC stores the outputs of a stage only after the stage has ended. No other stage waits for
    this file to tell whether the member was trained.
    """
    path = project.training_file(member)
    if "DVC_STAGE" not in os.environ or not path.is_file():
        return
    from dvc.repo import Repo

    with Repo() as repo:
        Path(repo.cache.local.oid_to_path(lineage.digest(path))).unlink(missing_ok=True)
    path.unlink()
