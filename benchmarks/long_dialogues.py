"""What is gained by reading more of a long dialogue: its beginning, its end, both, or all of it in parts.

    python benchmarks/long_dialogues.py models/bart

The dialogues are long ones of the generator (`yoyak samples --turns 50-300 --split test`): several conversations, none
of which the model was trained on, with small talk between them. ``facts stated`` is the share of the facts that the
data name which a summary states; ``made up`` is the share of summaries with a number, name or mask that the dialogue
lacks.
Intervals are 95% bootstrap intervals over dialogues, and differences are paired.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from yoyak.behaviour.accuracy import share_stated
from yoyak.data.records import Dialogue
from yoyak.data.samples import generate_long
from yoyak.decoding.torch import TorchSummarizer
from yoyak.korean.facts import find_made_up
from yoyak.params import Generation
from yoyak.params.members import Windows
from yoyak.scoring.bootstrap import bootstrap_interval, paired_bootstrap
from yoyak.scoring.rouge import rouge

VARIANTS: dict[str, dict[str, Any]] = {
    "head": {},
    "tail": {"truncate": "tail"},
    "both": {"truncate": "both"},
    "windows, summarized": {"windows": Windows()},
    "windows, joined": {"windows": Windows(max_parts=64, overlap_turns=0, merge="join")},
    "windows, joined, overlap of 2 turns": {"windows": Windows(max_parts=64, merge="join")},
    "windows of 120 tokens, joined": {"windows": Windows(max_parts=64, part_tokens=120, overlap_turns=0, merge="join")},
}
"""Changes of the spec of the model, by name. The first one is what the others are compared with."""
GENERATION = Generation(max_new_tokens=48, num_beams=4, num_return_sequences=1, no_repeat_ngram_size=4, batch_size=32)
"""That of params.yaml, with one candidate."""
BOOTSTRAP: dict[str, Any] = {"samples": 2000, "confidence": 0.95, "seed": 20}


def main() -> None:
    """Summarize the dialogues in every way, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="folder of a trained member")
    parser.add_argument("--n", type=int, default=100, help="dialogues")
    parser.add_argument("--turns", type=int, nargs=2, default=(50, 300), metavar=("MIN", "MAX"))
    parser.add_argument("--seed", type=int, default=20)
    parser.add_argument("--ways", nargs="+", choices=list(VARIANTS), default=list(VARIANTS), help="compared with head")
    given = parser.parse_args()
    torch.set_num_threads(1)
    rows, facts = zip(*generate_long(given.n, given.seed, tuple(given.turns), split="test"), strict=True)
    model = TorchSummarizer.load(given.model, "cpu")
    measured: dict[str, dict[str, np.ndarray]] = {}
    print("| read | ROUGE-1 | combined | − head | facts stated | made up | left out | seconds a dialogue |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for name, changes in VARIANTS.items():
        if name not in ("head", *given.ways):
            continue
        summarizer = TorchSummarizer(model.model, model.tokenizer, replace(model.spec, **changes))
        started = time.process_time()
        summaries = summarizer.summarize([row.dialogue for row in rows], generation=GENERATION, progress=True)
        seconds = (time.process_time() - started) / len(rows)
        measured[name] = measure(summaries.texts, rows, facts)
        print(describe(name, measured, summaries.truncated / len(rows), seconds), flush=True)


def measure(texts: Sequence[str], rows: Sequence[Dialogue], facts: Sequence[Any]) -> dict[str, np.ndarray]:
    """Return figures of each dialogue by name."""
    scores = rouge(
        texts,
        [row.summaries for row in rows],
        granularity="morpheme",
        multi_reference="mean",
        weights=(0.33, 0.33, 0.34),
    )
    made_up = find_made_up(texts, ["\n".join([row.dialogue, *row.summaries]) for row in rows])
    return {
        "rouge1": scores["rouge1"],
        "combined": scores["combined"],
        "stated": np.array([share_stated(text, known) for text, known in zip(texts, facts, strict=True)]),
        "made_up": np.array([float(any(found.values())) for found in made_up]),
    }


def describe(name: str, measured: Mapping[str, Mapping[str, np.ndarray]], left_out: float, seconds: float) -> str:
    """Return a row of the table."""
    own, first = measured[name], next(iter(measured.values()))
    cells = [interval(own[key]) for key in ("rouge1", "combined")]
    difference = paired_bootstrap(own["combined"], first["combined"], **BOOTSTRAP)
    cells.append(
        "" if own is first else f"{difference.difference:+.3f} [{difference.low:+.3f}, {difference.high:+.3f}]"
    )
    cells += [interval(own["stated"]), f"{own['made_up'].mean():.0%}", f"{left_out:.0%}", f"{seconds:.2f}"]
    return f"| {name} | {' | '.join(cells)} |"


def interval(values: np.ndarray) -> str:
    """Return a mean with its interval."""
    found = bootstrap_interval(values, **BOOTSTRAP)
    return f"{found.mean:.3f} [{found.low:.3f}, {found.high:.3f}]"


if __name__ == "__main__":
    main()
