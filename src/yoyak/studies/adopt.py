"""`yoyak study adopt`: the values of a study's best trial written into params.yaml, whose comments stay."""

from __future__ import annotations

import difflib
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from yoyak import project
from yoyak.errors import UserError
from yoyak.params import PARAMS_FILE, validate
from yoyak.params.overrides import read_yaml
from yoyak.params.study_files import set_values
from yoyak.studies import files

WIDE = 4096
"""No line is wrapped that was not."""


def read_best(name: str) -> dict[str, Any]:
    """Return the values of a study's best trial; UserError if there are none that params.yaml could have."""
    path = project.STUDIES / name / files.BEST
    if not path.is_file():
        raise UserError(f"{path} is missing: run `yoyak study run {name}` first.")
    values = read_yaml(path)
    if not values:
        raise UserError(
            f"{path} has no values to adopt: the study has no single best trial, or compares what is not a value of "
            f"{PARAMS_FILE}; see studies/{name}/{files.REPORT}/report.md."
        )
    return values


def edit_params(text: str, values: Mapping[str, Any]) -> str:
    """Return the text of params.yaml with these values at their dotted keys; everything else stays as it is.

    Raises UserError if the result would not be valid, or something else would change with it.
    """
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = WIDE
    tree = yaml.load(text)
    for key, value in values.items():
        node = tree
        *parents, last = key.split(".")
        for part in parents:
            if not isinstance(node.get(part), Mapping):
                node[part] = {}
            node = node[part]
        node[last] = value
    out = io.StringIO()
    yaml.dump(tree, out)
    edited = out.getvalue()
    changed = YAML(typ="safe").load(edited)
    if changed != set_values(YAML(typ="safe").load(text), values):
        raise UserError(
            f"{PARAMS_FILE} cannot be edited, because what {' and '.join(values)} would change is shared by an anchor: "
            "write it out in each place."
        )
    validate(changed, PARAMS_FILE)
    return edited


def diff_params(before: str, after: str) -> str:
    """Return the change as a diff."""
    lines = difflib.unified_diff(
        before.splitlines(keepends=True), after.splitlines(keepends=True), PARAMS_FILE, PARAMS_FILE
    )
    return "".join(lines)


def read_params_text() -> str:
    """Return params.yaml as it is."""
    return Path(PARAMS_FILE).read_text(encoding="utf-8")
