"""`yoyak diff`: what differs between two commits of a git and DVC repository."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from urllib.parse import unquote

import pytest
from markdown_it import MarkdownIt

from mlflow_helpers import git
from yoyak import cli
from yoyak.revisions.build import compare_revisions
from yoyak.revisions.markdown import render_markdown
from yoyak.revisions.results import Changes, ScoreChange


@pytest.fixture(scope="module")
def changes(repository: Path) -> Changes:
    return compare_revisions(repository, "old", "new", examples=3)


@pytest.fixture
def copy(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = Path(shutil.copytree(repository, tmp_path / "copy", symlinks=True))
    monkeypatch.chdir(root)
    return root


def find(changes: Changes, system: str, split: str, metric: str = "combined") -> ScoreChange:
    [found] = [each for each in changes.scores if (each.system, each.split, each.metric) == (system, split, metric)]
    return found


def test_params_data_and_code_are_compared(changes: Changes) -> None:
    assert {(each.key, each.old, each.new) for each in changes.params} == {("seed", 3, 4)}
    assert [each.path for each in changes.data] == ["data"]
    [rows] = changes.rows
    assert (rows.file, rows.split) == ("data/train.csv", "train")
    assert (rows.old_rows, rows.new_rows, rows.added, rows.removed, rows.changed) == (3, 4, 2, 1, 1)
    [code] = [each for each in changes.code if each.room.startswith("src/")]
    assert (code.room, code.files, code.added, code.removed) == ("src/yoyak/models", 1, 1, 0)


def test_scores_are_tested_by_dialogue(changes: Changes) -> None:
    bart, t5 = find(changes, "bart", "test"), find(changes, "t5", "test")
    assert bart.verdict == "worse" and t5.verdict == "better"
    assert bart.test is not None and bart.test.n == 24
    assert bart.test.low <= bart.test.difference <= bart.test.high < 0
    # The members swapped what they write, so their differences are each other's opposites.
    assert t5.test is not None and t5.test.difference == pytest.approx(-bart.test.difference)
    assert bart.new == pytest.approx(t5.old)
    baseline = find(changes, "best_baseline", "dev")
    assert baseline.verdict == "no significant difference" and baseline.old == baseline.new


def test_another_version_of_what_scores_is_no_difference_of_the_models(copy: Path) -> None:
    """The same summaries, whose scores are all higher with a newer analyzer, and behaviour tests with other cases."""
    from dvc.repo import Repo

    git("checkout", "-q", "new")
    before = "deps: [predictions]\n    outs: [behaviour]"
    after = before.replace("predictions", "predictions, prepared/cases.jsonl")
    Path("dvc.yaml").write_text(Path("dvc.yaml").read_text().replace(before, after))
    for version, shift in (("0.23.0", 0.0), ("0.24.1", 0.2)):
        Path("requirements.lock").write_text(f"kiwipiepy=={version}\n    # via yoyak\n")
        Path("prepared/cases.jsonl").write_text(version)
        lines = Path("evaluation/dialogues.csv").read_text(encoding="utf-8").splitlines()
        header, *rows = csv.reader(lines)
        first = header.index("rouge1")
        with Path("evaluation/dialogues.csv").open("w", encoding="utf-8", newline="") as out:
            csv.writer(out, lineterminator="\n").writerows(
                [header, *([*row[:first], *(str(float(score) + shift) for score in row[first:])] for row in rows)]
            )
        with Repo() as repo:
            repo.commit(force=True)
        git("add", "-A")
        git("commit", "-q", "-m", version)
    changes = compare_revisions(copy, "HEAD~1", "HEAD", examples=0)
    notes = " ".join(note.text for note in changes.notes if note.section == "Scores")
    assert "What scores differs between the revisions (kiwipiepy)." in notes
    assert "scored again" in notes
    assert find(changes, "bart", "test").old == find(changes, "bart", "test").new
    assert {change.verdict for change in changes.scores} <= {"no significant difference", "not tested"}
    assert any("tested other cases" in note.text for note in changes.notes)


def test_the_best_members_of_both_revisions_are_compared_with_each_other(changes: Changes) -> None:
    best = find(changes, "bart → t5", "dev")
    assert best.test is not None and best.test.difference == 0 and best.verdict == "no significant difference"


def test_gate_is_shown_nowhere(changes: Changes) -> None:
    assert "gate" not in {each.split for each in changes.scores}
    assert {each.split for each in changes.scores} == {"dev", "test", "handwritten"}


def test_speed_and_behaviour_are_compared(changes: Changes) -> None:
    speed = {each.name: (each.old, each.new, each.comparable) for each in changes.speed}
    assert (2.0, 4.0, True) in speed.values()
    assert (20.0, 10.0, True) in speed.values()
    rates = {each.member: each for each in changes.behaviour}
    assert (rates["bart"].old, rates["bart"].new) == (0.1, 0.75)
    assert rates["bart"].p_value < 0.001


def test_only_stages_that_the_lock_does_not_describe_are_stale(repository: Path, changes: Changes) -> None:
    assert changes.stale == ()
    stale = compare_revisions(repository, "new", "stale", examples=0).stale
    assert [(each.name, each.reasons) for each in stale] == [("train@bart", ("members.bart",))]
    assert git_status(repository) == ""


def git_status(root: Path) -> str:
    return git("-C", str(root), "status", "--porcelain")


def test_the_examples_are_dialogues_whose_summary_changed_most(repository: Path, changes: Changes) -> None:
    every = compare_revisions(repository, "old", "new", examples=100).examples
    # The best member of both revisions writes the same, so that the others are shown.
    assert {each.system for each in every} <= {"bart", "t5"} and len(every) > 3
    assert all(each.split == "dev" and each.old != each.new and each.dialogue and each.references for each in every)
    gains = [abs(each.new_score - each.old_score) for each in every]
    assert gains == sorted(gains, reverse=True)
    assert changes.examples == every[:3]


def test_a_revision_is_the_same_as_itself(repository: Path) -> None:
    changes = compare_revisions(repository, "new", "new", examples=3)
    assert not (changes.params or changes.data or changes.rows or changes.code or changes.outputs or changes.examples)
    assert {each.verdict for each in changes.scores if each.metric == "combined"} == {"no significant difference"}
    assert changes.losses == ()


def test_the_work_tree_is_compared_with_what_is_not_committed(copy: Path) -> None:
    (copy / "src/yoyak/models/more.py").write_text("a = 1\nb = 2\n")
    shutil.rmtree(copy / "evaluation")
    changes = compare_revisions(copy, "stale", None)
    assert [(each.room, each.added) for each in changes.code] == [("src/yoyak/models", 2)]
    # What is not in the work tree comes from the cache.
    assert find(changes, "bart", "test").test is not None
    assert {each.name for each in changes.stale} == {"prepare", "train@bart"}


def test_without_scores_by_dialogue_the_summaries_are_scored_again(copy: Path) -> None:
    drop_from_cache(copy, "evaluation")
    changes = compare_revisions(copy, "old", "new")
    assert find(changes, "bart", "test").verdict == "worse"
    assert any(each.section == "Scores" for each in changes.notes)


def test_what_cannot_be_had_is_said(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(copy / ".dvc/cache")
    assert cli.main(["diff", "old", "new", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    missing = {note["section"] for note in report["notes"]}
    assert missing == {"Data", "Scores", "Speed and size", "Behaviour", "Summaries"}
    # What git has is still compared.
    scores = {(each["system"], each["split"]): (each["old"], each["new"]) for each in report["scores"]}
    assert scores["bart", "test"][0] > scores["bart", "test"][1]
    assert {each["verdict"] for each in report["scores"]} == {"not tested"}
    assert cli.main(["diff", "old", "new", "--markdown"]) == 0
    assert "evaluation" in capsys.readouterr().out


def test_a_remote_provides_what_the_cache_does_not_have(copy: Path, tmp_path: Path) -> None:
    from dvc.repo import Repo

    with Repo(str(copy)) as repo, repo.config.edit() as config:
        config["remote"]["store"] = {"url": str(tmp_path / "store")}
        config["core"]["remote"] = "store"
    with Repo(str(copy)) as repo:
        repo.push(revs=["old"])
        repo.push(revs=["new"])
    git("commit", "-q", "-a", "-m", "remote")
    git("tag", "-f", "new")
    for folder in (".dvc/cache", "evaluation", "predictions"):
        shutil.rmtree(copy / folder)
    changes = compare_revisions(copy, "new", None)
    assert find(changes, "bart", "test").test is not None


def test_a_project_may_be_a_folder_of_its_repository(copy: Path, tmp_path: Path) -> None:
    top = tmp_path / "top"
    shutil.copytree(copy, top / "ml" / "project", symlinks=True)
    shutil.rmtree(top / "ml/project/.git")
    for command in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-q", "-m", "first"]):
        git("-C", str(top), *command)
    (top / "ml/project/src/yoyak/models/more.py").write_text("a = 1\n")
    git("-C", str(top), "add", "-A")
    git("-C", str(top), "commit", "-q", "-m", "second")
    changes = compare_revisions(top / "ml/project", "HEAD~1", "HEAD")
    assert [each.room for each in changes.code] == ["src/yoyak/models"]
    bart = find(changes, "bart", "test")
    assert bart.test is not None and bart.old == bart.new
    assert {each.name for each in changes.stale} == {"prepare", "train@bart"}


def test_a_branch_cannot_name_a_path_outside_of_the_project(copy: Path, tmp_path: Path) -> None:
    tracked = (copy / "data.dvc").read_text(encoding="utf-8")
    for path in ("../../outside", str(tmp_path / "outside")):
        (copy / "data.dvc").write_text(tracked.replace("path: data", f"path: {path}"))
        git("commit", "-q", "-a", "-m", "outside")
        changes = compare_revisions(copy, "new", "HEAD", examples=0)
        assert len(changes.data) == 2
        assert [(each.file, each.new_rows) for each in changes.rows] == [("data/train.csv", 0)]
        assert any(each.section == "Data" for each in changes.notes)
        assert not list(tmp_path.rglob("outside"))


def drop_from_cache(root: Path, name: str) -> None:
    """Delete an output's list of files, of every revision, from the cache."""
    shutil.rmtree(root / name)
    for tag in ("old", "new"):
        lock = git("-C", str(root), "show", f"{tag}:dvc.lock")
        digest = lock.split(f"- path: {name}\n")[1].split("md5: ")[1].split(".dir")[0]
        (root / ".dvc/cache/files/md5" / digest[:2] / f"{digest[2:]}.dir").unlink()


def test_a_significant_loss_fails_if_asked(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["diff", "old", "new", "--fail-if-worse"]) == 1
    captured = capsys.readouterr()
    assert "bart" in captured.err and captured.out
    assert cli.main(["diff", "new", "new", "--fail-if-worse"]) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nwe"], "did you mean 'new'?"),
        (["old", "newest"], "did you mean 'new'?"),
        (["old", "--markdown", "--json"], "--json"),
    ],
)
def test_errors_are_one_sentence(
    copy: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["diff", *arguments]) in (1, 2)
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_outside_of_a_project_there_is_nothing_to_compare(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["diff", "HEAD"]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_the_merge_base_leaves_out_what_others_changed(copy: Path) -> None:
    git("checkout", "-q", "-b", "branch", "new")
    (copy / "notes.txt").write_text("mine\n")
    git("add", "notes.txt")
    git("commit", "-q", "-m", "mine")
    changes = compare_revisions(copy, "stale", "branch", merge_base=True)
    assert changes.params == () and [each.room for each in changes.code] == ["notes.txt"]


def test_the_markdown_refers_to_its_plots_relatively(copy: Path) -> None:
    arguments = ["--markdown", "--output", "out/report.md", "--plots", "out/the plots"]
    assert cli.main(["diff", "old", "new", *arguments]) == 0
    tokens = MarkdownIt("commonmark").enable("table").parse((copy / "out/report.md").read_text(encoding="utf-8"))
    images = [child for token in tokens for child in token.children or () if child.type == "image"]
    assert len(images) >= 2
    for image in images:
        svg = (copy / "out" / unquote(str(image.attrs["src"]))).read_text(encoding="utf-8")
        assert svg.lstrip().startswith("<?xml") and image.content


def test_the_limit_holds_and_what_is_left_out_is_named(changes: Changes) -> None:
    whole, cut = render_markdown(changes, limit=60_000), render_markdown(changes, limit=2000)
    assert len(cut) <= 2000 < len(whole)
    assert "left out" in cut and "left out" not in whole
