"""The data of trials that change how it is prepared: a folder for each set of values, which trials share.

The project's own prepared/ stays as it is. Trials are compared by how they summarize dev, and the best one is scored on
gate, so that these have to be the same rows in all of them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from yoyak import project
from yoyak.errors import UserError
from yoyak.files import cached_folder
from yoyak.params import Params
from yoyak.preparation.augment import augment_prepared
from yoyak.preparation.write import path_in, write_prepared
from yoyak.studies import files

if TYPE_CHECKING:
    from yoyak.data.preparing import Prepared
    from yoyak.data.records import Dialogue

KEYS = ("augmentation.", "data.", "tokenizers.")
"""How keys of params.yaml begin that `yoyak prepare` reads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingData:
    """What `yoyak prepare` writes, as a training reads it."""

    train: list[Dialogue]
    dev: list[Dialogue]
    masks: list[str]
    tokenizers: Path
    """A folder with one for each tokenizer."""


def of_data(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of some values of params.yaml, by dotted key, that change the prepared data."""
    return {key: value for key, value in values.items() if key.startswith(KEYS)}


def read_data(folder: Path = project.PREPARED) -> TrainingData:
    """Read prepared/, or another folder that is laid out like it."""
    from yoyak.data.records import read_jsonl

    return TrainingData(
        train=read_jsonl(path_in(folder, project.TRAIN_SPLIT)),
        dev=read_jsonl(path_in(folder, project.DEV_SPLIT)),
        masks=path_in(folder, project.MASKS).read_text(encoding="utf-8").split(),
        tokenizers=path_in(folder, project.TOKENIZERS),
    )


def prepare_as(settings: Params, values: Mapping[str, Any], where: str) -> Prepared:
    """Return the splits that params with these values of ``data`` give.

    Raises UserError if dev or gate have other rows than the project's prepared data.
    """
    from yoyak.data.preparing import prepare_splits
    from yoyak.data.records import read_jsonl

    prepared = prepare_splits(settings.data)
    paths = {split: project.split_file(split) for split in (project.DEV, project.GATE)}
    given = {split: read_jsonl(path) for split, path in paths.items() if path.is_file()}
    changed = [split for split in paths if given.get(split) != prepared.splits.get(split)]
    if changed:
        keys = " and ".join(sorted(key for key in values if key.startswith("data.")) or ["the data"])
        raise UserError(
            f"{where}: {keys} would give {' and '.join(changed)} other rows than {project.PREPARED}/ has, on which "
            f"trials are compared: try values that change train alone, or run `dvc repro prepare` if the data is new."
        )
    return prepared


def open_data(study: Path, settings: Params, values: Mapping[str, Any], raw: str) -> TrainingData:
    """Return the data of a trial with these values of params.yaml, prepared by whoever comes first.

    Args:
        study: The study's folder, which keeps it.
        raw: Digest of the data files.
    """
    described = {
        "data": settings.data.model_dump(mode="json"),
        "augmentation": settings.augmentation.model_dump(mode="json"),
        "tokenizers": {name: tokenizer.model_dump(mode="json") for name, tokenizer in settings.tokenizers.items()},
        "raw": raw,
    }
    key = hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()[:20]
    folder = study / files.PREPARED / key

    def create(work: Path) -> None:
        prepared = augment_prepared(prepare_as(settings, values, f"{study}.yaml"), settings.data, settings.augmentation)
        write_prepared(prepared, settings.tokenizers, work, mask_tokens=settings.data.mask_tokens)

    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        return read_data(cached_folder(folder, create))
