from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from yoyak import params
from yoyak.data.preparing import Prepared, prepare_splits
from yoyak.errors import UserError

DataOf = Callable[..., params.Data]


def csv_of(*rows: tuple[str, str, str], header: str = "fname,dialogue,summary") -> str:
    return header + "\n" + "".join(f'{name},"{dialogue}","{summary}"\n' for name, dialogue, summary in rows)


TRAIN = csv_of(*((f"t{i}", f"#Person1#: 훈련 {i}\n#Person2#: 네", f"요약 {i}") for i in range(10)))
DEV = csv_of(*((f"d{i}", f"#Person1#: 검증 {i}\n#Person2#: 네", f"요약 {i}") for i in range(3)))
TEST = csv_of(*((f"e{i}", f"#Person1#: 시험 {i}\n#Person2#: 네", f"요약 {i}") for i in range(3)))


def fnames(prepared: Prepared, split: str) -> list[str]:
    return [row.fname for row in prepared.splits[split]]


def balanced(report: dict[str, Any]) -> bool:
    """Tell whether every file's rows are either kept or dropped for a reason."""
    return all(
        part["rows_in"] == part["rows_kept"] + sum(entry["rows"] for entry in part["dropped"].values())
        for part in report["files"].values()
    )


def test_splits_come_in_order_and_the_report_is_json(data_of: DataOf) -> None:
    data = data_of({"extra.csv": TEST.replace("시험", "추가"), "test.csv": TEST, "dev.csv": DEV, "train.csv": TRAIN})
    prepared = prepare_splits(data, seed=20)
    assert list(prepared.splits) == ["train", "dev", "test", "extra"]
    assert [len(rows) for rows in prepared.splits.values()] == [10, 3, 3, 3]
    assert json.loads(json.dumps(prepared.report, allow_nan=False)) == prepared.report
    assert balanced(prepared.report)


def test_unusable_rows_are_dropped_counted_and_listed(data_of: DataOf) -> None:
    broken = TRAIN + 't10,"#Person1#: 말","  "\nt11,"#Person1#:\n#Person2#: ","요약"\nt12,"","요약"\n'
    prepared = prepare_splits(data_of({"train.csv": broken, "dev.csv": DEV, "test.csv": TEST}), seed=20)
    dropped = prepared.report["files"]["train"]["dropped"]
    assert {reason: entry["rows"] for reason, entry in dropped.items()} == {"empty summary": 1, "empty dialogue": 2}
    [example] = dropped["empty summary"]["examples"]
    assert example["fname"] == "t10"
    assert example["where"].endswith("train.csv, row 11 (line 22)")
    assert len(prepared.splits["train"]) == 10
    assert balanced(prepared.report)


def test_a_split_of_which_nothing_is_left_is_an_error(data_of: DataOf) -> None:
    empty = csv_of(("d0", "#Person1#: 말", ""), ("d1", "", "요약"))
    with pytest.raises(UserError) as caught:
        prepare_splits(data_of({"train.csv": TRAIN, "dev.csv": empty, "test.csv": TEST}), seed=20)
    assert str(caught.value).endswith(
        "dev.csv: not one of 2 rows can be used (1 empty summary, 1 empty dialogue); "
        "a row needs a dialogue and a summary."
    )


def test_a_repeated_id_is_an_error_that_names_both_rows(data_of: DataOf) -> None:
    doubled = TRAIN.replace("t3,", " t1 ,")
    with pytest.raises(UserError) as caught:
        prepare_splits(data_of({"train.csv": doubled, "dev.csv": DEV, "test.csv": TEST}), seed=20)
    assert "train.csv: row 2 (line 4) and row 4 (line 8) have the same id 't1'; give each" in str(caught.value)


def test_an_empty_id_is_an_error(data_of: DataOf) -> None:
    with pytest.raises(UserError, match=r"train\.csv, row 4 \(line 8\): the id is empty; give each row its own"):
        prepare_splits(data_of({"train.csv": TRAIN.replace("t3,", ",")}), seed=20)


def test_whole_repetitions_go_and_repeated_dialogues_stay(data_of: DataOf) -> None:
    more = TRAIN + (
        't10,"#Person1#:  훈련 0\n#Person2#: 네","요약 0"\n'
        't11,"#Person1#: 훈련 0\n#Person2#: 네","다른 요약"\n'
        't12,"#person1#: 훈련 0\n#Person2#: 네","요약 0"\n'
    )
    prepared = prepare_splits(data_of({"train.csv": more, "dev.csv": DEV, "test.csv": TEST}), seed=20)
    [example] = prepared.report["files"]["train"]["dropped"]["repeats an earlier row"]["examples"]
    assert example["fname"] == "t10"
    found = prepared.report["duplicates"]["train"]
    assert (found["dialogues"], found["rows_beyond_first"]) == (1, 2)
    assert [entry["fname"] for entry in found["examples"][0]] == ["t0", "t11", "t12"]
    assert {"t0", "t11", "t12"} <= set(fnames(prepared, "train"))
    assert balanced(prepared.report)


def test_dialogues_of_other_splits_leave_train(data_of: DataOf) -> None:
    leaky = TRAIN + (
        't10,"#Person1#: 검증 0\n#Person2#: 네","다른"\n'
        't11,"#PERSON1#: 검증 0\n#Person2#:  네","또 다른"\n'
        't12,"#Person1#: 시험 1\n#Person2#: 네","다른"\n'
    )
    both = TEST + 'e3,"#Person1#: 검증 2\n#Person2#: 네","요약"\n'
    prepared = prepare_splits(data_of({"train.csv": leaky, "dev.csv": DEV, "test.csv": both}), seed=20)
    assert fnames(prepared, "train") == [f"t{i}" for i in range(10)]
    found = {tuple(entry["between"]): entry for entry in prepared.report["leakage"]}
    assert {pair: (entry["dialogues"], entry["rows_removed_from_train"]) for pair, entry in found.items()} == {
        ("train", "dev"): (1, 2),
        ("train", "test"): (1, 1),
        ("dev", "test"): (1, 0),
    }
    assert found["train", "test"]["examples"][0]["train"]["fname"] == "t12"
    assert found["train", "test"]["examples"][0]["test"]["where"].endswith("test.csv, row 2 (line 4)")
    dropped = prepared.report["files"]["train"]["dropped"]
    assert {reason: entry["rows"] for reason, entry in dropped.items()} == {"also in dev": 2, "also in test": 1}
    assert fnames(prepared, "test") == ["e0", "e1", "e2", "e3"]
    assert balanced(prepared.report)


def test_a_train_file_that_is_all_test_is_an_error(data_of: DataOf) -> None:
    with pytest.raises(UserError, match=r"train\.csv: every dialogue also occurs in test; train on dialogues"):
        prepare_splits(data_of({"train.csv": TEST, "dev.csv": DEV, "test.csv": TEST}), seed=20)


def test_missing_splits_are_cut_from_what_is_left_of_train(data_of: DataOf) -> None:
    many = csv_of(*((f"t{i}", f"#Person1#: {i // 2}", f"요약 {i}") for i in range(200)))
    leaked = csv_of(*((f"e{i}", f"#Person1#: {i}", "요약") for i in range(10)))
    prepared = prepare_splits(data_of({"train.csv": many, "test.csv": leaked}, split={"dev": 0.25}), seed=20)
    # 180 rows are left, all in pairs: 44 is as near to 45 as pairs come.
    assert [len(rows) for rows in prepared.splits.values()] == [136, 44, 10]
    texts = {name: {row.dialogue for row in rows} for name, rows in prepared.splits.items()}
    assert not texts["train"] & texts["dev"]
    assert not (texts["train"] | texts["dev"]) & texts["test"]
    assert prepared.report["splits"]["dev"]["from"].startswith("cut from ")
    assert prepared.report["files"]["train"]["rows_kept"] == 180
    assert balanced(prepared.report)


def test_masks_topics_slices_and_references_are_reported(data_of: DataOf) -> None:
    header = "fname,dialogue,summary1,summary2,topic,part\n"
    train = header + "a,#Person1#: #Email#로 보내요,하나,둘,메일,\nb,#Person1: 네,셋,,,\n"
    test = header + "c,#Person1#: #SSN#,하나,둘,신분,unseen\n"
    columns = params.Columns(summary=["summary1", "summary2"], slice="part")
    report = prepare_splits(
        data_of({"train.csv": train, "dev.csv": test.replace("#SSN#", "네"), "test.csv": test}, columns=columns), 1
    ).report
    assert report["masks"]["counts"]["#Person1#"] == {"train": 1, "dev": 1, "test": 1}
    assert report["masks"]["not_in_train"] == ["#SSN#"]
    assert report["masks"]["stray_hashes"]["rows"] == 1
    assert report["masks"]["stray_hashes"]["examples"][0]["words"] == ["#Person1:"]
    assert report["splits"]["train"]["topics"] == {"different": 1, "rows_without": 1, "most_common": {"메일": 1}}
    assert report["splits"]["train"]["references"] == {"1": 1, "2": 1}
    assert report["splits"]["test"]["slices"] == {"unseen": 1}
    assert report["files"]["train"]["changed"]["empty_references"]["rows"] == 1


def test_the_same_seed_gives_the_same_bytes(data_of: DataOf) -> None:
    data = data_of({"train.csv": TRAIN})
    assert prepare_splits(data, seed=1) == prepare_splits(data, seed=1)
