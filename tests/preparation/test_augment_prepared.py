"""Augmentation as `prepare` and studies run it: train alone changes, byte for byte the same each time."""

from __future__ import annotations

from pathlib import Path

import pytest

from yoyak.data.preparing import Prepared, prepare_splits
from yoyak.data.records import read_jsonl
from yoyak.data.samples import write_corpus
from yoyak.errors import UserError
from yoyak.params import Data, Tokenizer
from yoyak.params.augmentation import Augmentation
from yoyak.preparation.augment import augment_prepared
from yoyak.preparation.write import write_prepared

ON = Augmentation.model_validate({
    **{name: {"share": 0.5} for name in ("aeda", "spacing", "typos", "fillers", "turn_drop", "renaming", "endings")},
    "pseudo_labels": {"dialogues": "gate.csv", "summaries": "made.csv"},
})  # fmt: skip
BPE = {"bpe": Tokenizer(type="bpe", vocab_size=400)}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Data:
    folder = tmp_path_factory.mktemp("corpus") / "data"
    write_corpus(folder, train=24, dev=4, test=4, gate=4, seed=1)
    (folder / "made.csv").write_text("fname,summary\n" + "".join(f"gate_{n},#Person1#이 말한다.\n" for n in range(4)))
    files = {name: f"{name}.csv" for name in ("train", "dev", "test")}
    columns = {"summary": ["summary", "summary1", "summary2", "summary3"]}
    return Data.model_validate({"folder": str(folder), "files": files, "columns": columns})


def write(prepared: Prepared, folder: Path) -> dict[str, bytes]:
    write_prepared(prepared, BPE, folder, mask_tokens=True)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_only_train_changes_and_always_in_the_same_way(data: Data, tmp_path: Path) -> None:
    plain = write(prepare_splits(data), tmp_path / "plain")
    once, again = (
        write(augment_prepared(prepare_splits(data), data, ON), tmp_path / name) for name in ("once", "again")
    )
    assert once == again
    assert {name for name in plain if once[name] != plain[name]} == {"train.jsonl"}
    assert once.keys() == plain.keys()
    rows = read_jsonl(tmp_path / "once/train.jsonl")
    assert once["train.jsonl"].startswith(plain["train.jsonl"])
    assert {row.method for row in rows} == {"", "pseudo_labels", *ON.methods}
    evaluated = {row.dialogue for path in (tmp_path / "once/eval").iterdir() for row in read_jsonl(path)}
    assert not evaluated & {row.dialogue for row in rows}


def test_nothing_is_done_or_reported_where_it_is_off(data: Data) -> None:
    prepared = prepare_splits(data)
    assert augment_prepared(prepared, data, Augmentation()) is prepared
    assert "augmentation" not in prepared.report


def test_checkpoints_are_looked_at_before_any_row_is_changed(data: Data) -> None:
    settings = Augmentation.model_validate({"paraphrase": {"share": 0.5, "model": {"checkpoint": "no/such/folder"}}})
    with pytest.raises(UserError, match=r"^augmentation\.paraphrase: 'no/such/folder' is not"):
        augment_prepared(prepare_splits(data), data, settings)
