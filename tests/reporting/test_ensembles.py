"""The section on ensembles, and where else on the pages they are."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from reporting.reporting_project import FIGURE, Page, Project, build, write_project
from yoyak import params
from yoyak.errors import UserError
from yoyak.params.stages import ReportParams
from yoyak.reporting import ensemble_charts
from yoyak.reporting.build import read_view
from yoyak.scoring.ensembles import StrategyChoice, read_analysis, write_analysis

CHARTS = ["contributions", "agreement", "gain_length"]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_project(tmp_path_factory.mktemp("combined"), strategies=("vote", "mbr", "soup"))


@pytest.fixture(scope="module")
def out(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("report") / "report"
    build(root, out)
    return out


@pytest.fixture(scope="module")
def page(out: Path) -> Page:
    return Page((out / "index.html").read_text(encoding="utf-8"))


def analysis(root: Path) -> dict:
    return json.loads((root / "evaluation/ensembles.json").read_text(encoding="utf-8"))


def text(page: Page) -> str:
    return " ".join(" ".join(page.words).split())


def test_the_section_has_conclusion_scores_gains_and_the_oracle(root: Path, page: Page) -> None:
    figures = analysis(root)
    words = text(page)
    assert " ".join(figures["conclusion"].split()) in words
    assert "ensembles" in {attributes.get("id") for attributes in page.all("section")}
    for part in ("all", "seen", "unseen"):
        for name, strategy in figures["splits"]["test"][part]["strategies"].items():
            score = strategy["score"]
            cells = f"{name} {figures['strategies'][name]['type']} {score['mean']:.3f} ({score['low']:.3f}–"
            assert cells in words
    assert f"best candidate chosen by references {figures['splits']['test']['all']['oracle']['mean']:.3f}" in words


def test_the_page_is_well_formed_and_the_markdown_has_the_same_figures(out: Path, page: Page) -> None:
    assert not page.unbalanced and not page.open
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    markdown = (out / "report.md").read_text(encoding="utf-8")
    assert set(FIGURE.findall(" ".join(page.words))) == set(FIGURE.findall(re.sub(r"!\[.*?\]\(.*?\)", "", markdown)))
    for name in CHARTS:
        assert f"](images/{name}.svg)" in markdown
        assert (out / f"images/{name}.svg").is_file()


def test_ensembles_are_among_the_systems_and_the_best_one_beside_the_dialogues(root: Path, page: Page) -> None:
    words = text(page)
    assert "bart, the best of 3 members on dev," in words
    for name in ("vote", "mbr", "soup"):
        assert words.count(f" {name} ensemble ") >= 2
        assert f"{name} − bart" in words
    best = analysis(root)["best_ensemble"]
    assert words.count(f"{best} ensemble") == 2 + 6
    assert sum(attributes.get("class") == "output" for attributes in page.all("div")) == 6 * 4


def test_charts_have_descriptions(root: Path) -> None:
    view = read_view(root, params.load(ReportParams, root / "params.yaml", env={}))
    assert view.ensembles
    colours = {system.name: system.series for system in view.systems if system.series is not None}
    drawn = ensemble_charts.draw_charts(view.ensembles.analysis, "test", "all", colours)
    assert list(drawn) == CHARTS
    assert ">soup<" not in drawn["contributions"].light
    assert ">soup<" in drawn["gain_length"].light
    change = view.ensembles.analysis.splits["test"]["all"].strategies["vote"].contributions["t5"].change
    assert change
    assert f"t5 {change.difference:+.3f}" in drawn["contributions"].description


def test_without_ensembles_there_is_no_section(scored: Path, tmp_path: Path) -> None:
    page = build(scored, tmp_path / "out")
    assert "nsemble" not in text(page).partition("Effective values")[0]
    assert not (tmp_path / "out/images/contributions.svg").exists()
    assert "## Ensembles" not in (tmp_path / "out/report.md").read_text(encoding="utf-8")


def test_one_member_is_passed_through(make_project: Project, tmp_path: Path) -> None:
    root = make_project(members=("bart",), extra=False, strategies=("mbr",))
    page = build(root, tmp_path / "out")
    assert "mbr mbr, passed through" in text(page)
    assert not (tmp_path / "out/images/agreement.svg").exists()
    assert (tmp_path / "out/images/gain_length.svg").is_file()
    assert not page.unbalanced


def test_many_members_leave_the_charts_readable(make_project: Project, tmp_path: Path) -> None:
    names = tuple(f"m{number:02}" for number in range(30))
    root = make_project(members=names, strategies=("vote", "mbr"))
    words = text(build(root, tmp_path / "out", dialogues=2))
    assert all(f"vote: {name} " in words for name in names)
    assert "Charts show the 7 best of 30 members" in words
    for name, limit in (("contributions", 2 * 8), ("agreement", 2 * 7)):
        drawn = re.findall(r">(m\d\d)<", (tmp_path / f"out/images/{name}.svg").read_text(encoding="utf-8"))
        assert 0 < len(drawn) <= limit


def test_a_damaged_analysis_is_named(make_project: Project, tmp_path: Path) -> None:
    root = make_project(strategies=("mbr",))
    path = root / "evaluation/ensembles.json"
    path.write_text(path.read_text(encoding="utf-8").replace('"captured"', '"caught"'), encoding="utf-8")
    with pytest.raises(UserError, match=r"evaluation/ensembles\.json .*captured"):
        build(root, tmp_path / "out")
    (root / "ensembles/mbr/test.jsonl").unlink()
    path.write_text(path.read_text(encoding="utf-8").replace('"caught"', '"captured"'), encoding="utf-8")
    with pytest.raises(UserError, match=r"ensembles/mbr/test\.jsonl is missing.*ensemble@mbr"):
        build(root, tmp_path / "out")


def test_what_was_chosen_and_learned_is_shown(root: Path, tmp_path: Path) -> None:
    shutil.copytree(root, tmp_path / "project")
    folder = tmp_path / "project/evaluation"
    before = read_analysis(folder)
    choice = StrategyChoice(
        chosen="likelihood",
        options={"bart": 0.31, "likelihood": 0.35, "weighted": 0.34},
        in_folds=("likelihood", "weighted", "likelihood"),
        naive=0.35,
        nested=0.3388,
    )
    infos = {
        **before.strategies,
        "mbr": replace(before.strategies["mbr"], choice=choice),
        "vote": replace(before.strategies["vote"], reranker="ridge, margin 0.0100: else the summaries of bart"),
    }
    write_analysis(replace(before, strategies=infos), folder)
    assert read_analysis(folder).strategies["mbr"].choice == choice
    build(tmp_path / "project", tmp_path / "report")
    for name in ("index.html", "report.md"):
        text = (tmp_path / "report" / name).read_text(encoding="utf-8")
        assert "What mbr has chosen by cross-validation on dev: the choice flatters by 0.0112" in text
        assert "likelihood, chosen" in text
        assert text.index("likelihood, chosen") < text.index("weighted") < text.index("without the fold")
        assert "2 of 3" in text
        assert "0.339" in text
        assert "ridge, margin 0.0100: else the summaries of bart" in text
