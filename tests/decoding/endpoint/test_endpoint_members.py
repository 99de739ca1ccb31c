"""Members that ask an endpoint walk through all stages, and their key stays where it is: in the environment."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dvc.repo import Repo
from mlflow import MlflowClient
from ruamel.yaml import YAML

from decoding.endpoint.conftest import values
from endpoint_proxy import KEY, Proxy
from mlflow_helpers import git
from yoyak.cli.app import main
from yoyak.data.records import read_jsonl
from yoyak.data.samples import write_corpus
from yoyak.decoding.candidates import read_candidates
from yoyak.errors import UserError
from yoyak.registration.evaluations import PipelineEvaluation
from yoyak.registry.resolve import resolve_model
from yoyak.scoring.results import EvaluationSummary, read_evaluation
from yoyak.serving.loading import load_summarizer
from yoyak.stages import base, behaviour, check, ensemble, evaluate, predict, prepare, register, report, train
from yoyak.tracking import client, runs
from yoyak.tracking.registered import read_registered

pytestmark = pytest.mark.slow
MEMBERS = ("solar", "shots", "sampled")
SAMPLE = 5
PIPELINE = """\
stages:
  predict:
    cmd: yoyak predict solar
    deps: [models/solar, prompts]
    params: [members.solar]
    outs: [predictions/solar]
"""
WRONG = "sk-wrong-0123456789abcdef"
CASES = """\
language: ko
empty: [""]
fillers: [음.]
dialogues:
  - name: meeting
    dialogue: |
      #Person1#: 내일 세 시에 만날까요?
      #Person2#: 아니요, 네 시가 좋아요.
"""


def write_project(folder: Path, proxy: Proxy) -> None:
    write_corpus(folder / "data", train=24, dev=8, test=10, gate=8, seed=1)
    (folder / "data/handwritten.csv").unlink(missing_ok=True)
    (folder / "prompts").mkdir()
    (folder / "prompts/plain.yaml").write_text('system: 요약한다.\nuser: "{{ dialogue }}"\n', encoding="utf-8")
    (folder / "cases").mkdir()
    (folder / "cases/mine.yaml").write_text(CASES, encoding="utf-8")
    member = {**values(proxy), "price": {"input": 1, "output": 1}, "budget": 1}
    files = {split: f"{split}.csv" for split in ("train", "dev", "test", "gate")}
    tree: dict[str, Any] = {
        "data": {
            "files": files,
            "columns": {"summary": ["summary", "summary1", "summary2", "summary3"], "slice": "slice"},
        },
        "members": {
            "solar": member,
            "shots": {**member, "few_shot": {"examples": 2}},
            "sampled": {**member, "max_samples": SAMPLE, "max_tokens": 9},
        },
        "generation": {"max_new_tokens": 8},
        "ensemble": {"granularity": "syllable", "strategies": {"vote": {"type": "vote"}}},
        "scoring": {"granularities": ["syllable"], "bootstrap_samples": 100, "samples": 4},
        "behaviour": {"cases": ["mine"]},
        "registry": {"ensemble": "vote", "min_dialogues": 2},
        "report": {"dialogues": 4},
    }
    with (folder / "params.yaml").open("w", encoding="utf-8") as out:
        YAML().dump(tree, out)


@pytest.fixture(scope="module")
def walked(served: Proxy, empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A project in which every stage has run, while the endpoint failed now and then."""
    folder = tmp_path_factory.mktemp("project")
    served.reset()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("TEST_API_KEY", KEY)
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
        patch.setattr(client, "_clients", {})
        patch.setattr(runs, "_outer_run", [])
        shutil.copy(empty_store, folder / "mlflow.db")
        write_project(folder, served)
        git("init", "-q", "-b", "main")
        git("add", "params.yaml", "prompts")
        git("commit", "-q", "-m", "first")
        prepare.run()
        for name in MEMBERS:
            base.run(name)
        check.run()
        assert not served.asked, "a check spends no tokens"
        for name in MEMBERS:
            train.run(name)
        patch.setenv("TEST_API_KEY", WRONG)
        with pytest.raises(UserError, match="cannot be used here: solar"):
            check.run("solar")
        with pytest.raises(UserError, match="refuses the key"):
            predict.run("solar")

        assert main(["predict", "solar"]) == 1
        patch.setenv("TEST_API_KEY", KEY)
        served.asked.clear()
        for name in MEMBERS:
            served.faults.extend(["500", "429", "malformed", "cut"])
            predict.run(name)
        ensemble.run("vote")
        evaluate.run()
        behaviour.run()
        register.run()
        report.run()
        (folder / "dvc.yaml").write_text(PIPELINE, encoding="utf-8")
        with Repo.init() as repo:
            repo.commit(force=True)
        yield folder


def test_no_file_holds_the_key(walked: Path) -> None:
    names = [path for path in walked.rglob("*") if path.is_file()]
    expected = {"mlflow.db", "answers.db", "yoyak.json", "params.yaml", "index.html", "yoyak.log", "dvc.lock"}
    assert {path.name for path in names} >= expected
    assert "TEST_API_KEY" in (walked / "dvc.lock").read_text(encoding="utf-8")
    assert "refuses the key" in (walked / "logs/yoyak.log").read_text(encoding="utf-8")
    with sqlite3.connect(walked / "mlflow.db") as file:
        spans = "\n".join(map(str, file.execute("SELECT content FROM spans").fetchall()))
        file.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert "요약한다" in spans, "the traces are in the file that is searched"
    for secret in (KEY, WRONG):
        assert [path for path in names if secret.encode() in path.read_bytes()] == []


def test_each_request_is_traced_to_its_run(walked: Path) -> None:
    store = MlflowClient(f"sqlite:///{walked}/mlflow.db")
    [experiment] = store.search_experiments(filter_string="name = 'yoyak'")
    [run] = store.search_runs(
        [experiment.experiment_id],
        "tags.`yoyak.stage` = 'predict' and tags.`yoyak.member` = 'solar' and status = 'FINISHED'",
    )
    assert run.data.metrics["test_requests"] + run.data.metrics["dev_requests"] >= 18
    assert run.data.metrics["dev_cost"] > 0
    traces = store.search_traces(locations=[experiment.experiment_id], max_results=500)
    mine = [trace for trace in traces if trace.info.trace_metadata.get("mlflow.sourceRun") == run.info.run_id]
    assert len(mine) >= 8 + 10 + 8
    assert all(trace.info.token_usage["output_tokens"] == 10 for trace in mine)


@pytest.fixture(scope="module")
def summary(walked: Path) -> EvaluationSummary:
    return read_evaluation(walked / "evaluation")


def test_a_sample_is_scored_with_the_interval_of_its_size(walked: Path, summary: EvaluationSummary) -> None:
    rows = {
        score.system: score.interval
        for score in summary.scores
        if score.part.label == "test" and score.metric == "combined"
    }
    assert (rows["solar"].n, rows["sampled"].n) == (10, SAMPLE)
    assert len(read_candidates(walked / "predictions/sampled/test.jsonl")) == SAMPLE
    pairs = {
        (row.system, row.against): row.gain.n
        for row in summary.comparisons
        if row.part.label == "test" and row.metric == "combined"
    }
    assert {n for pair, n in pairs.items() if "sampled" in pair} == {SAMPLE}
    assert {n for pair, n in pairs.items() if "sampled" not in pair} == {10}
    assert summary.best_member != "sampled"


def test_a_sample_takes_part_in_no_ensemble(walked: Path) -> None:
    assert json.loads((walked / "ensembles/vote/info.json").read_text())["members"] == ["solar", "shots"]
    analysis = json.loads((walked / "evaluation/ensembles.json").read_text())
    assert set(analysis["members"]) == {"solar", "shots"}
    tree = YAML(typ="safe").load(walked / "params.yaml")
    tree["ensemble"]["strategies"]["vote"]["members"] = ["solar", "sampled"]
    from yoyak.params import validate

    with pytest.raises(UserError, match="vote refers to the member 'sampled', which summarizes only a sample"):
        validate(tree, "params.yaml")


def test_examples_are_turns_before_the_dialogue(walked: Path, served: Proxy) -> None:
    with_examples = [body["messages"] for body in served.asked if len(body["messages"]) > 2]
    assert with_examples
    assert {tuple(message["role"] for message in messages) for messages in with_examples} == {
        ("system", "user", "assistant", "user", "assistant", "user")
    }
    train_rows = {row.dialogue for row in read_jsonl(walked / "prepared/train.jsonl")}
    assert all({messages[1]["content"], messages[3]["content"]} <= train_rows for messages in with_examples)


def test_a_version_says_what_it_needs(walked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = {model.member: model.name for model in read_registered(walked).registered}
    store = MlflowClient(f"sqlite:///{walked}/mlflow.db")
    version = store.get_model_version(names["sampled"], "1")
    assert version.tags["variant"] == "endpoint"
    assert version.tags["endpoint.model"] == "yoyak"
    assert version.tags["endpoint.api_key_env"] == "TEST_API_KEY"
    assert len(version.tags["endpoint.prompt_digest"]) == 16
    folder = resolve_model(f"models:/{names['sampled']}/1")
    pinned = (folder.parents[1] / "requirements.txt").read_text(encoding="utf-8")
    assert "openai==" in pinned
    monkeypatch.setenv("TEST_API_KEY", KEY)
    assert len(load_summarizer(folder).summarize(["#Person1#: 새 대화입니다."]).texts) == 1
    monkeypatch.delenv("TEST_API_KEY")
    with pytest.raises(UserError, match="TEST_API_KEY is not set"):
        load_summarizer(folder).summarize(["#Person1#: 또 다른 대화입니다."])


def test_the_report_says_how_many_were_summarized(walked: Path) -> None:
    assert f"n = {SAMPLE}" in (walked / "report/report.md").read_text(encoding="utf-8")


def test_the_gate_gets_what_there_is(walked: Path) -> None:
    from yoyak import params

    pipeline = PipelineEvaluation.read(params.load(params.Params).scoring)
    sizes = {evaluation.split: len(evaluation.rows) for evaluation in pipeline.of_member("sampled")}
    assert sizes == {"dev": SAMPLE, "gate": SAMPLE, "test": SAMPLE}


def test_a_rerun_asks_nothing(walked: Path, served: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {path: path.read_bytes() for path in (walked / "predictions").rglob("*.jsonl")}
    monkeypatch.delenv("TEST_API_KEY")
    served.asked.clear()
    for name in MEMBERS:
        predict.run(name)
    assert not served.asked
    assert {path: path.read_bytes() for path in (walked / "predictions").rglob("*.jsonl")} == before
