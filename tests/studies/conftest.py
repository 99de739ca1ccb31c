"""Projects with studies whose trials take no time, or train a tiny member; `yoyak study` in processes of its own."""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import psutil
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from optuna.exceptions import TrialPruned
from ruamel.yaml import YAML

from mlflow_helpers import git
from mlflow_server import mlflow_server, postgres  # noqa: F401
from servers import YOYAK
from studies import cheap_study
from training.tiny_training import ROWS, member
from yoyak.data.preparing import prepare_splits
from yoyak.data.records import Dialogue
from yoyak.data.samples import generate
from yoyak.params import Data, Tokenizer
from yoyak.params.overrides import read_yaml
from yoyak.params.studies import KINDS
from yoyak.params.study_files import load_study
from yoyak.preparation.write import write_prepared
from yoyak.studies.kinds import Kind, RunningTrial, open_kind
from yoyak.studies.outcome import Summary
from yoyak.studies.run import Options, run_study
from yoyak.studies.storage import open_storage

ROOT = Path(__file__).parents[2]
DATA = {"folder": "data", "files": {name: f"{name}.csv" for name in ("train", "dev", "test", "gate")}}


@dataclass(frozen=True, kw_only=True)
class StudyProject:
    """A project's folder, and the environment in which the package with the cheap kind is installed."""

    folder: Path
    variables: dict[str, str]

    def write_study(self, name: str, **values: Any) -> None:
        YAML().dump(values, self.folder / "studies" / f"{name}.yaml")

    def cheap(self, name: str = "cheap", **values: Any) -> None:
        dimension = {"type": "float", "low": 0.01, "high": 0.9}
        self.write_study(name, **{"kind": "cheap", "dimensions": {"members.bart.learning_rate": dimension}, **values})

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", YOYAK, "study", *arguments],
            cwd=self.folder,
            env=self.variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, code: int = 0) -> str:
        process = self.start(*arguments)
        out, err = process.communicate(timeout=300)
        assert process.returncode == code, out + err
        return out + err

    def run_here(self, name: str = "cheap", **options: Any) -> Summary:
        """Run a study with this process as its supervisor, which saves starting one."""
        return run_study(name, Options(**options))

    def trials(self, name: str = "cheap", url: str | None = None) -> list[optuna.trial.FrozenTrial]:
        storage = open_storage(url, self.folder / "studies" / name / "journal.log")
        return optuna.load_study(study_name=name, storage=storage).get_trials()

    def runs(self, name: str = "cheap", uri: str | None = None) -> tuple[list[Run], list[Run]]:
        """The runs of the study, and those of its trials."""
        client = MlflowClient(uri or f"sqlite:///{self.folder}/mlflow.db")
        found = client.search_runs(
            [experiment.experiment_id for experiment in client.search_experiments()], f"tags.`yoyak.study` = '{name}'"
        )
        return (
            [run for run in found if run.data.tags["yoyak.stage"] == "study"],
            [run for run in found if run.data.tags["yoyak.stage"] == "trial"],
        )


def states(trials: list[optuna.trial.FrozenTrial]) -> list[str]:
    return sorted(trial.state.name for trial in trials)


def wait_until(condition: Callable[[], Any], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)


@contextmanager
def followed(process: subprocess.Popen[str]) -> Iterator[list[psutil.Process]]:
    """Collect the children of a process as they appear; none of them is alive after the block."""
    children: list[psutil.Process] = []
    try:
        yield children
        _, alive = psutil.wait_procs(children, timeout=120)
        assert not alive
    finally:
        for each in (process, *children):
            with suppress(psutil.NoSuchProcess):
                each.kill()


def workers_of(process: subprocess.Popen[str], children: list[psutil.Process]) -> list[psutil.Process]:
    children[:] = list({*children, *psutil.Process(process.pid).children(recursive=True)})
    return children


@pytest.fixture
def study_project(project: Path, empty_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StudyProject:
    """A project without trained members, an empty store, and no data but a file."""
    packages = tmp_path / "packages"
    info = packages / "cheap_study-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: cheap_study\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[yoyak.studies]\ncheap = cheap_study:Cheap\n")
    shutil.copy(cheap_study.__file__, packages / "cheap_study.py")
    shutil.copy(empty_store, project / "mlflow.db")
    shutil.copy(ROOT / "params.yaml", project / "params.yaml")
    (project / "data.txt").write_text("data")
    (project / "studies").mkdir()
    git("commit", "-q", "-a", "-m", "params")
    paths = [str(packages), os.environ.get("PYTHONPATH", "")]
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("MLFLOW_", "DVC_", "YOYAK_", "OPTUNA_"))
    }
    python_path = os.pathsep.join(filter(None, paths))
    monkeypatch.setenv("PYTHONPATH", python_path)
    monkeypatch.setitem(KINDS, "cheap", "studies.cheap_study:Cheap")
    return StudyProject(folder=project, variables={**kept, "PYTHONPATH": python_path})


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data/ and what `yoyak prepare` makes of it, as small as can be."""
    folder = tmp_path_factory.mktemp("prepared")
    splits = {"train": ROWS[:24], "dev": ROWS[24:32], "gate": ROWS[32:], "test": list(generate(4, 6, split="test"))}
    for name, rows in splits.items():
        write_csv(folder / "data" / f"{name}.csv", rows)
    data = Data.model_validate({**DATA, "folder": str(folder / "data")})
    tokenizers = {"bpe": Tokenizer(type="bpe", vocab_size=600)}
    write_prepared(prepare_splits(data), tokenizers, folder / "prepared", mask_tokens=True)
    return folder


def write_csv(path: Path, rows: list[Dialogue]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["fname", "dialogue", "summary", "topic"])
        table.writerows([row.fname, row.dialogue, row.summaries[0], row.topic] for row in rows)


@pytest.fixture
def training_project(study_project: StudyProject, prepared: Path) -> StudyProject:
    """A project in which the data is prepared, with two tiny members."""
    shutil.copytree(prepared, study_project.folder, dirs_exist_ok=True)
    tree = YAML().load(study_project.folder / "params.yaml")
    tiny = member("bart").model_dump(mode="json", exclude_defaults=True) | {"family": "seq2seq"}
    tree["members"] = {"bart": tiny, "twin": dict(tiny)}
    tree["data"], tree["tokenizers"] = dict(DATA), {"bpe": {"type": "bpe", "vocab_size": 600}}
    tree["generation"] |= {"max_new_tokens": 8, "num_beams": 2, "num_return_sequences": 2}
    YAML().dump(tree, study_project.folder / "params.yaml")
    return study_project


def open_study(project: StudyProject, **values: Any) -> Kind:
    project.write_study("study", **values)
    tree = read_yaml("params.yaml")
    kind = open_kind(load_study(Path("studies/study.yaml"), tree), tree, Path("studies/study"))
    kind.check()
    kind.open()
    return kind


class Recorded:
    """A trial that remembers what it was told."""

    def __init__(self, folder: Path, *, stop_after: int = 10**6, prune_at: int = 10**6) -> None:
        self.reports: dict[int, float] = {}
        self.notes: dict[str, Any] = {}
        self.logged: dict[int, Mapping[str, float]] = {}
        self.asked, self.stop_after, self.prune_at = 0, stop_after, prune_at
        folder.mkdir(parents=True, exist_ok=True)
        self.trial = RunningTrial(
            number=0, folder=folder, report=self.report, log=self.logged.__setitem__,
            should_stop=self.should_stop, note=self.notes.__setitem__,
        )  # fmt: skip

    def report(self, step: int, value: float) -> None:
        self.reports[step] = value
        if len(self.reports) >= self.prune_at:
            raise TrialPruned

    def should_stop(self) -> bool:
        self.asked += 1
        return self.asked > self.stop_after
