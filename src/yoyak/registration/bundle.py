"""Registering a bundle: a run of stage ``import``, its model, and a version. A broken bundle is never registered."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from yoyak.bundles.archive import METADATA, PARAMS, Bundle, open_bundle
from yoyak.bundles.metadata import is_mlflow_key
from yoyak.bundles.training_params import loggable_params
from yoyak.errors import UserError
from yoyak.models.spec import read_architecture
from yoyak.registration.packaging import log_member
from yoyak.registry import promotion
from yoyak.registry.lineage_record import file_tags
from yoyak.registry.versions import Version
from yoyak.tracking import runs

EXAMPLE = "#Person1#: 내일 세 시에 만날까요?\n#Person2#: 아니요, 네 시가 좋아요."
SOURCE, SHA256 = "source", "bundle.sha256"
"""Tags of a version that came as a bundle."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """A bundle's version in the registry."""

    version: Version
    new: bool
    """Whether this call created it."""


def register_bundle(path: Path, *, registry_name: str, name: str | None = None) -> Imported:
    """Return the version of ``name``, by default ``<registry_name>-<member>``, that is this bundle.

    The first time the model is loaded and tried, then logged with a run that has the bundle's params and metrics and,
    as ``imported.…``, its lineage. Raises UserError for a bundle that cannot be read, loaded or used.
    """
    bundle = open_bundle(path)
    member = bundle.spec.member
    name = name or f"{registry_name}-{member}"
    existing = promotion.find_usable(name, SHA256, bundle.sha256)
    if existing is not None:
        return Imported(version=existing, new=False)
    _check_usable(bundle)
    lineage = bundle.metadata.lineage.tags()
    with runs.stage_run(
        "import", member=member, params=loggable_params(bundle.params), inputs={path.name: bundle.sha256}
    ) as run:
        run.set_tags(lineage)
        run.log_metrics({key: value for key, value in bundle.metadata.metrics.items() if is_mlflow_key(key)})
        for file in (PARAMS, METADATA):
            if (bundle.folder.parent / file).is_file():
                run.log_artifact(bundle.folder.parent / file)
        model_id = log_member(run, bundle.folder, example=EXAMPLE)
        tags = {
            SOURCE: "bundle",
            SHA256: bundle.sha256,
            "member": member,
            "architecture": read_architecture(bundle.folder),
            **lineage,
            **file_tags(bundle.folder),
        }
        version = promotion.register_version(name, model_id=model_id, run_id=run.run_id, tags=tags)
        version = promotion.settle_candidate(version, None, seen=0)
    return Imported(version=version, new=True)


def _check_usable(bundle: Bundle) -> None:
    """Load the model and let it summarize one dialogue. Raises UserError where that fails."""
    from yoyak.decoding.torch import TorchSummarizer
    from yoyak.models.window import find_positions, window_problem

    where = str(bundle.path)
    try:
        summarizer = TorchSummarizer.load(bundle.folder, device="cpu")
    except UserError as error:
        raise UserError(str(error).replace(str(bundle.folder), where)) from error
    size = summarizer.model.get_input_embeddings().num_embeddings
    if len(summarizer.tokenizer) > size:
        raise UserError(f"{where}: the tokenizer has {len(summarizer.tokenizer)} tokens, the model only {size}.")
    problem = window_problem(
        summarizer.spec,
        find_positions(summarizer.model.config.to_dict()),
        summarizer.generation.max_new_tokens,
    )
    if problem:
        raise UserError(f"{where}: max_input_tokens and max_new_tokens of its yoyak.json need {problem}.")
    tokens = min(16, summarizer.generation.max_new_tokens)
    settings = summarizer.generation.model_copy(
        update={"max_new_tokens": tokens, "min_new_tokens": min(tokens, summarizer.generation.min_new_tokens)}
    )
    try:
        [candidates] = summarizer.summarize([EXAMPLE], generation=settings).candidates
    except (RuntimeError, IndexError, ValueError, KeyError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{where} cannot summarize a dialogue ({reason}): it is not registered.") from error
    if not all(math.isfinite(candidate.score) for candidate in candidates):
        raise UserError(f"{where} gives scores that are not numbers: its weights are damaged.")
