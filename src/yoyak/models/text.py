"""From text to token ids and back, the same way when training, predicting and serving.

An encoder-decoder model reads ``prefix + dialogue`` and writes the summary. A decoder-only model reads
``prefix + dialogue + separator`` and goes on with the summary.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from yoyak.errors import UserError
from yoyak.files import write_json
from yoyak.params import Generation, Member

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

SPEC_FILE = "yoyak.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """What has to be known beside a model's Hugging Face files to use it as it was trained."""

    member: str
    family: Literal["seq2seq", "causal"]
    prefix: str
    separator: str
    max_input_tokens: int
    generation: Generation
    """How it writes unless a call says otherwise."""

    @classmethod
    def of(cls, name: str, member: Member) -> ModelSpec:
        """Return the spec of a member of params.yaml."""
        return cls(
            member=name,
            family=member.family,
            prefix=member.prefix,
            separator=member.separator if member.family == "causal" else "",
            max_input_tokens=member.max_input_tokens,
            generation=Generation(max_new_tokens=member.max_target_tokens, num_beams=1, num_return_sequences=1),
        )


def save_spec(folder: Path, spec: ModelSpec) -> None:
    """Write the spec beside the model's files."""
    write_json(folder / SPEC_FILE, {**asdict(spec), "generation": spec.generation.model_dump()})


def load_spec(folder: Path) -> ModelSpec:
    """Read the spec of a saved model; UserError where the folder holds none."""
    path = folder / SPEC_FILE
    if not path.is_file():
        raise UserError(f"{folder} is no model of Yoyak: it has no {SPEC_FILE}; train one with `yoyak train`.")
    try:
        value: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return ModelSpec(**{**value, "generation": Generation(**value["generation"])})
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is damaged ({type(error).__name__}): train the model again.") from error


def encode_inputs(
    tokenizer: PreTrainedTokenizerBase, dialogues: Sequence[str], spec: ModelSpec
) -> tuple[list[list[int]], list[bool]]:
    """Return the input ids of each dialogue, and which of them had to be cut at ``max_input_tokens``.

    What is cut is the dialogue's end, never the separator or the end mark. Raises UserError where they leave no room.
    """
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
    return encoded, cut


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
