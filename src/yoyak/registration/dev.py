"""The dev set of the pipeline, which champions and challengers are compared on."""

from __future__ import annotations

from dataclasses import dataclass

from yoyak import project
from yoyak.data.records import Dialogue, read_jsonl
from yoyak.tracking import lineage


@dataclass(frozen=True, slots=True, kw_only=True)
class DevSet:
    """The dev dialogues and their version."""

    rows: tuple[Dialogue, ...]
    md5: str

    @property
    def example(self) -> str:
        """A dialogue that a logged model carries as its input example."""
        return self.rows[0].dialogue


def read_dev() -> DevSet:
    """Read the prepared dev set."""
    return DevSet(rows=tuple(read_jsonl(project.DEV_SPLIT)), md5=lineage.digest(project.DEV_SPLIT))
