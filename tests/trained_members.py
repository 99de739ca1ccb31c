"""Members of params.yaml as tests write them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from yoyak.params import Member, TrainedMember, parse_member


def parse_trained(values: Mapping[str, Any]) -> TrainedMember:
    """A member of the family that ``values`` name, which has to be one that is trained here."""
    return trained(parse_member(values))


def trained(member: Member) -> TrainedMember:
    """The same member, which has to be one that is trained here."""
    assert isinstance(member, TrainedMember)
    return member
