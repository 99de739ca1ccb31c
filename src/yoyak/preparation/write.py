"""Writing the splits, the masks and the tokenizers into a folder laid out as prepared/ is."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from yoyak import project
from yoyak.data.facts import write_facts
from yoyak.data.preparing import Prepared
from yoyak.data.records import Dialogue, write_jsonl
from yoyak.errors import UserError
from yoyak.files import write_text
from yoyak.korean.masks import distinct_masks
from yoyak.models.tokenizers import train_tokenizer
from yoyak.params import Tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

UNIGRAM_ROWS = 20_000
"""A unigram tokenizer is trained on no more rows than this, evenly spread: SentencePiece holds 9 kB of each."""
TOKENIZERS_README = "A folder for each tokenizer that params.yaml has under `tokenizers`.\n"


def path_in(folder: Path, path: Path) -> Path:
    """Return where a path of prepared/, such as `project.MASKS`, is in another folder that is laid out like it."""
    return folder / path.relative_to(project.PREPARED)


def write_prepared(
    prepared: Prepared, tokenizers: Mapping[str, Tokenizer], folder: Path, *, mask_tokens: bool
) -> dict[str, PreTrainedTokenizerFast]:
    """Write the splits, known facts, the masks that are tokens, and tokenizers trained on train; return the tokenizers.

    Raises UserError if a tokenizer's vocabulary is too small.
    """
    path_in(folder, project.EVAL_SPLITS).mkdir(parents=True)
    for split, rows in prepared.splits.items():
        added = prepared.added if split == project.TRAIN else ()
        write_jsonl(path_in(folder, project.split_file(split)), chain(rows, added))
    write_facts(
        path_in(folder, project.FACTS),
        {split: ((row.value.fname, row.facts) for row in rows if row.facts) for split, rows in prepared.facts.items()},
    )
    train = prepared.splits[project.TRAIN]
    masks = distinct_masks(Texts(chain(train, prepared.added))) if mask_tokens else []
    # Without what augmentation adds, so that typos are no tokens, and other rates leave the tokenizers as they are.
    texts = {"bpe": Texts(train), "unigram": Texts(train[:: math.ceil(len(train) / UNIGRAM_ROWS)])}
    write_text(path_in(folder, project.MASKS), "".join(f"{mask}\n" for mask in masks))
    out = path_in(folder, project.TOKENIZERS)
    out.mkdir()
    # DVC needs the folder even if every member has the tokenizer of its checkpoint, and keeps no empty ones.
    write_text(out / "README.md", TOKENIZERS_README)
    trained = {}
    for name, settings in tqdm(tokenizers.items(), desc="training tokenizers"):
        try:
            trained[name] = train_tokenizer(texts[settings.type], masks, settings)
        except UserError as error:
            raise UserError(f"tokenizers.{name}: {error}") from error
        trained[name].save_pretrained(out / name)
    return trained


@dataclass(frozen=True, slots=True)
class Texts:
    """The dialogues and summaries of rows, which are read each time that these are."""

    rows: Iterable[Dialogue]

    def __iter__(self) -> Iterator[str]:
        for row in self.rows:
            yield from (row.dialogue, *row.summaries)
