"""The sections ``data`` and ``tokenizers`` of params.yaml."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from yoyak.params.base import Fraction, Name, Section, Seed


class Columns(Section):
    """Which column of a data file holds what."""

    id: str | None = "fname"
    """Identifier of a dialogue; null numbers the rows instead."""
    dialogue: str = "dialogue"
    summary: str | list[str] = "summary"
    """Reference summary, or the columns of several: a file uses those of them that it has."""
    topic: str | None = "topic"
    """Subject of the dialogue; null, or a column that a file lacks, leaves it empty."""
    slice: str | None = None
    """Marker of parts that are scored by themselves, such as seen and unseen scenarios."""
    group: str | None = None
    """What must not be divided between splits, such as the conversation that a dialogue is a part of. Only the file
    that dev or test are split from needs it; null keeps equal dialogues together and nothing else."""


class Split(Section):
    """How a split that has no file is taken from the training file: by a hash of each row's group."""

    dev: Fraction = 0.1
    """Share of the groups."""
    test: Fraction = 0.1
    seed: Seed = 0
    """Another one gives other splits; the top level's ``seed``, that of training, does not."""


class Data(Section):
    """The data files and how to read them."""

    folder: str = "data"
    """Folder that holds the files; DVC watches it."""
    files: dict[Name, str] = {"train": "train.csv", "dev": "dev.csv", "test": "test.csv"}
    """File of each split, relative to the folder. ``train`` is needed; ``dev`` and ``test`` are split from it
    where they are missing; any further name is a test set of its own."""
    format: Literal["auto", "csv", "jsonl"] = "auto"
    encoding: str = "utf-8"
    columns: Columns = Columns()
    split: Split = Split()
    max_chars: Annotated[int, Field(gt=0)] = 20_000
    """A dialogue with more characters is cut at a turn's end, and counted."""

    @model_validator(mode="after")
    def _needs_train(self) -> Data:
        if "train" not in self.files:
            raise ValueError("data.files needs an entry named train")
        return self


class Tokenizer(Section):
    """A tokenizer that `prepare` trains on the training split; masks such as #Person1# are single tokens."""

    type: Literal["bpe", "unigram"]
    """``bpe`` is byte-level BPE as in BART and GPT-2; ``unigram`` is SentencePiece's model as in T5."""
    vocab_size: Annotated[int, Field(ge=300)]
