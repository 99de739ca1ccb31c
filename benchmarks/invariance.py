"""How many dialogues an exported model summarizes differently in batches than alone, by what scales its activations.

    python benchmarks/invariance.py models/bart data/dev.csv data/test.csv

The model in torch is exported with `export.activations: batch`, `row` and `constant`, and in fp32. Batches hold
dialogues of any length in any order. ROUGE is that of dialogues alone. Those that constant scales are taken from are
left out of all figures.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from yoyak.data.records import Dialogue
from yoyak.decoding.onnx.runtime import OnnxSummarizer
from yoyak.decoding.onnx.search import Written
from yoyak.export.folder import export_model
from yoyak.models.text import decode
from yoyak.params.deploy import Export
from yoyak.scoring.rouge import rouge

KINDS = {
    "fp32": Export(precision="fp32"),
    "INT8, batch": Export(activations="batch"),
    "INT8, row": Export(activations="row"),
    "INT8, constant": Export(activations="constant"),
}


def main() -> None:
    """Print a table."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("model", type=Path)
    options.add_argument("files", type=Path, nargs="+", help="CSV with dialogue, and summary or summary1")
    options.add_argument("--n", type=int, default=1000, help="dialogues")
    options.add_argument("--calibration", type=int, default=32, help="dialogues for constant scales")
    options.add_argument("--batch-size", type=int, default=64)
    options.add_argument("--beams", type=int, default=1)
    chosen = options.parse_args()
    table = [row for path in chosen.files for row in csv.DictReader(path.open(encoding="utf-8", newline=""))]
    table = table[: chosen.n + chosen.calibration]
    step = len(table) // chosen.calibration
    calibration = [Dialogue(fname=row["fname"], dialogue=row["dialogue"]) for row in table[::step]][
        : chosen.calibration
    ]
    used = {row.fname for row in calibration}
    rows = [row for row in table if row["fname"] not in used]
    references = [[row.get("summary") or row["summary1"]] for row in rows]
    texts: dict[str, list[str]] = {}
    print(f"| {len(rows)} dialogues, {chosen.beams} beams | differ in batches | as fp32 | combined ROUGE |")
    print("| --- | --- | --- | --- |")
    for name, settings in KINDS.items():
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary, "model")
            export_model(chosen.model, folder, settings, calibration)
            summarizer = OnnxSummarizer.load(folder, threads=1)
        alone, differing = compare(summarizer, [row["dialogue"] for row in rows], chosen.batch_size, chosen.beams)
        texts[name] = decode(summarizer.tokenizer, [written.tokens for written in alone])  # type: ignore[arg-type]
        same = sum(one == other for one, other in zip(texts[name], texts["fp32"], strict=True))
        scores = rouge(
            texts[name], references, granularity="morpheme", multi_reference="max", weights=(0.33, 0.33, 0.34)
        )
        print(f"| {name} | {differing} | {same} | {scores['combined'].mean():.4f} |", flush=True)


def compare(
    summarizer: OnnxSummarizer, dialogues: Sequence[str], batch_size: int, beams: int
) -> tuple[list[Written], int]:
    """Return what is written for each dialogue alone, and how many are continued by other tokens in batches."""
    settings = summarizer.generation.model_copy(update={"num_beams": beams, "num_return_sequences": 1})
    search, ids = summarizer.search(settings), summarizer.encode(dialogues).input_ids
    alone = [summarizer.write([row], search)[0][0] for row in ids]
    order = np.random.default_rng(0).permutation(len(ids))
    differing = 0
    for first in range(0, len(ids), batch_size):
        batch = order[first : first + batch_size]
        written = summarizer.write([ids[row] for row in batch], search)
        differing += sum(texts[0].tokens != alone[row].tokens for row, texts in zip(batch, written, strict=True))
    return alone, differing


if __name__ == "__main__":
    main()
