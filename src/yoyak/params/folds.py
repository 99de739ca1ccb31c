"""Adding the members of a k-fold training to a params file. Nothing else in the file changes, comments included."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from yoyak.errors import UserError, nearest
from yoyak.params.load import validate
from yoyak.params.members import TrainedMember


def fold_names(member: str, parts: int) -> list[str]:
    """Return the names of the members that hold out one part each."""
    return [f"{member}_fold{index}" for index in range(1, parts + 1)]


def add_folds(text: str, where: str, member: str, parts: int) -> str:
    """Return the text of a params file with a copy of a member for each part, after the member.

    Args:
        where: Name of the file, for errors.

    Raises UserError if there is no such member, it has a fold, is not trained, or one of the names is taken.
    """
    from ruamel.yaml import YAML

    tree = YAML(typ="safe", pure=True).load(text)
    members = validate(tree, where).members
    if member not in members:
        raise UserError(f"{where} has no member '{member}'{nearest(member, members)}.")
    settings = members[member]
    if not isinstance(settings, TrainedMember):
        raise UserError(f"{where}: members.{member} is not trained: choose another member.")
    if settings.fold is not None:
        raise UserError(f"{where}: members.{member} has a fold: name the member that it was made of.")
    names = fold_names(member, parts)
    taken = [name for name in names if name in members]
    if taken:
        raise UserError(f"{where} has a member {taken[0]} already: delete it, or leave it as it is.")
    start, end = _find_lines(text, member)
    lines = text.splitlines(keepends=True)
    before, block, after = lines[:start], lines[start:end], lines[end:]
    if not block[-1].endswith("\n"):
        block[-1] += "\n"
    copies = [
        line for index, name in enumerate(names, 1) for line in _copy(text, block, start, member, name, index, parts)
    ]
    result = "".join([*before, *block, *copies, *after])
    expected = dict(tree["members"])
    for index, name in enumerate(names, 1):
        expected[name] = {**tree["members"][member], "fold": {"index": index, "of": parts}}
    if YAML(typ="safe").load(result) != {**tree, "members": expected}:
        raise UserError(f"{where}: members.{member} is written in a way that cannot be copied: write it out in lines.")
    validate(YAML(typ="safe").load(result), where)
    return result


def _read_with_positions(text: str) -> Any:
    from ruamel.yaml import YAML

    return YAML().load(text)


def _find_lines(text: str, member: str) -> tuple[int, int]:
    """Return the first line of a member and the one after its last, without comments that follow it."""
    tree = _read_with_positions(text)
    lines = text.splitlines()
    start, column = tree["members"].lc.key(member)
    end = start + 1
    for number in range(start + 1, len(lines)):
        content = lines[number].strip()
        indent = len(lines[number]) - len(lines[number].lstrip())
        if content and not content.startswith("#") and indent <= column:
            break
        if content and (indent > column or not content.startswith("#")):
            end = number + 1
    return start, end


def _copy(text: str, block: Sequence[str], start: int, member: str, name: str, index: int, parts: int) -> list[str]:
    """Return the lines of a member under another name, with its fold as the first key."""
    tree = _read_with_positions(text)["members"]
    lines = list(block)
    fold = f"fold: {{index: {index}, of: {parts}}}"
    node = tree[member]
    # The last position first, since what is inserted moves those after it.
    if node.fa.flow_style():
        line, column = node.lc.line - start, node.lc.col
        lines[line] = f"{lines[line][: column + 1]}{fold}, {lines[line][column + 1 :]}"
    else:
        line, column = node.lc.key(next(iter(node)))
        lines.insert(line - start, f"{' ' * column}{fold}\n")
    _, column = tree.lc.key(member)
    lines[0] = lines[0][:column] + lines[0][column:].replace(member, name, 1)
    return lines
