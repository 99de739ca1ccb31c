import json
import shutil
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from mlflow_helpers import DIALOGUE
from yoyak.ensemble.combine import Combiner
from yoyak.ensemble.summarizer import save_ensemble
from yoyak.errors import UserError
from yoyak.models.spec import load_spec, save_spec
from yoyak.params.ensemble import Vote
from yoyak.registration.packaging import log_member
from yoyak.serving.saving import save_model
from yoyak.tracking import runs


@pytest.fixture
def logged(store, tiny_bart):
    with runs.stage_run("train", member="bart", params={"seed": 1}, inputs={}) as run:
        model_id = log_member(run, tiny_bart, example=DIALOGUE)
    return store.get_logged_model(model_id)


@pytest.fixture
def artifacts(logged):
    return Path(logged.artifact_location)


def load(logged):
    import mlflow

    return mlflow.pyfunc.load_model(f"models:/{logged.model_id}")


def summaries(model, texts, **params):
    return model.predict(pd.DataFrame({"dialogue": texts}), **params)["summary"]


def test_the_model_belongs_to_its_run(store, logged):
    run = store.get_run(logged.source_run_id)
    assert logged.name == "bart"
    assert str(logged.status).endswith("READY")
    assert logged.params["seed"] == "1"
    assert run.data.tags["yoyak.model_id"] == logged.model_id
    assert [output.model_id for output in run.outputs.model_outputs] == [logged.model_id]


def test_it_holds_code_and_weights_and_no_pickle(artifacts):
    files = [path for path in artifacts.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} <= {
        ".py",
        ".json",
        ".safetensors",
        ".yaml",
        ".txt",
        ".sha256",
        ".html",
        ".css",
        ".js",
        ".j2",
        "",
    }
    assert not any(path.read_bytes().startswith(b"\x80") for path in files)
    assert not list(artifacts.rglob("__pycache__"))
    assert (artifacts / "code" / "yoyak" / "decoding" / "torch.py").is_file()
    assert (artifacts / "artifacts" / "bart" / "yoyak.json").is_file()
    assert (artifacts / "model.py").is_file()


def test_it_is_not_loaded_with_other_files_than_were_logged(store, logged, artifacts, monkeypatch):
    """As `mlflow models serve` loads it, which knows nothing of a digest."""
    monkeypatch.setenv("YOYAK_MODEL_SHA256", store.get_logged_model(logged.model_id).tags["yoyak.sha256"])
    assert len(summaries(load(logged), [DIALOGUE])) == 1
    monkeypatch.setenv("YOYAK_MODEL_SHA256", "0" * 64)
    with pytest.raises(UserError, match="is not what was logged"):
        load(logged)
    monkeypatch.delenv("YOYAK_MODEL_SHA256")
    config = artifacts / "artifacts/bart/config.json"
    config.write_text(config.read_text() + " ")
    with pytest.raises(UserError, match=r"the file artifacts/bart/config\.json is not the one that was logged"):
        load(logged)


def test_signature_example_and_requirements(artifacts):
    import mlflow
    from packaging.requirements import Requirement

    signature = mlflow.models.Model.load(artifacts).signature
    assert signature.inputs.to_dict() == [{"type": "string", "name": "dialogue", "required": True}]
    assert signature.outputs.to_dict() == [
        {"type": "string", "name": "summary", "required": True},
        {"type": "boolean", "name": "truncated", "required": True},
        {"type": "string", "name": "read", "required": True},
    ]
    defaults = {param.name: param.default for param in signature.params}
    assert defaults == {
        "num_beams": 2,
        "max_new_tokens": 12,
        "min_new_tokens": 4,
        "length_penalty": 1.0,
        "no_repeat_ngram_size": 0,
        "repetition_penalty": 1.0,
    }
    example = json.loads((artifacts / "serving_input_example.json").read_text())
    assert example["dataframe_split"]["data"] == [[DIALOGUE]]
    assert example["params"] == defaults
    pinned = {Requirement(line).name: line for line in (artifacts / "requirements.txt").read_text().split()}
    assert pinned["torch"] == "torch==2.13.0"
    assert {
        "mlflow",
        "prometheus-client",
        "transformers",
        "tokenizers",
        "safetensors",
        "pydantic",
        "ruamel.yaml",
    } <= set(pinned)


def test_it_answers_like_the_summarizer(logged, tiny_bart):
    from yoyak.decoding.torch import TorchSummarizer

    second = "#Person1#: 만날까요?"
    summarizer = TorchSummarizer.load(tiny_bart)
    expected = summarizer.summarize([DIALOGUE, second]).texts
    model = load(logged)
    answers = model.predict(pd.DataFrame({"fname": ["a", "b"], "dialogue": [DIALOGUE, second]}))
    assert answers.to_dict("list") == {"summary": expected, "truncated": [False, False], "read": ["whole", "whole"]}
    short = list(summaries(model, [DIALOGUE], params={"max_new_tokens": 4, "num_beams": 1}))
    settings = summarizer.generation.model_copy(update={"max_new_tokens": 4, "num_beams": 1, "num_return_sequences": 1})
    assert short == summarizer.summarize([DIALOGUE], generation=settings).texts
    assert short != expected[:1]


def test_a_direct_call_may_be_larger_than_a_request(logged, monkeypatch):
    monkeypatch.setenv("YOYAK_SERVING_MAX_ROWS", "2")
    monkeypatch.setenv("YOYAK_SERVING_QUEUE_SIZE", "2")
    answers = load(logged).predict(pd.DataFrame({"dialogue": [DIALOGUE] * 5}))
    assert len(answers) == 5 and answers["summary"].nunique() == 1


def test_it_writes_as_many_tokens_as_it_has_positions_for(logged):
    from mlflow.exceptions import MlflowException

    model, frame = load(logged), pd.DataFrame({"dialogue": [DIALOGUE]})
    assert len(model.predict(frame, params={"max_new_tokens": 255, "min_new_tokens": 255, "num_beams": 1})) == 1
    with pytest.raises(MlflowException, match=r"params\.max_new_tokens may be at most 255"):
        model.predict(frame, params={"max_new_tokens": 256, "num_beams": 1})


def test_requests_at_once_get_their_own_answers(logged):
    model = load(logged)
    texts = [f"#Person1#: {'네 ' * number}" for number in range(1, 9)]
    expected = [summaries(model, [text])[0] for text in texts]
    answers = [""] * len(texts)

    def ask(index):
        answers[index] = summaries(model, [texts[index]])[0]

    threads = [threading.Thread(target=ask, args=[index]) for index in range(len(texts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == expected


def test_it_loads_with_its_own_code_in_a_new_process(logged, tmp_path):
    code = f"""
import mlflow, pandas
model = mlflow.pyfunc.load_model({logged.artifact_location!r})
print(len(model.predict(pandas.DataFrame({{"dialogue": ["#Person1#: 네"]}}))))
import yoyak
print(yoyak.__file__)
"""
    completed = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=tmp_path)
    count, where = completed.stdout.split()
    assert (count, where) == ("1", f"{logged.artifact_location}/code/yoyak/__init__.py")


def test_logging_is_quiet_and_loads_no_torch(store, tiny_bart):
    code = f"""
import sys
from pathlib import Path
from yoyak.tracking import runs
with runs.stage_run("train", member="bart", params={{}}, inputs={{}}) as run:
    from yoyak.registration.packaging import log_member
    log_member(run, Path({str(tiny_bart)!r}), example="#Person1#: 네")
    print("torch" in sys.modules)
"""
    completed = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert (completed.stdout.strip(), completed.stderr) == ("False", "")


def test_a_view_of_links_is_logged_as_the_files_behind_them(store, tiny_bart, tmp_path):
    links = tmp_path / "links" / "bart"
    links.mkdir(parents=True)
    for path in tiny_bart.iterdir():
        (links / path.name).symlink_to(path)
    with runs.stage_run("train", member="bart", params={}, inputs={}) as run:
        model = store.get_logged_model(log_member(run, links, example=DIALOGUE))
    [weights] = Path(model.artifact_location).rglob("model.safetensors")
    assert not weights.is_symlink()
    assert weights.read_bytes() == (tiny_bart / "model.safetensors").read_bytes()


def test_an_invalid_model_gives_one_sentence_and_leaves_no_ready_model(store, tiny_bart, tmp_path):
    with runs.stage_run("train", member="bart", params={}, inputs={}) as run:
        with pytest.raises(UserError, match=r"yoyak\.json"):
            log_member(run, tmp_path, example=DIALOGUE)
        (tmp_path / "yoyak.json").write_bytes((tiny_bart / "yoyak.json").read_bytes())
        with pytest.raises(UserError, match=r"safetensors.*'bart'"):
            log_member(run, tmp_path, example=DIALOGUE)
    assert store.search_logged_models([run.experiment_id]) == []


@pytest.mark.parametrize("kind", ["soft", "vote"])
def test_an_ensemble_says_what_was_cut_for_any_of_its_members(kind, tiny_bart, tmp_path):
    import mlflow

    short = tmp_path / "short"
    shutil.copytree(tiny_bart, short)
    save_spec(short, replace(load_spec(tiny_bart), max_input_tokens=40))
    members, shares = {"long": tiny_bart, "short": short}, {"long": 0.5, "short": 0.5}
    vote = Combiner(strategy=Vote(type="vote"), granularity="eojeol", weights=shares)
    settings = {"soft": shares} if kind == "soft" else {"combiner": vote}
    generation = load_spec(tiny_bart).generation
    (tmp_path / "folder").mkdir()
    save_ensemble(tmp_path / "folder", members, generation, {}, **settings)
    save_model(tmp_path / "model", tmp_path / "folder", generation=generation, example=DIALOGUE, metadata={})
    model = mlflow.pyfunc.load_model(str(tmp_path / "model"))
    answers = model.predict(pd.DataFrame({"dialogue": ["네", "네 " * 20, "네 " * 60]}))
    assert list(answers["truncated"]) == [False, True, True]
    assert list(answers["summary"]) == [summaries(model, [text])[0] for text in ["네", "네 " * 20, "네 " * 60]]


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (ValueError("secret"), 500, "ValueError"),
        (UserError("The model has no room."), 400, "Dialogue 1 of 1 .*no room"),
        (SystemExit(1), 503, "died"),
    ],
)
def test_model_failures_have_their_own_status(logged, error, status, message):
    from mlflow.exceptions import MlflowException

    model = load(logged)

    def fail(texts, settings):
        raise error

    model.unwrap_python_model().engine.batcher.work = fail
    with pytest.raises(MlflowException, match=message) as raised:
        summaries(model, [DIALOGUE])
    assert raised.value.get_http_status_code() == status
    assert "secret" not in str(raised.value)
