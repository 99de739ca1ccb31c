"""What trainings read is written as they read it: splits, masks and tokenizers that know the masks, or do not."""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers import AutoTokenizer

from yoyak.data.preparing import Prepared, prepare_splits
from yoyak.data.records import read_jsonl
from yoyak.data.samples import write_corpus
from yoyak.errors import UserError
from yoyak.params import Data, Tokenizer
from yoyak.preparation import write
from yoyak.preparation.write import write_prepared


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    folder = tmp_path_factory.mktemp("corpus") / "data"
    write_corpus(folder, train=24, dev=4, test=4, gate=4, seed=1)
    files = {name: f"{name}.csv" for name in ("train", "dev", "gate")}
    columns = {"summary": ["summary", "summary1", "summary2", "summary3"]}
    return prepare_splits(Data.model_validate({"folder": str(folder), "files": files, "columns": columns}))


@pytest.mark.parametrize("mask_tokens", [True, False])
def test_a_mask_is_one_token_unless_masks_are_text(prepared: Prepared, mask_tokens: bool, tmp_path: Path) -> None:
    out = tmp_path / "prepared"
    write_prepared(prepared, {"bpe": Tokenizer(type="bpe", vocab_size=400)}, out, mask_tokens=mask_tokens)
    masks = (out / "masks.txt").read_text().split()
    assert ("#Person1#" in masks) is mask_tokens
    tokenizer = AutoTokenizer.from_pretrained(out / "tokenizers/bpe")
    pieces = tokenizer.tokenize("#Person1#")
    assert (pieces == ["#Person1#"]) is mask_tokens
    assert read_jsonl(out / "train.jsonl") == list(prepared.splits["train"])
    assert {path.stem for path in (out / "eval").iterdir()} == prepared.splits.keys() - {"train"}


def test_a_tokenizer_that_is_too_small_is_named(prepared: Prepared, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^tokenizers\.tiny: "):
        write_prepared(
            prepared, {"tiny": Tokenizer(type="unigram", vocab_size=300)}, tmp_path / "out", mask_tokens=True
        )


def test_sentencepiece_is_given_no_more_than_some_rows(
    prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizers = {kind: Tokenizer(type=kind, vocab_size=700) for kind in ("bpe", "unigram")}

    def train(rows: int) -> dict[str, bytes]:
        monkeypatch.setattr(write, "UNIGRAM_ROWS", rows)
        out = tmp_path / str(rows)
        write_prepared(prepared, tokenizers, out, mask_tokens=True)
        return {kind: (out / "tokenizers" / kind / "tokenizer.json").read_bytes() for kind in tokenizers}

    count = len(prepared.splits["train"])
    all_rows = train(count)
    assert train(20_000) == all_rows
    half = train(count // 2)
    assert half["bpe"] == all_rows["bpe"]
    assert half["unigram"] != all_rows["unigram"]
