"""How a pull request gets its report: the job that makes it, and the workflow that posts it with a token."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from markdown_it import MarkdownIt

from reporting.reporting_project import Page
from revisions.test_markup import HOSTILE, MENTION, report
from yoyak.revisions.markdown import render_markdown

ROOT = Path(__file__).parents[2]
WORKFLOWS = ROOT / ".github/workflows"
PARSER = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])


def load(name: str) -> dict[str, Any]:
    return dict(yaml.safe_load((WORKFLOWS / name).read_text(encoding="utf-8")))


def steps(name: str) -> Iterator[dict[str, Any]]:
    for job in load(name)["jobs"].values():
        yield from job["steps"]


def sanitise(folder: Path, text: str) -> str:
    """Return the body of the comment that is posted for an artifact with this text."""
    with zipfile.ZipFile(folder / "diff.zip", "w") as archive:
        archive.writestr("comment.md", text)
    command = [sys.executable, str(ROOT / ".github/report_comment.py"), "diff.zip"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    return str(json.loads(done.stdout)["body"])


def test_actions_are_pinned_by_commit_and_expressions_never_reach_a_shell() -> None:
    for name in ("ci.yaml", "comment.yaml"):
        for step in steps(name):
            assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", step.get("uses", f"run@{'0' * 40}"))
            assert "${{" not in step.get("run", "")


def test_only_the_job_that_posts_may_write_and_only_to_pull_requests() -> None:
    assert load("ci.yaml")["permissions"] == {"contents": "read"}
    assert not any("permissions" in job for job in load("ci.yaml")["jobs"].values())
    comment = load("comment.yaml")
    assert comment["permissions"] == {}
    [job] = comment["jobs"].values()
    assert {name for name, access in job["permissions"].items() if access == "write"} == {"pull-requests"}


def test_what_posts_runs_none_of_the_pull_requests_code() -> None:
    for step in steps("comment.yaml"):
        if step.get("uses", "").startswith("actions/checkout@"):
            # Without these, it is the default branch of this repository.
            assert not {"ref", "repository"} & step["with"].keys()
            assert step["with"]["persist-credentials"] is False
        programs = {line.split()[0] for line in step.get("run", "").splitlines() if re.match(r" *[a-z]+\d? ", line)}
        assert programs <= {"gh", "echo", "python3", "if", "else", "fi", "map"}
        scripts = re.findall(r"python3 (\S+)", step.get("run", ""))
        assert set(scripts) <= {".github/report_comment.py"}


def test_the_number_of_the_pull_request_is_not_taken_from_the_artifact() -> None:
    [post] = [step for step in steps("comment.yaml") if "NUMBER" in step.get("env", {})]
    [find] = [step for step in steps("comment.yaml") if step.get("id") == "find"]
    assert post["env"]["NUMBER"] == "${{ steps.find.outputs.number }}"
    sources = {value for name, value in find["env"].items() if name != "GH_TOKEN"}
    assert all(value.startswith("${{ github.event.workflow_run.") for value in sources)
    assert list(steps("comment.yaml")).index(find) < next(
        index for index, step in enumerate(steps("comment.yaml")) if "diff.zip" in step.get("run", "")
    )


def test_the_artifact_is_what_the_other_workflow_reads() -> None:
    ci = load("ci.yaml")
    [upload] = [
        step["with"]["name"] for step in ci["jobs"]["diff"]["steps"] if "upload-artifact" in step.get("uses", "")
    ]
    assert f"name={upload} " in "".join(step.get("run", "") for step in steps("comment.yaml"))
    # YAML reads the key `on` as true.
    triggers: Any = {str(key): value for key, value in load("comment.yaml").items()}["True"]
    assert triggers["workflow_run"]["workflows"] == [ci["name"]]


GH = """#!/bin/sh
# Answers as GitHub's command line does, from files, and writes down what it was asked.
echo "$@" >> "$ANSWERS/asked"
for word; do
    case "$word" in
        */zip) exec cat "$ANSWERS/diff.zip" ;;
        */artifacts) exec cat "$ANSWERS/artifacts.json" ;;
        */pulls) exec cat "$ANSWERS/pulls.json" ;;
        */comments) test -n "$(echo "$@" | grep POST)" || exec cat "$ANSWERS/comments.json" ;;
    esac
done
"""


def pull(number: int, sha: str = "a" * 40, repository: int = 7) -> dict[str, Any]:
    return {"number": number, "head": {"sha": sha, "repo": {"id": repository}}}


def post(folder: Path, pulls: list[Any], comments: list[Any]) -> list[str]:
    """Run the shell steps of the workflow that posts, and return the calls that write."""
    answers = folder / "answers"
    answers.mkdir()
    (folder / "gh").write_text(GH)
    (folder / "gh").chmod(0o755)
    artifacts = [{"id": 5, "expired": False, "size_in_bytes": 100}]
    for name, value in (("pulls", pulls), ("comments", comments), ("artifacts", {"artifacts": artifacts})):
        (answers / f"{name}.json").write_text(json.dumps(value))
    with zipfile.ZipFile(answers / "diff.zip", "w") as archive:
        archive.writestr("comment.md", "## Report")
    (folder / ".github").symlink_to(ROOT / ".github")
    outputs: dict[str, dict[str, str]] = {}
    for step in [step for step in steps("comment.yaml") if "run" in step]:
        condition = re.fullmatch(r"steps\.(\w+)\.outputs\.(\w+) (==|!=) '(\w*)'", step.get("if", ""))
        if condition:
            found = outputs.get(condition[1], {}).get(condition[2], "")
            if (found == condition[4]) != (condition[3] == "=="):
                continue
        event = {"HEAD_SHA": "a" * 40, "HEAD_OWNER": "someone", "HEAD_REPOSITORY": "7", "HEAD_BRANCH": "x", "RUN": "3"}
        number = outputs.get("find", {}).get("number", "")
        output = folder / "output"
        output.write_text("")
        environment = {
            **os.environ, **event, "NUMBER": number, "GITHUB_REPOSITORY": "o/r", "GITHUB_OUTPUT": str(output),
            "ANSWERS": str(answers), "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}",
        }  # fmt: skip
        subprocess.run(["bash", "-eo", "pipefail", "-c", step["run"]], cwd=folder, env=environment, check=True)
        outputs[step.get("id", "")] = dict(line.split("=", 1) for line in output.read_text().split())
    asked = (answers / "asked").read_text().splitlines()
    return [line for line in asked if re.search("POST|PATCH", line)]


needs_jq = pytest.mark.skipif(not shutil.which("jq"), reason="needs jq")


@needs_jq
def test_a_report_is_posted_to_the_pull_request_that_ran(tmp_path: Path) -> None:
    others = [pull(1, sha="b" * 40), pull(2, repository=8), {"number": 3, "head": {"sha": "a" * 40, "repo": None}}]
    [call] = post(tmp_path, [*others, pull(4)], [])
    assert "POST" in call and "issues/4/comments" in call
    assert "## Report" in json.loads((tmp_path / "comment.json").read_text())["body"]


@needs_jq
def test_the_next_report_replaces_the_first_and_no_comment_of_others(tmp_path: Path) -> None:
    marked = "<!-- yoyak diff -->\nold"
    comments = [
        {"id": 1, "user": {"login": "mallory"}, "body": marked},
        {"id": 2, "user": {"login": "github-actions[bot]"}, "body": "something else"},
        {"id": 3, "user": {"login": "github-actions[bot]"}, "body": marked},
    ]
    [call] = post(tmp_path, [pull(4)], comments)
    assert "PATCH" in call and "issues/comments/3 " in call


@needs_jq
@pytest.mark.parametrize("pulls", [[], [pull(1, sha="b" * 40)], [pull(1, repository=8)], [pull(1), pull(2)]])
def test_without_one_certain_pull_request_nothing_is_posted(tmp_path: Path, pulls: list[Any]) -> None:
    assert post(tmp_path, pulls, []) == []


@pytest.mark.parametrize("text", HOSTILE)
def test_an_artifact_of_a_forks_own_making_is_only_text(tmp_path: Path, text: str) -> None:
    body = sanitise(tmp_path, f"{text}\n\n<details>{text}</details>\n\n| a | {text}\n")
    page = Page(PARSER.render(body))
    assert not {"a", "img", "script", "iframe", "form", "b"} & {tag for tag, _ in page.tags}
    assert not any(attributes.keys() - {"colspan"} for _, attributes in page.tags)
    shown = "\n".join(page.words)
    assert not MENTION.search(shown), MENTION.search(shown)


def test_our_own_report_is_posted_as_it_is(tmp_path: Path) -> None:
    markdown = render_markdown(report("요약 <b>@x</b> & 'y' $z$"), limit=60_000)
    before, after = (Page(PARSER.render(text)) for text in (markdown, sanitise(tmp_path, markdown)))
    assert after.tags == before.tags
    words = [" ".join("".join(page.words).replace("\u2060", "").split()) for page in (before, after)]
    assert words[0] == words[1]


def test_a_comment_is_never_larger_than_github_takes(tmp_path: Path) -> None:
    assert len(sanitise(tmp_path, "@a " * 1_000_000)) <= 65_536
