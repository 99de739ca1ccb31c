from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from yoyak import params
from yoyak.data.preparing import Prepared, prepare_splits
from yoyak.errors import UserError
from yoyak.stages import prepare

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
    prepared = prepare_splits(data)
    assert list(prepared.splits) == ["train", "dev", "test", "extra"]
    assert [len(rows) for rows in prepared.splits.values()] == [10, 3, 3, 3]
    assert json.loads(json.dumps(prepared.report, allow_nan=False)) == prepared.report
    assert balanced(prepared.report)


def test_unusable_rows_are_dropped_and_reported(data_of: DataOf) -> None:
    broken = TRAIN + 't10,"#Person1#: 말","  "\nt11,"#Person1#:\n#Person2#: ","요약"\nt12,"","요약"\n'
    prepared = prepare_splits(data_of({"train.csv": broken, "dev.csv": DEV, "test.csv": TEST}))
    dropped = prepared.report["files"]["train"]["dropped"]
    assert {reason: entry["rows"] for reason, entry in dropped.items()} == {"empty summary": 1, "empty dialogue": 2}
    [example] = dropped["empty summary"]["examples"]
    assert example["fname"] == "t10"
    assert example["where"].endswith("train.csv, row 11 (line 22)")
    assert len(prepared.splits["train"]) == 10
    assert balanced(prepared.report)


def test_a_split_of_which_nothing_is_left_is_an_error(data_of: DataOf) -> None:
    empty = csv_of(("d0", "#Person1#: 말", ""), ("d1", "", "요약"))
    with pytest.raises(UserError, match=r"dev\.csv: none of its 2 rows .*1 empty summary, 1 empty dialogue"):
        prepare_splits(data_of({"train.csv": TRAIN, "dev.csv": empty, "test.csv": TEST}))


def test_a_repeated_id_is_an_error_that_names_both_rows(data_of: DataOf) -> None:
    doubled = TRAIN.replace("t3,", " t1 ,")
    with pytest.raises(UserError, match=r"train\.csv: row 2 \(line 4\) and row 4 \(line 8\) .*'t1'"):
        prepare_splits(data_of({"train.csv": doubled, "dev.csv": DEV, "test.csv": TEST}))


def test_an_empty_id_is_an_error(data_of: DataOf) -> None:
    with pytest.raises(UserError, match=r"train\.csv, row 4 \(line 8\): the id is empty"):
        prepare_splits(data_of({"train.csv": TRAIN.replace("t3,", ",")}))


def test_exact_duplicates_are_dropped_and_repeated_dialogues_stay(data_of: DataOf) -> None:
    more = TRAIN + (
        't10,"#Person1#:  훈련 0\n#Person2#: 네","요약 0"\n'
        't11,"#Person1#: 훈련 0\n#Person2#: 네","다른 요약"\n'
        't12,"#person1#: 훈련 0\n#Person2#: 네","요약 0"\n'
    )
    prepared = prepare_splits(data_of({"train.csv": more, "dev.csv": DEV, "test.csv": TEST}))
    [example] = prepared.report["files"]["train"]["dropped"]["repeats an earlier row"]["examples"]
    assert example["fname"] == "t10"
    duplicates = prepared.report["duplicates"]["train"]
    assert (duplicates["dialogues"], duplicates["rows_beyond_first"]) == (1, 2)
    assert [entry["fname"] for entry in duplicates["examples"][0]] == ["t0", "t11", "t12"]
    assert {"t0", "t11", "t12"} <= set(fnames(prepared, "train"))
    assert balanced(prepared.report)


def test_dialogues_of_other_splits_leave_train(data_of: DataOf) -> None:
    leaky = TRAIN + (
        't10,"#Person1#: 검증 0\n#Person2#: 네","다른"\n'
        't11,"#PERSON1#: 검증 0\n#Person2#:  네","또 다른"\n'
        't12,"#Person1#: 시험 1\n#Person2#: 네","다른"\n'
    )
    both = TEST + 'e3,"#Person1#: 검증 2\n#Person2#: 네","요약"\n'
    prepared = prepare_splits(data_of({"train.csv": leaky, "dev.csv": DEV, "test.csv": both}))
    assert fnames(prepared, "train") == [f"t{i}" for i in range(10)]
    leakage = {tuple(entry["between"]): entry for entry in prepared.report["leakage"]}
    assert {pair: (entry["dialogues"], entry["rows_removed"]) for pair, entry in leakage.items()} == {
        ("train", "dev"): (1, {"train": 2}),
        ("train", "test"): (1, {"train": 1}),
        ("dev", "test"): (1, {}),
    }
    assert leakage["train", "test"]["examples"][0]["train"]["fname"] == "t12"
    assert leakage["train", "test"]["examples"][0]["test"]["where"].endswith("test.csv, row 2 (line 4)")
    dropped = prepared.report["files"]["train"]["dropped"]
    assert {reason: entry["rows"] for reason, entry in dropped.items()} == {"also in dev": 2, "also in test": 1}
    assert fnames(prepared, "test") == ["e0", "e1", "e2", "e3"]
    assert balanced(prepared.report)


def test_gate_keeps_no_dialogue_of_dev_and_train_none_of_gate(data_of: DataOf) -> None:
    leaky = TRAIN + 't10,"#Person1#: 심사 1\n#Person2#: 네","요약"\nt11,"#Person1#: 심사 3\n#Person2#: 네","요약"\n'
    gate = csv_of(*((f"g{i}", f"#Person1#: 심사 {i}\n#Person2#: 네", f"요약 {i}") for i in range(3))) + (
        'g3,"#Person1#: 심사 3\n#Person2#: 네","요약"\ng4,"#PERSON1#: 검증 1\n#Person2#:  네","요약"\n'
        'g5,"#Person1#: 시험 2\n#Person2#: 네","요약"\n'
    )
    dev = DEV + 'd3,"#Person1#: 심사 3\n#Person2#: 네","요약"\n'
    prepared = prepare_splits(data_of({"gate.csv": gate, "train.csv": leaky, "dev.csv": dev, "test.csv": TEST}))
    assert list(prepared.splits) == ["train", "dev", "test", "gate"]
    assert fnames(prepared, "train") == [f"t{i}" for i in range(10)]
    assert fnames(prepared, "dev") == ["d0", "d1", "d2", "d3"]
    assert fnames(prepared, "test") == ["e0", "e1", "e2"]
    assert fnames(prepared, "gate") == ["g0", "g1", "g2", "g5"]
    leakage = {tuple(entry["between"]): entry for entry in prepared.report["leakage"]}
    assert {
        pair: (leakage[pair]["dialogues"], leakage[pair]["rows_removed"]) for pair in leakage if "gate" in pair
    } == {
        ("train", "gate"): (2, {"train": 2}),
        ("dev", "gate"): (2, {"gate": 2}),
        ("test", "gate"): (1, {}),
    }
    assert prepared.report["files"]["gate"]["dropped"]["also in dev"]["rows"] == 2
    assert balanced(prepared.report)


def test_a_gate_file_that_is_all_dev_is_an_error(data_of: DataOf) -> None:
    with pytest.raises(UserError, match=r"gate\.csv: .*\bdev\b"):
        prepare_splits(data_of({"train.csv": TRAIN, "dev.csv": DEV, "test.csv": TEST, "gate.csv": DEV}))


def test_gate_is_taken_from_train_only_if_it_has_a_share(data_of: DataOf) -> None:
    many = csv_of(*((f"t{i}", f"#Person1#: {i}", f"요약 {i}") for i in range(200)))

    def prepared(**split: float) -> Prepared:
        return prepare_splits(data_of({"train.csv": many}, split=split))

    without, gated = prepared(), prepared(gate=0.2)
    assert list(without.splits) == ["train", "dev", "test"]
    assert list(gated.splits) == ["train", "dev", "test", "gate"]
    assert gated.splits["dev"] == without.splits["dev"]
    assert gated.splits["test"] == without.splits["test"]
    assert 15 <= len(gated.splits["gate"]) <= 70
    assert "train.csv" in gated.report["splits"]["gate"]["from"]
    assert balanced(gated.report)


def test_a_gate_file_comes_before_a_share(data_of: DataOf) -> None:
    gate = TEST.replace("시험", "심사")
    files = {"train.csv": TRAIN, "dev.csv": DEV, "test.csv": TEST, "gate.csv": gate}
    prepared = prepare_splits(data_of(files, split={"gate": 0.5}))
    assert fnames(prepared, "gate") == ["e0", "e1", "e2"]
    assert len(prepared.splits["train"]) == 10


def test_a_train_file_that_is_all_test_is_an_error(data_of: DataOf) -> None:
    with pytest.raises(UserError, match=r"train\.csv: .*\btest\b"):
        prepare_splits(data_of({"train.csv": TEST, "dev.csv": DEV, "test.csv": TEST}))


def test_missing_splits_are_taken_from_what_is_left_of_train(data_of: DataOf) -> None:
    many = csv_of(*((f"t{i}", f"#Person1#: {i // 2}", f"요약 {i}") for i in range(200)))
    leaked = csv_of(*((f"e{i}", f"#Person1#: {i}", "요약") for i in range(10)))
    prepared = prepare_splits(data_of({"train.csv": many, "test.csv": leaked}, split={"dev": 0.25}))
    sizes = {name: len(rows) for name, rows in prepared.splits.items()}
    assert sizes["train"] + sizes["dev"] == 180
    assert 20 <= sizes["dev"] <= 70
    texts = {name: {row.dialogue for row in rows} for name, rows in prepared.splits.items()}
    assert not texts["train"] & texts["dev"]
    assert not (texts["train"] | texts["dev"]) & texts["test"]
    assert "train.csv" in prepared.report["splits"]["dev"]["from"]
    assert prepared.report["files"]["train"]["rows_kept"] == 180
    assert balanced(prepared.report)


def grouped_csv(rows: int, per_group: int) -> str:
    lines = (f't{i},"#Person1#: 말 {i}",요약 {i},call {i // per_group}\n' for i in range(rows))
    return "fname,dialogue,summary,call\n" + "".join(lines)


def test_a_group_column_keeps_the_parts_of_a_conversation_together(data_of: DataOf) -> None:
    # A part of another call says what t0 says: one of the two rows has to go where the calls are in different splits.
    repeated = 'again0,"#Person1#: 말 0",다른 요약,call 7\nagain4,"#Person1#: 말 4",다른 요약,call 12\n'
    columns = params.Columns(group="call")
    data = data_of({"train.csv": grouped_csv(200, 4) + repeated}, columns=columns, split={"dev": 0.2, "test": 0.2})
    prepared = prepare_splits(data)
    calls = [{int(row.fname[1:]) // 4 for row in rows if row.fname[0] == "t"} for rows in prepared.splits.values()]
    assert sum(map(len, calls)) == len(set().union(*calls))
    texts = [{row.dialogue for row in rows} for rows in prepared.splits.values()]
    assert sum(map(len, texts)) == len(set().union(*texts))
    assert balanced(prepared.report)


def test_a_missing_group_column_is_an_error_only_where_it_decides(data_of: DataOf) -> None:
    columns = params.Columns(group="calls")
    with pytest.raises(UserError, match=r"no column 'calls' \(did you mean 'call'\?\).*data\.columns\.group"):
        prepare_splits(data_of({"train.csv": grouped_csv(20, 4)}, columns=columns))
    assert prepare_splits(data_of({"train.csv": TRAIN, "dev.csv": DEV, "test.csv": TEST}, columns=columns))


def test_another_training_seed_gives_the_same_splits(
    data_of: DataOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data_of({"train.csv": csv_of(*((f"t{i}", f"#Person1#: {i}", f"요약 {i}") for i in range(60)))})
    monkeypatch.chdir(tmp_path)
    written = []
    for seed in (1, 2):
        Path("params.yaml").write_text(
            f"seed: {seed}\ndata: {{folder: ., files: {{train: train.csv}}}}\n"
            "tokenizers: {}\nmembers: {bart: {family: seq2seq, checkpoint: somewhere, learning_rate: 0.001}}\n"
        )
        prepare.run()
        written.append({path.name: path.read_bytes() for path in Path("prepared").rglob("*") if path.is_file()})
    assert {"train.jsonl", "dev.jsonl", "test.jsonl"} <= set(written[0])
    assert written[0] == written[1]


def test_masks_topics_slices_and_references_are_reported(data_of: DataOf) -> None:
    header = "fname,dialogue,summary1,summary2,topic,part\n"
    train = header + "a,#Person1#: #Email#로 보내요,하나,둘,메일,\nb,#Person1: 네,셋,,,\n"
    test = header + "c,#Person1#: #SSN#,하나,둘,신분,unseen\n"
    columns = params.Columns(summary=["summary1", "summary2"], slice="part")
    report = prepare_splits(
        data_of({"train.csv": train, "dev.csv": test.replace("#SSN#", "네"), "test.csv": test}, columns=columns)
    ).report
    assert report["masks"]["counts"]["#Person1#"] == {"train": 1, "dev": 1, "test": 1}
    assert report["masks"]["not_in_train"] == ["#SSN#"]
    assert report["masks"]["stray_hashes"]["rows"] == 1
    assert report["masks"]["stray_hashes"]["examples"][0]["words"] == ["#Person1:"]
    assert report["splits"]["train"]["topics"] == {"different": 1, "rows_without": 1, "most_common": {"메일": 1}}
    assert report["splits"]["train"]["references"] == {"1": 1, "2": 1}
    assert report["splits"]["test"]["slices"] == {"unseen": 1}
    assert report["files"]["train"]["changed"]["empty_references"]["rows"] == 1
