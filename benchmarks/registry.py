"""Time the registry's verbs with 20,000 runs and 500 versions in the store, as a person waits for them.

    python benchmarks/registry.py                                        # SQLite; some minutes
    python benchmarks/registry.py --database postgresql+psycopg2://…     # a new database, behind an `mlflow server`

The store is filled by inserting rows; everything that is timed goes through MLflow. Each command is a process of its
own and runs several times: the shortest and the longest time are printed, and the CPU time of the shortest, which other
work on the machine changes less.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
NAME, MEMBERS, SPLITS = "yoyak", ("bart", "t5", "gpt2"), ("dev", "gate", "test")
METRICS = ("rouge1", "rouge2", "rougeL", "length_ratio", "combined")

PAGE_THROUGH = f"""
from yoyak.tracking.client import connect
client, token, found = connect(), None, []
while token != "":
    page = client.search_model_versions("name = '{NAME}'", max_results=200, page_token=token)
    found, token = found + list(page), page.token or ""
print(len(found))
"""
"""What listing all versions with their tags takes, without any of our own code."""


def fill_runs(database: str, experiment: str, count: int) -> list[str]:
    """Insert finished runs with tags, params and metrics, and return their ids."""
    import sqlalchemy
    from mlflow.store.tracking.dbmodels import models

    chance = random.Random(1)
    rows: dict[Any, list[dict[str, Any]]] = {table: [] for table in (
        models.SqlRun, models.SqlTag, models.SqlParam, models.SqlMetric, models.SqlLatestMetric
    )}  # fmt: skip
    now = int(time.time() * 1000)
    ids = []
    for index in range(count):
        run, member = uuid.UUID(int=chance.getrandbits(128)).hex, MEMBERS[index % len(MEMBERS)]
        started = now - 60_000 * (count - index)
        ids.append(run)
        rows[models.SqlRun].append({
            "run_uuid": run, "name": f"train {member}", "source_type": "LOCAL", "source_name": "yoyak",
            "entry_point_name": "", "user_id": "team", "status": "FINISHED", "start_time": started,
            "end_time": started + 50_000, "source_version": "", "lifecycle_stage": "active",
            "artifact_uri": f"mlflow-artifacts:/{experiment}/{run}/artifacts", "experiment_id": int(experiment),
        })  # fmt: skip
        tags = {"mlflow.runName": f"train {member}", "mlflow.user": "team", "yoyak.stage": "train",
                "yoyak.member": member, "yoyak.pipeline": f"{index // 5:032x}", "git.commit": f"{index // 5:040x}",
                "git.dirty": "false", "seed": "20", "device": "cpu"}  # fmt: skip
        params = {f"members.{member}.key{key}": str(chance.random()) for key in range(12)}
        metrics = {name: chance.random() for name in ("loss", "eval_loss", "eval_combined", "train_loss", "seconds")}
        rows[models.SqlTag] += [{"run_uuid": run, "key": key, "value": value} for key, value in tags.items()]
        rows[models.SqlParam] += [{"run_uuid": run, "key": key, "value": value} for key, value in params.items()]
        for key, value in metrics.items():
            row = {"run_uuid": run, "key": key, "value": value, "timestamp": now, "step": 10, "is_nan": False}
            rows[models.SqlMetric].append(row)
            rows[models.SqlLatestMetric].append(row)
    engine = sqlalchemy.create_engine(database)
    with engine.begin() as connection:
        for table, values in rows.items():
            for start in range(0, len(values), 10_000):
                connection.execute(sqlalchemy.insert(table), values[start : start + 10_000])
    engine.dispose()
    return ids


def fill_versions(client: Any, experiment: str, runs: list[str], count: int, fingerprint: str) -> None:
    """Register versions of `NAME` and of its members through MLflow; the last one has files and the fingerprint."""
    chance = random.Random(2)
    for name in (NAME, *(f"{NAME}-{member}" for member in MEMBERS)):
        client.create_registered_model(name)
    for index in range(count):
        member = MEMBERS[index % len(MEMBERS)]
        run = runs[-(1 + index * len(runs) // count)]
        model = client.create_logged_model(experiment, name=member, source_run_id=run)
        scores = {
            f"score.{split}.{metric}": f"{chance.uniform(0.3, 0.8):.6f}" for split in SPLITS for metric in METRICS
        }
        tags = {"member": member, "variant": "fp32", "git.commit": f"{index:040x}", "git.dirty": "false", **scores}
        if index == count - 1:
            with tempfile.TemporaryDirectory() as folder:
                (Path(folder) / "MLmodel").write_text("flavors: {}\n")
                client.log_model_artifacts(model.model_id, folder)
            tags["yoyak.fingerprint"] = fingerprint
        # Most versions are of the model that people ask for.
        name = NAME if index % 5 else f"{NAME}-{member}"
        client.create_model_version(name if index < count - 1 else NAME, f"models:/{model.model_id}", run, tags=tags,
                                    model_id=model.model_id)  # fmt: skip
    client.set_registered_model_alias(NAME, "champion", "1")


def prepare_project(folder: Path, runs: int, versions: int, database: str) -> None:
    """Fill the store and make ``folder`` a project whose last `register` is in it."""
    from yoyak.registry import check
    from yoyak.tracking.client import connect, get_or_create_experiment
    from yoyak.tracking.registered import Registered, write_registered

    shutil.copy(ROOT / "params.yaml", folder)
    os.chdir(folder)
    started = time.perf_counter()
    client = connect()
    experiment = get_or_create_experiment(client, NAME).experiment_id
    ids = fill_runs(database, experiment, runs)
    fingerprint = check.registration_fingerprint()
    fill_versions(client, experiment, ids, versions, fingerprint)
    write_registered(Registered(registered=(), decision="", tracking_uri="", fingerprint=fingerprint))
    check.remember(check.FINGERPRINT, fingerprint, NAME)
    print(f"filled in {time.perf_counter() - started:.0f} s", file=sys.stderr)


def measure(command: list[str], repeats: int) -> tuple[float, float, float]:
    """Run a command several times; return the shortest and longest time, and the CPU time of the shortest."""
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        error = process.stderr.read() if process.stderr else b""
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(f"{' '.join(command)}: {error.decode()}")
        times.append((time.perf_counter() - started, usage.ru_utime + usage.ru_stime))
    return min(times)[0], max(times)[0], min(times)[1]


@contextmanager
def serve(database: str, folder: Path, port: int) -> Iterator[str]:
    """Run `mlflow server` on a database while the block lasts."""
    command = [sys.executable, "-m", "mlflow", "server", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", database, "--artifacts-destination", str(folder)]
    environment: Mapping[str, str] = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
    try:
        while process.poll() is None:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5)
                break
            except OSError:
                time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def run(folder: Path, arguments: argparse.Namespace, database: str) -> None:
    """Fill, measure and print a Markdown table."""
    prepare_project(folder, arguments.runs, arguments.versions, database)
    yoyak = str(Path(sys.executable).parent / "yoyak")
    commands = {
        "import MLflow's client": [sys.executable, "-c", "from mlflow import MlflowClient"],
        "MLflow's client pages through the versions": [sys.executable, "-c", PAGE_THROUGH],
        "`yoyak register`, nothing to do": [yoyak, "register"],
    }
    helped = subprocess.run([yoyak, "models", "--help"], capture_output=True, text=True, check=False)
    if helped.returncode == 0:
        for verb, *words in (["list"], ["show", f"{NAME}@champion"], ["compare", f"{NAME}/1", f"{NAME}/2"]):
            commands[f"`yoyak models {verb}`"] = [yoyak, "models", verb, *words]
    print("| command | seconds, shortest | longest | CPU seconds |\n| --- | --- | --- | --- |")
    for name, command in commands.items():
        shortest, longest, cpu = measure(command, arguments.repeats)
        print(f"| {name} | {shortest:.2f} | {longest:.2f} | {cpu:.2f} |", flush=True)


def main() -> None:
    """Read the arguments and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--database", help="a new PostgreSQL database, served by an `mlflow server`")
    parser.add_argument("--port", type=int, default=5099, help="of that server")
    parser.add_argument("--runs", type=int, default=20_000)
    parser.add_argument("--versions", type=int, default=500)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "project").mkdir()
        if arguments.database:
            with serve(arguments.database, folder / "artifacts", arguments.port) as url:
                os.environ["MLFLOW_TRACKING_URI"] = url
                run(folder / "project", arguments, arguments.database)
        else:
            database = f"sqlite:///{folder / 'project' / 'mlflow.db'}"
            os.environ["MLFLOW_TRACKING_URI"] = database
            run(folder / "project", arguments, database)


if __name__ == "__main__":
    main()
