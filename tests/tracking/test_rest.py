"""Requests to a server carry the credentials that MLflow's own client would send."""

import base64
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from yoyak.tracking.rest import open_session


@pytest.fixture
def authorization(monkeypatch, tmp_path):
    """A function that asks a server, and returns the credentials that it was sent."""
    received: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            received.append(self.headers.get("Authorization", ""))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *arguments):
            pass

    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("USERNAME", "PASSWORD", "TOKEN"):
        monkeypatch.delenv(f"MLFLOW_TRACKING_{name}", raising=False)
    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def ask(user=""):
        with open_session() as session:
            session.get(f"http://{user}127.0.0.1:{server.server_port}/")
        return received[-1]

    yield ask
    server.shutdown()
    server.server_close()


def basic(pair):
    return f"Basic {base64.b64encode(pair.encode()).decode()}"


def test_credentials_come_from_where_mlflow_reads_them(authorization, monkeypatch, tmp_path):
    assert authorization() == ""
    assert authorization("in:uri@") == basic("in:uri")
    (tmp_path / ".mlflow").mkdir()
    credentials = "[mlflow]\nmlflow_tracking_username = file\nmlflow_tracking_password = p%w\n"
    (tmp_path / ".mlflow/credentials").write_text(credentials)
    assert authorization() == basic("file:p%w")
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "variable")
    assert authorization() == basic("variable:p%w")
    (tmp_path / ".mlflow/credentials").unlink()
    assert authorization() == "", "a name alone is nothing"
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "secret")
    assert authorization() == "Bearer secret"
