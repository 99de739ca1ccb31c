"""Adding the rows of augmentation to prepared data: what it reads, and the models that it runs."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from yoyak import params, project
from yoyak.data.preparing import Prepared
from yoyak.params.augmentation import Augmentation, Rewriting


def augment_prepared(prepared: Prepared, data: params.Data, settings: Augmentation) -> Prepared:
    """Return prepared data with the rows to add to train, and what is reported of them; the splits stay as they are.

    Raises UserError if a file or a checkpoint that the settings name cannot be used.
    """
    if not settings.is_on:
        return prepared
    from yoyak.data.augmenting.pseudo import read_pseudo_labels, read_train_summaries
    from yoyak.data.augmenting.run import augment_train
    from yoyak.preparation.rewriting import check_models, rewrite_texts

    for name, method in settings.methods.items():
        if isinstance(method, Rewriting):
            check_models(name, method)
    pseudo_labels = read_pseudo_labels(data, settings.pseudo_labels)
    train_summaries = read_train_summaries(data, settings.pseudo_labels, prepared.splits[project.TRAIN])
    rewrite = partial(rewrite_texts, project.REWRITTEN)
    added, report = augment_train(prepared.splits, settings, pseudo_labels, rewrite, train_summaries)
    return replace(prepared, added=added, report={**prepared.report, "augmentation": report})
