"""What is shown while a study runs."""

from __future__ import annotations

import io
import sys

import optuna
import pytest

from yoyak.studies.progress import Progress, describe, estimate


@pytest.fixture
def study() -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(direction="maximize")
    for rate, score in ((0.1, 0.5), (0.2, 0.7)):
        study.enqueue_trial({"members.bart.learning_rate": rate})
        trial = study.ask()
        trial.suggest_float("members.bart.learning_rate", 0, 1)
        study.tell(trial, score)
    study.tell(study.ask(), state=optuna.trial.TrialState.FAIL)
    study.ask()
    return study


def end(seconds: float) -> dict[str, object]:
    return {"number": 0, "state": "COMPLETE", "values": [0.5], "seconds": seconds}


def test_the_view_has_states_the_best_trial_and_the_end(study: optuna.Study) -> None:
    progress = Progress(name="h", target=6, workers=2)
    assert estimate(progress, 0) is None
    for seconds in (10, 30, 20):
        progress.ended(end(seconds))
    lines = describe(progress, study, study.get_trials(), [])
    assert lines[0] == "h: 2 of 6 trials ended (2 complete, 1 fail, 1 running)"
    assert lines[1] == "best: 0.7000 (trial 1: learning_rate=0.2)"
    assert lines[2] == "ends in about 40 s"


def test_without_a_terminal_each_trial_is_a_line(study: optuna.Study, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = io.StringIO()
    monkeypatch.setattr(sys, "stderr", shown)
    with Progress(name="h", target=6, workers=1) as progress:
        progress.show(study, study.get_trials(), [])
        progress.ended(end(1.25))
        progress.ended({**end(0.5), "state": "FAIL", "values": None, "reason": "out of memory"})
        assert shown.getvalue().splitlines() == [
            "h 0: complete 0.5000 (1.2 s)",
            "h 0: fail (0.5 s) out of memory",
        ]
