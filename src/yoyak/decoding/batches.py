"""Splitting encoded dialogues into batches, and collecting the results in the order of the dialogues."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from yoyak.decoding.candidates import WHOLE, Candidate
from yoyak.decoding.summarizer import HEAD, Summaries, TokenUsage
from yoyak.models.text import Encoded


@dataclass(frozen=True, slots=True, kw_only=True)
class Generated:
    """The generated candidates of one dialogue."""

    candidates: list[Candidate]
    """Best first."""
    tokens: int
    """Number of tokens of all candidates together."""


def summarize_in_batches(
    inputs: Encoded,
    generate: Callable[[list[int]], Sequence[Generated]],
    *,
    batch_size: int,
    truncate: str = HEAD,
    ran_out_of_memory: Callable[[Exception], bool],
    progress: bool,
) -> Summaries:
    """Return the summaries of encoded dialogues.

    Dialogues of similar length share a batch to keep padding low. A batch that does not fit into memory is halved.

    Args:
        generate: Summarizes one batch: takes the indices of its dialogues and returns a result for each.
        truncate: What was kept of dialogues that were cut.
        ran_out_of_memory: Whether an error means that the batch was too large; other errors are raised.
    """
    ids = inputs.input_ids
    order = sorted(range(len(ids)), key=lambda row: -len(ids[row]))
    results: dict[int, Generated] = {}
    with show_progress(len(ids), "summarizing", "dialogue", visible=progress) as advance:
        while len(results) < len(order):
            rows = order[len(results) : len(results) + batch_size]
            try:
                generated = generate(rows)
            except (MemoryError, RuntimeError) as error:
                if len(rows) == 1 or not ran_out_of_memory(error):
                    raise
                batch_size = max(1, len(rows) // 2)
                continue
            results.update(zip(rows, generated, strict=True))
            advance(len(rows))
    return Summaries(
        candidates=[results[row].candidates for row in range(len(ids))],
        cut=inputs.cut,
        tokens=TokenUsage(read=sum(map(len, ids)), written=sum(result.tokens for result in results.values())),
        how=[truncate if cut else WHOLE for cut in inputs.cut],
    )


@contextmanager
def show_progress(total: int, description: str, unit: str, *, visible: bool) -> Iterator[Callable[[int], object]]:
    """Yield a function that advances the bar; a server shows none and does not import tqdm."""
    if not visible:
        yield lambda _: None
        return
    from tqdm import tqdm

    with tqdm(total=total, desc=description, unit=unit) as bar:
        yield bar.update
