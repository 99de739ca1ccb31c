"""Applying a strategy to every split of the pipeline: its summaries, and those without each member."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import tee
from pathlib import Path
from typing import Any

from yoyak.data.records import read_jsonl
from yoyak.ensemble.combine import Combiner, combine_each, save
from yoyak.ensemble.fitting import Fitted, fit
from yoyak.ensemble.info import INFO_FILE, EnsembleInfo, describe_combiner
from yoyak.ensemble.pool import Outcome, Row, RowFile, read_rows
from yoyak.errors import UserError
from yoyak.files import iter_json_lines, write_json
from yoyak.params.ensemble import Auto, OfCandidates
from yoyak.project import DEV


@dataclass(frozen=True, slots=True, kw_only=True)
class CombinedSplits:
    """The result of `combine_splits`."""

    combiner: Combiner
    info: EnsembleInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A line of ensembles/<name>/<split>.jsonl."""

    text: str
    member: str
    """The member that wrote the text; empty if it combines text of several."""
    rank: int
    without: Mapping[str, str]
    """By member: the summary without this member."""


@dataclass(slots=True)
class _Counts:
    """Counts over the rows of all splits."""

    dialogues: int = 0
    candidates: int = 0
    different: int = 0
    repaired_scores: int = 0

    def add(self, row: Row, members: Sequence[str]) -> None:
        texts = [candidate.text for member in members for candidate in row.candidates[member]]
        self.dialogues += 1
        self.candidates += len(texts)
        self.different += len(set(texts))
        self.repaired_scores += row.repaired


def combine_splits(
    strategy: OfCandidates,
    splits: Path,
    predictions: Mapping[str, Path],
    out: Path,
    *,
    granularity: str,
    processes: int,
    seed: int,
    scores: Mapping[str, Path] | None = None,
) -> CombinedSplits:
    """Fit a strategy on dev, and write its summaries of every split, the combiner and info.json into ``out``.

    Args:
        splits: Folder with the dialogues of dev and of every other split to combine.
        predictions: Folder of each member's candidates.
        out: An existing folder.
        scores: Folder of each member's log-likelihoods of all candidates, for those that have scored them.

    Raises UserError if there is no dev split or a prediction is missing.
    """
    dev_path = splits / f"{DEV}.jsonl"
    dev = read_jsonl(dev_path) if dev_path.is_file() else []
    if not dev:
        problem = "it is empty" if dev_path.is_file() else "there is none"
        raise UserError(f"ensembles are fitted on the dev split, and {problem}: see data.files and data.split.")
    scores = scores or {}
    rows = list(read_rows(dev_path, _split_files(predictions, DEV), _split_files(scores, DEV)))
    references = [row.summaries for row in dev]
    members = list(predictions)

    def fit_members(names: Sequence[str]) -> Fitted:
        return fit(strategy, names, rows, references, granularity=granularity, seed=seed)

    complete = fit_members(members)
    fits = {"": complete}
    # Choosing anew without each member would take as long again for each of them.
    if len(members) > 1 and not isinstance(strategy, Auto):
        for left_out in members:
            others = [member for member in members if member != left_out]
            # There is nothing to compare with if only this member can score.
            if not strategy.needs_likelihoods or len(others) == 1 or scores.keys() & {*others}:
                fits[left_out] = fit_members(others)
    counts = _Counts()
    for path in sorted(splits.glob("*.jsonl")):
        split_rows, counted_rows = tee(
            read_rows(path, _split_files(predictions, path.stem), _split_files(scores, path.stem))
        )
        outcomes: Iterable[tuple[Outcome, ...]] = (
            zip(*(fitted.outcomes for fitted in fits.values()), strict=True)
            if path.stem == DEV
            else combine_each([fitted.combiner for fitted in fits.values()], split_rows, processes=processes)
        )
        with (out / path.name).open("w", encoding="utf-8", newline="\n") as file:
            for row_outcomes, row in zip(outcomes, counted_rows, strict=True):
                counts.add(row, members)
                line = _format_line(row.fname, dict(zip(fits, row_outcomes, strict=True)))
                file.write(json.dumps(line, ensure_ascii=False) + "\n")
    result = CombinedSplits(combiner=complete.combiner, info=_make_info(complete, counts))
    save(complete.combiner, out)
    write_json(out / INFO_FILE, asdict(result.info))
    return result


def read_choices(path: Path) -> dict[str, Choice]:
    """Read ensembles/<name>/<split>.jsonl, keyed by fname in file order."""
    return {row["fname"]: _parse_choice(row) for row in iter_json_lines(path)}


class ChoiceFile(RowFile[Choice]):
    """What an ensemble wrote of a split."""

    def read_value(self, value: Mapping[str, Any]) -> Choice:
        return _parse_choice(value)


def _parse_choice(row: Mapping[str, Any]) -> Choice:
    return Choice(text=row["candidates"][0]["text"], member=row["member"], rank=row["rank"], without=row["without"])


def _split_files(folders: Mapping[str, Path], split: str) -> dict[str, Path]:
    return {member: folder / f"{split}.jsonl" for member, folder in folders.items()}


def _format_line(fname: str, outcomes: Mapping[str, Outcome]) -> dict[str, Any]:
    chosen = outcomes[""]
    return {
        "fname": fname,
        "candidates": [{"text": chosen.text, "score": chosen.score}],
        "member": chosen.member,
        "rank": chosen.rank,
        "without": {member: outcome.text for member, outcome in outcomes.items() if member},
    }


def _make_info(fitted: Fitted, counts: _Counts) -> EnsembleInfo:
    dialogues = max(1, counts.dialogues)
    return EnsembleInfo(
        **asdict(describe_combiner(fitted.combiner)),
        cross_fitted=fitted.cross_fitted,
        choice=fitted.choice,
        dialogues=counts.dialogues,
        candidates_per_dialogue=round(counts.candidates / dialogues, 2),
        different_per_dialogue=round(counts.different / dialogues, 2),
        repaired_scores=counts.repaired_scores,
    )
