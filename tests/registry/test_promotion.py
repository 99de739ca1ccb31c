"""Aliases: who becomes champion, how that is undone, what is recorded, and who wins a race."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mlflow_helpers import DIALOGUE, free_port, git, tracking_server
from yoyak.errors import UserError
from yoyak.registration.packaging import log_member
from yoyak.registry import history, promotion
from yoyak.registry.versions import Version
from yoyak.tracking import lineage, runs
from yoyak.tracking.decisions import Check, Outcome, Verdict

Register = Callable[..., Version]


@pytest.fixture
def register(store: Any, tiny_bart: Path) -> Register:
    """A function that logs a model and adds a version of it, as yet without an alias."""

    def add(name: str = "yoyak", experiment: str = "", **tags: str) -> Version:
        with runs.stage_run("train", member="bart", params={"seed": 1}, inputs={}) as run:
            model_id = log_member(run, tiny_bart, example=DIALOGUE)
        return promotion.register_version(name, model_id=model_id, run_id=run.run_id, tags=tags, experiment=experiment)

    return add


def verdict(champion: int, outcome: Outcome = "passed") -> Verdict:
    return Verdict(
        outcome=outcome,
        sentence="gain +0.0200",
        champion=champion,
        dataset="d" * 32,
        dialogues=100,
        attempt=1,
        significance=0.03,
        gain=0.02,
        low=0.01,
        high=0.03,
        p_value=0.001,
    )


def seen(store: Any, name: str = "yoyak") -> int:
    return history.last_number(history.read_log(store, name))


def settle(store: Any, version: Version, ruling: Verdict | None = None, **options: Any) -> Version:
    return promotion.settle_candidate(version, ruling, seen=seen(store), **options)


def aliases(store: Any, name: str = "yoyak") -> dict[str, int]:
    return {alias: int(number) for alias, number in store.get_registered_model(name).aliases.items()}


def test_a_model_gets_one_version(store: Any, register: Register) -> None:
    first = register(a="b")
    again = promotion.register_version("yoyak", model_id=first.model_id, run_id=first.run_id, tags={"c": "d"})
    assert again.version == 1
    assert (again.tags["a"], again.tags["c"], again.tags["git.commit"]) == ("b", "d", git("rev-parse", "HEAD"))
    assert first.uri == "models:/yoyak/1"
    links = store.get_logged_model(first.model_id).tags["mlflow.modelVersions"]
    assert json.loads(links) == [{"name": "yoyak", "version": 1}]
    assert register().version == 2


def test_the_first_is_champion_and_a_later_one_is_challenger_until_it_passes(store: Any, register: Register) -> None:
    assert settle(store, register()).aliases == ("champion",)
    second = register()
    assert settle(store, second).aliases == ("challenger",)
    assert settle(store, second, verdict(1, "failed")).aliases == ("challenger",)
    third = settle(store, register(), verdict(1, "undecided"))
    assert third.tags["alias.challenger.from"] == "2"
    assert aliases(store) == {"champion": 1, "challenger": 3}
    promoted = settle(store, second, verdict(1))
    assert promoted.aliases == ("champion",)
    assert aliases(store) == {"champion": 2, "challenger": 3, "previous": 1}
    tags = promoted.tags
    assert (tags["alias.champion.from"], tags["alias.champion.to"]) == ("1", "2")
    assert tags["alias.champion.who"] == lineage.current_user()
    assert tags["alias.champion.commit"] == git("rev-parse", "HEAD")
    assert (tags["alias.champion.gate.gain"], tags["alias.champion.gate.outcome"]) == ("0.02", "passed")


def test_slices_may_have_any_name(store: Any, register: Register) -> None:
    settle(store, register())
    names = ("slice.업무 (회의)", "slice.a//b/", "slice." + "가" * 300)
    checks = tuple(Check(name=name, passed=True, sentence="") for name in names)
    promoted = settle(store, register(), replace(verdict(1), checks=checks))
    assert promoted.aliases == ("champion",)
    assert promoted.tags["alias.champion.gate.check.slice.업무 _회의_"] == "true"
    assert promoted.tags["alias.champion.gate.check.slice.a__b_"] == "true"
    checks = tuple(Check(name=f"slice.{number}", passed=True, sentence="") for number in range(300))
    settle(store, register(), replace(verdict(2), checks=checks))
    assert history.read_log(store, "yoyak")[-1].verdict["gain"] == 0.02


def test_an_experiment_is_challenger_at_most(store: Any, register: Register) -> None:
    wide = "the experiment wide"
    first = settle(store, register(experiment=wide), experiment=wide)
    assert first.aliases == ("challenger",)
    settle(store, register())
    settle(store, register(experiment=wide), verdict(2), experiment=wide)
    assert aliases(store) == {"champion": 2, "challenger": 3}
    with pytest.raises(UserError, match=wide):
        promotion.promote("yoyak", 3, verdict=verdict(2))
    promotion.promote("yoyak", 3, verdict=verdict(2), allow_experiment=True)
    assert wide in history.read_history(store, "yoyak")[-1].reason


def test_the_newest_ensemble_of_a_commit_has_its_alias(store: Any, register: Register) -> None:
    first = register("yoyak-bart")
    values: dict[str, Any] = {"model_id": first.model_id, "run_id": first.run_id, "tags": {}}
    assert promotion.register_ensemble("yoyak", **values, experiment="the experiment wide").aliases == ()
    assert promotion.register_ensemble("yoyak", **values).aliases == ("ensemble",)
    other = register("yoyak-bart")
    promotion.register_ensemble("yoyak", model_id=other.model_id, run_id=other.run_id, tags={}, experiment="a try")
    assert aliases(store) == {"ensemble": 1}


def test_where_a_model_comes_from(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert lineage.experiment_name() == ""
    (project / "params.yaml").write_text("seed: 21\n")
    assert git("rev-parse", "HEAD")[:7] in lineage.experiment_name()
    git("commit", "-qam", "another seed")
    assert lineage.experiment_name() == ""
    (project / "notes.txt").touch()
    assert lineage.experiment_name() == ""
    (project / "src").mkdir()
    (project / "src/new_metric.py").touch()
    assert lineage.experiment_name() != "", "the commit does not have that code"
    git("add", "src")
    git("commit", "-qm", "a metric")
    assert lineage.experiment_name() == ""
    monkeypatch.setenv("DVC_EXP_NAME", "wide")
    assert "wide" in lineage.experiment_name()


def test_promotions_are_undone_one_after_the_other_and_stay_undone(store: Any, register: Register) -> None:
    settle(store, register())
    for champion in (1, 2):
        settle(store, register(), verdict(champion))
    assert aliases(store) == {"champion": 3, "previous": 2}
    assert promotion.rollback("yoyak", reason="it makes up names").version == 2
    assert aliases(store) == {"champion": 2, "previous": 1, "challenger": 3}
    third = promotion.find_version("yoyak", "alias.champion.to", "3")
    assert third is not None
    assert settle(store, third, verdict(2)).aliases == ("challenger",), "what a person undid stays undone"
    assert promotion.rollback("yoyak").version == 1
    assert aliases(store) == {"champion": 1, "challenger": 3}
    with pytest.raises(UserError, match="Version 1 of yoyak"):
        promotion.rollback("yoyak")
    assert promotion.promote("yoyak", 3, reason="names are right after all").aliases == ("champion",)
    assert aliases(store) == {"champion": 3, "previous": 1}
    assert promotion.rollback("yoyak").version == 1
    log = history.read_history(store, "yoyak")
    assert [(entry.action, entry.source, entry.target) for entry in log] == [
        ("first", 0, 1),
        ("promote", 1, 2),
        ("promote", 2, 3),
        ("rollback", 3, 2),
        ("rollback", 2, 1),
        ("force", 1, 3),
        ("rollback", 3, 1),
    ]
    assert {entry.who for entry in log} == {lineage.current_user()}
    assert {entry.commit for entry in log} == {git("rev-parse", "HEAD")}
    assert log[1].verdict["p_value"] == 0.001
    assert [entry.reason for entry in log if entry.action in ("rollback", "force")] == [
        "it makes up names",
        "",
        "names are right after all",
        "",
    ]


def test_a_deleted_champion_is_passed_over(store: Any, register: Register) -> None:
    settle(store, register())
    for champion in (1, 2):
        settle(store, register(), verdict(champion))
    store.delete_model_version("yoyak", "2")
    assert promotion.rollback("yoyak").version == 1
    assert aliases(store) == {"champion": 1, "challenger": 3}
    with pytest.raises(UserError, match="Version 1 of yoyak"):
        promotion.rollback("yoyak")


def test_the_history_says_why_an_experiment_is_the_first_champion(store: Any, register: Register) -> None:
    version = register(experiment="the experiment wide").version
    promotion.promote("yoyak", version, reason="a demo", allow_experiment=True)
    [entry] = history.read_history(store, "yoyak")
    assert (entry.action, entry.reason) == ("first", "a demo; the experiment wide was allowed")


def test_force_needs_a_reason_and_a_verdict_has_to_be_favourable(store: Any, register: Register) -> None:
    settle(store, register())
    settle(store, register())
    with pytest.raises(UserError, match="reason"):
        promotion.promote("yoyak", 2)
    with pytest.raises(UserError, match="Version 2 of yoyak"):
        promotion.promote("yoyak", 2, verdict=verdict(1, "failed"))
    assert aliases(store) == {"champion": 1, "challenger": 2}


def test_a_verdict_about_another_champion_is_void(store: Any, register: Register) -> None:
    settle(store, register())
    second, third = register(), register()
    known = seen(store)
    promotion.settle_candidate(second, verdict(1), seen=known)
    with pytest.raises(UserError, match="version 2"):
        promotion.settle_candidate(third, verdict(1), seen=known)
    # Somebody moves the alias by hand.
    store.set_registered_model_alias("yoyak", "champion", "1")
    with pytest.raises(UserError, match="version 1"):
        promotion.settle_candidate(third, verdict(2), seen=seen(store))
    assert aliases(store)["champion"] == 1
    promotion.promote("yoyak", 3, verdict=verdict(1))
    assert promotion.rollback("yoyak").version == 1, "the champion that was set by hand counts"


RACE = """
import sys, time
from yoyak.errors import UserError
from yoyak.registry import history, promotion
from yoyak.tracking.client import connect
import test_promotion as t

target = int(sys.argv[1])
client = connect()
known = history.last_number(history.read_log(client, "yoyak"))
version = promotion.find_version("yoyak", "number", sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
try:
    promotion.settle_candidate(version, t.verdict(1), seen=known)
    print("won")
except UserError as error:
    print(error)
"""


@pytest.mark.slow
def test_of_two_promotions_at_once_one_wins_and_the_other_is_told(
    store: Any, register: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two processes without a common lock, on one server, as on two hosts."""
    settle(store, register())
    targets = [str(register(number=str(number)).version) for number in range(2, 5)]
    with tracking_server(free_port()) as uri:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        monkeypatch.setenv("PYTHONPATH", f"{Path(__file__).parent}:{Path(__file__).parents[1]}", prepend=":")
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", RACE, target], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            for target in targets
        ]
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        printed = [process.communicate()[0].strip() for process in processes]
        monkeypatch.undo()
    assert printed.count("won") == 1
    winner = targets[printed.index("won")]
    assert aliases(store)["champion"] == int(winner)
    assert all(f"version {winner}" in text.lower() for text in printed if text != "won")
    log = [entry for entry in history.read_log(store, "yoyak") if entry.valid]
    assert [(entry.source, entry.target) for entry in log] == [(1, int(winner))]


def test_an_alias_that_another_host_moves_meanwhile_stays_there(
    store: Any, register: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle(store, register())
    store.set_registered_model_alias("yoyak", "serving", "1")
    second, move_champion = register(), history.move_champion

    def move(*arguments: Any, **options: Any) -> history.Entry:
        store.set_registered_model_alias("yoyak", "serving", "2")
        return move_champion(*arguments, **options)

    monkeypatch.setattr(history, "move_champion", move)
    settle(store, second, verdict(1))
    assert aliases(store) == {"champion": 2, "previous": 1, "serving": 2}


def test_the_log_has_those_that_lost(store: Any, register: Register) -> None:
    settle(store, register())
    register(), register()
    winner = history.move_champion(store, "yoyak", after=0, source=1, target=2, action="promote")
    store.set_registered_model_alias("yoyak", "champion", "1")
    with pytest.raises(UserError, match="version 2"):
        history.move_champion(store, "yoyak", after=0, source=1, target=3, action="promote")
    log = history.read_log(store, "yoyak")
    assert [(entry.target, entry.valid) for entry in log] == [(2, True), (3, False)]
    assert store.get_model_version("yoyak-history", "2").tags["lost_to"] == str(winner.number)


def test_errors_name_the_nearest_name(store: Any, register: Register) -> None:
    settle(store, register())
    with pytest.raises(UserError, match=r"'yoyack' \(did you mean 'yoyak'"):
        promotion.promote("yoyack", 1)
    with pytest.raises(UserError, match=r"no version '7' \(known: 1\)"):
        promotion.promote("yoyak", 7)
    with pytest.raises(UserError, match="Version 1 of yoyak"):
        promotion.promote("yoyak", 1)
    with pytest.raises(UserError, match=r"yoyack .*'yoyak'"):
        promotion.rollback("yoyack")
    assert promotion.champion("yoyack") is None


def test_challengers_of_a_champion_are_counted_once_each(store: Any, register: Register) -> None:
    champion = settle(store, register(**{promotion.IDENTITY: "a"}))

    def attempt(identity: str, dataset: str = "d", version: int = 9, remember: bool = True) -> int:
        tags = {promotion.IDENTITY: identity} if identity else {}
        challenger = Version(name="yoyak", version=version, model_id="", run_id="", tags=tags, aliases=())
        # The champion is as it was before any of them.
        return promotion.count_attempt(champion, challenger, dataset, "scheme", remember=remember)

    assert champion.version == 1
    assert [attempt("b"), attempt("c"), attempt("b"), attempt("c", "other data"), attempt("e")] == [1, 2, 1, 3, 4]
    assert [attempt("", version=5), attempt("", version=6), attempt("", version=5)] == [5, 6, 5]
    assert [attempt("f", remember=False), attempt("g")] == [7, 7]
