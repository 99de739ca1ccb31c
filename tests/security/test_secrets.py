"""A password in a tracking URI ends up in no message, log, run or file of ours."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow import MlflowClient

from yoyak import cli
from yoyak.errors import UserError
from yoyak.tracking import runs
from yoyak.tracking.uri import redact_credentials

SECRET = "hunter2zqx"


@pytest.fixture
def failing() -> Iterator[str]:
    """The address of a tracking server that fails at everything but its health page."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def answer(self) -> None:
            healthy = self.path.endswith("/health")
            self.send_response(200 if healthy else 500)
            self.end_headers()
            self.wfile.write(b"OK" if healthy else b"broken")

        do_GET = do_POST = answer  # noqa: N815

        def log_message(self, *arguments: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


URIS = [
    f"http://me:{SECRET}@ADDRESS",
    f"http://me:{SECRET}@127.0.0.1:1",
    f"http://me:{SECRET}@host:port",
    f"http://me:{SECRET}/x@ADDRESS",
    f"ftp://me:{SECRET}@host",
    f"http://[me:{SECRET}@host",
    f"postgresql+psycopg2://me:{SECRET}@127.0.0.1:1/db",
    f"postgresql+psycopg2://me:a/{SECRET}@127.0.0.1:1/db",
    f"postgresql+psycopg2://me:{SECRET}@host:port/db",
    f"postgresql+psycopg2://127.0.0.1:1/db?user=me&password={SECRET}",
    f"postgresql+nothing://me:{SECRET}@host/db",
    f"mysql://me:{SECRET}@host/db",
]


@pytest.mark.parametrize("uri", URIS)
def test_no_error_and_no_log_has_the_password(
    project: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], failing: str, uri: str
) -> None:
    # A database is tried ten times otherwise, for more than a minute.
    monkeypatch.setattr("mlflow.store.db.utils.MAX_RETRY_COUNT", 1)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri.replace("ADDRESS", failing))
    assert cli.main(["models", "list"]) == 1
    shown = capfd.readouterr()
    logs = "".join(log.read_text(encoding="utf-8") for log in Path("logs").glob("*"))
    assert logs
    assert SECRET not in shown.out + shown.err
    assert SECRET not in logs


def test_no_run_has_the_password(store: MlflowClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither in the command that MLflow shows nor in the reason why a stage failed."""
    address = f"postgresql+psycopg2://me:{SECRET}@host/db"
    monkeypatch.setattr("sys.argv", ["yoyak", "study", "run", "lr", "--storage", address])
    with pytest.raises(UserError), runs.stage_run("train", params={}, inputs={}):
        raise UserError(f"The storage at {address} does not answer.")
    experiment = store.get_experiment_by_name("yoyak")
    assert experiment is not None
    found = store.search_runs([experiment.experiment_id])
    assert len(found) == 2
    for run in found:
        assert SECRET not in str(run.to_dictionary())
        assert run.data.tags["mlflow.source.name"].endswith("--storage postgresql+psycopg2://host/db")
    assert any("postgresql+psycopg2://host/db" in run.data.tags.get("yoyak.error", "") for run in found)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"http://me:{SECRET}@host:5000/api", "http://host:5000/api"),
        ("http://host:5000/models:/yoyak@champion", "http://host:5000/models:/yoyak@champion"),
        ("http://[::1]:5000/a@b", "http://[::1]:5000/a@b"),
        ("sqlite:////srv/me@work/mlflow.db", "sqlite:////srv/me@work/mlflow.db"),
        (f"postgresql+psycopg2://me:a/{SECRET}@host/db?x=1", "postgresql+psycopg2://host/db?x=1"),
        (f"postgresql+psycopg2://me:a@{SECRET}@host/db", "postgresql+psycopg2://host/db"),
        (f"mysql://host/db?user=me&password={SECRET}&x=1", "mysql://host/db?user=me&password=…&x=1"),
        (f"https://b.s3/x?X-Amz-Signature={SECRET}&a=1", "https://b.s3/x?X-Amz-Signature=…&a=1"),
        (f"see HTTP://me:{SECRET}@h, models:/yoyak@champion", "see HTTP://h, models:/yoyak@champion"),
    ],
)
def test_an_address_stays_readable(text: str, shown: str) -> None:
    assert redact_credentials(text) == shown


@given(
    user=st.text(st.characters(exclude_categories=["Z", "C"], exclude_characters="/?#"), max_size=8),
    scheme=st.sampled_from(["http", "https", "postgresql+psycopg2", "mysql", "ftp", "s3"]),
    tail=st.sampled_from(["", "/db", "/db?x=1", ":5000"]),
)
def test_no_password_survives(user: str, scheme: str, tail: str) -> None:
    uri = f"before {scheme}://{user}:{SECRET}@host{tail} after"
    assert SECRET not in redact_credentials(uri)
    assert redact_credentials(uri).startswith("before ") and redact_credentials(uri).endswith(f"host{tail} after")
