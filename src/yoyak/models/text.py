"""Encoding text and decoding token ids, the same way in training, prediction and serving."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from yoyak.errors import UserError
from yoyak.models.steps import prepare_dialogue
from yoyak.models.turns import keep_turns

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
    """Whether a part of the dialogue is left out, since all of it has more than ``max_input_tokens`` tokens."""


def encode_texts(
    tokenizer: PreTrainedTokenizerBase,
    dialogues: Sequence[str],
    *,
    head: Sequence[int] = (),
    tail: list[int],
    spec: ModelSpec,
    add_special_tokens: bool,
) -> Encoded:
    """Return the input ids of dialogues, each with the prefix of ``spec`` and between ``head`` and ``tail``.

    Dialogues are changed by the steps of ``spec`` before, and only they are truncated, as it says. Raises UserError if
    the tail leaves no room for them.
    """
    room = spec.max_input_tokens - len(head) - len(tail)
    if room < 1:
        raise UserError(
            f"{spec.member}: max_input_tokens is {spec.max_input_tokens}, and what surrounds the dialogue takes "
            f"{len(head) + len(tail)} of them: raise it."
        )
    if not dialogues:
        return Encoded(input_ids=[], cut=[])  # Some tokenizers fail on an empty batch.

    def tokenize(texts: Sequence[str]) -> list[list[int]]:
        whole = [spec.prefix + text for text in texts]
        rows = tokenizer(whole, add_special_tokens=add_special_tokens, truncation=False, verbose=False)["input_ids"]
        return [ids[: -len(tail)] if tail and ids[-len(tail) :] == tail else ids for ids in rows]

    prepared = [prepare_dialogue(dialogue, spec.preprocessing) for dialogue in dialogues]
    bodies = tokenize(prepared)
    cut = [len(body) > room for body in bodies]
    if spec.truncate != "head":
        for row, is_cut in enumerate(cut):
            if is_cut:
                bodies[row] = _shorten(prepared[row], room, spec.truncate, tokenizer, tokenize)
    return Encoded(input_ids=[[*head, *body[:room], *tail] for body in bodies], cut=cut)


def count_tokens(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> list[int]:
    """Return the number of tokens of each text, without special ones."""
    if not texts:
        return []
    rows = tokenizer(list(texts), add_special_tokens=False, truncation=False, verbose=False)["input_ids"]
    return [len(ids) for ids in rows]


def count_turn_tokens(tokenizer: PreTrainedTokenizerBase, turns: Sequence[str]) -> list[int]:
    """Return the number of tokens of each turn with its line break."""
    return count_tokens(tokenizer, [f"{turn}\n" for turn in turns])


def _shorten(
    dialogue: str,
    room: int,
    keep: str,
    tokenizer: PreTrainedTokenizerBase,
    tokenize: Callable[[Sequence[str]], list[list[int]]],
) -> list[int]:
    """Return the tokens of the turns that are kept, or of parts of the only one if it is too long."""
    turns = dialogue.split("\n")
    sizes = count_turn_tokens(tokenizer, turns)
    [around] = tokenize([""])
    left = room - len(around)
    while kept := keep_turns(sizes, left, keep):
        [body] = tokenize(["\n".join(turns[index] for index in kept)])
        if len(body) <= room:
            return body
        # Turns by themselves may have fewer tokens than together.
        left -= len(body) - room
    length = len(dialogue) * max(1, room - len(around)) // max(1, sum(sizes))
    while length > 1:
        first = length // 2 if keep == "both" else 0
        [body] = tokenize([dialogue[:first] + dialogue[first - length :]])
        if len(body) <= room:
            return body
        length = length * 9 // 10
    return tokenize([dialogue])[0]


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
