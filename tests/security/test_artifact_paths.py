"""No path leads out of the artifacts of a tracking server: asked of a real `mlflow server` with accounts."""

from __future__ import annotations

import base64
import http.client
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from mlflow_helpers import free_port
from mlflow_server import PASSWORD, USER, MlflowServer

pytestmark = pytest.mark.slow

SECRET, NAME = "zqx-outside-zqx", "secret.txt"
BESIDE = "zqx-beside-zqx"
"""A file beside the secret one, which no request names: a list of the folder would."""
ARTIFACTS = "/api/2.0/mlflow-artifacts/artifacts"
GUEST = "guest"
"""An account that may only read what others have made."""


@dataclass(frozen=True, kw_only=True)
class Tracking:
    """A tracking server, beside whose artifacts there is a folder with a secret."""

    server: MlflowServer
    experiment: str
    run: str

    @property
    def outside(self) -> Path:
        return self.server.folder / "outside"

    def ask(self, method: str, path: str, body: Any = None, *, user: str = USER) -> tuple[int, str]:
        """Send a request as it is written: no client of ours tidies its path."""
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        login = base64.b64encode(f"{user}:{PASSWORD}".encode()).decode()
        headers = {"Authorization": f"Basic {login}", "Content-Type": "application/json"}
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=60)
        try:
            connection.request(method, path, data, headers)
            answer = connection.getresponse()
            return answer.status, answer.read().decode(errors="replace")
        finally:
            connection.close()

    def must(self, path: str, body: Any, *, user: str = USER) -> dict[str, Any]:
        """Post to MLflow's API, which must succeed."""
        status, text = self.ask("POST", f"/api/2.0/mlflow/{path}", body, user=user)
        assert status == 200, text
        return dict(json.loads(text))

    def state(self) -> dict[str, str]:
        """Return all files of the server that are neither artifacts nor its own databases and log."""
        own = (self.server.folder / "artifacts", self.server.folder / "mlruns")
        return {
            str(path): path.read_text(errors="replace")
            for path in sorted(self.server.folder.rglob("*"))
            if path.is_file() and not path.is_relative_to(own[0]) and not path.is_relative_to(own[1])
            and ".db" not in path.name and path.name != "server.log"
        }  # fmt: skip


@pytest.fixture(scope="module")
def tracking(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Iterator[Tracking]:
    if find_spec("flask_wtf") is None:
        pytest.skip("needs the server's login (the package mlflow[auth])")
    folder = tmp_path_factory.mktemp("tracking")
    shutil.copy(empty_store, folder / "mlflow.db")
    (folder / "outside").mkdir()
    (folder / "outside" / NAME).write_text(SECRET)
    (folder / "outside" / BESIDE).touch()
    server = MlflowServer(folder=folder, database=f"sqlite:///{folder}/mlflow.db", port=free_port())
    server.start()
    try:
        started = Tracking(server=server, experiment="", run="")
        started.must("users/create", {"username": GUEST, "password": PASSWORD})
        experiment = started.must("experiments/create", {"name": "yoyak"})["experiment_id"]
        run = started.must("runs/create", {"experiment_id": experiment})["run"]["info"]["run_id"]
        inside = f"{ARTIFACTS}/{experiment}/{run}/artifacts/inside.txt"
        assert started.ask("PUT", inside, b"known")[0] == 200
        yield Tracking(server=server, experiment=experiment, run=run)
    finally:
        server.kill()


def spellings(tracking: Tracking, depth: int, name: str = NAME) -> list[str]:
    """Return ways to write the path of a file outside, ``depth`` folders above the one that a path begins at."""
    absolute = str(tracking.outside / name)
    up = "../" * depth + f"outside/{name}"
    plain = [
        up, f"x/../{up}", f"./{up}", f"x/./../{up}", f"//{up}", up.replace("../", "..//"), up.replace("../", "..;/"),
        up.replace("../", "....//"), up.replace("/", "\\"), f"{up}\0", f"inside.txt\0/{up}", f"{up}#", f"{up}?x",
        absolute, f"/{absolute}", f"file:{absolute}", f"file://{absolute}", f"file://localhost{absolute}",
        f"FILE://{absolute}", f"C:{absolute}", f"~{absolute}",
    ]  # fmt: skip
    found = [up.replace("../", "..%c0%af"), up.replace("..", "%u002e%u002e"), up.replace("..", "．．")]
    for one in plain:
        found.append(quote(one, safe="/"))
        twice = quote(one, safe="").replace(".", "%2e")
        for _ in range(2):
            found.append(twice)
            twice = quote(twice, safe="")
    many = quote(up, safe="").replace(".", "%2e")
    for _ in range(12):
        many = many.replace("%", "%25")
    return [one if one.isascii() else quote(one, safe="/%") for one in [*found, many]]


def doors(tracking: Tracking) -> list[tuple[str, int]]:
    """Return the addresses that files are read at, and how many folders below the server's own each begins."""
    run = f"run_id={tracking.run}"
    return [
        (f"{ARTIFACTS}/{{}}", 1),
        (f"/ajax-api/2.0/mlflow-artifacts/artifacts/{tracking.experiment}/{{}}", 2),
        (f"{ARTIFACTS}?path={{}}", 1),
        (f"/get-artifact?{run}&path={{}}", 4),
        (f"/api/2.0/mlflow/artifacts/list?{run}&path={{}}", 4),
    ]


def test_a_file_inside_is_read_at_each_address(tracking: Tracking) -> None:
    """What the tests below rely on: the doors are there."""
    for door, depth in doors(tracking):
        below = [tracking.experiment, tracking.run, "artifacts", "inside.txt"][depth - 1 :]
        if "list" in door or "?path" in door:
            below.pop()
        status, text = tracking.ask("GET", door.format("/".join(below)).rstrip("=").removesuffix("&path"))
        assert status == 200 and ("known" in text or "inside.txt" in text), (door, text)


def test_no_spelling_of_a_path_reads_writes_or_deletes_a_file_outside(tracking: Tracking) -> None:
    before = tracking.state()
    assert SECRET in before.values()
    for door, depth in doors(tracking):
        for path in spellings(tracking, depth, "" if "path={}" in door and "get" not in door else NAME):
            status, text = tracking.ask("GET", door.format(path))
            assert SECRET not in text and BESIDE not in text, (door, path, status, text)
    for depth in (1, 2):
        for path in spellings(tracking, depth, "written.txt"):
            tracking.ask("PUT", f"{ARTIFACTS}/{path}", b"written")
            tracking.ask("PUT", f"/ajax-api/2.0/mlflow-artifacts/artifacts/x/{path}", b"written")
            upload = f"/ajax-api/2.0/mlflow/upload-artifact?run_uuid={tracking.run}&path={path}"
            tracking.ask("POST", upload, b"written")
        for path in spellings(tracking, depth):
            tracking.ask("DELETE", f"{ARTIFACTS}/{path}")
            tracking.ask("DELETE", f"{ARTIFACTS}/{path.removesuffix(NAME)}")
    assert tracking.state() == before


def places(tracking: Tracking) -> list[str]:
    """Return addresses of the folder outside, as an experiment or a version of a model may name it."""
    outside, root = str(tracking.outside), tracking.server.folder / "artifacts"
    inside = f"{tracking.experiment}/{tracking.run}/artifacts"
    return [
        outside, f"file:{outside}", f"file://{outside}", f"file://localhost{outside}", f"FILE://{outside}",
        f"/{outside}", f"{root}/../outside", f"{root}/{inside}/../../../../outside", "../outside", "outside",
        "mlflow-artifacts:/../outside", "mlflow-artifacts:/%2e%2e/outside", "mlflow-artifacts:/x/..%2f..%2foutside",
        f"mlflow-artifacts:/{inside}/../../../../outside", f"mlflow-artifacts:/{inside}/%252e%252e/outside",
        f"mlflow-artifacts://127.0.0.1:{tracking.server.port}/../outside",
        f"{tracking.server.url}{ARTIFACTS}/../outside", f"{tracking.server.url}{ARTIFACTS}/%2e%2e/outside",
        f"runs:/{tracking.run}/../../../../outside", f"runs:/{tracking.run}/%2e%2e/%2e%2e/%2e%2e/%2e%2e/outside",
        "models:/../outside", f"models:/m-0/../{outside}",
    ]  # fmt: skip


def test_no_version_of_a_model_gives_out_a_file_outside(tracking: Tracking) -> None:
    tracking.must("registered-models/create", {"name": "guests"}, user=GUEST)
    source = f"mlflow-artifacts:/{tracking.experiment}/{tracking.run}/artifacts"
    inside = {"name": "guests", "source": source, "run_id": tracking.run}
    version = tracking.must("model-versions/create", inside, user=GUEST)["model_version"]["version"]
    door = "/model-versions/get-artifact?name=guests&version={}&path={}"
    assert "known" in tracking.ask("GET", door.format(version, "inside.txt"), user=GUEST)[1]
    versions = [version]
    for user in (USER, GUEST):
        for source in places(tracking):
            for more in ({}, {"run_id": tracking.run}):
                body = {"name": "guests", "source": source, **more}
                status, text = tracking.ask("POST", "/api/2.0/mlflow/model-versions/create", body, user=user)
                if status == 200:
                    versions.append(json.loads(text)["model_version"]["version"])
    for path in (NAME, *spellings(tracking, 4)):
        for version in versions if path == NAME else versions[:1]:
            _, text = tracking.ask("GET", door.format(version, path), user=GUEST)
            assert SECRET not in text


def test_an_experiment_in_a_folder_of_the_server_gives_out_nothing_that_was_there(tracking: Tracking) -> None:
    """MLflow lets whoever has an account name any folder, but keeps to one below it that has the name of the run."""
    before, made = tracking.state(), 0
    for number, place in enumerate(places(tracking)):
        body = {"name": f"elsewhere {number}", "artifact_location": place}
        status, text = tracking.ask("POST", "/api/2.0/mlflow/experiments/create", body, user=GUEST)
        if status != 200:
            continue
        run = tracking.must("runs/create", json.loads(text), user=GUEST)["run"]["info"]["run_id"]
        made += 1
        for path in (NAME, f"../{NAME}", f"../../{NAME}", f"%2e%2e/%2e%2e/{NAME}", f"%252e%252e/%252e%252e/{NAME}"):
            assert SECRET not in tracking.ask("GET", f"/get-artifact?run_id={run}&path={path}", user=GUEST)[1]
            upload = f"/ajax-api/2.0/mlflow/upload-artifact?run_uuid={run}&path={path}"
            tracking.ask("POST", upload, b"written", user=GUEST)
        for path in ("", "..", "../..", "%252e%252e/%252e%252e"):
            text = tracking.ask("GET", f"/api/2.0/mlflow/artifacts/list?run_id={run}&path={path}", user=GUEST)[1]
            assert BESIDE not in text
    assert made
    after = tracking.state()
    assert before.items() <= after.items()
    assert all(path.endswith(f"/artifacts/{NAME}") and len(Path(path).parent.parent.name) == 32
               for path in after.keys() - before.keys())  # fmt: skip
