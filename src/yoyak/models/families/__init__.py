"""Model families, each defined completely in one file. docs/develop.md explains how to add one."""

from __future__ import annotations

from functools import cache
from pkgutil import resolve_name
from typing import Protocol

# Must come first: yoyak.params builds a union of the families' member classes, which import this package.
import yoyak.params  # noqa: F401
from yoyak.errors import UserError, nearest
from yoyak.models.families.base import Family, TrainedFamily
from yoyak.params.members import FAMILIES


class HasFamily(Protocol):
    """Anything with a family: a member of params.yaml, or the spec of a saved model."""

    @property
    def family(self) -> str:
        """A name of `FAMILIES`."""


@cache
def get_family(name: str) -> Family:
    """Return a family by name; UserError with the valid names if there is none."""
    if name not in FAMILIES:
        raise UserError(f"There is no family '{name}'{nearest(name, FAMILIES)}.")
    family: Family = resolve_name(FAMILIES[name])()
    return family


def all_families() -> list[Family]:
    """Return all families."""
    return [get_family(name) for name in FAMILIES]


def family_of(subject: HasFamily) -> TrainedFamily:
    """Return the family of a member or saved model; UserError if that family has no local weights."""
    family = get_family(subject.family)
    if not isinstance(family, TrainedFamily):
        raise UserError(f"Family '{family.name}' has no weights of its own to train, load or export.")
    return family
