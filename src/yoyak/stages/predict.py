"""yoyak predict <member>: a member's candidates for every split."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from yoyak import params, project
from yoyak.files import atomic_path
from yoyak.params.stages import PredictParams
from yoyak.stages.arguments import MemberName

if TYPE_CHECKING:
    from yoyak.decoding.candidates import Candidate
    from yoyak.decoding.summarizer import Summarizer


def run(member: MemberName, /) -> None:
    """Write the member's candidates for every split but train, those of the dialogues' views behind its own."""
    p = params.load(PredictParams)
    from yoyak.data.records import read_jsonl
    from yoyak.decoding.candidates import write_candidates
    from yoyak.tracking import lineage, runs

    folder = project.model_folder(member)
    with runs.stage_run(
        "predict", member=member, params=params.dump(p), inputs=lineage.digests([project.EVAL_SPLITS, folder])
    ) as run:
        from yoyak.decoding.summarizer import check_new_tokens
        from yoyak.decoding.torch import TorchSummarizer

        summarizer = TorchSummarizer.load(folder)
        check_new_tokens(summarizer, member, p.generation.max_new_tokens)
        out = project.predictions_folder(member)
        with atomic_path(out) as work:
            work.mkdir()
            for path in project.eval_splits().values():
                rows = read_jsonl(path)
                summaries = summarizer.summarize([row.dialogue for row in rows], generation=p.generation, progress=True)
                found = summaries.candidates
                if p.views:
                    found, made = _with_views(summarizer, [row.dialogue for row in rows], found, p)
                    run.log_metrics({f"{path.stem}_views": made})
                    wanted = p.views * len(rows)
                    short = "" if made == wanted else f" of {wanted}: the others would have repeated one"
                    print(f"{path.stem}: {made} views{short}", file=sys.stderr)
                write_candidates(work / path.name, zip([row.fname for row in rows], found, strict=True))
                run.log_metrics({f"{path.stem}_dialogues": len(rows), f"{path.stem}_truncated": summaries.truncated})
        run.log_artifact(out, project.PREDICTIONS.name)


def _with_views(
    summarizer: Summarizer, dialogues: Sequence[str], found: Sequence[list[Candidate]], p: PredictParams
) -> tuple[list[list[Candidate]], int]:
    """Return each dialogue's candidates with those of its views behind them, and the number of views."""
    from yoyak.data.augmenting import make_views

    made = [make_views(dialogue, p.views, p.seed) for dialogue in dialogues]
    texts = [text for each in made for text in each]
    read = iter(summarizer.summarize(texts, generation=p.generation, progress=True).candidates)
    together = [
        [*own, *(replace(one, view=number) for number in range(1, len(each) + 1) for one in next(read))]
        for own, each in zip(found, made, strict=True)
    ]
    return together, len(texts)
