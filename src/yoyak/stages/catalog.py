"""yoyak catalog: the checkpoints that have a short name."""

from __future__ import annotations

import json as json_format
import sys
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from yoyak.errors import UserError, nearest
from yoyak.stages.arguments import AsJson

if TYPE_CHECKING:
    from yoyak.models.catalog import Entry, Recommendation


def run(
    name: Annotated[str | None, Parameter(help="Only this checkpoint, with a member for params.yaml.")] = None,
    /,
    *,
    memory: Annotated[
        float, Parameter(validator=Number(gt=0), help="GPU memory in GB that the recommended batch is for.")
    ] = 16.0,
    json: AsJson = False,
) -> None:
    """List the checkpoints with short names; for one, also print a member that trains it.

    Any other name on the Hugging Face Hub or folder below pretrained/ works as a checkpoint too.
    """
    from yoyak.models.catalog import entries, find, recommend

    catalog = dict(entries())
    if name is not None:
        known = find(name)
        if known is None:
            raise UserError(f"The catalog has no '{name}'{nearest(name, catalog, 3)}.")
        catalog = {known: catalog[known]}
    if json:
        rows = [{"name": key, **entry.model_dump()} for key, entry in catalog.items()]
        print(json_format.dumps(rows, ensure_ascii=False, indent=2))
    elif name is None:
        print(_format_list(catalog))
        print("\n`yoyak catalog NAME` prints a member for params.yaml", file=sys.stderr)
    else:
        for key, entry in catalog.items():
            print(_format_entry(key, entry, recommend(entry, memory), memory))


def _format_list(catalog: dict[str, Entry]) -> str:
    titles = ("name", "family", "language", "parameters", "window", "licence", "checkpoint")
    rows = [titles] + [
        (key, entry.family, entry.language, _format_size(entry.parameters), f"{entry.window}", entry.licence,
         entry.checkpoint)
        for key, entry in catalog.items()
    ]  # fmt: skip
    widths = [max(len(row[column]) for row in rows) for column in range(len(titles))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join(lines)


def _format_entry(name: str, entry: Entry, training: Recommendation | None, memory: float) -> str:
    facts = {
        "checkpoint": entry.checkpoint,
        "revision": entry.revision or "",
        "language": entry.language,
        "parameters": _format_size(entry.parameters),
        "window": f"{entry.window} tokens",
        "licence": entry.licence,
        "prefix": json_format.dumps(entry.prefix, ensure_ascii=False) if entry.prefix else "",
        "prompt": "its chat template" if entry.chat else "",
        "LoRA": f"{entry.lora_targets}, in 4 bits" if entry.quantized else entry.lora_targets,
    }
    lines = [f"{key:<12}{value}" for key, value in facts.items() if value]
    if training is None:
        needed = "its weights in 4 bits" if entry.training.adapter else "weights, gradients and AdamW in fp32"
        return "\n".join([*lines, "", f"{entry.fixed_gb:.0f} GB hold {needed}; {memory:g} GB leave no room for a row."])
    member = {"family": entry.family, "checkpoint": name, **training.model_dump(exclude_none=True)}
    lines += ["", f"# For a GPU with {memory:g} GB", "members:", f"  {name.replace('.', '_')}:"]
    return "\n".join(
        [
            *lines,
            *(
                f"    {key}: {json_format.dumps(value) if isinstance(value, dict) else value}"
                for key, value in member.items()
            ),
        ]
    )


def _format_size(parameters: int) -> str:
    return f"{parameters / 1e9:.1f}B" if parameters >= 1e9 else f"{parameters / 1e6:.0f}M"


def _format_value(value: object) -> str:
    return json_format.dumps(value) if isinstance(value, dict) else str(value)
