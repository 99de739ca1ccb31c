"""yoyak prepare: clean, check and split the data, and train the tokenizers."""

from __future__ import annotations

from functools import partial
from typing import Any

from yoyak import params, project
from yoyak.errors import UserError
from yoyak.files import atomic_path, write_json, write_text
from yoyak.params.stages import PrepareParams

ENSEMBLES_README = """\
# Ensembles

One folder for each strategy of params.yaml. This file keeps the folder where there is none.
"""

TOKENIZERS_README = "A folder for each tokenizer that params.yaml has under `tokenizers`.\n"


def run() -> None:
    """Write prepared/ (splits, tokenizers, masks, report) and plots/lengths.csv from the files that params name."""
    p = params.load(PrepareParams)
    from tqdm import tqdm

    from yoyak.data.lengths import add_token_histograms, write_length_plots
    from yoyak.data.preparing import prepare_splits
    from yoyak.data.records import write_jsonl
    from yoyak.korean.masks import distinct_masks
    from yoyak.models.tokenizers import train_tokenizer

    prepared = prepare_splits(p.data)
    train = prepared.splits["train"]
    texts = [text for row in train for text in (row.dialogue, *row.summaries)]
    masks = distinct_masks(texts)
    report = prepared.report
    with atomic_path(project.PREPARED) as work:
        (work / project.EVAL_SPLITS.name).mkdir(parents=True)
        for name, rows in prepared.splits.items():
            write_jsonl(work / project.split_file(name).relative_to(project.PREPARED), rows)
        write_text(work / project.MASKS.name, "".join(f"{mask}\n" for mask in masks))
        (work / project.TOKENIZERS.name).mkdir()
        # DVC needs the folder even if every member has the tokenizer of its checkpoint, and keeps no empty ones.
        write_text(work / project.TOKENIZERS.name / "README.md", TOKENIZERS_README)
        for name, settings in tqdm(p.tokenizers.items(), desc="training tokenizers"):
            try:
                tokenizer = train_tokenizer(texts, masks, settings)
            except UserError as error:
                raise UserError(f"tokenizers.{name}: {error}") from error
            tokenizer.save_pretrained(work / project.TOKENIZERS.name / name)
            add_token_histograms(report, prepared.splits, partial(_token_lengths, tokenizer), name)
        write_json(work / project.PREPARE_REPORT.name, report)
    write_length_plots(report, project.PLOTS)
    write_text(project.ENSEMBLES_README, ENSEMBLES_README)
    for name, rows in prepared.splits.items():
        print(f"{name}: {len(rows)} dialogues")


def _token_lengths(tokenizer: Any, texts: list[str]) -> list[int]:
    return [len(ids) for ids in tokenizer(texts)["input_ids"]]
