"""From the name of a model, including a bundle's ZIP file, to its Hugging Face folder on this disk."""

from __future__ import annotations

from pathlib import Path

from yoyak.registry import resolve


def resolve_model(uri: str) -> Path:
    """Return the folder with the model's config.json, weights and tokenizer.

    ``uri`` is a ZIP file that `yoyak bundle` wrote, unpacked into the user's cache folder the first time, or anything
    that `registry.resolve.resolve_model` takes. Raises UserError that names the nearest model or alias, or says what
    is wrong with the bundle.
    """
    if Path(uri).is_file():
        from yoyak.bundles.archive import open_bundle

        return open_bundle(Path(uri)).folder
    return resolve.resolve_model(uri)
