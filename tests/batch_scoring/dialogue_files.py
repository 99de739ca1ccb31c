"""Dialogues in files of each format, the parts that are made of them, and a model with other code."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from yoyak.models.manifest import write_manifest

BATCH_SIZE = 4
FAILING = "고장"
"""A dialogue with this word makes `failing_model` fail."""
ROWS: list[dict] = [
    {
        "fname": f"row_{number}",
        "dialogue": f"#Person1#: {number} " + '내일, 만나요.\n#Person2#: "네" ' * (number % 5 + 1),
    }
    for number in range(20)
]


def write_csv(path: Path, rows: Sequence[dict]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def write_json_lines(path: Path, rows: Sequence[dict]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def write_parquet(path: Path, rows: Sequence[dict], row_group_size: int | None = None) -> Path:
    pq.write_table(pa.Table.from_pylist(list(rows)), path, row_group_size=row_group_size)
    return path


def read_parts(folder: Path) -> list[dict]:
    """All rows of a folder's parts, as anything that reads a folder of Parquet finds them."""
    return pq.read_table(folder).to_pylist() if list(folder.glob("part-*.parquet")) else []


def read_rejected(folder: Path) -> list[dict]:
    return [row for path in sorted(folder.glob("_rejected/*.parquet")) for row in pq.read_table(path).to_pylist()]


def change_code(packaged: Path, folder: Path, after: str, added: str) -> None:
    """Copy an MLflow model and add lines to the code in it that writes summaries."""
    shutil.copytree(packaged, folder)
    path = folder / "code/yoyak/serving/engine.py"
    source = path.read_text(encoding="utf-8")
    assert source.count(after) == 1
    path.write_text(source.replace(after, after + added), encoding="utf-8")
    write_manifest(folder)
