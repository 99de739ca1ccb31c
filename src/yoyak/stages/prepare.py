"""yoyak prepare: clean, check and split the data, and train the tokenizers."""

from __future__ import annotations

from functools import partial
from typing import Any

from yoyak import params, project
from yoyak.files import atomic_path, write_json, write_text
from yoyak.params.stages import PrepareParams

ENSEMBLES_README = """\
# Ensembles

One folder for each strategy of params.yaml. This file keeps the folder where there is none.
"""


def run() -> None:
    """Write prepared/ (splits, dialogues of cases, tokenizers, masks, report) and plots/lengths.csv."""
    p = params.load(PrepareParams)
    from yoyak.behaviour.cases import load_cases
    from yoyak.behaviour.changes import texts_of
    from yoyak.data.lengths import add_token_histograms, write_length_plots
    from yoyak.data.preparing import prepare_splits
    from yoyak.data.records import Dialogue, write_jsonl
    from yoyak.preparation.augment import augment_prepared
    from yoyak.preparation.write import path_in, write_prepared

    cases = texts_of(load_cases(p.cases).values())
    with atomic_path(project.PREPARED) as work:
        prepared = augment_prepared(prepare_splits(p.data, work.parent), p.data, p.augmentation)
        report = prepared.report
        tokenizers = write_prepared(prepared, p.tokenizers, work, mask_tokens=p.data.mask_tokens)
        write_jsonl(
            path_in(work, project.CASE_DIALOGUES),
            [Dialogue(fname=f"case_{number}", dialogue=text, summaries=()) for number, text in enumerate(cases)],
        )
        for name, tokenizer in tokenizers.items():
            add_token_histograms(report, prepared.splits, partial(_token_lengths, tokenizer), name)
        write_json(path_in(work, project.PREPARE_REPORT), report)
    write_length_plots(report, project.PLOTS)
    write_text(project.ENSEMBLES_README, ENSEMBLES_README)
    for name, rows in prepared.splits.items():
        added = f", and {len(prepared.added)} of augmentation" if name == project.TRAIN and prepared.added else ""
        print(f"{name}: {len(rows)} dialogues{added}")


def _token_lengths(tokenizer: Any, texts: list[str]) -> list[int]:
    return [len(ids) for ids in tokenizer(texts)["input_ids"]]
