"""What is kept of a study's trials on disk."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from yoyak.studies import files, records


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_the_checkpoints_of_an_interrupted_trial_are_kept_until_it_has_ended(tmp_path: Path) -> None:
    """Also in the moment in which it has ended and is not queued again yet, when another trial may end."""
    study = optuna.create_study(direction="maximize")

    def remaining() -> list[str]:
        trials = study.get_trials()
        files.remove_weights(tmp_path, trials, records.best_trials(study, trials, 1))
        return sorted(path.name for path in (tmp_path / files.TRIALS).iterdir())

    for number in range(3):
        trial = study.ask({"rate": optuna.distributions.FloatDistribution(0, 1)})
        files.trial_folder(tmp_path, study.trials[number]).mkdir(parents=True)
        if number == 0:
            trial.set_user_attr(records.FAILURE, records.INTERRUPTED)
            study.tell(trial, state=TrialState.FAIL)
        else:
            study.tell(trial, number)
    assert remaining() == ["0", "2"]
    assert records.requeue(study, study.get_trials()[0], retries=None)
    assert remaining() == ["0", "2"]
    study.tell(study.ask(), 0.5)
    assert study.trials[3].state is TrialState.COMPLETE
    assert remaining() == ["2"]
