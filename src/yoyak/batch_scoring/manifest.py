"""The file that says what an output folder holds: which model's summaries, of which files, cut into which parts.

A run that was interrupted goes on only if everything is as it was, since the parts would otherwise not belong together.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from yoyak.batch_scoring.sources import Part, Source
from yoyak.batch_scoring.storage import Storage, list_names, read_bytes, write_whole
from yoyak.errors import UserError
from yoyak.models.manifest import MANIFEST

FILE = "_manifest.json"
FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """Everything that decides the summaries."""

    model: str
    """The model's name, such as models:/yoyak/3; its digests decide whether it is the same."""
    weights: str
    """Digest of the model's files."""
    code: str
    """Digest of the code that it runs."""
    generation: Mapping[str, Any]
    settings: Mapping[str, Any]
    """Of data and serving: how rows are read and batched."""
    files: Sequence[Mapping[str, Any]]
    """Path, size and time of last change of each input file."""
    part_rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What is in an output folder, or will be when all parts are done."""

    setup: Setup
    parts: Sequence[Part]
    finished: Mapping[str, Any] = field(default_factory=dict)
    """What a run that is over says of itself; empty before."""

    @property
    def run(self) -> str:
        """Digest of the setup, which every part carries."""
        values = asdict(self.setup)
        del values["model"]
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()

    @property
    def rows(self) -> int:
        """Rows of all parts."""
        return sum(part.rows for part in self.parts)


def model_digests(folder: Path) -> tuple[str, str]:
    """Return the digests of an MLflow model's weights and of its code, by what it says of its files.

    The same model has the same digests wherever it was packaged: the time of that, which MLflow notes in the folder, is
    left out.
    """
    lines = (folder / MANIFEST).read_text(encoding="utf-8").splitlines() if (folder / MANIFEST).is_file() else None
    if lines is None:
        raise UserError(
            f"The model in {folder} has no {MANIFEST}, by which parts of different models are told apart: register it "
            "again."
        )
    code = [line for line in lines if line.partition("  ")[2].startswith("code/")]
    weights = [line for line in lines if line.partition("  ")[2].startswith("artifacts/")]
    return _digest(weights), _digest(code)


def _digest(lines: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def find_differences(old: Setup, new: Setup) -> list[str]:
    """Return what differs between two setups, each as the part of a sentence; the most important first."""
    differences = []
    if old.weights != new.weights:
        differences.append(
            f"the model was {old.model} and is {new.model}" if old.model != new.model else f"{new.model} has changed"
        )
    elif old.code != new.code:
        differences.append(f"the code of the model has changed ({old.model}, now {new.model})")
    differences += _compare("generation.", old.generation, new.generation)
    differences += _compare("", old.settings, new.settings)
    before, after = ({file["path"]: file for file in setup.files} for setup in (old, new))
    differences += [f"the input {path} is gone" for path in before if path not in after]
    differences += [f"the input {path} is new" for path in after if path not in before]
    differences += [f"the input {path} has changed" for path in before if path in after and before[path] != after[path]]
    if old.part_rows != new.part_rows:
        differences.append(f"--part-rows was {old.part_rows} and is {new.part_rows}")
    return differences


def _compare(prefix: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    return [
        f"{prefix}{name} was {old.get(name)} and is {new.get(name)}"
        for name in {**old, **new}
        if old.get(name) != new.get(name)
    ]


def save_manifest(output: Storage, manifest: Manifest) -> None:
    """Write the manifest of an output folder."""
    sources = list(dict.fromkeys(part.source for part in manifest.parts))
    numbers = {source: number for number, source in enumerate(sources)}
    value = {
        "format": FORMAT,
        "run": manifest.run,
        "rows": manifest.rows,
        "finished": manifest.finished,
        "setup": asdict(manifest.setup),
        "sources": [asdict(source) for source in sources],
        "parts": [[numbers[part.source], part.first, part.rows, part.offset, part.length] for part in manifest.parts],
    }
    write_whole(output, output.join(FILE), (json.dumps(value, ensure_ascii=False) + "\n").encode())


def load_manifest(output: Storage) -> Manifest | None:
    """Return the manifest of an output folder, or None if it is new or empty.

    Raises UserError if it holds anything else, or if the manifest is damaged.
    """
    names = list_names(output)
    if FILE not in names:
        if any(not name.startswith(".") for name in names):
            raise UserError(f"{output.show()} holds other files: name a new folder, or an empty one.")
        return None
    try:
        value = json.loads(read_bytes(output, output.join(FILE)))
        if value["format"] != FORMAT:
            raise UserError(f"{output.show()} is of another version of Yoyak: name a new folder.")
        sources = [Source(**{**source, "columns": tuple(source["columns"])}) for source in value["sources"]]
        parts = [
            Part(number=number, source=sources[source], first=first, rows=rows, offset=offset, length=length)
            for number, (source, first, rows, offset, length) in enumerate(value["parts"])
        ]
        return Manifest(setup=Setup(**value["setup"]), parts=parts, finished=value["finished"])
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise UserError(
            f"{output.show(output.join(FILE))} is damaged ({type(error).__name__}): delete {output.show()}, or name "
            "another folder."
        ) from error
