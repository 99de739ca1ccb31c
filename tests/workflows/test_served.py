"""`make served`: a registered model that `mlflow models serve` serves is asked real requests."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mlflow_helpers import DIALOGUE, register_champion
from yoyak.registration.packaging import log_member
from yoyak.tracking import runs

SERVED = Path(__file__).parents[2] / ".github/served.py"


@pytest.mark.slow
def test_the_champion_is_served_and_asked(store, tiny_bart):
    with runs.stage_run("train", member="bart", params={}, inputs={}) as run:
        model_id = log_member(run, tiny_bart, example=DIALOGUE)
    register_champion("yoyak", model_id, run.run_id)
    done = subprocess.run([sys.executable, str(SERVED)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("models:/yoyak@champion answers: ")
    missing = subprocess.run(
        [sys.executable, str(SERVED), "models:/yoyak@nobody"], capture_output=True, text=True, check=False
    )
    assert missing.returncode == 1
    assert "did not start" in missing.stderr
