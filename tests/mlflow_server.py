"""A tracking server as a team runs one: basic-auth, allowed hosts, PostgreSQL, artifacts through the server."""

from __future__ import annotations

import configparser
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from mlflow_helpers import free_port

USER, PASSWORD = "team", "long enough for MLflow"


def postgres_binaries() -> Path | None:
    """Where PostgreSQL's own programs are: on Debian, not on PATH."""
    on_path = shutil.which("initdb")
    folders = [Path(on_path).resolve().parent] if on_path else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((folder for folder in folders if (folder / "initdb").is_file()), None)


def unprivileged_user() -> str | None:
    """Who PostgreSQL runs as, which refuses root; None for the current user."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    return next(name for name in ("postgres", "nobody") if name in known)


@dataclass(kw_only=True)
class Postgres:
    """A PostgreSQL in a folder of its own, on a port of its own."""

    folder: Path
    binaries: Path
    port: int
    user: str | None

    def run(self, program: str, *arguments: str) -> None:
        options: dict[str, Any] = {}
        if self.user:
            options = {"user": self.user, "group": pwd.getpwnam(self.user).pw_gid, "extra_groups": []}
        with (self.folder / f"{program}.log").open("wb") as log:
            done = subprocess.run(
                [self.binaries / program, *arguments],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                check=False,
                **options,
            )
        assert done.returncode == 0, (self.folder / f"{program}.log").read_text()

    def create(self) -> None:
        self.run("initdb", "-D", "data", "-U", USER, "-A", "trust", "-E", "UTF8", "--locale", "C", "--no-sync")

    def start(self) -> None:
        # Durability is not what is tested.
        settings = f"-c listen_addresses=127.0.0.1 -p {self.port} -k '' -c fsync=off"
        self.run("pg_ctl", "-D", "data", "-w", "-l", "server.log", "-o", settings, "start")

    def stop(self) -> None:
        self.run("pg_ctl", "-D", "data", "-w", "-m", "immediate", "stop")

    def create_database(self, name: str) -> str:
        """Create a database and return its URI, which names the driver."""
        self.run("createdb", "-h", "127.0.0.1", "-p", str(self.port), "-U", USER, name)
        return f"postgresql+psycopg2://{USER}@127.0.0.1:{self.port}/{name}"


@dataclass(kw_only=True)
class MlflowServer:
    """An `mlflow server`; only clients that name it as `url` does, and know the password, are answered."""

    folder: Path
    database: str
    port: int
    artifacts: str = ""
    """Where the server keeps artifacts, if not in its folder."""
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def client(self) -> Mapping[str, str]:
        """Environment variables of a client."""
        return {
            "MLFLOW_TRACKING_URI": self.url,
            "MLFLOW_TRACKING_USERNAME": USER,
            "MLFLOW_TRACKING_PASSWORD": PASSWORD,
        }

    def start(self) -> None:
        auth = configparser.ConfigParser()
        auth["mlflow"] = {
            "default_permission": "READ",
            "database_uri": f"sqlite:///{self.folder}/users.db",
            "admin_username": USER,
            "admin_password": PASSWORD,
            "authorization_function": "mlflow.server.auth:authenticate_request_basic_auth",
            # Otherwise each request costs a tenth of a second for the hash of the password.
            "auth_cache_ttl_seconds": "60",
        }
        with (self.folder / "auth.ini").open("w") as file:
            auth.write(file)
        kept = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW_")}
        environment = {
            **kept,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}",
            "MLFLOW_AUTH_CONFIG_PATH": str(self.folder / "auth.ini"),
            "MLFLOW_FLASK_SERVER_SECRET_KEY": "of this test only",
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        }
        command = [sys.executable, "-m", "mlflow", "server", "--app-name", "basic-auth", "--workers", "1"]
        command += ["--host", "127.0.0.1", "--port", str(self.port), "--allowed-hosts", f"127.0.0.1:{self.port}"]
        artifacts = self.artifacts or str(self.folder / "artifacts")
        command += ["--backend-store-uri", self.database, "--artifacts-destination", artifacts]
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                command, cwd=self.folder, stdout=log, stderr=log, env=environment, start_new_session=True
            )
        deadline = time.monotonic() + 180
        while True:
            try:
                urllib.request.urlopen(f"{self.url}/health", timeout=5)
                return
            except OSError:
                log_text = (self.folder / "server.log").read_text()
                assert self.process.poll() is None, log_text
                assert time.monotonic() < deadline, log_text
                time.sleep(0.2)

    def kill(self) -> None:
        """End it at once, as a machine that loses power does."""
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None


@contextmanager
def run_postgres() -> Iterator[Postgres]:
    """Run a PostgreSQL while the block lasts."""
    binaries = postgres_binaries()
    assert binaries, "needs PostgreSQL"
    # Not below pytest's folder, which only its owner may enter.
    with tempfile.TemporaryDirectory(prefix="yoyak-postgres-", dir="/tmp", ignore_cleanup_errors=True) as name:
        postgres = Postgres(folder=Path(name), binaries=binaries, port=free_port(), user=unprivileged_user())
        if postgres.user:
            shutil.chown(name, postgres.user)
        postgres.create()
        postgres.start()
        try:
            yield postgres
        finally:
            postgres.stop()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A running PostgreSQL, shared by all tests of a session."""
    if postgres_binaries() is None:
        pytest.skip("needs PostgreSQL (Debian's package postgresql)")
    if find_spec("psycopg2") is None:
        pytest.skip("needs PostgreSQL's driver (the package psycopg2-binary)")
    with run_postgres() as postgres:
        yield postgres


@pytest.fixture(scope="session")
def mlflow_server(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    """A running tracking server, shared by all tests of a session; who stops it starts it again."""
    if find_spec("flask_wtf") is None:
        pytest.skip("needs the server's login (the package mlflow[auth])")
    server = MlflowServer(
        folder=tmp_path_factory.mktemp("mlflow-server"),
        database=postgres.create_database("mlflow"),
        port=free_port(),
    )
    server.start()
    try:
        yield server
    finally:
        server.kill()
