"""The arguments that several verbs take: their types, what they accept and what `--help` says about them."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

MemberName = Annotated[str, Parameter(help="A name under members: in params.yaml.")]
StrategyName = Annotated[str, Parameter(name="STRATEGY", help="A name under ensemble.strategies: in params.yaml.")]
BlendName = Annotated[str, Parameter(help="A name under ensemble.models: in params.yaml.")]
ModelUri = Annotated[
    str, Parameter(help="models:/yoyak@champion, models:/yoyak-bart/3, runs:/…, a folder or a ZIP bundle.")
]
InputFile = Annotated[str, Parameter(help="CSV or JSONL file with dialogues; - is standard input.")]
ServedModel = Annotated[
    str | None,
    Parameter(
        help="models:/yoyak@champion, runs:/…, a folder or a ZIP bundle; without it the registered model to serve, "
        "else the champion."
    ),
]
Host = Annotated[str, Parameter(help="Address to listen on; 0.0.0.0 lets other machines in.")]
AllowedHosts = Annotated[
    str | None,
    Parameter(
        help="Host names by which it may be called, separated by commas, or *; by default those of this machine, "
        "and any with a --host that other machines reach."
    ),
]
Port = Annotated[int, Parameter(validator=Number(gte=0, lte=65535), help="Port to listen on; 0 is any free one.")]
Count = Annotated[int, Parameter(validator=Number(gte=1))]
Seed = Annotated[int, Parameter(help="The same seed gives the same rows.")]
VersionName = Annotated[
    str,
    Parameter(help="yoyak@champion, yoyak-bart/3 or models:/…; champion or 3 alone are of registry.name."),
]
AsJson = Annotated[bool, Parameter(name="--json", negative=(), help="Print JSON for programs.")]
