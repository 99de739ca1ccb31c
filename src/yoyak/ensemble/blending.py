"""Members as models: loaded, found to fit each other or not, and scored on dev."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

from yoyak.data.records import Dialogue
from yoyak.decoding.summarizer import Summarizer, check_new_tokens
from yoyak.decoding.torch import TorchSummarizer
from yoyak.errors import UserError
from yoyak.params import Generation
from yoyak.params.base import ROUGE_WEIGHTS
from yoyak.scoring.rouge import rouge

ELSE = "vote, weighted, mbr and stack work for them"


def load_members(folders: Mapping[str, Path], where: str, new_tokens: int) -> dict[str, TorchSummarizer]:
    """Load models by name, all onto the same device.

    Args:
        where: The key of params.yaml that names them, for errors.
        new_tokens: How many tokens they will write.

    Raises UserError for one that cannot be loaded or is too short for ``new_tokens``, and for two with different
    tokenizers.
    """
    members = {name: TorchSummarizer.load(folder) for name, folder in folders.items()}
    for name, member in members.items():
        check_new_tokens(member, name, new_tokens)
    check_tokenizers(members, where)
    return members


def check_tokenizers(members: Mapping[str, TorchSummarizer], where: str) -> None:
    """Raise UserError that names two members of which the same token ids do not mean the same."""
    for (first, one), (second, other) in pairwise(members.items()):
        if _meaning(one) != _meaning(other):
            raise UserError(
                f"{where}: {first} and {second} have different tokenizers, and their tokens cannot be averaged: "
                f"name members that share one ({ELSE})."
            )


def _meaning(member: TorchSummarizer) -> tuple[dict[str, int], int, int]:
    tokenizer = member.tokenizer
    return tokenizer.get_vocab(), tokenizer.eos_token_id, tokenizer.pad_token_id


def dev_score(summarizer: Summarizer, dev: Sequence[Dialogue], generation: Generation, granularity: str) -> float:
    """Return the mean combined ROUGE of greedy summaries, 0 to 1; of ``generation`` all but the beams is kept."""
    greedy = generation.model_copy(update={"num_beams": 1, "num_return_sequences": 1})
    summaries = summarizer.summarize([row.dialogue for row in dev], generation=greedy, progress=True)
    return combined(summaries.texts, dev, granularity)


def combined(texts: Sequence[str], dev: Iterable[Dialogue], granularity: str) -> float:
    """Return the mean combined ROUGE of texts against their dialogues' references."""
    references = [row.summaries for row in dev]
    scores = rouge(texts, references, granularity=granularity, multi_reference="mean", weights=ROUGE_WEIGHTS)
    return float(scores["combined"].mean())
