"""What each step before and after a model changes on dev: see docs/processing.md.

    python benchmarks/steps.py output      # on the predictions of a pipeline that has run; nothing is trained
    python benchmarks/steps.py input       # small trainings, without and with each step, with several seeds

Differences are of combined ROUGE, paired by dialogue (and seed), with a 95% bootstrap interval over dialogues.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from yoyak import params, project
from yoyak.data.records import Dialogue, read_jsonl
from yoyak.decoding.candidates import read_candidates
from yoyak.models.steps import INPUT_STEPS, OUTPUT_STEPS, TOPIC, add_topics, finish_summary, prepare_dialogue
from yoyak.params import TrainedMember
from yoyak.scoring.bootstrap import paired_bootstrap
from yoyak.scoring.rouge import rouge

WEIGHTS = (0.33, 0.33, 0.34)


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=("input", "output"))
    parser.add_argument("--root", type=Path, default=Path(), help="a project in which the pipeline has run")
    parser.add_argument("--member", default="bart", help="input: the member that is trained")
    parser.add_argument("--rows", type=int, default=240, help="input: training dialogues")
    parser.add_argument("--dev", type=int, default=100, help="input: dialogues of dev")
    parser.add_argument("--seeds", type=int, nargs="+", default=[20, 21, 22], help="input: of the trainings")
    given = parser.parse_args()
    os.chdir(given.root)
    torch.set_num_threads(1)
    if given.kind == "output":
        print_output_steps(read_jsonl(project.DEV_SPLIT))
    else:
        print_input_steps(given.member, given.rows, given.dev, given.seeds)


def print_output_steps(dev: Sequence[Dialogue]) -> None:
    """Apply each step to the best summary of every member."""
    print("| step | member | summaries changed | combined before | difference |")
    print("| --- | --- | --- | --- | --- |")
    for folder in sorted(path for path in project.PREDICTIONS.iterdir() if (path / "dev.jsonl").is_file()):
        candidates = read_candidates(folder / "dev.jsonl")
        before = [candidates[row.fname][0].text for row in dev]
        score = combined(before, dev)
        for step in OUTPUT_STEPS:
            after = [finish_summary(text, row.dialogue, (), (step,)) for text, row in zip(before, dev, strict=True)]
            changed = sum(one != other for one, other in zip(before, after, strict=True))
            difference = describe(combined(after, dev), score) if changed else "0"
            print(f"| `{step}` | {folder.name} | {changed} of {len(dev)} | {score.mean():.3f} | {difference} |")


def print_input_steps(name: str, size: int, dev_size: int, seeds: Sequence[int]) -> None:
    """Train a member without and with each step that changes anything."""
    rows, dev = read_jsonl(project.TRAIN_SPLIT)[:size], read_jsonl(project.DEV_SPLIT)[:dev_size]
    print("| step | training dialogues changed | combined by seed | difference |", flush=True)
    print("| --- | --- | --- | --- |", flush=True)
    without = [train(name, rows, dev, seed, ()) for seed in seeds]
    print(f"| none | | {', '.join(f'{scores.mean():.3f}' for scores in without)} | |", flush=True)
    for step in INPUT_STEPS:
        changed = sum(read(row, step) != row.dialogue for row in rows)
        if not changed:
            print(f"| `{step}` | 0 of {size} | | 0 |", flush=True)
            continue
        scores = [train(name, rows, dev, seed, (step,)) for seed in seeds]
        by_seed = ", ".join(f"{each.mean():.3f}" for each in scores)
        difference = describe(np.mean(scores, 0), np.mean(without, 0))
        print(f"| `{step}` | {changed} of {size} | {by_seed} | {difference} |", flush=True)


def read(row: Dialogue, step: str) -> str:
    """Return what a model with one step reads of a row."""
    [text] = add_topics([row.dialogue], [row.topic], (step,)) if step == TOPIC else [row.dialogue]
    return prepare_dialogue(text, (step,))


def train(
    name: str, rows: Sequence[Dialogue], dev: Sequence[Dialogue], seed: int, steps: tuple[str, ...]
) -> np.ndarray:
    """Return the combined ROUGE of greedy summaries of dev by a member that was trained with these steps."""
    from yoyak.decoding.summarizer import texts_to_read
    from yoyak.decoding.torch import TorchSummarizer
    from yoyak.models.checkpoints import open_source
    from yoyak.models.tokenizers import load_tokenizer
    from yoyak.training.selection import CheckpointScoring
    from yoyak.training.trainer import train_member

    member: Any = params.load_or_default().members[name]
    assert isinstance(member, TrainedMember)
    changes = {"preprocessing": steps, "num_epochs": 1, "evaluations": 1, "evaluation_dialogues": 8}
    member = member.model_copy(update=changes)
    masks = project.MASKS.read_text(encoding="utf-8").split()
    if member.tokenizer:
        tokenizer = load_tokenizer(project.TOKENIZERS / member.tokenizer, masks)
    else:
        source = open_source(str(member.checkpoint), member.revision)
        tokenizer = load_tokenizer(source.tokenizer, masks, source.revision)
    with tempfile.TemporaryDirectory(prefix="yoyak-") as temporary:
        out = Path(temporary) / "model"
        train_member(
            name,
            member,
            tokenizer,
            rows,
            dev[:8],
            scoring=CheckpointScoring(granularity="morpheme", multi_reference="mean", weights=WEIGHTS),
            seed=seed,
            out=out,
            checkpoints=Path(temporary) / "checkpoints",
        )
        summarizer = TorchSummarizer.load(out, "cpu")
        return combined(summarizer.summarize(texts_to_read(summarizer, dev)).texts, dev)


def combined(texts: Sequence[str], rows: Sequence[Dialogue]) -> np.ndarray:
    """Return the combined ROUGE of each summary."""
    references = [row.summaries for row in rows]
    return rouge(texts, references, granularity="morpheme", multi_reference="mean", weights=WEIGHTS)["combined"]


def describe(after: np.ndarray, before: np.ndarray) -> str:
    """Return a difference with its interval."""
    found = paired_bootstrap(after, before, samples=2000, confidence=0.95, seed=20)
    return f"{found.difference:+.4f} [{found.low:+.4f}, {found.high:+.4f}]"


if __name__ == "__main__":
    main()
