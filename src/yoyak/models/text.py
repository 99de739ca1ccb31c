"""From text to token ids and back, the same way when training, predicting and serving.

An encoder-decoder model reads ``prefix + dialogue`` and writes the summary. A decoder-only model reads
``prefix + dialogue + separator`` and goes on with the summary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from yoyak.errors import UserError
from yoyak.models.spec import ModelSpec

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """Dialogues as a model reads them."""

    input_ids: list[list[int]]
    cut: list[bool]
    """Whether the dialogue's end was cut off at ``max_input_tokens``."""


def encode_inputs(tokenizer: PreTrainedTokenizerBase, dialogues: Sequence[str], spec: ModelSpec) -> Encoded:
    """Return the input ids of each dialogue, cut at ``max_input_tokens``.

    What is cut is the dialogue's end, never the separator or the end mark. Raises UserError where they leave no room.
    """
    if not dialogues:
        return Encoded(input_ids=[], cut=[])  # Some tokenizers fail on an empty batch.
    tail: list[int] = []
    if spec.family == "causal":
        tail = tokenizer(spec.separator, add_special_tokens=False)["input_ids"]
    elif tokenizer.eos_token_id is not None:
        tail = [tokenizer.eos_token_id]
    room = spec.max_input_tokens - len(tail)
    if room < 1:
        raise UserError(
            f"{spec.member}: max_input_tokens is {spec.max_input_tokens}, and what follows the dialogue takes "
            f"{len(tail)} of them: raise it."
        )
    texts = [spec.prefix + dialogue for dialogue in dialogues]
    rows = tokenizer(texts, add_special_tokens=spec.family == "seq2seq", truncation=False, verbose=False)["input_ids"]
    encoded = []
    cut = []
    for ids in rows:
        body = ids[: -len(tail)] if tail and ids[-len(tail) :] == tail else ids
        cut.append(len(body) > room)
        encoded.append([*body[:room], *tail])
    return Encoded(input_ids=encoded, cut=cut)


def encode_targets(tokenizer: PreTrainedTokenizerBase, summaries: Sequence[str], limit: int) -> list[list[int]]:
    """Return the label ids of each summary, at most ``limit`` tokens, each closed by the end mark."""
    end = tokenizer.eos_token_id
    rows = tokenizer(text_target=list(summaries), add_special_tokens=False, truncation=False, verbose=False)[
        "input_ids"
    ]
    return [[*ids[: limit - 1], end] for ids in rows]


def decode(tokenizer: PreTrainedTokenizerBase, rows: Sequence[Sequence[int]]) -> list[str]:
    """Return the texts of generated ids with the spacing that was encoded, special tokens left out."""
    texts = tokenizer.batch_decode(rows, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    # Bytes that make no whole character are no text: the limit cuts one, or the model writes a part of one.
    return [text.replace("\ufffd", "").strip() for text in texts]
