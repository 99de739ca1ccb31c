"""yoyak bundle: write a registered model as one ZIP file that `yoyak import` and `yoyak summarize` take anywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from yoyak.errors import UserError


def run(
    model: Annotated[str, Parameter(help="models:/yoyak@champion, models:/yoyak-bart/3 or runs:/….")],
    output: Annotated[str, Parameter(help="ZIP file to write.")],
    /,
) -> None:
    """Write the model of an MLflow URI to a ZIP."""
    out = Path(output)
    if out.is_dir():
        raise UserError(f"{output} is a folder: name a file in it.")
    if out.suffix.lower() != ".zip":
        raise UserError(f"{output} does not end in .zip: give the file that ending so that others know what it is.")
    from yoyak.bundles.archive import write_bundle

    metadata = write_bundle(model, out)
    size = out.stat().st_size / 1e6
    print(f"{output}: {model} ({metadata.member}), {size:.1f} MB")
