"""Looking up versions and setting them side by side, whatever else is in the registry."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest

from registry.scored_models import SCHEME, dialogue, evaluation, register
from yoyak.data.records import Dialogue, write_jsonl
from yoyak.errors import UserError
from yoyak.project import DEV_SPLIT
from yoyak.registry import history, promotion, queries
from yoyak.registry.comparing import compare
from yoyak.registry.tables import WIDTH, format_comparison, format_history, format_version, format_versions


def labels(versions: list[queries.VersionInfo]) -> list[str]:
    return [version.label for version in versions]


@pytest.fixture
def registry(store: Any) -> Any:
    """Three versions with scores, one without any, and one that somebody else registered without our tags."""
    register("yoyak-bart", scores={"dev": 0.7, "test": 0.9})
    register("yoyak", scores={"dev": 0.8, "test": 0.6})
    register("yoyak", member="t5", scores={"dev": 0.75})
    register("yoyak", member="t5", scores={})
    store.create_registered_model("theirs")
    store.create_model_version("theirs", "/somewhere")
    promotion.promote("yoyak", 1)
    promotion.promote("yoyak", 2, reason="shorter summaries")
    return store


def test_versions_are_found_best_first_and_those_without_a_score_last(registry: Any) -> None:
    assert labels(queries.find_versions()) == ["yoyak/1", "yoyak/2", "yoyak-bart/1", "theirs/1", "yoyak/3"]
    assert labels(queries.find_versions(split="test", limit=2)) == ["yoyak-bart/1", "yoyak/1"]
    assert labels(queries.best("combined", "dev", 2)) == ["yoyak/1", "yoyak/2"]
    assert labels(queries.best(limit=9)) == ["yoyak/1", "yoyak/2", "yoyak-bart/1"]
    assert labels(queries.versions_of("yoyak")) == ["yoyak/1", "yoyak/2", "yoyak/3"]


def test_versions_are_searched_by_architecture_member_and_minimum_score(registry: Any) -> None:
    assert labels(queries.find_versions(architecture="t5")) == ["yoyak/2", "yoyak/3"]
    assert labels(queries.find_versions(member="bart", min_score=0.75)) == ["yoyak/1"]
    assert labels(queries.find_versions("yoyak", min_score=0.0)) == ["yoyak/1", "yoyak/2"]
    assert queries.find_versions(min_score=0.99) == []


def test_the_search_knows_aliases_and_says_what_one_version_says(registry: Any) -> None:
    [champion] = [version for version in queries.find_versions() if "champion" in version.aliases]
    assert champion == queries.get_info("yoyak@champion") == queries.get_info("models:/yoyak/2")
    assert (champion.member, champion.variant, champion.scores) == ("t5", "fp32", {"dev": {"combined": 0.75}})
    theirs = queries.get_info("theirs/1")
    assert (theirs.member, theirs.scores, theirs.run_id, theirs.aliases) == ("", {}, "", ())


def test_the_log_of_champions_is_not_listed_but_a_model_that_is_only_named_like_one_is(registry: Any) -> None:
    assert "yoyak-history" in {model.name for model in registry.search_registered_models()}
    registry.create_registered_model("old-history")
    registry.create_model_version("old-history", "/somewhere")
    names = {version.name for version in queries.find_versions()}
    assert names == {"yoyak", "yoyak-bart", "theirs", "old-history"}


def test_nothing_registered_is_nothing_found(store: Any) -> None:
    assert queries.find_versions() == queries.best() == []
    assert queries.find_versions(member="bart", metric="rouge1") == []


def test_a_search_for_what_does_not_exist_names_the_nearest(registry: Any) -> None:
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"name": "yoyack"}, "'yoyack' .*'yoyak'"),
        ({"architecture": "brat"}, "'brat' .*'bart'"),
        ({"member": "t55"}, "'t55' .*'t5'"),
        ({"metric": "combind"}, "'combind' on dev .*'combined'"),
        ({"split": "tset"}, "'tset' .*'test'"),
    ]
    for options, message in wrong:
        with pytest.raises(UserError, match=message):
            queries.find_versions(**options)


def test_a_version_that_does_not_exist_is_named_with_the_nearest(registry: Any) -> None:
    with pytest.raises(UserError, match=r"'champoin' .*'champion'"):
        queries.get_info("yoyak@champoin")
    with pytest.raises(UserError, match=r"'7' .*1, 2, 3"):
        queries.get_info("yoyak/7")
    for text in ("yoyak", "", "runs:/1/2", "@champion"):
        with pytest.raises(UserError, match=r"yoyak@champion"):
            queries.get_info(text)
    with pytest.raises(UserError, match=r"'yoyack' .*'yoyak'"):
        queries.history("yoyack")


@pytest.mark.parametrize(
    ("text", "uri"),
    [
        ("champion", "models:/yoyak@champion"),
        ("3", "models:/yoyak/3"),
        ("other@champion", "models:/other@champion"),
        ("yoyak-bart/2", "models:/yoyak-bart/2"),
        ("models:/yoyak-bart/2", "models:/yoyak-bart/2"),
    ],
)
def test_a_version_is_named_in_short(text: str, uri: str) -> None:
    assert queries.complete_uri(text, "yoyak") == uri


def test_the_history_says_who_what_and_why(registry: Any) -> None:
    entries = queries.history("yoyak")
    assert [(entry.action, entry.source, entry.target) for entry in entries] == [("first", 0, 1), ("force", 1, 2)]
    assert entries == history.read_history(registry, "yoyak")
    assert queries.history("yoyak-bart") == []


def test_scores_are_compared_on_the_same_dialogues(store: Any) -> None:
    better = [0.1 * number for number in range(2, 10)]
    worse = [score - 0.1 for score in better]
    worse[5] = 0.0
    first = register(evaluations=[evaluation(better), evaluation(worse, split="test", dataset="t1")])
    second = register(evaluations=[evaluation(worse), evaluation(worse, split="test", dataset="t2")])
    comparison = compare([first.uri, second.uri], examples=1)
    assert {(test.split, test.metric) for test in comparison.differences} == {("dev", "combined"), ("dev", "rouge1")}
    [test] = [test for test in comparison.differences if test.metric == "combined"]
    assert test.version == "yoyak/2"
    assert test.dialogues == 8
    assert test.difference == pytest.approx(-(0.1 * 7 + 0.7) / 8)
    assert test.low < test.difference < test.high < 0
    assert test.p_value < 0.01
    [example] = comparison.examples
    assert example.fname == "dev-5"
    assert example.dialogue == ""
    assert example.summaries == {"yoyak/1": f"요약 {better[5]}", "yoyak/2": "요약 0.0"}
    write_jsonl(DEV_SPLIT, [Dialogue(fname="renamed", dialogue=dialogue(5), summaries=("a",))])
    [example] = compare([first.uri, second.uri], examples=1).examples
    assert example.dialogue == dialogue(5)


def test_scores_are_not_compared_on_other_data_or_by_another_scheme(store: Any) -> None:
    scores = [0.5, 0.6]
    register(evaluations=[evaluation(scores)])
    register(evaluations=[evaluation(scores, dataset="d2")])
    register(evaluations=[evaluation(scores, scheme=replace(SCHEME, granularity="syllable"))])
    register(scores={"dev": 0.9})
    comparison = compare(["yoyak/1", "yoyak/2", "yoyak/3", "yoyak/4"])
    assert comparison.differences == comparison.examples == ()
    assert len(comparison.problems) == 3
    assert "yoyak/4" in comparison.problems[0]
    assert [version.score() for version in comparison.versions] == pytest.approx([0.55, 0.55, 0.55, 0.9])


def test_the_gate_split_is_neither_compared_nor_shown(store: Any) -> None:
    for scores in ([0.1, 0.2], [0.3, 0.4]):
        register(evaluations=[evaluation(scores, split="gate")])
    comparison = compare(["yoyak/1", "yoyak/2"])
    assert comparison.differences == comparison.examples == ()
    assert "gate" not in format_comparison(comparison)


def test_params_that_differ_are_listed_and_those_of_a_deleted_run_are_unknown(store: Any) -> None:
    register(params={"seed": 1, "members": {"bart": {"learning_rate": 0.1, "dropout": 0.2}}})
    second = register(params={"seed": 1, "members": {"bart": {"learning_rate": 0.3}}})
    third = register(params={"seed": 1, "members": {"bart": {"learning_rate": 0.1, "dropout": 0.2}}})
    differing = {param.key: param.values for param in compare(["yoyak/1", "yoyak/2", "yoyak/3"]).params}
    assert differing == {
        "members.bart.learning_rate": ("0.1", "0.3", "0.1"),
        "members.bart.dropout": ("0.2", None, "0.2"),
    }
    store.delete_run(third.run_id)
    store.delete_run(second.run_id)
    assert len(compare(["yoyak/1", "yoyak/2"]).params) == 2, "a deleted run can still be read until it is collected"
    store.create_registered_model("theirs")
    store.create_model_version("theirs", "/somewhere")
    assert compare(["yoyak/1", "theirs/1"]).params == ()


def test_params_of_members_with_different_names_are_compared_too(store: Any) -> None:
    register(member="bart", params={"members": {"bart": {"learning_rate": 0.1, "dropout": 0.2}}})
    register(member="t5", params={"members": {"t5": {"learning_rate": 0.3, "dropout": 0.2}}})
    differing = {param.key: param.values for param in compare(["yoyak/1", "yoyak/2"]).params}
    assert differing == {"members.*.learning_rate": ("0.1", "0.3")}


def test_comparing_takes_two_versions(store: Any) -> None:
    register()
    promotion.promote("yoyak", 1)
    with pytest.raises(UserError, match="two different versions"):
        compare(["yoyak/1", "yoyak@champion"])


def test_tables_fit_and_have_every_version(registry: Any) -> None:
    values = [0.25, 0.5]
    long = "길고 긴 요약 문장입니다. " * 30
    for number in range(5):
        rows = evaluation(values[number % 2 :] + values[: number % 2])
        rows = replace(rows, rows=tuple(replace(row, summary=long) for row in rows.rows))
        register("yoyak-long-name-of-a-member", member="a-member-with-a-long-name", evaluations=[rows])
    versions = queries.find_versions()
    comparison = compare([f"yoyak-long-name-of-a-member/{number}" for number in range(1, 6)])
    promotion.rollback("yoyak", reason=long)
    texts = [
        format_versions(versions),
        format_version(queries.get_info("yoyak@champion")),
        format_comparison(comparison),
        format_history(queries.history("yoyak")),
    ]
    from rich.cells import cell_len

    assert [line for text in texts for line in text.splitlines() if cell_len(line) > WIDTH] == []
    assert all(f"{version.label} " in texts[0] for version in versions)
    assert all(f"yoyak-long-name-of-a-member/{number}" in texts[2] for number in range(1, 6))
    assert "rollback" in texts[3]


def test_scores_on_other_data_are_pointed_out(store: Any) -> None:
    register(scores={"dev": 0.5}, tags={"input.prepared": "a"})
    register(scores={"dev": 0.6}, tags={"input.prepared": "a"})
    assert "data" not in format_versions(queries.find_versions())
    register(scores={"dev": 0.6}, tags={"input.prepared": "b"})
    assert "2 different data sets" in format_versions(queries.find_versions())


def test_many_versions_take_few_requests(registry: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    requests = []

    class Counting:
        def __getattr__(self, name: str) -> Any:
            requests.append(name)
            return getattr(registry, name)

    monkeypatch.setattr(queries, "connect", Counting)
    queries.find_versions()
    before = len(requests)
    for number in range(3, 8):
        store_version(registry, number)
    requests.clear()
    queries.find_versions()
    assert len(requests) == before <= 2


def store_version(client: Any, number: int) -> None:
    client.create_model_version("theirs", f"/somewhere/{number}", tags={"score.dev.combined": "0.1"})


def test_looking_up_imports_neither_mlflow_nor_torch_before_it_is_used() -> None:
    code = "import sys, yoyak.registry.queries, yoyak.registry.comparing; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert not {"mlflow", "torch", "transformers", "pandas"} & set(done.stdout.split())
