from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from reporting.reporting_project import Project
from yoyak import params
from yoyak.params.stages import ReportParams
from yoyak.reporting import charts
from yoyak.reporting.build import read_view
from yoyak.reporting.palette import DARK, LIGHT
from yoyak.reporting.svg import Chart
from yoyak.reporting.view import Curve

SVG = "{http://www.w3.org/2000/svg}"


def alone(root: Path) -> ReportParams:
    loaded = params.load(ReportParams, root / "params.yaml", env={})
    return loaded.model_copy(update={"report": params.Report(dialogues=0), "members": {"bart": loaded.members["bart"]}})


@pytest.fixture(scope="module")
def drawn(scored: Path) -> dict[str, Chart]:
    return charts.draw_charts(read_view(scored, params.load(ReportParams, scored / "params.yaml", env={})))


def test_there_are_few_charts_and_each_has_a_description(drawn: dict[str, Chart]) -> None:
    assert list(drawn) == ["scores", "loss", "eval_loss", "eval_combined", "length", "topic"]
    assert "bart ends at 0.200" in drawn["loss"].description
    assert all(chart.title and chart.description for chart in drawn.values())


def test_light_and_dark_images_are_complete_and_have_the_same_text(drawn: dict[str, Chart]) -> None:
    for chart in drawn.values():
        light, dark = (ElementTree.fromstring(svg) for svg in (chart.light, chart.dark))
        assert light.tag == dark.tag == f"{SVG}svg"
        texts = [[element.text for element in image.iter(f"{SVG}text")] for image in (light, dark)]
        assert texts[0] == texts[1] != []


def test_each_image_has_the_colours_of_its_palette(drawn: dict[str, Chart]) -> None:
    for chart in drawn.values():
        for svg, palette, other in ((chart.light, LIGHT, DARK), (chart.dark, DARK, LIGHT)):
            assert palette.paper in svg
            assert palette.series[0] in svg
            assert not {other.ink, other.muted, other.grid, *other.series} & set(re.findall("#[0-9a-f]{6}", svg))


def test_text_is_set_in_fonts_with_hangul(drawn: dict[str, Chart]) -> None:
    for chart in drawn.values():
        assert "Noto Sans KR" in chart.light
        assert "DejaVu" not in chart.light
    assert ">도서관 (6)<" in drawn["topic"].light


@pytest.mark.parametrize(
    ("topic", "label"),
    [("a <b> & $x$ $", ">a &lt;b&gt; &amp; $x$ $ ("), ("가" * 40, ">" + "가" * 12 + "… (")],
)
def test_topics_are_escaped_and_shortened(make_project: Project, topic: str, label: str) -> None:
    root = make_project()
    csv = root / "evaluation/dialogues.csv"
    csv.write_text(csv.read_text(encoding="utf-8").replace(",도서관,", f",{topic},"), encoding="utf-8")
    view = read_view(root, alone(root))
    assert label in charts.draw_charts(view)["topic"].light


@pytest.mark.parametrize(("last", "title"), [(0.5, "Training loss (log scale)"), (4.0, "Training loss")])
def test_a_loss_that_falls_by_a_large_factor_gets_a_log_scale(scored: Path, last: float, title: str) -> None:
    view = read_view(scored, alone(scored))
    curve = Curve(member="bart", series=0, points=((0.0, 8.0), (1.0, last)))
    fields = {name: getattr(view, name) for name in view.__slots__} | {"curves": {"loss": (curve,)}}
    assert charts.draw_charts(type(view)(**fields))["loss"].title == title
