"""A database of trials gives what Optuna's own storage would."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest

from yoyak.studies.storage import PatientStorage


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_a_trial_that_was_just_created_is_as_the_database_has_it(tmp_path: Path) -> None:
    storage = PatientStorage(f"sqlite:///{tmp_path / 'trials.db'}")
    study = optuna.create_study(storage=storage)
    first = storage.create_new_trial(study._study_id)
    second = storage.create_new_trial(study._study_id)
    for trial_id in (second, first):
        assert storage.get_trial(trial_id) == storage.get_trial(trial_id)
    third = storage.create_new_trial(study._study_id)
    storage.get_trial(third).params["x"] = 1.0
    assert storage.get_trial(third).params == {}
    fourth = storage.create_new_trial(study._study_id)
    storage.set_trial_user_attr(fourth, "worker", "a")
    assert storage.get_trial(fourth).user_attrs == {"worker": "a"}
    study.enqueue_trial({"x": 0.5})
    queued = study.ask({"x": optuna.distributions.FloatDistribution(0, 1)})
    assert queued.params == {"x": 0.5}
    study.tell(queued, 1.0)
    assert storage.get_trial(queued._trial_id).value == 1.0
