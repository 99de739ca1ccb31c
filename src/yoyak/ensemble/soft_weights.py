"""Fitting the weights of soft voting on dev by maximizing the likelihood of the references."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from yoyak.data.records import Dialogue
from yoyak.decoding.summarizer import texts_to_read
from yoyak.decoding.torch import TorchSummarizer
from yoyak.ensemble.folds import make_folds, require_rows
from yoyak.models.steps import prepare_target

BATCH = 8
"""Number of references per batch."""
MAX_STEPS = 1000
TOLERANCE = 1e-7
"""The fit has converged when no weight changes by more than this."""


@torch.inference_mode()
def reference_probabilities(members: Mapping[str, TorchSummarizer], rows: Sequence[Dialogue]) -> list[np.ndarray]:
    """Return [members, tokens] for each row: the members' probabilities of the tokens of its first reference.

    References are truncated at the lowest token limit of the members.
    """
    first = next(iter(members.values()))
    limit = min(member.generation.max_new_tokens for member in members.values())
    references = [prepare_target(row.summaries[0], first.spec.preprocessing) for row in rows]
    targets = first.family.encode_summaries(first.tokenizer, references, limit, first.model.generation_config)
    probabilities: list[list[np.ndarray]] = [[] for _ in rows]
    for member in members.values():
        inputs = member.encode(texts_to_read(member, rows)).input_ids
        for start in range(0, len(rows), BATCH):
            batch = slice(start, start + BATCH)
            values = _token_probabilities(member, inputs[batch], targets[batch])
            for row, row_values in zip(probabilities[batch], values, strict=True):
                row.append(row_values)
    return [np.stack(row) for row in probabilities]


def _token_probabilities(
    member: TorchSummarizer, inputs: list[list[int]], targets: list[list[int]]
) -> list[np.ndarray]:
    reader = member.open_reader(inputs)
    width = max(map(len, targets))
    ids = torch.tensor([[*target, *[target[-1]] * (width - len(target))] for target in targets]).to(member.model.device)
    logits = reader.begin(torch.arange(len(inputs), device=ids.device))[:, None]
    if width > 1:
        logits = torch.cat([logits, reader.follow(None, ids[:, :-1])], 1)
    values = logits.log_softmax(-1).gather(-1, ids[..., None])[..., 0].exp().cpu().double().numpy()
    return [row[: len(target)] for row, target in zip(values, targets, strict=True)]


def fit_weights(
    members: Mapping[str, TorchSummarizer], dev: Sequence[Dialogue]
) -> tuple[dict[str, float], list[tuple[list[int], dict[str, float]]]]:
    """Return the weights that maximize the likelihood of the references, and those of each fold.

    A fold is a list of held-out row indices with the weights fitted to the other rows. Raises UserError if dev has
    fewer than two distinct dialogues.
    """
    probabilities = reference_probabilities(members, dev)

    def fit_rows(rows: Sequence[int]) -> dict[str, float]:
        require_rows(rows)
        return dict(zip(members, maximize_likelihood([probabilities[row] for row in rows]), strict=True))

    folds = [(fold.held_out, fit_rows(fold.fitted_to)) for fold in make_folds([row.dialogue for row in dev])]
    return fit_rows(range(len(dev))), folds


def maximize_likelihood(probabilities: Sequence[np.ndarray]) -> list[float]:
    """Return the weights of the members' mean that maximize the likelihood of the tokens.

    Args:
        probabilities: For each row, [members, tokens].

    Expectation maximization as for interpolated language models (Jelinek and Mercer 1980). The likelihood has a single
    maximum, so the result does not depend on the starting point.
    """
    tokens = np.concatenate(probabilities, axis=1) + np.finfo(float).tiny
    weights = np.full(len(tokens), 1 / len(tokens))
    for _ in range(MAX_STEPS):
        shares = weights[:, None] * tokens
        updated = (shares / shares.sum(0)).mean(1)
        change = np.abs(updated - weights).max()
        weights = updated
        if change < TOLERANCE:
            break
    return [float(weight) for weight in weights]
