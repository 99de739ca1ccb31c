"""The section on behaviour: every rate of every member, examples, and nothing where nothing was tested."""

from __future__ import annotations

from pathlib import Path

from reporting.reporting_project import SCRIPT, Page, Project, build
from yoyak import project
from yoyak.behaviour.results import CHECKS, Behaviour, Failure, make_rate, write_behaviour

CASE = "night_noise"


def write_results(root: Path, member: str, failures: int, checks: tuple[str, ...]) -> None:
    rates = {name: make_rate(name, failures, 20, 0.95, 0.875 if name == "order_changed" else None) for name in checks}
    found = [
        Failure(
            check="order_changed",
            case=f"{CASE}_{number}",
            detail="other numbers",
            dialogue="#Person1#: 하나\n#Person2#: 둘",
            summary=f"{member}는 3시에 온다. {SCRIPT}",
            changed_dialogue="#Person2#: 둘\n#Person1#: 하나",
            changed_summary="4시에 | 온다.",
        )
        for number in range(4)
    ]
    write_behaviour(
        root / project.behaviour_file(member),
        Behaviour(
            member=member,
            cases=("ko",),
            confidence=0.95,
            rates=rates,
            references={"test_numbers_made_up": make_rate("test_numbers_made_up", 1, 20, 0.95)},
            failures=tuple(found),
        ),
    )


def test_every_rate_is_shown_with_its_interval_and_some_failures(make_project: Project, tmp_path: Path) -> None:
    root = make_project()
    write_results(root, "bart", 3, tuple(CHECKS))
    write_results(root, "t5", 0, ("order_changed",))
    page = build(root, tmp_path / "report")
    assert not page.unbalanced
    words = " ".join(" ".join(page.words).replace("\u00a0", " ").split())
    for label in CHECKS.values():
        assert label in words
    assert words.count("15 % 5.2 % to 36 %") == len(CHECKS)
    assert "ROUGE 0.875" in words
    assert "0 % 0 % to 16 %" in words
    assert f"{CASE}_1" in words
    assert f"{CASE}_2" not in words
    markdown = (tmp_path / "report/report.md").read_text(encoding="utf-8").replace("\u00a0", " ")
    assert "15 % (5.2 % to 36 %; ROUGE 0.875)" in markdown
    assert "4시에 \\| 온다." in markdown
    assert SCRIPT not in (tmp_path / "report/index.html").read_text(encoding="utf-8")
    table = markdown.partition("## Behaviour")[2].partition("<details>")[0]
    columns = {line.count("|") for line in table.splitlines() if line.startswith("|")}
    assert len(columns) == 1


def test_without_results_there_is_no_section(scored: Path, tmp_path: Path) -> None:
    page: Page = build(scored, tmp_path / "report")
    assert "behaviour" not in [attributes.get("id") for _, attributes in page.tags]
    assert "## Behaviour" not in (tmp_path / "report/report.md").read_text(encoding="utf-8")
