"""The local module of Hugging Face evaluate loads with the Hub switched off and gives rouge's means."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from yoyak.scoring import module_path
from yoyak.scoring.rouge import rouge

CODE = """
import json, evaluate, yoyak.scoring
metric = evaluate.load(str(yoyak.scoring.module_path()))
texts = ["#Person1#은 집에 간다.", "비가 온다."]
several = [["#Person1#은 학교에 간다.", "#Person1#은 집에 온다."], ["눈이 온다."]]
single = [row[0] for row in several]
print(json.dumps([
    metric.compute(predictions=texts, references=several),
    metric.compute(predictions=texts, references=several, granularity="syllable", multi_reference="max"),
    metric.compute(predictions=texts, references=single, granularity="english", weights=[1, 0, 0]),
]))
"""


@pytest.mark.slow
def test_evaluate_loads_the_folder_offline(tmp_path: Path) -> None:
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path), "HTTPS_PROXY": "http://127.0.0.1:9"}
    completed = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=False, env=env)
    assert completed.returncode == 0, completed.stderr
    texts = ["#Person1#은 집에 간다.", "비가 온다."]
    several = [["#Person1#은 학교에 간다.", "#Person1#은 집에 온다."], ["눈이 온다."]]
    calls: list[tuple[list[list[str]], dict[str, Any]]] = [
        (several, {"granularity": "morpheme", "multi_reference": "mean", "weights": (0.33, 0.33, 0.34)}),
        (several, {"granularity": "syllable", "multi_reference": "max", "weights": (0.33, 0.33, 0.34)}),
        ([row[:1] for row in several], {"granularity": "english", "multi_reference": "mean", "weights": (1, 0, 0)}),
    ]
    for actual, (references, options) in zip(json.loads(completed.stdout.splitlines()[-1]), calls, strict=True):
        assert actual == {
            metric: float(values.mean()) for metric, values in rouge(texts, references, **options).items()
        }


def test_the_module_is_where_module_path_says() -> None:
    assert (module_path() / f"{module_path().name}.py").is_file()
