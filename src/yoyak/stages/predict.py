"""yoyak predict <member>: a member's candidates for every split but train."""

from __future__ import annotations

import sys

from yoyak import params, project
from yoyak.files import atomic_path
from yoyak.params.stages import PredictParams
from yoyak.stages.arguments import MemberName


def run(member: MemberName, /) -> None:
    """Write predictions/<member>/: n-best candidates of each dialogue, and after them those of its views."""
    p = params.load(PredictParams)
    from yoyak.data.records import read_jsonl
    from yoyak.decoding.candidates import write_candidates
    from yoyak.tracking import lineage, runs

    folder, out = project.model_folder(member), project.predictions_folder(member)
    inputs = lineage.digests([project.EVAL_SPLITS, folder])
    with runs.stage_run("predict", member=member, params=params.dump(p), inputs=inputs) as run:
        from yoyak.decoding.loading import load_member
        from yoyak.decoding.summarizer import check_new_tokens
        from yoyak.decoding.views import add_view_candidates

        summarizer = load_member(folder)
        check_new_tokens(summarizer, member, p.generation.max_new_tokens)
        with atomic_path(out) as work:
            work.mkdir()
            for split, path in project.eval_splits().items():
                rows = read_jsonl(path)
                dialogues = [row.dialogue for row in rows]
                summaries = summarizer.summarize(dialogues, generation=p.generation, progress=True)
                candidates = summaries.candidates
                if p.views:
                    candidates, views = add_view_candidates(
                        summarizer, dialogues, candidates, generation=p.generation, views=p.views, seed=p.seed
                    )
                    run.log_metrics({f"{split}_views": views})
                    requested = p.views * len(rows)
                    note = "" if views == requested else f" of {requested}: the others would have repeated one"
                    print(f"{split}: {views} views{note}", file=sys.stderr)
                write_candidates(work / path.name, zip([row.fname for row in rows], candidates, strict=True))
                run.log_metrics({f"{split}_dialogues": len(rows), f"{split}_truncated": summaries.truncated})
        run.log_artifact(out, project.PREDICTIONS.name)
