"""A server that answers as the Hugging Face Hub does for models: commits, branches, lists of files, and the files."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit


@dataclass(slots=True)
class Repository:
    """A model on the Hub: the folder of each commit, and where its branches and tags are."""

    commits: dict[str, Path] = field(default_factory=dict)
    references: dict[str, str] = field(default_factory=dict)

    def push(self, commit: str, folder: Path, reference: str = "main") -> None:
        """Add a commit, and move a branch to it."""
        self.commits[commit] = folder
        self.references[reference] = commit


@dataclass(slots=True)
class Hub:
    """A running server; ``repositories`` may change while it runs."""

    endpoint: str
    repositories: dict[str, Repository]
    requests: list[str] = field(default_factory=list)
    """The paths that were asked for."""


@contextmanager
def serve_hub() -> Iterator[Hub]:
    """Yield a Hub without models at a free port; its ``endpoint`` is a value for HF_ENDPOINT."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path = unquote(urlsplit(self.path).path)
            hub.requests.append(path)
            parts = path.strip("/").split("/")
            api = parts[:2] == ["api", "models"]
            owner, name, *rest = parts[2:] if api else parts
            repository = hub.repositories.get(f"{owner}/{name}")
            if repository is None:
                return self.fail("RepoNotFound")
            kind, revision, *file = rest or ["revision", "main"]
            commit = repository.references.get(revision, revision)
            folder = repository.commits.get(commit)
            if folder is None:
                return self.fail("RevisionNotFound")
            if api and kind == "revision":
                siblings = [{"rfilename": path.name} for path in folder.iterdir()]
                return self.answer_json({"id": f"{owner}/{name}", "sha": commit, "siblings": siblings})
            if api and kind == "tree":
                rows = [
                    {"type": "file", "path": path.name, "size": path.stat().st_size, "oid": "0" * 40}
                    for path in folder.iterdir()
                ]
                return self.answer_json([] if file else rows)
            path_of_file = folder.joinpath(*file)
            if not path_of_file.is_file():
                return self.fail("EntryNotFound", commit)
            return self.answer(path_of_file.read_bytes(), commit)

        def do_HEAD(self) -> None:
            self.do_GET()

        def answer_json(self, value: Any) -> None:
            self.answer(json.dumps(value).encode(), "")

        def answer(self, body: bytes, commit: str) -> None:
            self.send_response(200)
            self.send_header("ETag", f'"{hashlib.sha1(body).hexdigest()}"')
            if commit:
                self.send_header("X-Repo-Commit", commit)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        def fail(self, code: str, commit: str = "") -> None:
            self.send_response(404)
            self.send_header("X-Error-Code", code)
            if commit:
                self.send_header("X-Repo-Commit", commit)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        hub = Hub(endpoint=f"http://127.0.0.1:{server.server_port}", repositories={})
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield hub
        finally:
            server.shutdown()
