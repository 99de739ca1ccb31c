from __future__ import annotations

import re
from pathlib import Path

import pytest

from reporting_project import Project
from yoyak import params
from yoyak.params.stages import ReportParams
from yoyak.reporting import charts
from yoyak.reporting.build import read_view
from yoyak.reporting.svg import Chart
from yoyak.reporting.view import Curve


def alone(root: Path) -> ReportParams:
    whole = params.load(ReportParams, root / "params.yaml", env={})
    return whole.model_copy(update={"report": params.Report(dialogues=0), "members": {"bart": whole.members["bart"]}})


@pytest.fixture(scope="module")
def drawn(scored: Path) -> dict[str, Chart]:
    return charts.draw(read_view(scored, params.load(ReportParams, scored / "params.yaml", env={})))


def test_there_are_few_and_each_says_what_it_shows(drawn: dict[str, Chart]) -> None:
    assert list(drawn) == ["scores", "loss", "eval_loss", "eval_combined", "length", "topic"]
    assert "bart ends at 0.200" in drawn["loss"].description
    for chart in drawn.values():
        assert f'aria-label="{chart.description}"' in chart.inline


def test_the_inline_form_takes_colours_and_font_from_the_page(drawn: dict[str, Chart]) -> None:
    for chart in drawn.values():
        assert "var(--series-0)" in chart.inline
        assert not re.search(r"(?:fill|stroke): #", chart.inline)
        assert "font-family" not in chart.inline
        assert "<style" not in chart.inline


def test_the_file_stands_alone(drawn: dict[str, Chart]) -> None:
    for chart in drawn.values():
        assert "var(" not in chart.file
        assert "Noto Sans KR" in chart.file
        assert "date" not in chart.file.lower()


def test_ids_of_different_charts_do_not_meet(drawn: dict[str, Chart]) -> None:
    ids = [found for chart in drawn.values() for found in re.findall(r'\bid="([^"]*)"', chart.inline)]
    assert ids
    assert len(ids) == len(set(ids))
    for chart in drawn.values():
        used = set(re.findall(r'(?:url\(#|href="#)([^")]*)', chart.inline))
        assert used <= set(re.findall(r'\bid="([^"]*)"', chart.inline))


def test_hangul_stays_text(drawn: dict[str, Chart]) -> None:
    assert ">도서관 (6)<" in drawn["topic"].inline


@pytest.mark.parametrize(
    ("topic", "shown"),
    [("a <b> & $x$ $", ">a &lt;b&gt; &amp; $x$ $ ("), ("가" * 40, ">" + "가" * 12 + "… (")],
)
def test_a_topic_is_shown_as_it_is_and_cut_where_it_is_long(make_project: Project, topic: str, shown: str) -> None:
    root = make_project()
    csv = root / "evaluation/dialogues.csv"
    csv.write_text(csv.read_text(encoding="utf-8").replace(",도서관,", f",{topic},"), encoding="utf-8")
    view = read_view(root, alone(root))
    assert shown in charts.draw(view)["topic"].inline


@pytest.mark.parametrize(("last", "title"), [(0.5, "Training loss (log scale)"), (4.0, "Training loss")])
def test_a_loss_that_falls_far_is_drawn_on_a_log_scale(scored: Path, last: float, title: str) -> None:
    view = read_view(scored, alone(scored))
    curve = Curve(member="bart", series=0, points=((0.0, 8.0), (1.0, last)))
    fields = {name: getattr(view, name) for name in view.__slots__} | {"curves": {"loss": (curve,)}}
    assert charts.draw(type(view)(**fields))["loss"].title == title
