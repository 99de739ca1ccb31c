"""Members of params.yaml as tests write them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from yoyak.params import TrainedMember, parse_member, require_trained


def parse_trained(values: Mapping[str, Any]) -> TrainedMember:
    """A member of the family that ``values`` name, which has to be one that is trained here."""
    return require_trained("m", parse_member(values))
