"""Importing transformers in less time."""

from __future__ import annotations

from yoyak.process import without_garbage_collection, without_packages


def import_trainer() -> None:
    """Import transformers' Trainer, which imports peft, but not bitsandbytes: another sixth.

    peft imports it for condition numbers of quantized weights, which nothing here asks for. Loading in 4 bits, and
    optimizers of 8 bits, import it when they need it.
    """
    import_transformers()
    with without_garbage_collection(), without_packages("bitsandbytes"):
        import transformers.trainer  # noqa: F401


def import_transformers() -> None:
    """Import what trains and generates with transformers, but neither scikit-learn nor scipy.

    transformers imports them where they are installed, for a kind of assisted generation, for metrics and for losses of
    object detection, which nothing here uses: about a sixth of the time until a model can be loaded.
    """
    # accelerate imports AWS's client to ask about training there.
    with without_garbage_collection(), without_packages("boto3"):
        _import_without_unused()


def _import_without_unused() -> None:
    from transformers import utils

    available = {name: getattr(utils, name) for name in ("is_scipy_available", "is_sklearn_available")}
    for name in available:
        setattr(utils, name, lambda: False)
    try:
        import transformers.data
        import transformers.generation.utils
        import transformers.loss.loss_utils  # noqa: F401
    finally:
        for name, is_available in available.items():
            setattr(utils, name, is_available)
