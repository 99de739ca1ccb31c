"""The section on promotion and the picture of the lineage, in every state that `register` can leave."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest

from reporting.reporting_project import Page, Project, build
from yoyak.params import Registry
from yoyak.reporting.promotion import make_section
from yoyak.tracking.decisions import Check, Entry, Verdict
from yoyak.tracking.registered import Promotion, Registered, read_registered, write_registered

RULES = Registry(min_gain=0.005, min_dialogues=50)
FIRST = Entry(
    number=0,
    after=0,
    action="first",
    source=0,
    target=1,
    who="anna@host",
    when="2026-11-20T10:00:00+00:00",
    commit="a" * 40,
    reason="",
    valid=True,
)


def verdict(outcome: Literal["passed", "failed"], gain: float = 0.02) -> Verdict:
    return Verdict(
        outcome=outcome,
        sentence=f"gain {gain:+.4f}",
        champion=1,
        dataset="d" * 32,
        dialogues=120,
        attempt=2,
        significance=0.0076,
        gain=gain,
        low=gain - 0.01,
        high=gain + 0.01,
        p_value=0.0004,
        checks=(
            Check(name="significance", passed=True, sentence="p = 0.0004"),
            Check(name="gain", passed=gain >= 0.005, sentence=f"gain {gain:+.4f}"),
            Check(name="slice.unseen", passed=True, sentence="+0.0100 on 30 dialogues"),
        ),
    )


UNDECIDED = Verdict(
    outcome="undecided",
    sentence="only 8 gate dialogues can be compared",
    champion=1,
    dataset="d" * 32,
    dialogues=8,
    attempt=1,
    significance=0.03,
)


def promotion(ruling: Verdict | None = None, **values: int | str) -> Promotion:
    defaults: dict[str, object] = {"name": "yoyak", "version": 2, "member": "bart", "before": 1, "after": 1}
    return Promotion(**{**defaults, **values}, verdict=ruling, history=(FIRST,))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("state", "says"),
    [
        (promotion(version=1, before=0, after=1), "is the first champion"),
        (promotion(version=1), "was the champion already"),
        (promotion(before=0, after=0, experiment="the experiment wild"), "has no champion yet"),
        (promotion(verdict("passed"), after=2), "replaced version 1"),
        (promotion(verdict("passed"), experiment="the experiment wild"), "comes from the experiment wild"),
        (promotion(verdict("passed")), "has been undone"),
        (promotion(verdict("failed", 0.002)), "version 1 stays champion"),
        (promotion(UNDECIDED), "only 8 gate dialogues can be compared"),
    ],
)
def test_each_state_says_what_became_of_the_model(state: Promotion, says: str) -> None:
    registered = Registered(registered=(), decision="", tracking_uri="", fingerprint="", promotion=state)
    section = make_section(registered, RULES, gate=120)
    assert section is not None
    assert says in section.comparison
    assert "data.files.gate" not in section.comparison
    assert bool(section.tables) is (state.verdict is not None)
    for table in section.tables:
        assert all(len(row) == len(table.columns) for row in table.rows)


def test_a_project_without_a_gate_split_is_told_how_to_get_one() -> None:
    state = promotion(version=1, before=0, after=1)
    registered = Registered(registered=(), decision="", tracking_uri="", fingerprint="", promotion=state)
    section = make_section(registered, RULES, gate=0)
    assert section is not None
    assert "data.files.gate" in section.comparison


def test_a_registration_from_before_has_no_section() -> None:
    registered = Registered(registered=(), decision="", tracking_uri="", fingerprint="")
    assert make_section(registered, RULES, gate=9) is None


def test_what_was_measured_stands_next_to_what_is_required() -> None:
    state = promotion(verdict("failed", 0.002))
    registered = Registered(registered=(), decision="", tracking_uri="", fingerprint="", promotion=state)
    section = make_section(registered, RULES, gate=120)
    assert section is not None
    measured = {row[0]: row[1:] for row in section.tables[0].rows}
    assert measured["gate dialogues"] == ("120", "at least 50", "yes")
    assert measured["gain in combined ROUGE"] == ("+0.0020 (−0.0080 to +0.0120)", "at least 0.005", "no")
    assert measured["p-value, one-sided"][0] == "0.0004"
    assert [row[0] for row in section.tables[1].rows] == ["slice: unseen"]


def test_the_history_is_newest_first_and_says_what_is_void() -> None:
    lost = replace(FIRST, number=2, action="promote", source=1, target=3, valid=False, reason="gain +0.0200")
    state = replace(promotion(), history=(FIRST, lost))
    registered = Registered(registered=(), decision="", tracking_uri="", fingerprint="", promotion=state)
    section = make_section(registered, RULES, gate=120)
    assert section is not None and section.history is not None
    newest, oldest = section.history.rows
    assert "void" in newest[1] and newest[2] == "1 → 3" and newest[5] == "gain +0.0200"
    assert oldest[2] == "– → 1" and oldest[4] == "a" * 7


@pytest.fixture
def page(make_project: Project, tmp_path: Path) -> Page:
    root = make_project()
    registered = read_registered(root)
    best = replace(registered.registered[0], name="yoyak", aliases=("challenger",), identity="1d" * 32)
    registered = replace(
        registered,
        registered=(*registered.registered, best),
        promotion=promotion(verdict("failed", 0.002)),
        commit="0123456789abcdef",
        origins={"data": "da7a" * 8, "prepared": "9e9a" * 8, "models/bart": "30de" * 8, "evaluation": "e7a1" * 8},
        versions={"python": "3.11.9", "torch": "2.13.0+cpu"},
    )
    write_registered(registered, root)
    return build(root, tmp_path / "out")


def test_the_page_has_the_section_with_both_pictures(page: Page, tmp_path: Path) -> None:
    assert {"promotion", "registry"} <= {attributes.get("id") for attributes in page.all("section")}
    assert not page.unbalanced
    gain = (tmp_path / "out/images/gain.svg").read_text(encoding="utf-8")
    assert "required: 0.005" in gain
    lineage = (tmp_path / "out/images/lineage.svg").read_text(encoding="utf-8")
    for text in ("da7ada7a", "9e9a9e9a", "30de30de", "1d1d1d1d", "0123456789", "torch 2.13.0", "challenger", "prepare"):
        assert text in lineage
    markdown = (tmp_path / "out/report.md").read_text(encoding="utf-8")
    assert "](images/gain.svg)" in markdown and "](images/lineage.svg)" in markdown
    assert "Champions so far" in markdown
