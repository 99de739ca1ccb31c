"""`yoyak serve` as people meet it: the line to try, Ctrl-C, and one sentence for what goes wrong."""

import importlib.util
import json
import marshal
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mlflow_helpers import DIALOGUE, register_champion
from onnx_models import save_model
from servers import yoyak
from yoyak import cli
from yoyak.cpu import cores
from yoyak.errors import UserError
from yoyak.export.folder import export_model
from yoyak.params.deploy import Export, Serving
from yoyak.registration.packaging import log_member
from yoyak.serving import launch
from yoyak.serving.saving import save_exported
from yoyak.serving.target import default_model_uri, open_target
from yoyak.tracking import runs

ROOT = Path(__file__).parents[2]
READY = "json.tool"


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported")
    export_model(save_model("bart", folder / "torch"), folder / "onnx", Export(precision="fp32"))
    return folder / "onnx"


@pytest.fixture
def project(project, monkeypatch):
    for name in ("OMP_NUM_THREADS", "YOYAK_SERVING_THREADS"):
        monkeypatch.delenv(name, raising=False)
    shutil.copy(ROOT / "params.yaml", project)
    return project


@pytest.fixture
def champion(store, tiny_bart):
    with runs.stage_run("train", member="bart", params={}, inputs={}) as run:
        model_id = log_member(run, tiny_bart, example=DIALOGUE)
    return register_champion("yoyak", model_id, run.run_id)


def try_line(out):
    """Run the line to try in a shell, as a person pastes it, and return the one answer."""
    line = out.strip().splitlines()[-1]
    assert line.startswith("curl ")
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    result = subprocess.run(["sh", "-c", line], capture_output=True, text=True, env=environment, timeout=60, check=True)
    (answer,) = json.loads(result.stdout)["predictions"]
    # What a model with random weights says to it may be nothing.
    assert isinstance(answer["summary"], str)
    return answer


def answer_headers(url, body=None):
    """The headers of an answer, whatever its status."""
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.headers
    except urllib.error.HTTPError as error:
        return error.headers


@pytest.mark.slow
def test_an_exported_folder_is_served_by_processes_that_share_the_cores(project, exported):
    with yoyak("serve", str(exported), "--port", "0", "--workers", "2", ready=READY) as started:
        threads = max(1, cores() // 2)
        assert f"{exported} answers at {started.url} (bart, exported in fp32, without torch; 2 processes" in started.out
        assert "at most 256 dialogues of 20000 characters" in started.out
        assert "no password" not in started.out
        assert try_line(started.out)["truncated"] is True
        with yoyak("demo", "--url", f"{started.url}/invocations", "--port", "0", ready="Ctrl-C ends it") as page:
            assert f"is the page of {started.url}." in page.out
            body = json.dumps({"dialogue": "#Person1#: 네", "num_beams": 2, "max_new_tokens": 3}).encode()
            request = urllib.request.Request(f"{page.url}/summarize", body, {"Content-Type": "application/json"})
            answer = json.load(urllib.request.urlopen(request, timeout=30))
            assert answer["summary"]
            assert answer["truncated"] is False
            assert page.end() == 130
        serving = [child for child in started.children() if "spawn_main" in " ".join(child.cmdline())]
        assert len(serving) == 2
        headers = answer_headers(f"{started.url}/ping")
        assert headers["X-Yoyak-Model"] == exported.name
        assert "X-Yoyak-Version" not in headers
        # Whichever process answers, its figures are those of all: one summary was asked for by curl, one by the page.
        figures = urllib.request.urlopen(f"{started.url}/metrics", timeout=10).read().decode()
        assert "yoyak_dialogues_total 2.0" in figures
        for child in serving:
            assert child.environ()["YOYAK_SERVING_THREADS"] == str(threads)
            assert child.environ()["OMP_NUM_THREADS"] == "1"
            assert not any("libtorch" in loaded.path for loaded in child.memory_maps())
        assert started.end() == 130
    assert Path("serve.err").read_text().endswith("yoyak serve: interrupted\n")
    assert list(Path("logs").glob("serve-*.log"))


@pytest.mark.slow
def test_the_champion_is_served_by_default_and_to_other_machines_on_request(champion):
    with yoyak("serve", "--host", "0.0.0.0", "--port", "0", ready=READY) as started:
        assert started.out.startswith(f"yoyak version 1 (champion) answers at {started.url} (bart, in torch; 1 process")
        assert "there is no password" in started.out
        try_line(started.out)
        # To whoever can reach it by an address of the network, its name may be anything.
        request = urllib.request.Request(f"{started.url}/ping", headers={"Host": "summaries.example"})
        assert urllib.request.urlopen(request, timeout=10).status == 200
        (server,) = started.children()
        assert server.environ()["OMP_NUM_THREADS"] == str(cores())
        assert started.end(signal.SIGTERM) == 143


@pytest.mark.slow
def test_every_answer_says_which_version_was_resolved_when_the_server_started(champion, store, monkeypatch):
    monkeypatch.setenv("UVICORN_HEADERS", "X-Mine:1")
    good, bad = json.dumps({"inputs": [DIALOGUE]}).encode(), b"{not json"
    with yoyak("serve", "models:/yoyak@champion", "--port", "0", ready=READY) as started:
        store.create_model_version("yoyak", f"models:/{champion.model_id}", champion.run_id)
        store.set_registered_model_alias("yoyak", "champion", 2)
        for path, body in (("invocations", good), ("invocations", bad), ("ping", None), ("nowhere", None)):
            headers = answer_headers(f"{started.url}/{path}", body)
            assert (headers["X-Yoyak-Model"], headers["X-Yoyak-Version"], headers["X-Mine"]) == ("yoyak", "1", "1")


@pytest.mark.slow
def test_a_server_that_is_stopped_answers_what_it_has_and_takes_no_more(project, exported):
    slow = {"num_beams": 32, "max_new_tokens": 100, "min_new_tokens": 100}
    with yoyak("serve", str(exported), "--port", "0", "--allowed-hosts", "summaries.example", ready=READY) as started:
        request = urllib.request.Request(f"{started.url}/ping", headers={"Host": "evil.example"})
        with pytest.raises(urllib.error.HTTPError, match="400"):
            urllib.request.urlopen(request, timeout=10)
        body = json.dumps({"inputs": [DIALOGUE] * 6, "params": slow}).encode()
        request = urllib.request.Request(
            f"{started.url}/invocations", body, {"Content-Type": "application/json", "Host": "summaries.example"}
        )
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(urllib.request.urlopen, request, timeout=120)
            while "yoyak_requests_active 2.0" not in urllib.request.urlopen(f"{started.url}/metrics").read().decode():
                assert not answer.done()
            started.process.send_signal(signal.SIGTERM)
            assert len(json.load(answer.result(120))["predictions"]) == 6
        assert started.process.wait(60) == 143
        with pytest.raises(urllib.error.URLError):
            urllib.request.urlopen(f"{started.url}/ping", timeout=10)
    [log] = Path("logs").glob("serve-*.log")
    lines = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    assert [line["dialogues"] for line in lines if line.get("path") == "/invocations"] == [6]


@pytest.mark.slow
def test_compiled_code_beside_that_of_a_model_is_not_run(project, exported):
    save_exported(Path("model"), exported, serving=Serving(), example=DIALOGUE)
    [source] = Path("model").rglob("serving/engine.py")
    times = int(source.stat().st_mtime).to_bytes(4, "little") + source.stat().st_size.to_bytes(4, "little")
    code = marshal.dumps(compile("raise SystemExit('compiled code ran')", str(source), "exec"))
    compiled = Path(importlib.util.cache_from_source(source))
    compiled.parent.mkdir()
    compiled.write_bytes(importlib.util.MAGIC_NUMBER + bytes(4) + times + code)
    with yoyak("serve", "model", "--port", "0", ready=READY) as started:
        assert try_line(started.out)
    assert list(Path("model").rglob("*.pyc")) == [compiled]


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_server_that_dies_at_start_says_why(project, exported, workers, capsys):
    folder = project / "damaged"
    folder.mkdir()
    for path in exported.iterdir():
        (folder / path.name).write_bytes(b"x" if path.name == "weights.bin" else path.read_bytes())
    assert cli.main(["serve", str(folder), "--port", "0", "--workers", workers]) == 1
    *_, last = capsys.readouterr().err.splitlines()
    assert re.fullmatch(
        r"yoyak serve: The server of \S+ did not start: .*damaged.*`yoyak export` again \(log: logs/serve-\d+\.log\)\.",
        last,
    )
    assert "Traceback" in next(Path("logs").glob("serve-*.log")).read_text()


def test_unservable_models_are_refused_before_loading(champion, capsys, monkeypatch):
    for arguments, part in (
        (["models:/yoyak@champoin"], "'champoin' (did you mean 'champion'?)"),
        (["models:/yoyka@champion"], "'yoyka' (did you mean 'yoyak'?)"),
        (["models:/yoyak/7"], "version '7' (known: 1)"),
        (["nowhere"], "'nowhere': give a folder"),
        (["."], "'.': it has neither config.json nor MLmodel"),
        (["--host", "192.0.2.1"], "--host 192.0.2.1 is not an address of this machine"),
    ):
        assert cli.main(["serve", "--port", "0", *arguments]) == 1
        error = capsys.readouterr().err
        assert error.startswith("yoyak serve: ")
        assert part in error
        assert error.count("\n") == 1
    monkeypatch.setenv("YOYAK__REGISTRY__NAME", "other")
    assert cli.main(["serve", "--port", "0"]) == 1
    assert "'other'" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["serve", "demo"])
def test_a_taken_port_is_reported_at_once_with_the_next_free_one(project, verb, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert cli.main([verb, "--port", str(port)]) == 1
    error = capsys.readouterr().err
    free = re.search(rf"Port {port} of 127\.0\.0\.1 .*--port (\d+)", error)
    assert free, error
    assert launch.check_port("127.0.0.1", int(free[1])) == int(free[1])


def test_the_serving_alias_takes_precedence_over_champion(champion, store):
    assert default_model_uri() == "models:/yoyak@champion"
    store.set_registered_model_alias("yoyak", "serving", 1)
    assert default_model_uri() == "models:/yoyak@serving"


def test_the_log_of_a_container_is_its_output(project, exported):
    with yoyak("serve", str(exported), "--port", "0", "--log-to-stdout", ready=READY) as server:
        assert "Log:" not in server.out
        assert try_line(server.out)
        server.end()
    lines = Path("serve.out").read_text(encoding="utf-8").splitlines()
    records = [json.loads(line) for line in lines if line.startswith("{")]
    assert any(record.get("path") == "/invocations" and record["status"] == 200 for record in records)
    assert not Path("logs").exists()


def test_a_model_in_torch_says_so_where_torch_is_not_installed(project, tiny_bart, monkeypatch):
    with open_target(str(tiny_bart)) as target:
        monkeypatch.setitem(sys.modules, "torch", None)
        with (
            pytest.raises(UserError, match="runs in torch, which is not installed here"),
            launch.running_server(target, host="127.0.0.1", port=0),
        ):
            pass
