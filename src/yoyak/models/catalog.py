"""Checkpoints under well-known names, matched regardless of case and punctuation."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from yoyak.errors import UserError, nearest
from yoyak.project import PRETRAINED

MEMORY_GB = 16
"""GPU memory that the catalog's batch sizes are meant for."""


class Recommendation(BaseModel):
    """Training params that suit a checkpoint; the names are those of `TrainedMember`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    batch_size: int
    gradient_accumulation_steps: int
    learning_rate: float
    lr_scheduler_type: Literal["linear", "cosine", "constant_with_warmup"]
    adapter: dict[str, Any] | None = None


class Entry(BaseModel):
    """What is known about a checkpoint."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    checkpoint: str
    """Its name on the Hub."""
    aliases: tuple[str, ...] = ()
    """What else it is called."""
    revision: str | None = None
    """The commit that it is read at, unless a member names one; None is the newest one."""
    family: str
    language: str
    parameters: int
    window: int
    """Tokens that it was pretrained to read; a decoder-only model's include the summary."""
    licence: str
    prefix: str = ""
    """Text before the dialogue that it was pretrained with."""
    separator: str | None = None
    """Text after the dialogue that a decoder-only model was tuned with; None where there is no such text."""
    chat: bool = False
    """Whether it was tuned with the chat template of its tokenizer."""
    training: Recommendation
    """For a GPU of `MEMORY_GB`."""

    @property
    def lora_targets(self) -> str:
        """The layers that an adapter is put beside."""
        # The params import the families, which import this module.
        from yoyak.params.adapters import Lora

        targets = Lora(**(self.training.adapter or {})).target_modules
        return targets if isinstance(targets, str) else ", ".join(targets)

    @property
    def quantized(self) -> bool:
        """Whether it is recommended to train an adapter over 4 bits."""
        return (self.training.adapter or {}).get("quantization") is not None

    @property
    def fixed_gb(self) -> float:
        """Memory that does not depend on the batch: all weights with gradients and AdamW's two moments in fp32, or in 4
        bits those that an adapter leaves as they are, with a tenth for embeddings, which stay in 16."""
        return self.parameters * (0.6 if self.training.adapter else 16) / 2**30


@cache
def entries() -> Mapping[str, Entry]:
    """Return the catalog by name."""
    from ruamel.yaml import YAML

    text = files("yoyak.models").joinpath("catalog.yaml").read_text(encoding="utf-8")
    return MappingProxyType({name: Entry(**values) for name, values in YAML(typ="safe").load(text).items()})


def find(name: str) -> str | None:
    """Return the catalog's spelling of ``name``, or None: ``SOLAR_10.7B`` and ``upstage/SOLAR-10.7B-v1.0`` are one."""
    return _spellings().get(_normalize(name))


def checkpoint(name: str) -> str:
    """Return the argument for `from_pretrained`: a local folder or Hub name unchanged, or a catalog name's checkpoint.

    Raises UserError for any other name, with the nearest names in the catalog.
    """
    if is_checkpoint_folder(name):
        return name
    entry = find(name)
    if entry is not None:
        return entries()[entry].checkpoint
    if Path(name).is_dir() or Path(name).parts[:1] == (PRETRAINED.name,):
        # A name below pretrained/ looks like one on the Hub, and would be asked for there.
        folders = [path.as_posix() for path in PRETRAINED.glob("*") if is_checkpoint_folder(str(path))]
        raise UserError(f"The folder {name} has neither a config.json nor a .gguf file{nearest(name, folders)}.")
    if re.fullmatch(r"[\w.-]+/[\w.-]+", name) and not name.startswith("."):
        return name
    raise UserError(
        f"'{name}' is not a local folder, a name in the catalog or a name on the Hub{nearest(name, entries(), 3)}."
    )


def find_revision(name: str, revision: str | None = None) -> str | None:
    """Return the revision that a checkpoint is read at: the one that is given, else that of the catalog, if any."""
    entry = find_entry(name)
    return revision or (entry.revision if entry else None)


def is_checkpoint_folder(name: str) -> bool:
    """Return whether ``name`` is a folder with a model in it."""
    return Path(name, "config.json").is_file() or any(Path(name).glob("*.gguf"))


def find_entry(name: str | None) -> Entry | None:
    """Return the entry of a checkpoint; None for folders and other names on the Hub."""
    entry = find(name) if name and not is_checkpoint_folder(name) else None
    return entries()[entry] if entry else None


def recommend(entry: Entry, memory_gb: float) -> Recommendation | None:
    """Return training params for a GPU's memory: the batch grows or shrinks with it, the rows of an update stay.

    None if not even one row is expected to fit.
    """
    rows = entry.training.batch_size * entry.training.gradient_accumulation_steps
    # A divisor of the rows, so that every update has as many as the catalog says.
    fitting = [size for size in range(1, rows + 1) if rows % size == 0 and size <= _largest_batch(entry, memory_gb)]
    if not fitting:
        return None
    batch = max(fitting)
    return entry.training.model_copy(update={"batch_size": batch, "gradient_accumulation_steps": rows // batch})


def _largest_batch(entry: Entry, memory_gb: float) -> float:
    """Return the batch that fits, given that the one of `MEMORY_GB` fills what weights and AdamW leave there."""
    fixed = entry.fixed_gb
    return entry.training.batch_size * max(memory_gb - fixed, 0.0) / (MEMORY_GB - fixed)


@cache
def _spellings() -> Mapping[str, str]:
    """Return the entry of each normalized spelling: its name, that on the Hub, that without its owner, and aliases."""
    catalog = entries()
    pairs = [
        *((name, name) for name in catalog),
        *((entry.checkpoint, name) for name, entry in catalog.items()),
        *((entry.checkpoint.split("/")[1], name) for name, entry in catalog.items()),
        *((alias, name) for name, entry in catalog.items() for alias in entry.aliases),
    ]
    # Of two with the same spelling, the first counts.
    return {_normalize(spelling): name for spelling, name in reversed(pairs)}


def _normalize(name: str) -> str:
    return re.sub(r"[^0-9a-z]+", "", name.casefold())
