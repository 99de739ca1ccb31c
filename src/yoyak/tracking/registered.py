"""registry/registered.json: what `register` registered last, read by `release` and the report."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from yoyak import project
from yoyak.files import read_result, write_result
from yoyak.tracking.decisions import Entry, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredModel:
    """One model version, registered now or earlier."""

    name: str
    version: int
    aliases: tuple[str, ...]
    run_id: str
    member: str
    """The member or ensemble."""
    restored: bool
    """Whether its training run was rebuilt because the tracking store no longer had it."""
    identity: str = ""
    """Digest of weights, generation settings and serving code."""
    weights: str = ""
    """DVC's md5 of its files; empty for an ensemble."""
    size: int = 0
    """Bytes of its files; 0 for an ensemble."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Promotion:
    """What became of the best model, and of the champion."""

    name: str
    version: int
    member: str
    before: int
    """The champion before; 0 for none."""
    after: int
    experiment: str = ""
    """Where the model comes from, if not from a commit."""
    verdict: Verdict | None = None
    """None if there was no other champion to compare it with."""
    history: tuple[Entry, ...] = ()
    """Oldest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Registered:
    """All model versions of one pipeline, and the decision about its best model."""

    registered: tuple[RegisteredModel, ...]
    decision: str
    """Who is champion and why, in one sentence."""
    tracking_uri: str
    """Without credentials."""
    fingerprint: str
    """Covers everything that affects what is registered (`registry.check.registration_fingerprint`)."""
    commit: str = ""
    """Empty outside a git repository."""
    origins: dict[str, str] = field(default_factory=dict)
    """DVC's md5 of each folder that the best model and its scores come from, from the data on."""
    versions: dict[str, str] = field(default_factory=dict)
    """Versions of Python and the most important packages."""
    promotion: Promotion | None = None

    def find_version(self, name: str, member: str) -> int | None:
        """Return the version of a registered model that holds this member, or None."""
        versions = (model.version for model in self.registered if (model.name, model.member) == (name, member))
        return next(versions, None)


def write_registered(registered: Registered, root: Path = Path()) -> None:
    """Write the file of the project at ``root``."""
    write_result(root / project.REGISTERED, registered)


def read_registered(root: Path = Path()) -> Registered:
    """Read the file of the project at ``root``. Raises UserError if it is missing or damaged."""
    return read_result(root / project.REGISTERED, Registered, command="yoyak register")
