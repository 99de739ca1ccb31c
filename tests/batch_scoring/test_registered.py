"""Registered models: parts say which version wrote them, and an alias that has moved on is another model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from mlflow import MlflowClient

from batch_scoring.dialogue_files import ROWS, read_parts, write_csv
from mlflow_helpers import DIALOGUE
from yoyak import params
from yoyak.batch_scoring.run import Options, score
from yoyak.errors import UserError
from yoyak.models.spec import load_spec, save_spec
from yoyak.registration.packaging import log_exported
from yoyak.registry import promotion
from yoyak.tracking import runs


@pytest.mark.slow
def test_an_alias_that_has_moved_on_is_another_model(store: MlflowClient, exported: Path, tmp_path: Path) -> None:
    def register() -> None:
        with runs.stage_run("export", params={}, inputs={}) as run:
            model_id = log_exported(run, folder, serving=params.Serving(batch_size=4), example=DIALOGUE)
            version = promotion.register_version("yoyak", model_id=model_id, run_id=run.run_id, tags={})
        store.set_registered_model_alias("yoyak", "serving", str(version.version))

    def run(model: str) -> str:
        return score(model, str(path), "out", params.Data(), Options(engine="local", workers=1))

    path = write_csv(tmp_path / "a.csv", ROWS[:3])
    folder = tmp_path / "bart"
    folder.symlink_to(exported)
    register()
    run("models:/yoyak@serving")
    assert {row["model"] for row in read_parts(Path("out"))} == {"models:/yoyak/1"}
    folder = tmp_path / "copy"
    folder.mkdir()
    for file in exported.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    spec = load_spec(folder)
    save_spec(folder, replace(spec, generation=spec.generation.model_copy(update={"num_beams": 2})))
    register()
    with pytest.raises(UserError, match=r"the model was models:/yoyak/1 and is models:/yoyak/2 \(and 1 more\)"):
        run("models:/yoyak@serving")
    assert "3 of them before" in run("models:/yoyak/1")
