"""Importing transformers in less time."""

from __future__ import annotations


def import_transformers() -> None:
    """Import what trains and generates with transformers, but not scikit-learn.

    transformers imports it where it is installed, and with it scipy.stats, for a kind of assisted generation and for
    metrics that nothing here uses: an eighth of the time until a model can be loaded.
    """
    from transformers import utils

    is_available = utils.is_sklearn_available
    utils.is_sklearn_available = lambda: False
    try:
        import transformers.data
        import transformers.generation.utils  # noqa: F401
    finally:
        utils.is_sklearn_available = is_available
