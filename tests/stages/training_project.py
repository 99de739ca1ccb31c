"""A project that is ready for `yoyak train` of one tiny member."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from training.tiny_training import MASKS, ROWS, TEXTS, TWICE_SUMMARIZED, member
from yoyak import project as paths
from yoyak.data.records import write_jsonl
from yoyak.models.tokenizers import train_tokenizer
from yoyak.params import Tokenizer


def prepare_training(kind: str, **values: Any) -> None:
    """Write what `yoyak train` reads to the current folder."""
    write_params(kind, **values)
    tokenizer = train_tokenizer(TEXTS, MASKS, Tokenizer(type="bpe", vocab_size=600))
    tokenizer.save_pretrained(paths.base_folder(kind) / paths.BASE_TOKENIZER)
    write_jsonl(paths.TRAIN_SPLIT, ROWS[:32])
    write_jsonl(paths.DEV_SPLIT, TWICE_SUMMARIZED)
    paths.MASKS.write_text("\n".join(MASKS), encoding="utf-8")


def write_params(kind: str, **values: Any) -> None:
    """Write params.yaml with a member that is named like its model."""
    tree = {"seed": 7, "tokenizers": {"bpe": {"type": "bpe", "vocab_size": 600}}}
    tree["members"] = {kind: member(kind, **values).model_dump()}
    tree["scoring"] = {"granularities": ["syllable", "eojeol"], "multi_reference": "max", "weights": [0.0, 0.0, 1.0]}
    with Path("params.yaml").open("w", encoding="utf-8") as out:
        YAML().dump(tree, out)
