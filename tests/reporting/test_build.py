from __future__ import annotations

import json
import re
from itertools import pairwise
from pathlib import Path

import pytest

from reporting.reporting_project import FIGURE, SCRIPT, Page, Project, build, dialogue
from yoyak.data.records import Dialogue
from yoyak.errors import UserError


@pytest.fixture(scope="module")
def out(scored: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("report") / "report"
    build(scored, out)
    return out


@pytest.fixture(scope="module")
def page(out: Path) -> Page:
    return Page((out / "index.html").read_text(encoding="utf-8"))


def test_the_page_loads_nothing(out: Path, page: Page) -> None:
    text = (out / "index.html").read_text(encoding="utf-8")
    assert "http:" not in text
    assert "https:" not in text
    assert "@import" not in text
    assert not re.search(r"url\((?!#)", text)
    images = [*page.all("img"), *page.all("source")]
    assert len(images) == 2 * 5
    assert sum("src" in attributes or "srcset" in attributes for _, attributes in page.tags) == len(images)
    for image in images:
        assert (image.get("src") or image["srcset"]).startswith("data:image/svg+xml;base64,")
    for _, attributes in page.tags:
        for name in ("href", "xlink:href"):
            assert attributes.get(name, "#").startswith("#")
    assert not page.all("link")


def test_the_page_is_well_formed_and_accessible(page: Page) -> None:
    assert not page.unbalanced
    assert not page.open
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    links = {attributes["href"][1:] for attributes in page.all("a")}
    assert links <= set(ids)
    assert all(attributes.get("scope") in ("col", "row", "colgroup") for attributes in page.all("th"))
    assert all(attributes.get("aria-hidden") for attributes in page.all("svg"))
    assert all(attributes["alt"] for attributes in page.all("img"))
    assert page.all("html") == [{"lang": "en"}]


def test_every_system_is_in_every_score_table_and_every_member_beside_every_dialogue(page: Page) -> None:
    words = " ".join(" ".join(page.words).split())
    for name in ("bart", "t5", "gpt2", "lead3", "longest3", "oracle"):
        assert words.count(f" {name} ") >= 2 + 5
    assert len(page.all("details")) == 5 + 2 + 6 + 1 + 1
    assert sum(attributes.get("class") == "output" for attributes in page.all("div")) == 6 * 3


def test_the_verdict_names_the_best_member_with_its_scores_and_gain(scored: Path, page: Page) -> None:
    summary = json.loads((scored / "evaluation/summary.json").read_text(encoding="utf-8"))
    means = {
        row["metric"]: row["mean"]
        for row in summary["scores"]
        if (row["system"], row["split"], row["slice"]) == ("bart", "test", "all")
        and (row["granularity"], row["multi_reference"]) == ("eojeol", "mean")
    }
    words = " ".join(" ".join(page.words).split())
    assert (
        f"bart, the best of 3 members on dev, reaches eojeol ROUGE-1 {means['rouge1']:.3f} "
        f"and combined {means['combined']:.3f} on test, " in words
    )
    assert re.search(
        r"0\.\d{3} above the best extractive baseline, \w+ \(95% interval of the difference \+0\.\d{3} to ", words
    )


@pytest.mark.parametrize(
    ("low", "high", "sentence"),
    [
        (
            -0.02,
            0.04,
            r"not significantly different from the best extractive baseline, \w+ \(.* −0\.020 to \+0\.040",
        ),
        (-0.08, -0.04, r"0\.060 below the best extractive baseline, \w+ \(.* −0\.080 to −0\.040"),
    ],
)
def test_the_verdict_says_when_nothing_is_gained(
    make_project: Project, tmp_path: Path, low: float, high: float, sentence: str
) -> None:
    root = make_project()
    path = root / "evaluation/summary.json"
    summary = json.loads(path.read_text(encoding="utf-8"))
    for row in summary["comparisons"]:
        row |= {"difference": (low + high) / 2, "low": low, "high": high, "p_value": 0.31}
    path.write_text(json.dumps(summary), encoding="utf-8")
    words = " ".join(" ".join(build(root, tmp_path / "out").words).split())
    assert re.search(sentence + ", p = 0.310", words)


def test_the_markdown_has_the_same_figures(out: Path, page: Page) -> None:
    markdown = (out / "report.md").read_text(encoding="utf-8")
    text = " ".join(page.words)
    assert set(FIGURE.findall(text)) == set(FIGURE.findall(re.sub(r"!\[.*?\]\(.*?\)", "", markdown)))
    for image in re.findall(r"\]\((images/.*?)\)", markdown):
        assert "<svg " in (out / image).read_text(encoding="utf-8")
    assert markdown.count("](images/") == len(list((out / "images").iterdir())) == 6


def test_gate_is_named_but_no_table_shows_its_scores(scored: Path, out: Path) -> None:
    markdown = (out / "report.md").read_text(encoding="utf-8")
    assert len(re.findall(r"gate \(n = 9\)", markdown)) == 1
    lines = markdown.split("\n")
    headers = [lines[number - 1] for number, line in enumerate(lines) if line.startswith("| ---")]
    assert any("test" in header for header in headers)
    assert not any("gate" in header for header in headers)
    assert "gate_" not in markdown
    summary = json.loads((scored / "evaluation/summary.json").read_text(encoding="utf-8"))
    assert "gate" in summary["splits"]
    assert not any(row["split"] == "gate" for row in summary["comparisons"])


def test_markdown_tables_have_as_many_cells_as_columns(out: Path) -> None:
    lines = (out / "report.md").read_text(encoding="utf-8").split("\n")
    rows = 0
    for before, line in pairwise(lines):
        if line.startswith("|") and before.startswith("|"):
            bars = [len(re.findall(r"(?<!\\)\|", row)) for row in (before, line)]
            assert bars[0] == bars[1], line
            rows += 1
    assert rows > 100


def test_a_second_build_is_byte_identical(scored: Path, out: Path, tmp_path: Path) -> None:
    build(scored, tmp_path / "again")
    files = sorted(path.relative_to(out) for path in out.rglob("*") if path.is_file())
    assert {"index.html", "report.md", "model-card.md", "data-card.ko.md"} <= {path.name for path in files}
    for name in files:
        assert (tmp_path / "again" / name).read_bytes() == (out / name).read_bytes()


def test_a_changed_input_changes_the_digest(make_project: Project, tmp_path: Path) -> None:
    root = make_project()
    digest = re.compile(r"sha256 [0-9a-f]{12}")
    build(root, tmp_path / "out")
    before = digest.search((tmp_path / "out/report.md").read_text(encoding="utf-8"))
    with (root / "training/t5.json").open("a", encoding="utf-8") as file:
        file.write("\n")
    build(root, tmp_path / "out")
    after = digest.search((tmp_path / "out/report.md").read_text(encoding="utf-8"))
    assert before and after and before[0] != after[0]


def test_texts_are_escaped(make_project: Project, tmp_path: Path) -> None:
    base = dialogue(0, "test", "seen")
    first = Dialogue(
        fname="test_0",
        dialogue=f"#Person1#: {SCRIPT}\n#Person2#: a | b `c` *d* [e](f)",
        summaries=(f"{SCRIPT} 말한다.", base.summaries[1]),
        topic=f"{SCRIPT}$주제$",
        slice="seen",
    )
    page = build(make_project(first=first), tmp_path / "out", dialogues=40)
    text = (tmp_path / "out/index.html").read_text(encoding="utf-8")
    markdown = (tmp_path / "out/report.md").read_text(encoding="utf-8")
    assert "alert" in " ".join(page.words)
    assert not page.unbalanced
    assert "<script>alert" not in text
    assert "<script>" not in markdown
    assert r"a \| b \`c\` \*d\* \[e\](f)" in markdown


def test_no_password_reaches_the_page(out: Path) -> None:
    for name in ("index.html", "report.md"):
        assert "secret" not in (out / name).read_text(encoding="utf-8")
    assert "postgresql://db:5432/mlflow" in (out / "index.html").read_text(encoding="utf-8")


def test_the_dev_rouge_of_trainings_is_not_taken_for_that_of_all_of_dev(out: Path) -> None:
    for name in ("index.html", "report.md"):
        text = " ".join((out / name).read_text(encoding="utf-8").split())
        assert text.count("is of greedy summaries of a sample (evaluation_dialogues)") == 1


def test_one_member_and_no_extra_split(make_project: Project, tmp_path: Path) -> None:
    root = make_project(members=("bart",), extra=False, folder="mine")
    for name in (
        "registry/registered.json",
        "prepared/report.json",
        "training/bart.json",
        "plots/curves_bart.csv",
    ):
        (root / name).unlink()
    page = build(root, tmp_path / "out")
    words = " ".join(" ".join(page.words).split())
    assert words.count("bart reaches eojeol ROUGE-1") == 1
    assert "No member was trained here." in words
    assert "come from the folder mine" in words
    assert "generator" not in words
    assert not page.unbalanced


def test_no_dialogues_are_shown_if_none_are_requested(scored: Path, tmp_path: Path) -> None:
    page = build(scored, tmp_path / "out", dialogues=0)
    assert "dialogues" not in {attributes.get("id") for attributes in page.all("section")}
    assert not page.all("script")


def test_many_members_are_all_in_the_tables_and_few_in_the_charts(make_project: Project, tmp_path: Path) -> None:
    names = tuple(f"m{number:02}" for number in range(30))
    page = build(make_project(members=names), tmp_path / "out", dialogues=2)
    words = " ".join(" ".join(page.words).split())
    assert all(f" {name} " in words for name in names)
    assert "Charts show the 8 best of 30 members" in words
    legend = (tmp_path / "out/images/loss.svg").read_text(encoding="utf-8")
    assert len(set(re.findall(r">(m\d\d)<", legend))) == 8
    assert "m00 − m29" in words
    assert "m01 − m29" not in words


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("evaluation/summary.json", r"evaluation/summary\.json is missing.*evaluate"),
        ("evaluation/dialogues.csv", r"evaluation/dialogues\.csv is missing.*evaluate"),
        ("evaluation/ensembles.json", r"evaluation/ensembles\.json is missing.*evaluate"),
        ("predictions/t5/test.jsonl", r"predictions/t5/test\.jsonl is missing.*predict@t5"),
        ("prepared/eval/test.jsonl", r"prepared/eval/test\.jsonl is missing.*prepare"),
        ("params.yaml", r"params\.yaml is missing"),
    ],
)
def test_a_missing_file_is_named_and_the_old_report_stays(
    make_project: Project, tmp_path: Path, name: str, sentence: str
) -> None:
    root = make_project()
    build(root, tmp_path / "out")
    before = (tmp_path / "out/index.html").read_bytes()
    (root / name).unlink()
    with pytest.raises(UserError, match=sentence):
        build(root, tmp_path / "out", members=["bart", "t5", "gpt2"])
    assert (tmp_path / "out/index.html").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()].count("out") == 1


@pytest.mark.parametrize(
    ("name", "old", "new", "sentence"),
    [
        ("evaluation/summary.json", '"best_member"', '"best"', "evaluation/summary.json is not what"),
        ("evaluation/summary.json", '"primary": {', '"primary": ', "evaluation/summary.json is not valid"),
        ("evaluation/dialogues.csv", ",combined", ",sum", "evaluation/dialogues.csv"),
        ("predictions/t5/test.jsonl", "test_", "x_", "predictions/t5/test.jsonl"),
        (
            "predictions/t5/test.jsonl",
            '"candidates": [',
            '"candidates": ',
            "predictions/t5/test.jsonl, line 1",
        ),
        ("plots/curves_t5.csv", "\n5,0.25,1.6", "\n5,0.25,low", "plots/curves_t5.csv, line 2: loss"),
    ],
)
def test_a_damaged_file_is_named(
    make_project: Project, tmp_path: Path, name: str, old: str, new: str, sentence: str
) -> None:
    root = make_project()
    path = root / name
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(UserError, match=re.escape(sentence)):
        build(root, tmp_path / "out")


def test_a_member_that_was_not_scored_is_named(scored: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"'bartt' \(did you mean 'bart'\?\)"):
        build(scored, tmp_path / "out", members=["bartt"])


def test_numeric_names_stay_strings(make_project: Project, tmp_path: Path) -> None:
    root = make_project()
    for path in [
        *root.glob("predictions/*/*.jsonl"),
        *root.glob("prepared/**/*.jsonl"),
        root / "evaluation/dialogues.csv",
    ]:
        path.write_text(path.read_text(encoding="utf-8").replace("test_", "00"), encoding="utf-8")
    page = build(root, tmp_path / "out", dialogues=40)
    assert "007" in " ".join(page.words).split()
