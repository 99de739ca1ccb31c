"""A project folder with a git commit and its own MLflow store, and a tiny BART as `yoyak train` saves it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from yoyak.registry import promotion
from yoyak.registry.versions import Version
from yoyak.tracking import client, runs

DIALOGUE = "#Person1#: 내일 세 시에 만날까요?\n#Person2#: 아니요, 네 시가 좋아요."


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory):
    """An initialised SQLite file: copying it saves each test the second that making the tables takes."""
    folder = tmp_path_factory.mktemp("store")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
        client.initialise()
    return folder / "mlflow.db"


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project's folder, made the current one, without a store."""
    folder = tmp_path / "project"
    folder.mkdir()
    # As on most machines, the folder for temporary files is not above the project's.
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    (folder / "params.yaml").write_text("seed: 20\n", encoding="utf-8")
    (folder / "data.dvc").write_text("outs:\n- md5: 0123456789abcdef0123456789abcdef.dir\n  path: data\n")
    for name in [name for name in os.environ if name.startswith(("MLFLOW_", "DVC_"))]:
        monkeypatch.delenv(name)
    # Set and deleted, so that monkeypatch also takes back what the code under test sets.
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID", *client.ENVIRONMENT):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setattr(client, "_clients", {})
    monkeypatch.setattr(runs, "_outer_run", [])
    monkeypatch.chdir(folder)
    git("init", "-q", "-b", "main")
    git("add", ".")
    git("commit", "-q", "-m", "first")
    return folder


@pytest.fixture
def store(project, empty_store):
    """A project with an empty store, and the client that reads it."""
    shutil.copy(empty_store, project / "mlflow.db")
    return client.connect()


@pytest.fixture(scope="session")
def tiny_bart(tmp_path_factory):
    # A seed with which it writes whole characters, and others with other settings.
    return make_bart(tmp_path_factory.mktemp("models") / "bart", seed=5)


def git(*arguments: str) -> str:
    options = ["-c", "user.name=Tester", "-c", "user.email=tester@example.com", "-c", "commit.gpgsign=false"]
    return subprocess.run(["git", *options, *arguments], check=True, capture_output=True, text=True).stdout.strip()


def make_bart(folder: Path, *, seed: int) -> Path:
    """Save a BART of 16 dimensions with a byte-level BPE tokenizer of 300 tokens."""
    import torch
    from tokenizers import ByteLevelBPETokenizer
    from transformers import BartConfig, BartForConditionalGeneration, PreTrainedTokenizerFast

    from yoyak.models.spec import ModelSpec, save_spec
    from yoyak.params import Generation

    special = ["<s>", "<pad>", "</s>", "<unk>", "#Person1#", "#Person2#"]
    trained = ByteLevelBPETokenizer()
    trained.train_from_iterator([DIALOGUE], vocab_size=300, special_tokens=special)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=trained._tokenizer, bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>"
    )
    torch.manual_seed(seed)
    model = BartForConditionalGeneration(
        BartConfig(
            vocab_size=len(tokenizer),
            d_model=16,
            encoder_layers=1,
            decoder_layers=1,
            encoder_attention_heads=2,
            decoder_attention_heads=2,
            encoder_ffn_dim=32,
            decoder_ffn_dim=32,
            max_position_embeddings=256,
            bos_token_id=0,
            pad_token_id=1,
            eos_token_id=2,
            decoder_start_token_id=2,
            forced_eos_token_id=None,
        )
    )
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    generation = Generation(max_new_tokens=12, min_new_tokens=4, num_beams=2, num_return_sequences=2)
    spec = ModelSpec(
        member=folder.name, family="seq2seq", prefix="", separator="", max_input_tokens=128, generation=generation
    )
    save_spec(folder, spec)
    return folder


def register_champion(name: str, model_id: str, run_id: str, **tags: str) -> Version:
    """Register a logged model, which becomes champion if it is the first and challenger otherwise."""
    version = promotion.register_version(name, model_id=model_id, run_id=run_id, tags=tags)
    return promotion.settle_candidate(version, None, seen=0)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


@contextmanager
def tracking_server(port: int) -> Iterator[str]:
    """Run `mlflow ui` in this folder, which is given no store, and yield its address once it answers."""
    command = [sys.executable, "-m", "mlflow", "ui", "--port", str(port), "--workers", "1"]
    environment = {key: value for key, value in os.environ.items() if key != "MLFLOW_TRACKING_URI"}
    environment["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    # Eight processes for jobs that nothing here has, each of which imports MLflow.
    environment["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"
    with Path("ui.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment, start_new_session=True)
    try:
        _wait_for(f"http://127.0.0.1:{port}/health", process, Path("ui.log"))
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 300
    while True:
        try:
            urllib.request.urlopen(url, timeout=2)
            return
        except OSError:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.3)


@dataclass(frozen=True)
class Served:
    """A model that MLflow serves. Calling it posts a body and returns status and answer."""

    url: str

    def __call__(self, body: Any, kind: str = "application/json") -> tuple[int, Any]:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/invocations", data, {"Content-Type": kind})
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            text = error.read().decode()
            return error.code, json.loads(text)["message"] if text.startswith("{") else text

    def headers(self) -> dict[str, str]:
        with urllib.request.urlopen(f"{self.url}/ping", timeout=60) as answer:
            return dict(answer.headers)


@contextmanager
def serve(model: str, **environment: str) -> Iterator[Served]:
    """Run a real `mlflow models serve`."""
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", model, "--env-manager", "local"]
    # MLflow starts uvicorn by its name, as in an environment that is activated; both end with their group.
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    with Path("serve.log").open("w") as log:
        process = subprocess.Popen(
            [*command, "-p", str(port)],
            stdout=log,
            stderr=log,
            env={**os.environ, "PATH": path, **environment},
            start_new_session=True,
        )

    try:
        _wait_for(f"http://127.0.0.1:{port}/ping", process, Path("serve.log"))
        yield Served(f"http://127.0.0.1:{port}")
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(20)
