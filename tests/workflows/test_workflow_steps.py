"""Every `run:` step of the workflows, in order, as GitHub's runner runs it: by bash, with files for what it leaves.

There is no runner of GitHub's workflows for one's own machine, so the logic is in make targets. What takes minutes or
an engine is only asked of make (`make -n`); everything else runs. Docker, cosign and make are stood in for by scripts
that write down what they are asked.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
TOKEN = "ghs_zqxtoken"
DIGEST = f"sha256:{'0123456789abcdef' * 4}"
MAKE = """#!/bin/sh
# Asks make whether it could, and leaves what the target leaves.
echo "make $*" >> "$ASKED"
"$REAL_MAKE" --dry-run PYTHON=python3 "$@" >> "$ASKED.commands" || exit 1
case "$1" in
    diff) mkdir -p diff && echo '## What changed' > diff/comment.md ;;
    sbom-image) mkdir -p release && echo '{}' > release/sbom.json ;;
esac
"""
OTHERS = """#!/bin/sh
# Writes down what it is asked, and answers as Docker does.
echo "$(basename "$0") $*" >> "$ASKED"
case "$1 $2" in
    "login ghcr.io") cat > "$ASKED.stdin" ;;
    "image inspect") echo "ghcr.io/other/x@sha256:0"; echo "ghcr.io/someone/yoyak/mlflow@DIGEST" ;;
esac
""".replace("DIGEST", DIGEST)


@dataclass
class Runner:
    """What stands in for GitHub's runner: a folder with the repository, and what the steps have left."""

    folder: Path
    outputs: dict[str, dict[str, str]] = field(default_factory=dict)
    printed: str = ""

    def run(self, workflow: str, job_name: str) -> None:
        """Run the shell steps of a job."""
        tree = yaml.safe_load((ROOT / ".github/workflows" / workflow).read_text(encoding="utf-8"))
        job = tree["jobs"][job_name]
        matrix = {key: values[0] for key, values in job.get("strategy", {}).get("matrix", {}).items()}
        for step in job["steps"]:
            if "run" not in step:
                continue
            declared = {**tree.get("env", {}), **job.get("env", {}), **step.get("env", {})}
            values = {key: self.expand(str(value), matrix) for key, value in declared.items()}
            output = self.folder.parent / "output"
            output.write_text("")
            environment = {**self.environment(), **values, "GITHUB_OUTPUT": str(output)}
            done = subprocess.run(
                ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
                cwd=self.folder, env=environment, capture_output=True, text=True, check=False,
            )  # fmt: skip
            self.printed += done.stdout + done.stderr
            assert done.returncode == 0, (step["run"], done.stderr)
            self.outputs[step.get("id", "")] = dict(line.split("=", 1) for line in output.read_text().splitlines())

    def environment(self) -> dict[str, str]:
        """Return the variables that GitHub sets, in front of which there are our own programs."""
        parent = self.folder.parent
        programs = f"{parent / 'programs'}{os.pathsep}{os.environ['PATH']}"
        files = {name: str(parent / name.lower()) for name in ("GITHUB_STEP_SUMMARY", "GITHUB_ENV", "ASKED")}
        return {
            **{key: value for key, value in os.environ.items() if not key.startswith(("GITHUB_", "MAKE", "MFLAGS"))},
            **files, "CI": "true", "GITHUB_REPOSITORY": "Someone/yoyak", "GITHUB_ACTOR": "someone",
            "PATH": programs, "REAL_MAKE": str(shutil.which("make")),
        }  # fmt: skip

    def expand(self, text: str, matrix: dict[str, Any]) -> str:
        """Return a value with GitHub's expressions replaced."""
        known = {
            "github.token": TOKEN, "github.ref_name": "v1.2.3", "github.event.pull_request.base.sha": "HEAD~1",
            **{f"matrix.{key}": str(value) for key, value in matrix.items()},
        }  # fmt: skip
        for step, found in self.outputs.items():
            known |= {f"steps.{step}.outputs.{key}": value for key, value in found.items()}
        return re.sub(r"\$\{\{ (.+?) \}\}", lambda found: known[found[1]], text)

    def read(self, name: str) -> str:
        """Return what has been written to one of the runner's files."""
        return (self.folder.parent / name).read_text(encoding="utf-8")


@pytest.fixture
def runner(tmp_path: Path) -> Runner:
    folder, programs = tmp_path / "checkout", tmp_path / "programs"
    programs.mkdir()
    subprocess.run(["git", "clone", "--quiet", "--shared", ROOT, folder], check=True)
    for name in (".github", "Makefile", "docker"):
        if (ROOT / name).is_dir():
            shutil.copytree(
                ROOT / name, folder / name, dirs_exist_ok=True, ignore=shutil.ignore_patterns("node_modules")
            )
        elif (ROOT / name).is_file():
            shutil.copy(ROOT / name, folder / name)
    (folder / ".venv").mkdir()
    (folder / ".venv/bin").symlink_to(Path(sys.executable).parent)
    for name, text in (("make", MAKE), ("docker", OTHERS), ("cosign", OTHERS)):
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    for name in ("github_step_summary", "github_env", "asked"):
        (tmp_path / name).write_text("")
    return Runner(folder)


needs_images = pytest.mark.skipif(
    not (ROOT / "docker/targets.mk").is_file(), reason="docker/targets.mk, which has `make images`, is not there"
)


def test_a_pull_request_is_checked(runner: Runner) -> None:
    for job in ("lint", "tests", "smoke", "diff"):
        runner.run("ci.yaml", job)
    asked = runner.read("asked").splitlines()
    assert asked == ["make lint", "make lint-ci", "make test", "make smoke", "make served", "make diff"]
    summary = runner.read("github_step_summary")
    assert "## Smoke pipeline" in summary and "## What changed" in summary
    assert "| Path" in summary and "metrics/" in summary  # DVC's own table, of the committed metrics


@needs_images
def test_images_are_built_of_a_pull_request(runner: Runner) -> None:
    runner.run("ci.yaml", "images")
    assert runner.read("asked") == "make images\n"


def test_the_night(runner: Runner) -> None:
    for job in ("repro", "next", "audit"):
        runner.run("nightly.yaml", job)
    assert runner.read("asked").splitlines() == ["make repro", "make served", "make next", "make audit"]
    assert "metrics/" in runner.read("github_step_summary")


@needs_images
@pytest.mark.parametrize(("workflow", "job"), [("ci.yaml", "images"), ("release.yaml", "build")])
def test_train_cpu_has_a_torch_for_processors_where_github_builds(runner: Runner, workflow: str, job: str) -> None:
    runner.run(workflow, job)
    assert "[ $image != train-cpu ] || flags='--build-arg TORCH_INDEX=https://" in runner.read("asked.commands")


@needs_images
def test_a_release_is_built_pushed_and_signed_by_its_digest(runner: Runner) -> None:
    runner.run("release.yaml", "build")
    image = f"ghcr.io/someone/yoyak/mlflow@{DIGEST}"
    assert runner.read("asked").splitlines() == [
        "make images IMAGES=mlflow TAG=v1.2.3",
        "make sbom-image IMAGE=mlflow TAG=v1.2.3",
        "docker login ghcr.io --username someone --password-stdin",
        "docker tag yoyak/mlflow:v1.2.3 ghcr.io/someone/yoyak/mlflow:v1.2.3",
        "docker push --quiet ghcr.io/someone/yoyak/mlflow:v1.2.3",
        "docker image inspect --format {{range .RepoDigests}}{{println .}}{{end}} ghcr.io/someone/yoyak/mlflow:v1.2.3",
    ]
    runner.run("release.yaml", "sign")
    assert runner.read("asked").splitlines()[-2:] == [
        f"cosign sign --yes {image}",
        f"cosign attest --yes --type cyclonedx --predicate release/sbom.json {image}",
    ]
    # By its input, and nowhere else: arguments are seen by everyone, and logs are public.
    assert runner.read("asked.stdin") == f"{TOKEN}\n"
    assert TOKEN not in runner.printed + runner.read("asked") + runner.read("github_step_summary")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "name=ghcr.io/someone/yoyak/mlflow\n",
        "name=ghcr.io/someone/yoyak/mlflow\ndigest=latest\n",
        f"name=evil.example/someone/yoyak/mlflow\ndigest={DIGEST}\n",
        f"name=ghcr.io/somebody-else/yoyak/mlflow\ndigest={DIGEST}\n",
        f"name=ghcr.io/someone/yoyak/serve\ndigest={DIGEST}\n",
    ],
)
def test_what_is_not_this_image_by_digest_is_not_signed(runner: Runner, text: str) -> None:
    (runner.folder / "release").mkdir()
    (runner.folder / "release/image.txt").write_text(text)
    with pytest.raises(AssertionError):
        runner.run("release.yaml", "sign")
    assert "cosign" not in runner.read("asked")


AUDIT = """#!/usr/bin/env python3
import json, os, sys
print(os.environ["KNOWN" if open(sys.argv[2]).read().startswith("jinja2") else "FOUND"])
"""
ADVISORY = {"id": "CVE-2019-10906", "fix_versions": ["2.10.1"]}
KNOWN = [{"name": "jinja2", "version": "2.10", "vulns": [ADVISORY]}]
SAFE, UNSAFE = {"name": "a", "version": "1", "vulns": []}, {"name": "a", "version": "1", "vulns": [ADVISORY]}
SKIPPED = {"name": "b", "skip_reason": "not found"}


@pytest.mark.parametrize(
    ("known", "found", "code", "sentence"),
    [
        (KNOWN, [SAFE], 0, "1 packages, no known vulnerability."),
        (KNOWN, [UNSAFE], 1, "a 1: CVE-2019-10906, fixed in 2.10.1"),
        ([SKIPPED], [SKIPPED], 2, "cannot tell"),  # What pip-audit says without a network.
        (KNOWN, [SAFE, SKIPPED], 2, "about 1 packages"),
        (KNOWN, [], 2, "about all packages"),
    ],
)
def test_an_audit_that_cannot_tell_is_not_a_pass(
    tmp_path: Path, known: list[Any], found: list[Any], code: int, sentence: str
) -> None:
    (tmp_path / "pip-audit").write_text(AUDIT)
    (tmp_path / "pip-audit").chmod(0o755)
    (tmp_path / "lock.txt").write_text("a==1\n")
    environment = {
        **os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}",
        "KNOWN": json.dumps({"dependencies": known}), "FOUND": json.dumps({"dependencies": found}),
    }  # fmt: skip
    command = [sys.executable, str(ROOT / ".github/audit.py"), str(tmp_path / "lock.txt")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, sentence in done.stdout) == (code, True), done.stdout
