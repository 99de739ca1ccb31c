"""registry/registered.json: what `register` registered last, for `release`, the report and the reader."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from yoyak import project
from yoyak.files import read_result, write_result


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredModel:
    """One version that was registered, or found to be registered already."""

    name: str
    version: int
    aliases: tuple[str, ...]
    run_id: str
    member: str
    """The member or ensemble that it is."""
    restored: bool
    """Whether its training run was rebuilt, because the tracking store had lost it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Registered:
    """All versions of one pipeline, and what became of its best model."""

    registered: tuple[RegisteredModel, ...]
    decision: str
    """Who is champion and why, in one sentence."""
    tracking_uri: str
    """Without credentials."""
    fingerprint: str
    """Of everything that decides what is registered (`registry.check.registration_fingerprint`)."""

    def find_version(self, name: str, member: str) -> int | None:
        """Return the version of a registered model that is this member; None where it is not registered there."""
        versions = (model.version for model in self.registered if (model.name, model.member) == (name, member))
        return next(versions, None)


def write_registered(registered: Registered, root: Path = Path()) -> None:
    """Write the file of the project at ``root``."""
    write_result(root / project.REGISTERED, registered)


def read_registered(root: Path = Path()) -> Registered:
    """Read the file of the project at ``root``. Raises UserError if it is missing or damaged."""
    return read_result(root / project.REGISTERED, Registered, command="yoyak register")
