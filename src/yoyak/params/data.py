"""The sections ``data`` and ``tokenizers`` of params.yaml."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from yoyak.params.base import Fraction, Name, Section, Seed


class Columns(Section):
    """The column mapping of the data files."""

    id: str | None = "fname"
    """Identifier of a dialogue; null numbers the rows instead."""
    dialogue: str = "dialogue"
    summary: str | list[str] = "summary"
    """Reference summary, or a list of columns for several references; columns that a file lacks are ignored."""
    topic: str | None = "topic"
    """Topic of the dialogue; empty if this is null or a file lacks the column."""
    slice: str | None = None
    """Label of subsets that are also scored separately, such as seen and unseen scenarios."""
    group: str | None = None
    """Key of rows that must stay in the same split, such as excerpts of one conversation. Only the file that other
    splits are taken from needs it; with null, only identical dialogues stay together."""
    facts: str | None = None
    """What a summary has to state, for the fact accuracy of `evaluate`: see docs/scores.md."""


class Split(Section):
    """How a split without a file is taken from the training file: by a hash of each row's group."""

    dev: Fraction = 0.1
    """Fraction of the groups."""
    test: Fraction = 0.1
    gate: Fraction = 0.0
    """0 makes no gate split."""
    seed: Seed = 0
    """Seed of the splits; the top-level ``seed``, that of training, does not affect them."""


class Data(Section):
    """The data files and how to read them."""

    folder: str = "data"
    """Folder of the files; DVC tracks it."""
    files: dict[Name, str] = {"train": "train.csv", "dev": "dev.csv", "test": "test.csv"}
    """File of each split, relative to the folder. ``train`` is required; ``dev`` and ``test`` are split from it if they
    are missing, ``gate`` only with a share in ``split``; any other name is a further test set."""
    format: Literal["auto", "csv", "jsonl"] = "auto"
    encoding: str = "utf-8"
    columns: Columns = Columns()
    split: Split = Split()
    max_chars: Annotated[int, Field(gt=0)] = 20_000
    """A longer dialogue is truncated at the end of a turn, and counted."""
    mask_tokens: bool = True
    """Every mask such as #Person1# is a single token of every tokenizer; false lets masks be split like other text."""

    @model_validator(mode="after")
    def _needs_train(self) -> Data:
        if "train" not in self.files:
            raise ValueError("data.files needs an entry named train")
        return self


class Tokenizer(Section):
    """A tokenizer that `prepare` trains on the training split; see `Data.mask_tokens` for masks."""

    type: Literal["bpe", "unigram"]
    """``bpe`` is byte-level BPE as in BART and GPT-2; ``unigram`` is SentencePiece's model as in T5, trained on no more
    than 20,000 rows, evenly spread."""
    vocab_size: Annotated[int, Field(ge=300)]
