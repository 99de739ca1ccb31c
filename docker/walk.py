"""Walk the whole path in containers, from the build of the images to a database that was lost and is back.

    make containers-test                    # everything
    make containers-test STEPS="up doors"   # only these

It works in a clone of this checkout in a temporary folder, with a Compose project, secrets, ports and volumes of its
own, which are gone at the end: a stack that runs already is not touched. It asks for nothing but Python, git, make and
Docker. Each step prints its seconds, and the last line how many passed.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
BUDGETS_MB = {"serve": 500, "mlflow": 900}
"""How large an image may be, uncompressed."""
IMAGES = ("mlflow", "serve", "train-cpu")
DIALOGUE = "#Person1#: 토요일 저녁 일곱 시에 네 명 자리 있나요?\n#Person2#: 네, 예약해 드릴게요. 성함이 어떻게 되세요?"
STUDY = """kind: hyperparameter
member: bart
sampler: {type: random}
pruner: {type: none}
trials: 4
keep: 1
dimensions:
  members.bart.learning_rate: {type: float, low: 1.0e-4, high: 1.0e-2, log: true}
"""
PROBE = (
    "import importlib.util as i, shutil as s; print(i.find_spec('torch'), *map(s.which, ['cc', 'gcc', 'ld', 'pip']))"
)


class FailedError(Exception):
    """Something is not as it should be."""


def expect(condition: object, sentence: str) -> None:
    """Raise FailedError with the sentence unless the condition holds."""
    if not condition:
        raise FailedError(sentence)


def free_port() -> int:
    """Return a port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


@dataclass(kw_only=True)
class Stack:
    """The server stack of a clone."""

    folder: Path
    docker: str
    environment: dict[str, str]
    ports: dict[str, int]
    figures: dict[str, object] = field(default_factory=dict)
    """What was measured."""
    before: dict[str, Any] = field(default_factory=dict)
    """What the tracking server had, and what the model answered, before anything was lost."""

    def run(self, *command: str, check: bool = True, stdin: str = "") -> str:
        """Run a command in the clone and return what it prints."""
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, input=stdin, capture_output=True, text=True, check=False
        )
        if check and done.returncode != 0:
            said = (done.stdout + done.stderr).strip().splitlines()
            raise FailedError("\n  ".join([f"{shlex.join(command)} ended with {done.returncode}:", *said[-40:]]))
        return done.stdout

    def make(self, *arguments: str) -> str:
        """Run a target of the Makefile."""
        return self.run("make", "--no-print-directory", *arguments)

    def compose(self, *arguments: str, check: bool = True, stdin: str = "") -> str:
        """Run Compose with the files of the stack."""
        files = [word for file in self.environment["STACK"].split() for word in ("--file", file)]
        return self.run(self.docker, "compose", *files, *arguments, check=check, stdin=stdin)

    def train(self, script: str) -> str:
        """Run a shell script in the trainer."""
        return self.compose("--profile", "train", "run", "--rm", "-T", "trainer", "sh", "-euc", script)

    def secret(self, name: str) -> str:
        """Return a secret of the stack."""
        return (self.folder / "docker" / "secrets" / name).read_text(encoding="utf-8")

    def ask(
        self,
        service: str,
        path: str,
        body: object = None,
        *,
        account: str | None = None,
        password: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Return the status, headers and body of the answer to a request."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.ports[service]}{path}", headers=dict(headers or {}))
        if body is not None:
            request.data = json.dumps(body).encode()
            request.add_header("Content-Type", "application/json")
        if account:
            known = password if password is not None else self.secret(f"mlflow_{account}_password")
            request.add_header("Authorization", "Basic " + base64.b64encode(f"{account}:{known}".encode()).decode())
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=120) as answer:
                return answer.status, answer.headers, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.headers, error.read()

    def mlflow(self, path: str, body: object = None) -> dict[str, Any]:
        """Return the answer of the tracking server's API to the account that may read."""
        status, _, answer = self.ask("mlflow", f"/api/2.0/mlflow/{path}", body, account="serve")
        expect(status == 200, f"{path} was answered with {status}: {answer[:300]!r}")
        return dict(json.loads(answer))

    def snapshot(self) -> dict[str, Any]:
        """Return the runs and registered models of the tracking server, with metrics, tags and aliases."""
        experiments = self.mlflow("experiments/search", {"max_results": 100}).get("experiments", [])
        ids = sorted(experiment["experiment_id"] for experiment in experiments)
        runs = self.mlflow("runs/search", {"experiment_ids": ids, "max_results": 1000}).get("runs", [])
        models = self.mlflow("registered-models/search").get("registered_models", [])
        versions = self.mlflow("model-versions/search").get("model_versions", [])
        return {
            "experiments": sorted(experiment["name"] for experiment in experiments),
            "runs": {run["info"]["run_id"]: run["data"] for run in runs},
            "models": {model["name"]: model.get("aliases", []) for model in models},
            "versions": {f"{one['name']}/{one['version']}": one.get("tags", []) for one in versions},
        }

    def serving_version(self) -> str:
        """Return the version that the alias `serving` names."""
        answer = self.mlflow("registered-models/alias?name=yoyak&alias=serving")
        return str(answer["model_version"]["version"])


def check_images(stack: Stack) -> None:
    """The images are built, within their budgets, with labels and health checks, without root, torch or a compiler."""
    for name in IMAGES:
        stack.make("images", f"IMAGES={name}")
        [image] = json.loads(stack.run(stack.docker, "image", "inspect", f"yoyak/{name}:{stack.environment['TAG']}"))
        megabytes = round(image["Size"] / 1e6)
        stack.figures[f"{name} MB"] = megabytes
        expect(megabytes < BUDGETS_MB.get(name, megabytes + 1), f"{name} has {megabytes} MB.")
        config = image["Config"]
        expect(config["User"].partition(":")[0] not in ("", "0", "root"), f"{name} runs as {config['User'] or 'root'}.")
        expect(config.get("Healthcheck", {}).get("Test"), f"{name} has no health check.")
        revision = stack.run("git", "rev-parse", "HEAD").strip()
        expect(config["Labels"]["org.opencontainers.image.revision"] == revision, f"{name} is of another revision.")
    for name in ("serve", "mlflow"):
        found = stack.run(
            stack.docker, "run", "--rm", f"yoyak/{name}:{stack.environment['TAG']}", "python", "-c", PROBE
        )
        expect(set(found.split()) <= {"None", "/usr/local/bin/pip"}, f"{name} has {found.strip()}.")


def start_stack(stack: Stack) -> None:
    """`make up` makes the secrets and brings up all services, healthy; a second time it changes nothing."""
    started = time.monotonic()
    stack.make("up")
    stack.figures["stack healthy s"] = round(time.monotonic() - started, 1)
    secrets = {path.name: path.read_bytes() for path in (stack.folder / "docker" / "secrets").iterdir()}
    expect(len(set(secrets.values())) == 9, "The secrets are not nine different ones.")
    stack.make("up")
    again = {path.name: path.read_bytes() for path in (stack.folder / "docker" / "secrets").iterdir()}
    expect(secrets == again, "`make up` replaced a secret.")
    expect(not stack.run("git", "status", "--porcelain", "docker").strip(), "Secrets are not ignored by git.")


def try_doors(stack: Stack) -> None:
    """Nobody gets in without a password, by another host name, or from one database to another."""
    path = "/api/2.0/mlflow/experiments/get?experiment_id=0"
    for expected, options in (
        (200, {"account": "serve"}),
        (401, {}),
        (401, {"account": "serve", "password": "wrong"}),
        (403, {"account": "serve", "headers": {"Host": "evil.example"}}),
    ):
        status, _, _ = stack.ask("mlflow", path, **options)  # type: ignore[arg-type]
        expect(status == expected, f"MLflow answered {options} with {status}, not with {expected}.")
    status, _, _ = stack.ask("mlflow", "/api/2.0/mlflow/users/delete", {"username": "admin"}, account="serve")
    expect(status in (403, 404, 405), f"The account `serve` could delete another: {status}.")
    name = {"name": "secrets", "artifact_location": "/run/secrets"}
    status, _, said = stack.ask("mlflow", "/api/2.0/mlflow/experiments/create", name, account="serve")
    expect(status == 200, f"An experiment was answered with {status}: {said[:300]!r}")
    status, _, said = stack.ask("mlflow", "/api/2.0/mlflow/runs/create", json.loads(said), account="serve")
    run = json.loads(said)["run"]["info"]["run_id"]
    for path in ("s3_secret_key", "../s3_secret_key", "../../s3_secret_key", "%252e%252e/%252e%252e/s3_secret_key"):
        status, _, said = stack.ask("mlflow", f"/get-artifact?run_id={run}&path={path}", account="serve")
        expect(status != 200, f"The file {path} of /run/secrets was answered with {status}.")
    for path in ("../dvc", "%2e%2e/dvc", "..%2fdvc", "%252e%252e%252fdvc", "%2frun%2fsecrets%2fs3_secret_key"):
        for file in ("", "/x"):
            status, _, said = stack.ask("mlflow", f"/api/2.0/mlflow-artifacts/artifacts/{path}{file}", account="serve")
            expect(400 <= status < 500, f"The artifact {path}{file} was answered with {status}: {said[:300]!r}")
    status, _, _ = stack.ask("s3", "/mlflow")
    expect(status in (400, 401, 403), f"S3 answered without a key: {status}.")
    for user, database in (("optuna", "mlflow"), ("mlflow", "optuna"), ("optuna", "mlflow_auth")):
        script = (
            f"PGPASSWORD=$(cat /run/secrets/{user}_db_password) psql -h 127.0.0.1 -U {user} {database} -c 'SELECT 1'"
        )
        answer = stack.compose("exec", "-T", "postgres", "sh", "-c", f"{script} && echo inside", check=False)
        expect("inside" not in answer, f"The user {user} could connect to the database {database}.")
    logs = stack.compose("logs")
    for name in ("mlflow_db_password", "mlflow_trainer_password", "mlflow_admin_password", "s3_secret_key"):
        expect(stack.secret(name) not in logs, f"The logs have {name}.")
    for service in ("mlflow", "postgres"):
        uid = stack.compose("exec", "-T", service, "id", "-u").strip()
        expect(uid != "0", f"{service} runs as root.")
    written = stack.compose("exec", "-T", "mlflow", "sh", "-c", "echo > /opt/x && echo written", check=False)
    expect("written" not in written, "The root file system of mlflow can be written.")


def run_pipeline(stack: Stack) -> None:
    """The trainer runs the pipeline, logs to MLflow, exports, registers and releases; its artifacts are in S3."""
    started = time.monotonic()
    stack.train(
        "yoyak preset smoke --force; dvc pull --quiet data.dvc pretrained.dvc; "
        "dvc repro --quiet; dvc repro --quiet export/dvc.yaml"
    )
    stack.figures["pipeline s"] = round(time.monotonic() - started)
    found = stack.snapshot()
    expect({"yoyak", "yoyak-bart", "yoyak-gpt2"} <= set(found["models"]), f"Registered: {sorted(found['models'])}.")
    expect(len(found["runs"]) > 5, f"There are {len(found['runs'])} runs.")
    owner = (stack.folder / "metrics").stat().st_uid
    expect(owner == os.getuid(), f"The trainer's files belong to {owner}.")
    weights = stack.compose(
        "exec", "-T", "mlflow", "sh", "-c", "python /opt/stack/objects.py save | tar --list | grep -c weights.bin"
    )
    expect(int(weights) >= 1, "The exported model is not in S3.")


def release_export(stack: Stack) -> None:
    """The exported model gets the alias `serving`, whatever the gate said: the smoke preset's models are useless."""
    versions = stack.snapshot()["versions"]
    exported = [name for name, tags in versions.items() if {"key": "variant", "value": "onnx"} in tags]
    exported += [name for name, tags in versions.items() if {"key": "variant", "value": "int8"} in tags]
    expect(exported, f"No version is an export: {sorted(versions)}.")
    name, _, version = exported[-1].partition("/")
    body = {"name": name, "alias": "serving", "version": version}
    status, _, said = stack.ask("mlflow", "/api/2.0/mlflow/registered-models/alias", body, account="serve")
    expect(status == 403, f"The account `serve` could move an alias of `trainer`: {status}.")
    status, _, said = stack.ask("mlflow", "/api/2.0/mlflow/registered-models/alias", body, account="trainer")
    expect(status == 200, f"The alias could not be moved: {status} {said[:300]!r}")


def push_data(stack: Stack) -> None:
    """DVC pushes to the S3 store, and pulls from it what the cache has lost."""
    stack.train(
        "dvc remote add --force --local stack s3://dvc; dvc push --quiet -r stack data.dvc; "
        "rm -rf data .dvc/cache/files; dvc pull --quiet -r stack data.dvc; test -s data/train.csv"
    )


def run_study(stack: Stack) -> None:
    """Two workers of a study share its trials in PostgreSQL."""
    (stack.folder / "studies" / "walk.yaml").write_text(STUDY, encoding="utf-8")
    stack.run("git", "add", "studies/walk.yaml", "params.yaml", "dvc.lock", "metrics", "plots")
    stack.run("git", *COMMITTER, "commit", "--quiet", "--message", "walk")
    stack.environment["STUDY"] = "walk"
    stack.compose("--profile", "study", "up", "--scale", "study-worker=2", "--no-log-prefix", "study-worker")
    query = "SELECT count(*), count(DISTINCT t.trial_id) FROM trials t WHERE t.state = 'COMPLETE'"
    counted = stack.compose("exec", "-T", "postgres", "psql", "-U", "postgres", "-tA", "optuna", "-c", query)
    expect(int(counted.split("|")[0]) >= 4, f"Optuna's database has {counted.strip()} complete trials.")
    states = json.loads(
        "["
        + ",".join(
            stack.compose("--profile", "study", "ps", "--all", "--format", "json", "study-worker").strip().splitlines()
        )
        + "]"
    )
    expect([one["ExitCode"] for one in states] == [0, 0], f"The workers ended so: {states}.")


def serve(stack: Stack) -> None:
    """The released model is served on a read-only file system and answers; its version is the alias's."""
    started = time.monotonic()
    stack.compose("--profile", "serve", "up", "--detach", "--wait", "serve")
    stack.figures["serve healthy s"] = round(time.monotonic() - started, 1)
    stack.before["answer"] = answer(stack)
    written = stack.compose("exec", "-T", "serve", "sh", "-c", "echo > /opt/x && echo written", check=False)
    expect("written" not in written, "The root file system of serve can be written.")
    status, _, _ = stack.ask("serve", "/health", headers={"Host": "evil.example"})
    expect(status == 400, f"A wrong Host was answered with {status}.")
    probe = (
        "import socket as s, urllib.request as r; address = s.gethostbyname(s.gethostname());"
        "print(address, r.urlopen(f'http://{address}:5001/health', timeout=4).status)"
    )
    probed = stack.compose("exec", "-T", "serve", "python", "-c", probe)
    expect(
        re.fullmatch(r"(?!127\.)[\d.]+ 200\n", probed),
        f"A probe by the container's address, as Kubernetes sends it, got {probed!r}.",
    )


def answer(stack: Stack) -> str:
    """Return the served model's summary of a dialogue."""
    status, headers, body = stack.ask("serve", "/invocations", {"inputs": [DIALOGUE]})
    expect(status == 200, f"/invocations was answered with {status}: {body[:300]!r}")
    expect(headers["X-Yoyak-Version"] == stack.serving_version(), f"Served is {headers['X-Yoyak-Version']}.")
    [prediction] = json.loads(body)["predictions"]
    return str(prediction["summary"])


def back_up(stack: Stack) -> None:
    """`make backup` writes one folder, whose checksums hold, and no secret is in it."""
    stack.before["snapshot"] = stack.snapshot()
    stack.make("backup")
    [folder] = (stack.folder / "docker" / "backups").iterdir()
    stack.figures["backup MB"] = round(sum(file.stat().st_size for file in folder.iterdir()) / 1e6, 1)
    expect(folder.stat().st_mode & 0o077 == 0, "Others may read the backup.")
    refused = stack.run("make", "restore", check=False)
    expect(stack.snapshot() == stack.before["snapshot"], f"A restore replaced runs without FORCE: {refused[-300:]}")


def lose_and_restore(stack: Stack) -> None:
    """Database and objects are lost with their volumes; `make restore` brings all of it back."""
    stack.make("down")
    for volume in ("postgres", "s3"):
        stack.run(stack.docker, "volume", "rm", f"{stack.environment['COMPOSE_PROJECT_NAME']}_{volume}")
    stack.make("up")
    lost = stack.snapshot()
    expect(not lost["runs"] and not lost["models"], f"Something is left: {sorted(lost['models'])}.")
    started = time.monotonic()
    stack.make("restore")
    stack.figures["restore s"] = round(time.monotonic() - started, 1)
    expect(stack.snapshot() == stack.before["snapshot"], "What is back is not what was lost.")


def serve_again(stack: Stack) -> None:
    """The restored model answers as before, and DVC's data are back too."""
    stack.compose("--profile", "serve", "up", "--detach", "--wait", "--force-recreate", "--no-deps", "serve")
    again = answer(stack)
    expect(again == stack.before["answer"], f"The answer was {stack.before['answer']!r} and is now {again!r}.")
    stack.train("rm -rf data .dvc/cache/files; dvc pull --quiet -r stack data.dvc; test -s data/train.csv")


def follow_password(stack: Stack) -> None:
    """A password whose file has changed is another one after a restart of the server."""
    file = stack.folder / "docker" / "secrets" / "mlflow_serve_password"
    old = stack.secret(file.name)
    file.chmod(0o644)
    # In place: a container that is restarted has the file that it was started with.
    file.write_text(old[::-1], encoding="utf-8")
    stack.compose("restart", "mlflow")
    stack.compose("up", "--detach", "--wait", "mlflow")
    path = "/api/2.0/mlflow/experiments/get?experiment_id=0"
    status, _, _ = stack.ask("mlflow", path, account="serve", password=old)
    expect(status == 401, f"The old password still works: {status}.")
    status, _, _ = stack.ask("mlflow", path, account="serve")
    expect(status == 200, f"The new password does not work: {status}.")


STEPS: dict[str, Callable[[Stack], None]] = {
    "images": check_images,
    "up": start_stack,
    "doors": try_doors,
    "train": run_pipeline,
    "release": release_export,
    "data": push_data,
    "study": run_study,
    "serve": serve,
    "backup": back_up,
    "restore": lose_and_restore,
    "serve-again": serve_again,
    "password": follow_password,
}
COMMITTER = ("-c", "user.name=walk", "-c", "user.email=walk@localhost")


@contextmanager
def clone(keep: bool) -> Iterator[Stack]:
    """Yield the stack of a clone of this checkout, as it is on disk; everything is gone at the end unless ``keep``."""
    docker = os.environ.get("DOCKER", "docker")
    folder = Path(tempfile.mkdtemp(prefix="yoyak-walk-")) / "project"
    ports = {name: free_port() for name in ("mlflow", "serve", "s3")}
    environment = {
        "STACK": "docker/compose.yaml",
        "TAG": "local",
        **os.environ,
        **{f"{name.upper()}_PORT": str(port) for name, port in ports.items()},
        "COMPOSE_PROJECT_NAME": f"yoyak-walk-{os.getpid()}",
        "BACKUPS": "docker/backups",
    }
    stack = Stack(folder=folder, docker=docker, environment=environment, ports=ports)
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder)], check=True)
    changes = subprocess.run(["git", "diff", "--binary", "HEAD"], cwd=ROOT, capture_output=True, check=True).stdout
    if changes:
        subprocess.run(["git", "apply", "--index", "-"], cwd=folder, input=changes, check=True)
        stack.run("git", *COMMITTER, "commit", "--quiet", "--all", "--message", "the work tree")
    try:
        yield stack
    finally:
        if keep:
            print(f"kept: {folder}, Compose project {environment['COMPOSE_PROJECT_NAME']}")
        else:
            stack.compose("--profile", "*", "down", "--volumes", "--remove-orphans", check=False)
            shutil.rmtree(folder.parent, ignore_errors=True)


def main() -> int:
    """Walk, and return 1 at the first step that fails, since the others stand on it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("steps", nargs="*", choices=[[], *STEPS], default=[], help="by default all")
    parser.add_argument("--keep", action="store_true", help="leave the stack and the clone as they are")
    arguments = parser.parse_args()
    chosen = [name for name in STEPS if not arguments.steps or name in arguments.steps]
    passed = 0
    with clone(arguments.keep) as stack:
        for name in chosen:
            started = time.monotonic()
            try:
                STEPS[name](stack)
            except FailedError as error:
                print(
                    stack.compose("--profile", "*", "logs", "--no-color", "--tail", "40", check=False), file=sys.stderr
                )
                print(f"FAILED  {name}: {error}", file=sys.stderr)
                print(f"{passed} passed, 1 failed, {len(chosen) - passed - 1} skipped")
                return 1
            passed += 1
            print(f"ok  {name:12} {time.monotonic() - started:6.1f} s  {STEPS[name].__doc__}", flush=True)
        print(json.dumps(stack.figures))
    print(f"{passed} passed, 0 failed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
