"""Resuming a training that was killed, with the same result as if it had not been.

A training leaves a fingerprint beside its checkpoints: everything that decides its weights. Only a training with an
equal fingerprint is resumed; any other starts over and says what has changed. The checkpoints are removed once the
stage has written all its outputs.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yoyak.data.records import Dialogue
from yoyak.files import write_json
from yoyak.tracking import lineage
from yoyak.tracking.stage_run import flatten

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

FINGERPRINT_FILE, STATE_FILE = "training.json", "trainer_state.json"
ROOMS = ("decoding", "korean", "models", "scoring", "training")
"""Packages whose code decides a training: how text is encoded, models are built, and checkpoints are chosen."""
MAX_VALUE_CHARS = 30
"""Values longer than this, such as digests, are not shown where they differ."""

Fingerprint = Mapping[str, str]
"""What decides the weights of a training, each thing by its name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A checkpoint that was written completely."""

    path: Path
    finished: bool
    """Whether the training ended with it, by its last step or by early stopping."""


def fingerprint(
    settings: Mapping[str, Any],
    *,
    tokenizer: PreTrainedTokenizerBase,
    checkpoint: str,
    train: Sequence[Dialogue],
    dev: Sequence[Dialogue],
) -> Fingerprint:
    """Return the fingerprint of a training.

    Args:
        settings: The values of params.yaml that it reads, and whatever else of this kind decides it.
        checkpoint: Digest or commit of the checkpoint that it begins with; empty where there is none.
    """
    return {
        **flatten(settings),
        "tokenizer": _tokenizer_digest(tokenizer),
        "checkpoint": checkpoint,
        "train rows": _rows_digest(train),
        "dev rows": _rows_digest(dev),
        "code": code_digest(),
        **{f"version of {package}": version for package, version in lineage.versions().items()},
    }


def find_checkpoint(folder: Path, wanted: Fingerprint) -> Checkpoint | None:
    """Return the last complete checkpoint of an equal training; checkpoints of any other training are removed.

    What differs is printed on stderr in one line. Where nothing can be resumed, ``folder`` is left with nothing but
    the fingerprint.
    """
    path = folder / FINGERPRINT_FILE
    stored = _read_json(path)
    if stored != wanted:
        if stored is not None:
            print(f"{folder}: training starts over, because of {_changes(stored, wanted)}", file=sys.stderr)
        remove_checkpoints(folder)
        write_json(path, wanted)
        return None
    checkpoints = sorted(folder.glob("checkpoint-*"), key=lambda one: int(one.name.split("-")[1]))
    for checkpoint in reversed(checkpoints):
        # The Trainer writes its state last: without it, the training was killed while it wrote the checkpoint.
        state = _read_json(checkpoint / STATE_FILE)
        if state is not None:
            control = state.get("stateful_callbacks", {}).get("TrainerControl", {}).get("args", {})
            return Checkpoint(path=checkpoint, finished=bool(control.get("should_training_stop")))
        shutil.rmtree(checkpoint)
    return None


def remove_checkpoints(folder: Path) -> None:
    """Remove the checkpoints of a training whose outputs are all written."""
    shutil.rmtree(folder, ignore_errors=True)


def code_digest(package: Path | None = None) -> str:
    """Return a digest of the code in `ROOMS`, of this package by default."""
    package = package or Path(__file__).parents[1]
    digest = hashlib.sha256()
    for room in ROOMS:
        for path in sorted((package / room).rglob("*.py")):
            digest.update(path.relative_to(package).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def _tokenizer_digest(tokenizer: PreTrainedTokenizerBase) -> str:
    with tempfile.TemporaryDirectory(prefix="yoyak-") as temporary:
        tokenizer.save_pretrained(temporary)
        return lineage.digest(temporary)


def _rows_digest(rows: Sequence[Dialogue]) -> str:
    digest = hashlib.sha256()
    for row in rows:
        digest.update(f"{row.fname}\0{row.dialogue}\0{row.summaries}\0".encode())
    return digest.hexdigest()


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def _changes(stored: Mapping[str, Any], wanted: Fingerprint) -> str:
    changes = []
    for name in dict.fromkeys((*wanted, *stored)):
        before, after = str(stored.get(name, "unknown")), wanted.get(name, "unknown")
        if before != after:
            short = max(len(before), len(after)) <= MAX_VALUE_CHARS
            changes.append(f"{name} ({before} is now {after})" if short else name)
    return ", ".join(changes)
