"""`yoyak models`: what each verb prints for people and for programs, and its exit codes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len
from ruamel.yaml import YAML

from mlflow_helpers import git
from registry.scored_models import dialogue, evaluation, register
from yoyak import cli
from yoyak.data.keys import hash_dialogue
from yoyak.data.records import Dialogue, write_jsonl
from yoyak.params import Scoring
from yoyak.project import GATE, split_file
from yoyak.registry import promotion
from yoyak.registry.evaluations import Scheme, attach_evaluations, score_summaries
from yoyak.tracking import lineage

Printed = pytest.CaptureFixture[str]
GATE_SIZE = 60


def yoyak(capsys: Printed, *arguments: str) -> tuple[int, str, str]:
    """Run a verb and return its exit code and what it printed on both streams."""
    capsys.readouterr()
    code = cli.main(["models", *arguments])
    printed = capsys.readouterr()
    if "--json" not in arguments and "lineage" not in arguments:
        assert [line for line in printed.out.splitlines() if cell_len(line) > 100] == []
    return code, printed.out, printed.err


PARAMS = {"members": {"bart": {"family": "causal", "checkpoint": "x", "learning_rate": 0.1}}}


def settings(**registry: Any) -> None:
    with Path("params.yaml").open("w") as out:
        YAML().dump({"seed": 20, **PARAMS, "registry": {"name": "yoyak", **registry}}, out)


def first_words(count: int) -> str:
    """Of the reference of every dialogue of gate."""
    return " ".join(str(101 + number) for number in range(count))


@pytest.fixture
def registry(store: Any) -> Any:
    """A champion, a challenger that is better on gate, and one that is an experiment; a gate split in the project."""
    settings()
    rows = [Dialogue(fname=f"gate-{n}", dialogue=dialogue(n), summaries=(first_words(20),)) for n in range(GATE_SIZE)]
    write_jsonl(split_file(GATE), rows)
    dataset = lineage.digest(split_file(GATE))
    dev = [0.2, 0.4, 0.6]
    for gain, words, experiment in ((0.0, 8, ""), (0.05, 10, ""), (0.06, 11, "the experiment wide"), (-0.1, 5, "")):
        summaries = [first_words(words + n % 4) for n in range(GATE_SIZE)]
        evaluations = [
            score_summaries("gate", dataset, rows, summaries, Scheme.of(Scoring())),
            evaluation([score + gain for score in dev]),
        ]
        version = register(params={"gain": gain}, evaluations=evaluations, experiment=experiment)
        attach_evaluations(version.run_id, version.model_id, [], trained_on=[hash_dialogue("something else")])
    promotion.promote("yoyak", 1)
    return store


def test_an_empty_registry_says_what_to_do(store: Any, capsys: Printed) -> None:
    settings()
    code, out, _ = yoyak(capsys, "list")
    assert (code, "dvc repro" in out) == (0, True)
    assert yoyak(capsys, "list", "--json")[1] == "[]\n"
    code, out, _ = yoyak(capsys, "history")
    assert (code, "no champion" in out) == (0, True)


def test_versions_are_listed_and_shown(registry: Any, capsys: Printed) -> None:
    code, out, _ = yoyak(capsys, "list")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == ["version", "yoyak/3", "yoyak/2", "yoyak/1", "yoyak/4"]
    assert [version["version"] for version in json.loads(yoyak(capsys, "list", "--best", "2", "--json")[1])] == [3, 2]
    assert yoyak(capsys, "list", "--min-score", "0.99")[0] == 0
    code, _, error = yoyak(capsys, "list", "--member", "brat")
    assert (code, error.count("\n"), "'bart'" in error) == (1, 1, True)
    shown = yoyak(capsys, "show", "champion")[1]
    assert "models:/yoyak/1" in shown
    assert lineage.current_user() in shown
    info = json.loads(yoyak(capsys, "show", "1", "--json")[1])
    assert (info["name"], info["version"], info["aliases"]) == ("yoyak", 1, ["champion"])
    assert info["scores"]["dev"]["combined"] == pytest.approx(0.4)


def test_versions_are_compared(registry: Any, capsys: Printed) -> None:
    code, out, _ = yoyak(capsys, "compare", "champion", "2", "yoyak/4", "--examples", "1")
    assert code == 0
    for text in ("+0.0500", "-0.1000", "(dev)", "gain"):
        assert text in out
    value = json.loads(yoyak(capsys, "compare", "1", "2", "--json")[1])
    assert [test["version"] for test in value["differences"]] == ["yoyak/2", "yoyak/2"]
    code, _, error = yoyak(capsys, "compare", "champoin", "2")
    assert (code, error.count("\n"), "'champion'" in error) == (1, 1, True)


def test_the_gate_decides_about_a_promotion(registry: Any, capsys: Printed) -> None:
    code, out, error = yoyak(capsys, "promote", "4")
    assert (code, error.count("\n")) == (1, 1)
    assert "significance  failed" in out
    assert "version 4" in error.lower()
    code, out, _ = yoyak(capsys, "promote", "2")
    assert (code, "significance  passed" in out) == (0, True)
    assert out.endswith("yoyak version 2 is champion\n")
    assert yoyak(capsys, "promote", "2")[0] == 1, "it is champion already"
    settings(min_dialogues=GATE_SIZE + 1)
    code, out, error = yoyak(capsys, "promote", "1")
    assert (code, "undecided" in out, str(GATE_SIZE) in error) == (1, True, True)


def test_an_experiment_is_promoted_only_if_that_is_allowed(registry: Any, capsys: Printed) -> None:
    code, out, error = yoyak(capsys, "promote", "3")
    assert (code, out, "the experiment wide" in error) == (1, "", True)
    assert not any(tag.startswith("gate.tried") for tag in registry.get_model_version("yoyak", "1").tags)
    assert yoyak(capsys, "promote", "3", "--allow-experiment")[0] == 0
    assert "the experiment wide" in yoyak(capsys, "history")[1]


def test_force_takes_a_reason_and_a_rollback_undoes_it(registry: Any, capsys: Printed) -> None:
    code, _, error = yoyak(capsys, "promote", "4", "--force")
    assert (code, "--reason" in error) == (1, True)
    assert yoyak(capsys, "promote", "4", "--force", "--reason", "it is polite")[0] == 0
    assert "version 1" in yoyak(capsys, "rollback", "--reason", "it is wrong")[1]
    code, out, _ = yoyak(capsys, "history")
    assert code == 0
    for text in ("force", "it is polite", "rollback", "it is wrong", "1 → 4", git("rev-parse", "HEAD")[:7]):
        assert text in out
    entries = json.loads(yoyak(capsys, "history", "yoyak", "--json")[1])
    assert [entry["action"] for entry in entries] == ["first", "force", "rollback"]
    code, _, error = yoyak(capsys, "rollback", "--alias", "serving")
    assert (code, error.count("\n")) == (1, 1)


def test_a_member_is_rolled_back_by_its_name(registry: Any, capsys: Printed) -> None:
    promotion.promote("yoyak-bart", register("yoyak-bart").version)
    promotion.promote("yoyak-bart", register("yoyak-bart").version, reason="a test")
    assert yoyak(capsys, "rollback", "yoyak-bart")[1] == "yoyak-bart version 1 is champion again\n"
    code, _, error = yoyak(capsys, "rollback", "yoyak-bort")
    assert (code, "yoyak-bart" in error) == (1, True)


def test_without_a_gate_split_nothing_is_promoted(registry: Any, capsys: Printed) -> None:
    split_file(GATE).unlink()
    code, _, error = yoyak(capsys, "promote", "2")
    assert (code, "data.files.gate" in error) == (1, True)


def test_lineage_is_printed(registry: Any, capsys: Printed) -> None:
    code, out, _ = yoyak(capsys, "lineage", "champion")
    assert (code, "yoyak/1" in out) == (0, True)
    assert json.loads(yoyak(capsys, "lineage", "1", "--json")[1])["version"] == 1
    assert yoyak(capsys, "lineage", "1", "--verify")[0] == 0
    assert yoyak(capsys, "lineage", "9")[0] == 1


def test_what_cannot_be_reproduced_is_refused(registry: Any, capsys: Printed) -> None:
    code, _, error = yoyak(capsys, "reproduce", "3")
    assert (code, error.count("\n")) == (1, 1)
