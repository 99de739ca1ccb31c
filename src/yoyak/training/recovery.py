"""Resuming an interrupted training run, with the same result as an uninterrupted one.

A run stores a fingerprint beside its checkpoints: everything that determines its weights. Only a run with the same
fingerprint is resumed; any other starts over and prints what has changed. The checkpoints are removed once the stage
has written all its outputs.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from yoyak.data.records import Dialogue
from yoyak.errors import UserError
from yoyak.files import write_json
from yoyak.models import catalog
from yoyak.params import TrainedMember
from yoyak.tracking import lineage
from yoyak.tracking.stage_run import flatten

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

FINGERPRINT_FILE, STATE_FILE = "training.json", "trainer_state.json"
CODE_PACKAGES = ("decoding", "korean", "models", "scoring", "training")
"""Subpackages whose code determines the weights: tokenization, model building, checkpoint selection."""
MAX_VALUE_CHARS = 30
"""Longer values, such as digests, are not printed when they differ."""

Fingerprint = Mapping[str, str]
"""Everything that determines the trained weights, by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A completely written checkpoint."""

    path: Path
    finished: bool
    """Whether training ended with it, at the last step or by early stopping."""


def fingerprint(
    settings: Mapping[str, Any],
    *,
    tokenizer: PreTrainedTokenizerBase,
    checkpoint: str,
    train: Sequence[Dialogue],
    dev: Sequence[Dialogue],
) -> Fingerprint:
    """Return the fingerprint of a training run.

    Args:
        settings: The values of params.yaml that training reads, and any other settings that affect it.
        checkpoint: Digest or commit of the checkpoint that training starts from; empty if there is none.
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


def identify_checkpoint(member: TrainedMember, commit: str | None = None) -> str:
    """Return the md5 of the folder that a member starts from, ``name@commit`` of one on the Hub, or "" without any.

    Args:
        commit: That of the files that were read; by default the revision that is asked for stands for it.
    """
    if member.checkpoint is None:
        return ""
    source = catalog.checkpoint(member.checkpoint)
    if Path(source).is_dir():
        return lineage.digest(source)
    return f"{source}@{commit or catalog.find_revision(member.checkpoint, member.revision) or 'main'}"


def find_checkpoint(folder: Path, expected: Fingerprint) -> Checkpoint | None:
    """Return the last complete checkpoint of a run with this fingerprint, or None; remove checkpoints of any other run.

    Differences are printed on stderr in one line. If nothing can be resumed, ``folder`` then holds only the
    fingerprint.
    """
    path = folder / FINGERPRINT_FILE
    stored = _read_json(path)
    if stored != expected:
        if stored is not None:
            print(f"{folder}: training starts over, because of {_describe_changes(stored, expected)}", file=sys.stderr)
        remove_checkpoints(folder)
        write_json(path, expected)
        return None
    checkpoints = sorted(folder.glob("checkpoint-*"), key=_step_number)
    for checkpoint in reversed(checkpoints):
        # The Trainer writes its state last: without it, the process was killed while writing the checkpoint.
        state = _read_json(checkpoint / STATE_FILE)
        if state is not None:
            return Checkpoint(path=checkpoint, finished=_is_final(state))
        shutil.rmtree(checkpoint)
    return None


def has_finished(folder: Path) -> bool:
    """Return whether the last complete checkpoint is that of a training that has ended."""
    checkpoints = sorted(folder.glob("checkpoint-*"), key=_step_number, reverse=True)
    states = (_read_json(checkpoint / STATE_FILE) for checkpoint in checkpoints)
    return _is_final(next((state for state in states if state is not None), {}))


@contextmanager
def lock_checkpoints(folder: Path) -> Iterator[None]:
    """Lock the folder while a training writes to it; UserError if another one does, which would mix the two."""
    path = folder.with_name(f"{folder.name}.lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise UserError(f"another training writes its checkpoints to {folder}: wait until it has ended.") from None
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        lock.release()


def remove_checkpoints(folder: Path) -> None:
    """Remove the checkpoints, once all outputs of the stage are written."""
    shutil.rmtree(folder, ignore_errors=True)


def code_digest(package: Path | None = None) -> str:
    """Return a digest of the code in `CODE_PACKAGES`; ``package`` is the folder of yoyak, by default this one."""
    package = package or Path(__file__).parents[1]
    paths = (path.relative_to(package) for name in CODE_PACKAGES for path in sorted((package / name).rglob("*.py")))
    return lineage.source_digest(package, paths)


def _is_final(state: Mapping[str, Any]) -> bool:
    control = state.get("stateful_callbacks", {}).get("TrainerControl", {}).get("args", {})
    return bool(control.get("should_training_stop"))


def _step_number(checkpoint: Path) -> int:
    return int(checkpoint.name.split("-")[1])


def _tokenizer_digest(tokenizer: PreTrainedTokenizerBase) -> str:
    with tempfile.TemporaryDirectory(prefix="yoyak-") as temporary:
        tokenizer.save_pretrained(temporary)
        return lineage.digest(temporary)


def _rows_digest(rows: Sequence[Dialogue]) -> str:
    """Return a digest of all that a training reads of rows; a topic is part of the input of some members."""
    digest = hashlib.sha256()
    for row in rows:
        digest.update(f"{row.fname}\0{row.dialogue}\0{row.summaries}\0{row.topic}\0".encode())
    return digest.hexdigest()


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def _describe_changes(stored: Mapping[str, Any], expected: Fingerprint) -> str:
    changes = []
    for name in dict.fromkeys((*expected, *stored)):
        before, after = str(stored.get(name, "unknown")), expected.get(name, "unknown")
        if before != after:
            short = max(len(before), len(after)) <= MAX_VALUE_CHARS
            changes.append(f"{name} ({before} is now {after})" if short else name)
    return ", ".join(changes)
