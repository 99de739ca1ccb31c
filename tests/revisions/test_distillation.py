"""`yoyak distillation`: what share of an ensemble's gain over its best member a student keeps."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from mlflow_helpers import git
from reporting.reporting_project import write_project
from yoyak import cli
from yoyak.revisions.distillation import measure_kept_gain

MEMBER = np.random.default_rng(0).uniform(0.3, 0.6, 60)
LARGE = 0.1 + np.random.default_rng(1).normal(0, 0.02, 60)
"""A gain that is far from 0 on nearly every dialogue."""


def test_the_share_is_the_ratio_of_both_gains() -> None:
    half = measure_kept_gain("test", MEMBER, MEMBER + LARGE, MEMBER + LARGE / 2, 0.95)
    assert half.n == 60
    assert half.share is not None
    # Half of the gain on each dialogue is half of it in each resample.
    assert (half.share.low, half.share.mean, half.share.high) == pytest.approx((0.5, 0.5, 0.5))
    assert half.student_gain.difference == pytest.approx(half.ensemble_gain.difference / 2)
    noise = np.random.default_rng(2).normal(0, 0.05, 60)
    noisy = measure_kept_gain("test", MEMBER, MEMBER + LARGE, MEMBER + LARGE / 2 + noise, 0.95)
    assert noisy.share is not None
    assert noisy.share.low < noisy.share.mean < noisy.share.high
    assert noisy.share.mean == pytest.approx(noisy.student_gain.difference / noisy.ensemble_gain.difference)
    # The whole gain hardly varies here, so the ends are about those of the student's gain, divided by it.
    ends = np.array([noisy.student_gain.low, noisy.student_gain.high]) / noisy.ensemble_gain.difference
    assert (noisy.share.low, noisy.share.high) == pytest.approx(tuple(ends), abs=0.03)


def test_a_student_that_is_worse_than_the_member_keeps_less_than_nothing() -> None:
    worse = measure_kept_gain("test", MEMBER, MEMBER + LARGE, MEMBER - LARGE, 0.95)
    assert worse.share is not None
    assert worse.share.mean == pytest.approx(-1)


def test_there_is_no_share_of_a_gain_within_noise_or_of_a_loss() -> None:
    noise = np.random.default_rng(3).normal(0, 0.1, 60)
    noise -= noise.mean() - 0.001
    for ensemble in (MEMBER + noise, MEMBER, MEMBER - LARGE):
        assert measure_kept_gain("test", MEMBER, ensemble, MEMBER + 0.1, 0.95).share is None


@pytest.fixture(scope="module")
def distilled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two commits: members with ensembles, vote writing what bart does and mbr what t5 does; then a student alone."""
    from dvc.repo import Repo

    root = tmp_path_factory.mktemp("distilled")
    stages = "stages:\n  evaluate:\n    cmd: 'false'\n    outs: [evaluation, prepared, predictions, training]\n"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        git("init", "-q", "-b", "main")
        Repo.init(str(root)).close()
        (root / ".gitignore").write_text("/evaluation\n/prepared\n/predictions\n/training\n/ensembles\n/behaviour\n")
        (root / "dvc.yaml").write_text(stages)
        for tag, members, strategies in (
            ("teachers", ("bart", "t5", "gpt2"), ("vote", "mbr")),
            ("student", ("small",), ()),
        ):
            for name in ("evaluation", "prepared", "predictions", "training", "ensembles", "behaviour"):
                shutil.rmtree(root / name, ignore_errors=True)
            write_project(root, members=members, strategies=strategies)
            with Repo(str(root)) as repo:
                repo.commit(force=True)
            git("add", "-A")
            git("commit", "-q", "-m", tag)
            git("tag", tag)
    return root


def report(root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str) -> str:
    monkeypatch.chdir(root)
    assert cli.main(["distillation", *words]) == 0
    return capsys.readouterr().out


def test_the_student_of_one_revision_is_compared_with_the_ensemble_of_another(
    distilled: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = json.loads(report(distilled, monkeypatch, capsys, "teachers", "student", "--json"))
    assert (found["best_member"], found["ensemble"], found["student"]) == ("bart", "vote", "small")
    # As many models run as the ensemble has members; all have the same number of parameters here.
    assert found["parameters"] == {
        "ensemble": 1_234_567 * len(found["members"]), "best_member": 1_234_567, "student": 1_234_567,
    }  # fmt: skip
    assert len(found["members"]) > 1
    by_split = {each["split"]: each for each in found["splits"]}
    assert by_split.keys() == {"dev", "test", "handwritten"}
    # The student writes what bart does, and so does vote: there is no gain at all.
    assert all(
        each["student_gain"]["difference"] == each["ensemble_gain"]["difference"] == 0 for each in by_split.values()
    )
    assert all(each["share"] is None for each in by_split.values())
    text = report(distilled, monkeypatch, capsys, "teachers")
    assert "On test, vote's gain over bart is itself within noise" in text
    assert "work tree" in text


def test_what_is_wrong_with_the_revisions_is_one_sentence(
    distilled: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(distilled)
    for words, expected in (
        (("student", "student"), "has no ensemble"),
        (("teachers", "--ensemble", "vot"), "'vot', did you mean 'vote'"),
        (("teachers", "--student", "smal"), "'smal'"),
        (("teacher",), "no revision 'teacher'"),
    ):
        assert cli.main(["distillation", *words]) != 0
        captured = capsys.readouterr()
        assert expected.split(",")[0] in captured.err
        assert not captured.out
