"""The project that `faults.py` harms: the smoke pipeline on little data, and what a run of it has left behind."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from dvc.schema import COMPILED_LOCKFILE_SCHEMA
from ruamel.yaml import YAML, YAMLError
from voluptuous import Invalid

ROOT = Path(__file__).parents[1]
REPRO = (sys.executable, "-m", "dvc", "repro")
WAIT = 900.0
"""Seconds after which a command counts as hanging."""
TRAINING = {"num_epochs": 4, "batch_size": 4, "evaluations": 4}
"""Long enough, and with enough checkpoints, to be struck in the middle."""


class NotSurvivedError(Exception):
    """A fault was not survived; the message says what was found."""


@dataclass(frozen=True, kw_only=True)
class Done:
    """A command that has ended."""

    code: int
    output: str

    def check_sentence(self) -> str:
        """Return the sentence that a failed command ends with; NotSurvivedError if there is none."""
        if self.code == 0:
            raise NotSurvivedError("it succeeded, although it could not")
        if "Traceback (most recent call last)" in self.output:
            raise NotSurvivedError(f"it ended with a traceback: {self.output[-600:]}")
        own = re.findall(r"^yoyak(?: \w+)+: (.+)$", self.output, re.MULTILINE)
        dvc = re.findall(r"^ERROR: (.+)$", self.output, re.MULTILINE)
        # DVC calls a full disk unexpected, but says that it is full.
        if (own and own[-1].startswith("unexpected")) or (not own and not dvc):
            raise NotSurvivedError(f"it ended without a clear sentence: {self.output[-600:]}")
        [*_, sentence] = own or dvc
        return str(sentence)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a finished pipeline has left: figures, files and versions, without ids and times."""

    scores: Mapping[str, str]
    outputs: Mapping[str, str]
    versions: tuple[tuple[Any, ...], ...]
    """Name, number, identity and aliases of each registered version, each with its files."""
    trainings: tuple[str, ...]
    """Members with a finished training run. A stage that was killed when it had ended, before DVC noted it, has two."""

    def compare(self, other: Outcome) -> None:
        """Raise NotSurvivedError that says what differs from the undisturbed run ``self``."""
        for kind in ("scores", "outputs", "versions", "trainings"):
            before, after = getattr(self, kind), getattr(other, kind)
            if before != after:
                raise NotSurvivedError(f"{kind} differ: {_difference(before, after)}")


def _difference(before: Any, after: Any) -> str:
    if isinstance(before, Mapping):
        return ", ".join(
            f"{key}: {before.get(key)} became {after.get(key)}"
            for key in sorted({*before, *after})
            if before.get(key) != after.get(key)
        )[:600]
    return f"{before} became {after}"[:600]


@dataclass(kw_only=True)
class Project:
    """A clone in a folder of its own, and the environment of its commands."""

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)

    def start(self, *command: str, log: str = "command.log", **variables: str) -> subprocess.Popen[bytes]:
        """Start a command in the project; what it prints goes to a log beside the project."""
        with self.log(log).open("wb") as out:
            return subprocess.Popen(
                command,
                cwd=self.folder,
                env={**self.environment, **variables},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )

    def log(self, name: str) -> Path:
        return self.folder.with_name(f"{self.folder.name}.{name}")

    def finish(self, process: subprocess.Popen[bytes], log: str = "command.log") -> Done:
        """Wait for a started command; NotSurvivedError if it hangs."""
        try:
            code = process.wait(WAIT)
        except subprocess.TimeoutExpired:
            self.kill()
            raise NotSurvivedError(f"it hangs: {self.log(log).read_text()[-600:]}") from None
        return Done(code=code, output=self.log(log).read_text(errors="replace"))

    def run(self, *command: str, **variables: str) -> Done:
        """Run a command to its end."""
        return self.finish(self.start(*command, **variables))

    def must(self, *command: str) -> None:
        """Run a command that must succeed."""
        done = self.run(*command)
        if done.code:
            raise NotSurvivedError(f"`{' '.join(command[2:])}` failed afterwards: {done.output[-800:]}")

    def repro(self) -> None:
        """Run the pipeline, which must succeed."""
        self.must(*REPRO)

    def remove_half_written(self) -> list[str]:
        """Remove the files that DVC was killed over and cannot read, as docs/training.md says; return their names.

        A project that has dvc.lock in git restores it from there; here it is not.
        """
        readers: dict[str, Callable[[str], object]] = {
            "dvc.lock": lambda text: COMPILED_LOCKFILE_SCHEMA(YAML(typ="safe").load(text)),
            ".dvc/tmp/rwlock": json.loads,
        }
        found = []
        for name, read in readers.items():
            try:
                if (self.folder / name).exists():
                    read((self.folder / name).read_text())
            except (YAMLError, Invalid, ValueError):
                (self.folder / name).unlink()
                found.append(name)
        return found

    def processes(self) -> list[psutil.Process]:
        """Return the processes that work in the project, whoever has forked them."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process.pid != os.getpid() and Path(process.cwd()) == self.folder:
                    found.append(process)
        return found

    def kill(self, *, stage_only: bool = False) -> int:
        """Kill what works in the project, or of it only what `dvc` has started; return how many there were."""
        killed = 0
        while processes := [one for one in self.processes() if not (stage_only and _is_dvc(one))]:
            for process in processes:
                with suppress(psutil.Error):
                    process.send_signal(signal.SIGKILL)
                    killed += 1
            if stage_only:
                break
            time.sleep(0.05)
        return killed

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Let nothing in the project run while the block lasts, so that a copy of it is of one moment."""
        stopped: list[psutil.Process] = []
        while new := [one for one in self.processes() if one not in stopped]:
            for process in new:
                with suppress(psutil.Error):
                    process.suspend()
                stopped.append(process)
        try:
            yield
        finally:
            for process in stopped:
                with suppress(psutil.Error):
                    process.resume()

    def outcome(self, uri: str = "") -> Outcome:
        """Return what the finished pipeline has left in the project and in its tracking store."""
        lock = YAML(typ="safe").load(self.folder / "dvc.lock")["stages"]
        # Receipts name runs, `registry` too; curves and metrics of a training have seconds.
        varying = ("receipts", "training", "registry", "report", "metrics/train", "plots/curves")
        outputs = {
            out["path"]: out.get("md5", "")
            for stage in lock.values()
            for out in stage.get("outs", ())
            if not out["path"].startswith(varying)
        }
        scores = {path.stem: path.read_text() for path in sorted((self.folder / "metrics/scores").glob("*.json"))}
        if not uri:
            # MLflow keeps a database open, and would read the one that was at this path in another trial.
            copy = self.log(f"{time.time_ns()}.db")
            shutil.copy(self.folder / "mlflow.db", copy)
            uri = f"sqlite:///{copy}"
        versions, trainings = _read_store(uri)
        return Outcome(scores=scores, outputs=outputs, versions=versions, trainings=trainings)


def kill_below(folder: Path) -> None:
    """Kill what still works anywhere below a folder."""
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.pid != os.getpid() and Path(process.cwd()).is_relative_to(folder):
                process.kill()


def _is_dvc(process: psutil.Process) -> bool:
    with suppress(psutil.Error):
        return "dvc" in process.cmdline()[:3]
    return False


def _read_store(uri: str) -> tuple[tuple[tuple[Any, ...], ...], tuple[str, ...]]:
    """Return the registered versions and the finished trainings; NotSurvivedError where something is lost or open."""
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    versions = []
    for model in client.search_registered_models():
        aliases = {int(number): alias for alias, number in sorted(model.aliases.items())}
        for found in client.search_model_versions(f"name = '{model.name}'"):
            version = client.get_model_version(model.name, found.version)
            model_id = str(version.source).removeprefix("models:/")
            if not client.list_logged_model_artifacts(model_id):
                raise NotSurvivedError(f"the files of {model.name} version {version.version} are lost")
            identity = version.tags.get("yoyak.identity", "")
            versions.append((model.name, int(version.version), identity, aliases.get(int(version.version), "")))
    trainings = set()
    for experiment in client.search_experiments():
        for run in client.search_runs([experiment.experiment_id], max_results=1000):
            if run.info.status == "RUNNING" and run.data.tags.get("yoyak.stage") != "pipeline":
                raise NotSurvivedError(f"the run '{run.info.run_name}' is still open")
            if run.info.status == "FINISHED" and run.data.tags.get("yoyak.stage") == "train":
                trainings.add(run.data.tags["yoyak.member"])
    return tuple(sorted(versions)), tuple(sorted(trainings))


def environment(path: str) -> dict[str, str]:
    """Return the environment of a person's shell, which has the code of ``src`` beside ``path``."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("MLFLOW_", "DVC_", "YOYAK_"))}
    git = {f"GIT_{role}_{key}": "bench" for role in ("AUTHOR", "COMMITTER") for key in ("NAME", "EMAIL")}
    return {
        **kept,
        **git,
        "PATH": f"{path}{os.pathsep}{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}",
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    }


def make_template(folder: Path, rows: int) -> Path:
    """Fill a folder with a clone's files, presets/smoke.yaml as params and a sample of ``rows`` dialogues."""
    from yoyak.data.samples import write_corpus

    folder.mkdir(parents=True)
    for name in ("dvc.yaml", "requirements.lock", "MLproject", ".gitignore", ".dvcignore"):
        shutil.copy(ROOT / name, folder / name)
    shutil.copytree(ROOT / "src", folder / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in ("cases", "pretrained", "prompts"):
        (folder / name).mkdir()
        (folder / name / ".gitkeep").touch()
    write_corpus(folder / "data", train=rows, dev=8, test=10, gate=8, seed=1)
    shutil.copy(folder / "data/dev.csv", folder / "data/handwritten.csv")
    yaml = YAML()
    params = yaml.load((ROOT / "presets/smoke.yaml").read_text())
    for member in params["members"].values():
        member.update(TRAINING)
    # Without Kiwi, which takes seconds to load in each stage.
    params["scoring"]["granularities"], params["ensemble"]["granularity"] = ["syllable"], "syllable"
    with (folder / "params.yaml").open("w") as out:
        yaml.dump(params, out)
    project = Project(folder=folder, environment=environment(""))
    for command in (
        ("git", "init", "-q", "-b", "main"),
        (sys.executable, "-m", "dvc", "init", "-q"),
        (sys.executable, "-m", "dvc", "config", "core.analytics", "false"),
        (sys.executable, "-m", "dvc", "add", "-q", "data"),
        ("git", "add", "-A"),
        ("git", "commit", "-q", "-m", "start"),
    ):
        done = project.run(*command)
        if done.code:
            raise SystemExit(done.output)
    return folder
