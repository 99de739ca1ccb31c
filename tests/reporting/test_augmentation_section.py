"""What the report says of rows that augmentation added."""

from __future__ import annotations

import json
from pathlib import Path

from reporting.reporting_project import Project, build
from yoyak.data.augmenting.run import augment_train
from yoyak.data.records import Dialogue, write_jsonl
from yoyak.files import write_json
from yoyak.params.augmentation import Augmentation
from yoyak.reporting.augmentation import make_section
from yoyak.reporting.facts import make_split_table
from yoyak.reporting.view import Table

ROW = Dialogue(
    fname="train_1",
    dialogue="#Person1#: 세 시에 만나요.\n#Person2#: 네, 그럼 도서관 앞에서 기다릴게요.",
    summaries=("#Person1#과 #Person2#는 세 시에 만난다.",),
)
SETTINGS = Augmentation.model_validate({name: {"share": 1} for name in ("fillers", "renaming", "particles")})


def test_counts_and_examples_of_each_method() -> None:
    added, report = augment_train({"train": [ROW]}, SETTINGS)
    section = make_section({"augmentation": report})
    assert section is not None
    assert isinstance(section.methods, Table)
    assert section.methods.title == "Rows that augmentation added to train: 2 to 1"
    assert section.methods.rows == (
        ("fillers", "1", "1", "none"),
        ("renaming", "1", "1", "none"),
        ("particles", "1", "0", "1 nothing to change"),
    )
    assert [change.method for change in section.changes] == ["fillers", "renaming"]
    renamed = section.changes[1]
    assert renamed.before == f"{ROW.dialogue}\n{ROW.summaries[0]}"
    assert renamed.after == f"{added[1].dialogue}\n{added[1].summaries[0]}"
    assert make_section({}) is None


def test_the_page_and_the_cards_show_them(make_project: Project, tmp_path: Path) -> None:
    root = make_project()
    before = make_split_table(root).rows
    added, report = augment_train({"train": [ROW]}, SETTINGS)
    write_jsonl(root / "prepared/train.jsonl", [ROW, *added])
    prepared = json.loads((root / "prepared/report.json").read_text(encoding="utf-8"))
    write_json(root / "prepared/report.json", {**prepared, "augmentation": report})
    words = " ".join(build(root, tmp_path / "report").words)
    assert "Rows that augmentation added to train: 2 to 1" in words
    assert added[0].dialogue.split("\n")[0] in words
    assert make_split_table(root).rows == (("train", "1", *make_split_table(root).rows[0][2:]), *before)
    names = ("data-card.md", "data-card.ko.md", "report.md")
    cards = {name: (tmp_path / "report" / name).read_text() for name in names}
    assert "Augmentation made 2 rows of train: 1 by fillers, 1 by renaming, 0 by particles." in cards["data-card.md"]
    assert "2건은 데이터 증강으로 만든 것이다: fillers 1건, renaming 1건" in cards["data-card.ko.md"]
    assert "Rows that augmentation added to train: 2 to 1" in cards["report.md"]
