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


def family_of(subject: HasFamily, name: str = "the model") -> TrainedFamily:
    """Return the family of a member or saved model, which ``name`` is in the UserError if the family has no weights."""
    family = get_family(subject.family)
    if not isinstance(family, TrainedFamily):
        raise UserError(
            f"{name} is of family '{family.name}', which has no weights to export, bundle or blend: "
            "choose a member that is trained."
        )
    return family
