"""The section on facts: who gets how many of them right, on which part, and what is known."""

from __future__ import annotations

from pathlib import Path

from reporting.reporting_project import Project, build
from yoyak.behaviour.accuracy_results import EVERY, read_fact_accuracy


def test_the_tables_have_the_shares_of_every_part(make_project: Project, tmp_path: Path) -> None:
    root = make_project(strategies=("vote",), facts="known")
    page = build(root, tmp_path / "out")
    markdown = (tmp_path / "out/report.md").read_text()
    assert not page.unbalanced
    text = " ".join(" ".join(page.words).split())
    rates = {
        (rate.system, rate.split, rate.slice, rate.kind): rate
        for rate in read_fact_accuracy(root / "evaluation/facts.json").rates
    }
    best = rates["bart", "test", EVERY, EVERY]
    assert 0 < best.share < 1
    for shown in (text, markdown):
        assert "all facts right" in shown
        assert "taken back" in shown
        for part in (EVERY, "seen", "unseen"):
            rate = rates["bart", "test", part, EVERY]
            assert f"({rate.low * 100:.0f}%–{rate.high * 100:.0f}%)" in shown
    assert "gate, n" not in markdown


def test_what_the_data_do_not_say_is_not_claimed(make_project: Project, tmp_path: Path) -> None:
    root = make_project(facts="unknown")
    build(root, tmp_path / "out")
    markdown = (tmp_path / "out/report.md").read_text()
    assert "facts that are missing are not noticed" in markdown
    assert "nothing made up or mixed up" in markdown
    assert "all facts right" not in markdown
    assert "| things |" not in markdown


def test_without_the_file_there_is_no_section(scored: Path, tmp_path: Path) -> None:
    page = build(scored, tmp_path / "out")
    assert "facts" not in {attributes.get("id") for attributes in page.all("section")}
    assert "## Facts" not in (tmp_path / "out/report.md").read_text()
