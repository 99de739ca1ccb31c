"""Encoding text and decoding token ids, the same way in training, prediction and serving."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from yoyak.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from yoyak.models.spec import ModelSpec

IGNORED = -100
"""Label of positions that do not contribute to the loss."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """Tokenized dialogues."""

    input_ids: list[list[int]]
    cut: list[bool]
    """Whether the dialogue's end was cut off at ``max_input_tokens``."""


def encode_texts(
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[str],
    *,
    head: Sequence[int] = (),
    tail: list[int],
    spec: ModelSpec,
    add_special_tokens: bool,
) -> Encoded:
    """Return the input ids of texts, each between ``head`` and ``tail``; only the text is truncated, at its end.

    Raises UserError if the tail leaves no room for the text.
    """
    room = spec.max_input_tokens - len(head) - len(tail)
    if room < 1:
        raise UserError(
            f"{spec.member}: max_input_tokens is {spec.max_input_tokens}, and what surrounds the dialogue takes "
            f"{len(head) + len(tail)} of them: raise it."
        )
    if not texts:
        return Encoded(input_ids=[], cut=[])  # Some tokenizers fail on an empty batch.
    rows = tokenizer(list(texts), add_special_tokens=add_special_tokens, truncation=False, verbose=False)["input_ids"]
    bodies = [ids[: -len(tail)] if tail and ids[-len(tail) :] == tail else ids for ids in rows]
    return Encoded(
        input_ids=[[*head, *body[:room], *tail] for body in bodies],
        cut=[len(body) > room for body in bodies],
    )


def encode_targets(
    tokenizer: PreTrainedTokenizerBase, summaries: Sequence[str], limit: int, start: Sequence[int] = ()
) -> list[list[int]]:
    """Return the ids of each summary, at most ``limit`` tokens: ``start``, the text and the EOS token."""
    end = tokenizer.eos_token_id
    rows = tokenizer(text_target=list(summaries), add_special_tokens=False, truncation=False, verbose=False)[
        "input_ids"
    ]
    return [[*start, *ids[: limit - 1 - len(start)], end] for ids in rows]


def decode(tokenizer: PreTrainedTokenizerBase, rows: Sequence[Sequence[int]]) -> list[str]:
    """Decode generated ids without special tokens, keeping the original spacing."""
    texts = tokenizer.batch_decode(rows, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    # Incomplete UTF-8 is dropped: the token limit can cut a character, or the model can generate only a part of one.
    return [text.replace("\ufffd", "").strip() for text in texts]
