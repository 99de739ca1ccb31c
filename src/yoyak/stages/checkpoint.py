"""yoyak checkpoint: a trained model as a checkpoint that other members start from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from yoyak.files import atomic_path

Dtype = Literal["float16", "bfloat16", "float32"]


def run(
    model: Annotated[str, Parameter(help="Folder of a trained member, such as models/bart.")],
    output: Annotated[str, Parameter(help="Folder to write, such as pretrained/mine.")],
    /,
    *,
    dtype: Annotated[Dtype, Parameter(help="What the weights are stored in.")] = "float32",
) -> None:
    """Write weights, config and tokenizer as transformers loads them, without what is Yoyak's own."""
    import torch

    from yoyak.models.families import family_of
    from yoyak.models.load import load_plain
    from yoyak.models.spec import load_spec
    from yoyak.models.tokenizers import load_tokenizer

    folder = Path(model)
    family = family_of(load_spec(folder), model)
    trained = load_plain(folder, family).to(getattr(torch, dtype))
    with atomic_path(output) as work:
        trained.save_pretrained(work, safe_serialization=True)
        load_tokenizer(folder).save_pretrained(work)
    size = sum(path.stat().st_size for path in Path(output).iterdir())
    print(f"{output}: {trained.num_parameters():,} parameters in {dtype}, {size / 1e6:.1f} MB")
