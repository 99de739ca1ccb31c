"""Members as models: loaded, found to fit each other or not, and scored on dev."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

from yoyak.data.records import Dialogue
from yoyak.decoding.torch import Summarizer
from yoyak.errors import UserError
from yoyak.models.preflight import window_problem
from yoyak.params import Generation
from yoyak.params.base import ROUGE_WEIGHTS
from yoyak.scoring.rouge import rouge

ELSE = "vote, weighted, mbr and stack work for them"


def load_members(folders: Mapping[str, Path], where: str, new_tokens: int) -> dict[str, Summarizer]:
    """Load models by name, all onto the same device.

    Args:
        where: The key of params.yaml that names them, for errors.
        new_tokens: How many tokens they will write.

    Raises UserError for one that cannot be loaded or is too short for ``new_tokens``, and for two with different
    tokenizers.
    """
    members = {name: Summarizer.load(folder) for name, folder in folders.items()}
    for name, member in members.items():
        problem = window_problem(member.spec, member.model, new_tokens)
        if problem:
            raise UserError(f"generation.max_new_tokens with {name} needs {problem}: lower it.")
    check_tokenizers(members, where)
    return members


def check_tokenizers(members: Mapping[str, Summarizer], where: str) -> None:
    """Raise UserError that names two members of which the same token ids do not mean the same."""
    for (first, one), (second, other) in pairwise(members.items()):
        if _meaning(one) != _meaning(other):
            raise UserError(
                f"{where}: {first} and {second} have different tokenizers, and their tokens cannot be averaged: "
                f"name members that share one ({ELSE})."
            )


def _meaning(member: Summarizer) -> tuple[dict[str, int], int, int]:
    tokenizer = member.tokenizer
    return tokenizer.get_vocab(), tokenizer.eos_token_id, tokenizer.pad_token_id


def dev_score(summarizer: Summarizer, dev: Sequence[Dialogue], generation: Generation, granularity: str) -> float:
    """Return the mean combined ROUGE of greedy summaries, 0 to 1; of ``generation`` all but the beams is kept."""
    greedy = generation.model_copy(update={"num_beams": 1, "num_return_sequences": 1})
    found = summarizer.summarize([row.dialogue for row in dev], generation=greedy, progress=True)
    return combined([candidates[0].text for candidates in found], dev, granularity)


def combined(texts: Sequence[str], dev: Iterable[Dialogue], granularity: str) -> float:
    """Return the mean combined ROUGE of texts against their dialogues' references."""
    references = [row.summaries for row in dev]
    scores = rouge(texts, references, granularity=granularity, multi_reference="mean", weights=ROUGE_WEIGHTS)
    return float(scores["combined"].mean())
