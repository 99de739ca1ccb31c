"""A version against the champion on the gate split: what their scores are compared by."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from registry.scored_models import SCHEME, dialogue, register
from yoyak import project
from yoyak.data.records import Dialogue, write_jsonl
from yoyak.params import Registry
from yoyak.registration.challenge import challenge
from yoyak.registry.comparing import compare
from yoyak.registry.evaluations import attach_evaluations, score_summaries
from yoyak.scoring.metrics import METRICS
from yoyak.tracking import lineage
from yoyak.tracking.decisions import Verdict

DIALOGUES = [
    Dialogue(fname=f"gate-{number}", dialogue=dialogue(number), summaries=(f"두 사람은 {number}시에 만나기로 한다.",))
    for number in range(60)
]


def test_versions_are_compared_by_the_scores_of_now(store: Any) -> None:
    path = project.split_file("dev")
    path.parent.mkdir(parents=True)
    write_jsonl(path, DIALOGUES)
    summaries = [f"{number}시에 만난다." for number in range(60)]
    now = score_summaries("dev", lineage.digest(path), DIALOGUES, summaries, SCHEME)
    then = replace(now, rows=tuple(replace(row, scores=dict.fromkeys(row.scores, 0.1)) for row in now.rows))
    register(evaluations=[then])
    register(evaluations=[now])
    differences = compare(["yoyak/1", "yoyak/2"]).differences
    assert {(each.metric, each.difference, each.p_value) for each in differences} == {
        (metric, 0.0, 1.0) for metric in METRICS
    }


@pytest.mark.parametrize("stored", [0.1, 0.99])
def test_summaries_that_were_scored_in_another_way_are_scored_again(store: Any, stored: float) -> None:
    """The champion's were scored by an older version of the code, with other values for the same summaries."""
    summaries = [f"{number}시에 만난다." for number in range(60)]
    now = score_summaries("gate", "d1", DIALOGUES, summaries, SCHEME)
    then = replace(now, rows=tuple(replace(row, scores=dict.fromkeys(row.scores, stored)) for row in now.rows))
    champion, challenger = register(evaluations=[then]), register(evaluations=[now])
    for version in (champion, challenger):
        attach_evaluations(version.run_id, version.model_id, [], trained_on=[])

    def judge(rows: list[Dialogue]) -> Verdict:
        return challenge(challenger, champion, rows, now, rules=Registry(), seed=0, folder=Path(), behaviour={})

    verdict = judge(DIALOGUES)
    assert (verdict.outcome, verdict.gain) == ("failed", 0.0)
    assert verdict.p_value == pytest.approx(0.5, abs=0.1)
    # Also those of a champion that has summarized only some of the dialogues.
    some = register(name="yoyak-some", evaluations=[replace(then, rows=then.rows[::-1][:50])])
    attach_evaluations(some.run_id, some.model_id, [], trained_on=[])
    champion = some
    assert (judge(DIALOGUES).dialogues, judge(DIALOGUES).gain) == (50, 0.0)
