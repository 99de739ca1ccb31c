"""The section ``train`` of params.yaml: how trainings are run; what they train is said by ``members``."""

from __future__ import annotations

from typing import Literal

from yoyak.params.base import Section

OnError = Literal["stop", "isolate"]


class Train(Section):
    """How trainings are run. No stage depends on it: a model is the same either way."""

    on_error: OnError = "stop"
    """What a training that fails does to the pipeline: ``stop`` ends it; ``isolate`` lets it go on with the other
    members, and the next `dvc repro` tries this one again."""


class TrainPolicy(Section):
    """What stages before the predictions do if they fail; not a param of theirs in dvc.yaml."""

    train: Train
