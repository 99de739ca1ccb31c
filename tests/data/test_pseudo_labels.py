"""Pseudo-labels: which summaries are good enough, how rows are marked, and what is wrong with a file."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from yoyak import params
from yoyak.data.augmenting.pseudo import filter_pseudo_labels, read_pseudo_labels, read_train_summaries
from yoyak.data.augmenting.run import augment_train
from yoyak.data.records import Dialogue
from yoyak.errors import UserError
from yoyak.params.augmentation import Augmentation, PseudoLabels

TEXT = "#Person1#: 내일 세 시에 만날까요?\n#Person2#: 네, 도서관 앞에서 봐요. 책도 가져갈게요."
FILES = PseudoLabels(dialogues="more.csv", summaries="made.csv")


def row(summary: str, name: str = "a", dialogue: str = TEXT) -> Dialogue:
    return Dialogue(fname=name, dialogue=dialogue, summaries=(summary,))


@pytest.mark.parametrize(
    ("summary", "reason"),
    [
        ("#Person1#과 #Person2#는 내일 세 시에 만난다.", ""),
        ("", "no summary"),
        ("#Person1#은 내일 네 시에 만난다.", "a mask, number or name that the dialogue does not have"),
        ("#Person3#은 내일 세 시에 만난다.", "a mask, number or name that the dialogue does not have"),
        ("둘은 내일 도서관 앞에서 둘은 내일 도서관 앞에서 본다.", "the summary repeats itself"),
        (f"둘은 만나기로 하고, {TEXT}"[:60].replace("\n", " "), "too long a summary"),
    ],
)
def test_only_good_summaries_are_trained_on(summary: str, reason: str) -> None:
    reasons: Counter[str] = Counter()
    kept = filter_pseudo_labels([row(summary)], {}, FILES, reasons)
    assert dict(reasons) == ({reason: 1} if reason else {})
    assert [(each.fname, each.method, each.source) for each in kept] == (
        [] if reason else [("a~pseudo_labels", "pseudo_labels", "")]
    )


def test_dialogues_of_other_splits_and_repeated_ones_are_left_out() -> None:
    def rows(*names: str) -> list[Dialogue]:
        return [row("둘은 만난다.", name, f"#Person1#: 저는 {name}입니다. 잘 부탁합니다.") for name in names]

    settings = Augmentation(pseudo_labels=FILES)
    splits = {"train": rows("훈련"), "dev": rows("검증"), "test": rows("시험"), "gate": rows("관문")}
    added, report = augment_train(splits, settings, rows("훈련", "검증", "시험", "관문", "새것", "새것"))
    assert [each.dialogue for each in added] == ["#Person1#: 저는 새것입니다. 잘 부탁합니다."]
    assert report["methods"]["pseudo_labels"]["filtered"] == {
        "also in an earlier row": 1, "also in dev": 1, "also in gate": 1, "also in test": 1, "also in train": 1,
    }  # fmt: skip


@pytest.fixture
def files(tmp_path: Path) -> params.Data:
    (tmp_path / "more.csv").write_text(f'fname,dialogue\na,"{TEXT}"\nb,"#Person1#: 안녕하세요."\n')
    (tmp_path / "made.csv").write_text("fname,summary\na,둘은  내일 만난다.\n")
    return params.Data(folder=str(tmp_path))


def test_dialogues_and_summaries_are_joined_by_their_id(files: params.Data) -> None:
    rows = read_pseudo_labels(files, FILES)
    assert [(each.fname, each.summaries) for each in rows] == [("a", ("둘은 내일 만난다.",)), ("b", ("",))]
    assert read_pseudo_labels(files, PseudoLabels()) == []


def test_a_dialogue_of_train_becomes_a_second_row_with_the_summary_of_a_model(files: params.Data) -> None:
    settings = Augmentation(pseudo_labels=PseudoLabels(train_summaries="made.csv"))
    train = [row("둘은 약속한다."), row("둘은 인사한다.", "b", "#Person1#: 안녕하세요."), row("만남.", "c", "시험")]
    splits = {"train": train, "test": [row("만남.", "t", "시험")]}
    again = read_train_summaries(files, settings.pseudo_labels, train)
    added, report = augment_train(splits, settings, train_summaries=again)
    assert [(each.fname, each.dialogue, each.summaries, each.source, each.method) for each in added] == [
        ("a~train_summaries", TEXT, ("둘은 내일 만난다.",), "a", "train_summaries")
    ]
    assert report["rows"] == {"train": 3, "added": 1}
    assert report["methods"] == {"train_summaries": {"drawn": 3, "added": 1, "filtered": {"no summary": 2}}}
    assert settings.is_on and not Augmentation().is_on


def test_summaries_of_other_dialogues_than_those_of_train_are_refused(files: params.Data) -> None:
    settings = PseudoLabels(train_summaries="made.csv")
    with pytest.raises(UserError, match=r"train_summaries: .*made\.csv has no summary of any row of train"):
        read_train_summaries(files, settings, [row("", "z")])
    assert read_train_summaries(files, PseudoLabels(), [row("", "z")]) == []


def test_what_is_wrong_is_said_in_one_sentence(files: params.Data) -> None:
    with pytest.raises(UserError, match=r"augmentation\.pseudo_labels\.dialogues: .*none\.csv does not exist"):
        read_pseudo_labels(files, PseudoLabels(dialogues="none.csv", summaries="made.csv"))
    Path(files.folder, "made.csv").write_text("id,text\na,b\n")
    with pytest.raises(UserError, match="needs the columns fname and summary, as `yoyak summarize` writes them"):
        read_pseudo_labels(files, FILES)
    with pytest.raises(ValueError, match="need each other"):
        PseudoLabels(dialogues="more.csv")
