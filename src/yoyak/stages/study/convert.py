"""yoyak study convert: a sweep of Weights & Biases as a study."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from yoyak.files import write_text


def run(
    sweep: Annotated[str, Parameter(help="A sweep's YAML file.")],
    /,
    *,
    member: Annotated[str, Parameter(help="The member of params.yaml that is studied.")],
    output: Annotated[str, Parameter(help="A file in studies/; - is standard output.")] = "-",
) -> None:
    """Print the study that tries what a sweep's program, method, metric and parameters say."""
    from yoyak.studies.sweeps import convert_sweep

    text = convert_sweep(Path(sweep), member)
    if output == "-":
        print(text, end="")
    else:
        write_text(output, text)
        print(f"{output} written")
