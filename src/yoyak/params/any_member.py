"""A member of any family: a union that pydantic discriminates by the key ``family``."""

from __future__ import annotations

from collections.abc import Mapping
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Annotated, Any, Union

from pydantic import Field, TypeAdapter

from yoyak.params.members import FAMILIES, Member

if TYPE_CHECKING:
    AnyMember = Member
else:
    AnyMember = Annotated[
        Union[tuple(resolve_name(path).member_class for path in FAMILIES.values())],  # noqa: UP007
        Field(discriminator="family"),
    ]


def parse_member(values: Mapping[str, Any]) -> Member:
    """Return a member of the family that ``values`` names. Raises pydantic's ValidationError."""
    member: Member = TypeAdapter(AnyMember).validate_python(dict(values))
    return member
