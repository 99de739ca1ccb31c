"""How the cores and the GPUs of a machine are divided among workers: by what their environment gets."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from studies.conftest import StudyProject
from yoyak.cpu import cores
from yoyak.studies.processes import share_of_machine, visible_gpus

GPUS = "CUDA_VISIBLE_DEVICES"


def shares(workers: int) -> list[str | None]:
    return [share_of_machine(index, workers).get(GPUS) for index in range(workers)]


@pytest.mark.parametrize(
    ("visible", "workers", "expected"),
    [
        ("0,1", 2, ["0", "1"]),
        ("3, 5", 3, ["3", "5", "3"]),
        ("0,1,2,3", 2, ["0,2", "1,3"]),
        ("0,1,2", 2, ["0,2", "1"]),
        ("GPU-a,GPU-b", 1, ["GPU-a,GPU-b"]),
        ("1,-1,2", 2, ["1", "1"]),
        ("", 2, [None, None]),
        ("-1", 1, [None]),
    ],
)
def test_workers_divide_the_visible_gpus(
    visible: str, workers: int, expected: list[str | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(GPUS, visible)
    assert shares(workers) == expected


def test_gpus_are_found_without_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(GPUS, raising=False)
    program = tmp_path / "nvidia-smi"
    program.write_text(
        '#!/bin/sh\n[ "$1 $2" = "--query-gpu=uuid --format=csv,noheader" ] && printf "GPU-1\\nGPU-2\\n"\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert visible_gpus() == ["GPU-1", "GPU-2"]
    assert shares(3) == ["GPU-1", "GPU-2", "GPU-1"]
    program.write_text("#!/bin/sh\necho 'NVIDIA-SMI has failed'\nexit 9\n")
    assert visible_gpus() == []


def test_threads_are_divided_and_never_more_than_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert share_of_machine(0, 1)["OMP_NUM_THREADS"] == str(cores())
    assert share_of_machine(0, cores() + 1)["OMP_NUM_THREADS"] == "1"
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert share_of_machine(0, 1)["MKL_NUM_THREADS"] == "1"


@pytest.mark.slow
def test_a_worker_has_its_share(study_project: StudyProject, monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers for which there is no trial are not started, and leave their share to the others."""
    monkeypatch.setenv(GPUS, "4,7")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    study_project.cheap(trials=1, steps=1)
    study_project.run_here(workers=2)
    study_project.run_here(workers=2, trials=3)
    first, *others = [trial.user_attrs["notes"]["environment"] for trial in study_project.trials()]
    assert first == {GPUS: "4,7", "OMP_NUM_THREADS": "1"}
    assert {environment[GPUS] for environment in others} <= {"4", "7"}
