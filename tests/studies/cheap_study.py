"""A kind of study that trains nothing, as another package adds it: what its trials do is in files beside the study."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from yoyak.params.studies import Searched
from yoyak.studies.kinds import Kind, RunningTrial, StoppedError


class CheapStudy(Searched):
    """A bowl whose lowest point is at x = 0.3."""

    kind: Literal["cheap"]
    steps: int = 2
    seconds: float = 0.0
    """Of each step."""
    fail: dict[int, str] = Field(default={})
    """By the number of an attempt: how it ends."""
    poison: int | None = None
    """The number of a first attempt whose process dies, and that of every other attempt at the same trial."""
    die_scoring: bool = False


class Cheap(Kind):
    schema = CheapStudy
    measures = ("combined", "cost")
    study: CheapStudy

    def inputs(self) -> Sequence[Path]:
        return [Path("data.txt")]

    def run(self, trial: RunningTrial, values: Mapping[str, Any]) -> Mapping[str, float]:
        progress = trial.folder / "step"
        done = int(progress.read_text()) if progress.exists() else 0
        trial.note("resumed_from", done)
        trial.note("environment", {name: os.environ.get(name) for name in ("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS")})
        how = self.study.fail.get(trial.number)
        rate = values.get("members.bart.learning_rate", 0.3)
        value = 1 - (rate - 0.3) ** 2
        for step in range(done, self.study.steps):
            if trial.should_stop():
                raise StoppedError
            if (how == "kill" and step == 1) or int(trial.folder.name) == self.study.poison:
                os.kill(os.getpid(), signal.SIGKILL)
            if how == "memory":
                raise MemoryError
            if how == "nan":
                value = float("nan")
            time.sleep(self.study.seconds)
            trial.report(step, value)
            trial.log(step, {"value": value})
            progress.write_text(str(step + 1))
        (trial.folder / "model").write_text("weights")
        return {"combined": value, "cost": rate}

    def score(self, folder: Path, values: Mapping[str, Any]) -> Mapping[str, Sequence[float]]:
        if self.study.die_scoring:
            os.kill(os.getpid(), signal.SIGKILL)
        assert (folder / "model").read_text() == "weights"
        return {"dev": [0.1, 0.2, 0.3], "gate": [0.0, 0.1, 0.2]}
