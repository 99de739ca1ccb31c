"""Writing the revisions of members to a params file. Nothing else in the file changes, comments included."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from yoyak.errors import UserError
from yoyak.params.load import validate

KEY = "revision"


def set_revisions(text: str, where: str, revisions: Mapping[str, str]) -> str:
    """Return the text of a params file with these revisions of members, each after its ``checkpoint`` if it is new.

    Args:
        where: Name of the file, for errors.

    Raises UserError if a member is written in a way that cannot be edited, such as an alias of another one.
    """
    from ruamel.yaml import YAML

    tree = YAML(typ="safe", pure=True).load(text)
    # Members that are aliases of each other are one object here, and would change together.
    tree["members"] = {name: dict(values) for name, values in tree["members"].items()}
    result = text
    for member, revision in revisions.items():
        result = _set_revision(result, member, revision)
        tree["members"][member][KEY] = revision
        if YAML(typ="safe").load(result) != tree:
            raise UserError(
                f"{where}: members.{member} is written in a way that cannot be edited: write {KEY}: {revision} there."
            )
    validate(tree, where)
    return result


def _set_revision(text: str, member: str, revision: str) -> str:
    from ruamel.yaml import YAML

    node: Any = YAML().load(text)["members"][member]
    lines = text.splitlines(keepends=True)
    # Digits alone, or around an e, are a number to YAML.
    new = revision if YAML(typ="safe").load(revision) == revision else f'"{revision}"'
    if KEY in node:
        line, column = node.lc.value(KEY)
        before, rest = lines[line][:column], lines[line][column:]
        old = next((part for part in _spellings(node[KEY]) if rest.startswith(part)), "")
        lines[line] = f"{before}{new}{rest[len(old) :]}"
    elif node.fa.flow_style():
        line, column = node.lc.key("checkpoint")
        lines[line] = f"{lines[line][:column]}{KEY}: {new}, {lines[line][column:]}"
    else:
        line, column = node.lc.key("checkpoint")
        if not lines[line].endswith("\n"):
            lines[line] += "\n"
        lines.insert(line + 1, f"{' ' * column}{KEY}: {new}\n")
    return "".join(lines)


def _spellings(value: Any) -> tuple[str, ...]:
    """Return how a value may stand in the file."""
    if value is None:
        return ("null", "Null", "NULL", "~")
    return (f'"{value}"', f"'{value}'", str(value))
