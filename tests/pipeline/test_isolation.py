"""A member whose training fails: the pipeline goes on without it, and tries it again the next time."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from pipeline.conftest import edit, succeed

pytestmark = pytest.mark.slow


def ran(printed: str) -> set[str]:
    return set(re.findall(r"Running stage '([^']+)'", printed))


def let_gpt2_diverge(tree: dict[str, Any]) -> None:
    tree["train"] = {"on_error": "isolate"}
    tree["members"] = {name: tree["members"][name] for name in ("bart", "gpt2")}
    tree["members"]["gpt2"] |= {"learning_rate": 1e30, "lr_scheduler_type": "constant_with_warmup", "warmup_ratio": 0}
    tree["ensemble"] |= {"strategies": {"vote": {"type": "vote"}}, "models": {}}
    tree["registry"]["ensemble"] = "vote"


def test_the_others_go_on_without_a_member_that_fails(small_project: Path, fast_path: str) -> None:
    edit(small_project, let_gpt2_diverge)
    printed = succeed(small_project, "dvc", "repro", PATH=fast_path)
    assert {"train@bart", "train@gpt2", "evaluate", "register", "report"} <= ran(printed)
    sentence, _, rest = (small_project / "errors/gpt2.log").read_text().partition("\n")
    assert "learning_rate" in sentence
    assert "Traceback" in rest
    assert json.loads((small_project / "models/gpt2/failure.json").read_text())["reason"] == sentence
    report = (small_project / "report/report.md").read_text()
    assert "1e+30" in report.partition("##")[0]
    assert "vote" in report.partition("##")[0]
    scores = {path.stem for path in (small_project / "metrics/scores").iterdir()}
    assert "bart" in scores
    assert not scores & {"gpt2", "vote"}
    store = MlflowClient(f"sqlite:///{small_project / 'mlflow.db'}")
    assert {model.name for model in store.search_registered_models()} == {"yoyak", "yoyak-bart"}
    [failed] = [run for run in store.search_runs(["1"]) if run.info.run_name == "train gpt2"]
    assert failed.info.status == "FAILED"

    again = ran(succeed(small_project, "dvc", "repro", "evaluate", PATH=fast_path))
    # What reads the models' folders runs too, and what reads only its results does not.
    assert again == {"train@gpt2", "predict@gpt2", "score_candidates"}

    edit(small_project, lambda tree: tree["members"]["gpt2"].update(learning_rate=1e-3))
    assert "train@bart" not in ran(succeed(small_project, "dvc", "repro", "ensemble@vote", PATH=fast_path))
    assert not (small_project / "errors/gpt2.log").exists()
    assert (small_project / "ensembles/vote/test.jsonl").is_file()
