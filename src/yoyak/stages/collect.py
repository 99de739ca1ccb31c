"""yoyak collect: every training run as one table."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from yoyak import project
from yoyak.errors import UserError
from yoyak.files import write_text

if TYPE_CHECKING:
    from yoyak.tracking.collect import Row

FORMATS = (".csv", ".md", ".json")


def run(
    member: Annotated[str | None, Parameter(help="Only this member's runs.")] = None,
    /,
    *,
    output: Annotated[Path, Parameter(help="File to write: .csv, .md or .json.")] = Path("results.csv"),
) -> None:
    """Write a table of all training runs in MLflow: params, metrics, time and memory, newest first.

    Runs whose models stand in models/ also have their scores on every split that was evaluated.
    """
    if output.suffix not in FORMATS:
        raise UserError(f"--output is {output}: it must end with {', '.join(FORMATS[:-1])} or {FORMATS[-1]}.")
    from yoyak.tracking.collect import collect_runs

    rows = collect_runs(member, _read_scores())
    if not rows:
        raise UserError("there is no training run" + (f" of '{member}'." if member else ": `dvc repro` makes some."))
    write_text(output, {".csv": _csv, ".md": _markdown, ".json": _json}[output.suffix](rows))
    print(f"{output}: {len(rows)} runs, {len(rows[0])} columns")


def _read_scores() -> dict[str, dict[str, float]]:
    """Return the scores by split of each run whose model stands in models/."""
    from yoyak.tracking.lineage import read_receipt

    scores = {}
    for path in sorted(project.RECEIPTS.glob("*.json")):
        evaluated = project.SCORES / path.name
        if evaluated.is_file():
            scores[read_receipt(path).run_id] = json.loads(evaluated.read_text(encoding="utf-8"))
    return scores


def _csv(rows: list[Row]) -> str:
    import csv

    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _markdown(rows: list[Row]) -> str:
    def line(cells: list[str]) -> str:
        return f"| {' | '.join(cells)} |\n"

    def cell(value: object) -> str:
        return "" if value is None else " ".join(str(value).split()).replace("|", "\\|")

    # A reader compares what differs; what all runs have in common is one line each below.
    common = {key: rows[0][key] for key in rows[0] if len(rows) > 1 and len({str(row[key]) for row in rows}) == 1}
    columns = [key for key in rows[0] if key not in common]
    table = line(columns) + line(["---"] * len(columns))
    table += "".join(line([cell(row[key]) for key in columns]) for row in rows)
    shared = "".join(f"- {key}: {cell(value)}\n" for key, value in common.items() if value is not None)
    return table + (f"\nAll of them:\n\n{shared}" if shared else "")


def _json(rows: list[Row]) -> str:
    return json.dumps(rows, ensure_ascii=False, indent=2) + "\n"
