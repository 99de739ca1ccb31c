"""An exported model in MLflow: packed without torch, and served to many at once."""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import yoyak
from mlflow_helpers import DIALOGUE, serve
from onnx_models import save_model
from yoyak.decoding.onnx.runtime import OnnxSummarizer
from yoyak.errors import UserError
from yoyak.export.folder import export_model
from yoyak.params import Serving
from yoyak.params.deploy import Export
from yoyak.registration.packaging import log_exported
from yoyak.serving.saving import save_exported
from yoyak.tracking import runs

LONG = "네 " * 200
TEXTS = [f"#Person1#: {number} " + "내일 만나요. " * (number % 7) for number in range(40)]


@pytest.fixture(scope="module")
def bart(tmp_path_factory):
    """A tiny export in INT8, in which a summary does not depend on what shares its batch."""
    folder = tmp_path_factory.mktemp("exported")
    export_model(save_model("bart", folder / "model"), folder / "bart", Export())
    return folder / "bart"


@pytest.fixture(scope="module")
def expected(bart):
    """The summary of each text alone."""
    summarizer = OnnxSummarizer.load(bart)
    return {text: summarizer.summarize([text]).texts[0] for text in [*TEXTS, LONG, DIALOGUE]}


def test_it_is_logged_with_its_settings_and_without_torch(store, bart):
    import mlflow

    with runs.stage_run("export", params={}, inputs={}) as run:
        model_id = log_exported(run, bart, serving=Serving(batch_size=8), example=DIALOGUE)
    logged = store.get_logged_model(model_id)
    folder = Path(logged.artifact_location)
    assert (logged.name, logged.source_run_id) == ("bart", run.run_id)
    names = [line.partition("==")[0] for line in (folder / "requirements.txt").read_text().split()]
    assert names == ["mlflow-skinny", "pandas", "onnxruntime", "tokenizers", "numpy", "prometheus-client"]
    about = mlflow.models.Model.load(folder).metadata
    assert about == {
        "member": "bart",
        "family": "seq2seq",
        "spec": "yoyak.json",
        "variant": "onnx",
        "precision": "int8",
    }
    [settings] = folder.rglob("serving.json")
    assert json.loads(settings.read_text())["batch_size"] == 8
    assert not (bart / "serving.json").exists()
    assert not any(path.is_symlink() for path in folder.rglob("*"))


def test_a_folder_without_an_export_is_an_error(tiny_bart, tmp_path):
    with pytest.raises(UserError, match=r"is not an exported model.*onnx\.json"):
        save_exported(tmp_path / "out", tiny_bart, serving=Serving(), example=DIALOGUE)


def test_a_new_process_answers_without_torch(bart, expected, tmp_path):
    save_exported(tmp_path / "model", bart, serving=Serving(batch_size=4), example=DIALOGUE)
    code = f"""
import json, sys
import mlflow, pandas
model = mlflow.pyfunc.load_model({str(tmp_path / "model")!r})
answers = model.predict(pandas.DataFrame({{"dialogue": {[*TEXTS, LONG]!r}}}))
import yoyak
heavy = {{"torch", "transformers", "datasets", "optimum", "onnx", "ruamel", "kiwipiepy"}} & set(sys.modules)
print(json.dumps([answers.to_dict("list"), sorted(heavy), yoyak.__file__]))
"""
    environment = {"PATH": "", "YOYAK_SERVING_MAX_CHARS": "600"}
    command = [sys.executable, "-c", code]
    completed = subprocess.run(command, check=True, capture_output=True, text=True, cwd=tmp_path, env=environment)
    answers, heavy, where = json.loads(completed.stdout.splitlines()[-1])
    assert heavy == []
    assert where == f"{tmp_path}/model/code/yoyak/__init__.py"
    assert answers["summary"] == [expected[text] for text in [*TEXTS, LONG]]
    assert answers["truncated"] == [*[False] * len(TEXTS), True]


@pytest.mark.slow
def test_its_server_needs_nothing_of_mlflow(bart, tmp_path):
    code = """
import sys
sys.modules.update(dict.fromkeys(("mlflow", "pandas", "torch", "transformers")))
from yoyak.serving import process
print(type(process.app).__name__)
"""
    environment = {"PATH": "", "YOYAK_FOLDER": str(bart), "PYTHONPATH": str(Path(yoyak.__file__).parents[1])}
    command = [sys.executable, "-c", code]
    completed = subprocess.run(command, check=True, capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert completed.stdout.strip() == "Guard"


def test_many_clients_get_their_own_answers_and_errors(bart, expected, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_exported(tmp_path / "model", bart, serving=Serving(batch_size=8, max_wait_ms=20), example=DIALOGUE)
    with serve("model", YOYAK_SERVING_QUEUE_SIZE="24", YOYAK_SERVING_MAX_ROWS="3") as post:

        def patient(body):
            status, answer = post(body)
            while status == 429:
                status, answer = post(body)
            return status, answer

        def client(number: int) -> None:
            for turn in range(6):
                text = TEXTS[(number * 7 + turn) % len(TEXTS)]
                assert patient({"inputs": [text, LONG, DIALOGUE]}) == (
                    200,
                    {"predictions": [said(expected, text), said(expected, LONG, True), said(expected, DIALOGUE)]},
                )
                status, message = post([b"{no json", {"inputs": [3]}, {"inputs": [""]}, [text]][(number + turn) % 4])
                assert (status, isinstance(message, str)) == (400, True)

        with ThreadPoolExecutor(64) as pool:
            for future in [pool.submit(client, number) for number in range(16)]:
                future.result()
            # More at once than are at work and may wait: the server itself does not hold them back.
            slow = {"num_beams": 4, "max_new_tokens": 100, "min_new_tokens": 100}
            answers = list(pool.map(post, [{"inputs": [text], "params": slow} for text in (TEXTS * 2)[:64]]))
        assert {status for status, _ in answers} == {200, 429}
        assert [status for status, _ in answers].count(200) >= 24
        assert "24 dialogues" in next(text for status, text in answers if status == 429)


def said(expected, text, truncated=False):
    return {"summary": expected[text], "truncated": truncated, "read": "head" if truncated else "whole"}
