"""Registering the exported model, and moving the alias `serving` to it or to the same model in fp32.

bench/serving.json holds the decision of the gate.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from yoyak import project
from yoyak.bench.results import ServingDecision
from yoyak.data.records import read_jsonl
from yoyak.errors import UserError
from yoyak.files import read_result
from yoyak.params import Generation, Serving
from yoyak.params.stages import ReleaseParams
from yoyak.registration.descriptions import describe_export
from yoyak.registration.packaging import log_exported, log_member, model_identity, with_generation
from yoyak.registry import deployment, promotion
from yoyak.registry.lineage_record import is_recorded, version_tags
from yoyak.registry.versions import Version
from yoyak.serving.saving import with_serving
from yoyak.tracking import lineage, runs
from yoyak.tracking.registered import read_registered
from yoyak.tracking.stage_run import flatten

SOURCE_MD5 = "dvc.models_md5"
"""Tag of a version: DVC's md5 of a model in fp32."""
VARIANTS = {"int8": "int8", "int4": "int4", "fp32": "onnx_fp32"}
DECISION_FILE = project.BENCH / "serving.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """The result of `release`."""

    exported: Version
    before: Version | None
    """The version that was served before; None where none was."""
    after: Version
    """The version that is served now."""
    sentences: tuple[str, ...]
    """The verdicts of the gate."""

    def describe(self) -> list[str]:
        """Return lines to print."""
        tags = self.exported.tags
        served = f"served: {self.after.name} version {self.after.version} ({self.after.tags.get('variant', 'fp32')})"
        if self.before and self.before.version != self.after.version:
            served += f", before it version {self.before.version}"
        return [
            f"{self.exported.name} version {self.exported.version} is {tags['variant']} of {tags['member']}",
            *self.sentences,
            served,
        ]


def release(params: ReleaseParams, fingerprint: str) -> Release:
    """Register the exported model and move the alias; doing it twice changes nothing.

    ``fingerprint`` is left as a tag once all is done. Raises UserError where the bench has not run, or has measured
    another export.
    """
    name, generation = params.registry_name, params.generation
    decision = read_result(DECISION_FILE, ServingDecision, command="yoyak bench")
    folder = project.export_folder(decision.model)
    if lineage.digest(folder) != decision.export_md5:
        raise UserError(f"{DECISION_FILE} was measured with another export than {folder}: run `yoyak bench`.")
    serving = params.serving
    if serving.batch_size == "bench":
        serving = serving.model_copy(update={"batch_size": decision.batch_size})
    example = read_jsonl(project.DEV_SPLIT)[0].dialogue

    source = _register_source(name, decision.model, generation, example)
    exported = _register_exported(name, folder, decision, source, generation, serving, example)

    before = deployment.serving_version(name)
    if before is None:
        # Undoing the first release then falls back to the model that would be served without an export.
        deployment.serve(source, release=fingerprint)
    chosen = exported if decision.gate.passed else source
    deployment.serve(chosen, release=fingerprint, gate=decision.gate.tags())
    after = deployment.serving_version(name)
    assert after, "a version was just given the alias"
    sentences = tuple(check.sentence for check in decision.gate.checks)
    describe_export(exported, source, passed=decision.gate.passed, sentences=sentences)
    deployment.tag_release(exported, fingerprint)
    return Release(exported=exported, before=before, after=after, sentences=sentences)


def _register_exported(
    name: str,
    folder: Path,
    decision: ServingDecision,
    source: Version,
    generation: Generation,
    serving: Serving,
    example: str,
) -> Version:
    """Return the exported model's version, with the bench's figures as tags; its model is logged if it is not yet."""
    settings = {"generation": generation.model_dump(mode="json"), "serving": serving.model_dump(mode="json")}
    identity = model_identity(decision.export_md5, settings)
    existing = promotion.find_usable(name, promotion.IDENTITY, identity)
    if existing is not None:
        model_id, run_id = existing.model_id, existing.run_id
    else:
        inputs = {folder.as_posix(): decision.export_md5}
        with runs.stage_run("release", member=decision.model, params=settings, inputs=inputs) as run:
            with with_generation(folder, generation) as view:
                model_id = log_exported(run, view, serving=serving, example=example)
            run_id = run.run_id
    origin: dict[str, str] = {}
    if not is_recorded(existing):
        with with_generation(folder, generation) as view, with_serving(view, serving) as served:
            origin = version_tags(run_id, served)
    figures = {key: value for key, value in asdict(decision.figures).items() if value is not None}
    tags = {
        "variant": VARIANTS[decision.precision],
        "member": decision.model,
        **{key: value for key, value in source.tags.items() if key == "architecture"},
        "git.commit": lineage.git().commit or "none",
        "source.version": f"{source.name}/{source.version}",
        "source.run_id": source.run_id,
        promotion.IDENTITY: identity,
        **origin,
        **flatten({"bench": figures, "gate": decision.gate.tags(), "serving": serving}),
        promotion.DEV_SCORE: str(decision.gate.rouge.comparison.exported),
    }
    experiment = source.tags.get(promotion.EXPERIMENT, "")
    return promotion.register_version(name, model_id=model_id, run_id=run_id, tags=tags, experiment=experiment)


def _register_source(name: str, model: str, generation: Generation, example: str) -> Version:
    """Return the version of ``name`` that is the same model in torch, which is served if the gate fails.

    It is the one that `register` created; a member that was not the best has one under its own name only, whose model
    gets a version here too. A soup that `register` did not register is logged here.
    """
    registered = read_registered()
    version = registered.find_version(name, model)
    if version is not None:
        return deployment.get_version(name, version)
    folder = project.model_folder(model)
    folder = folder if folder.is_dir() else project.soup_folder(model)
    source_md5 = lineage.digest(folder)
    tags = {"variant": "fp32", "member": model, SOURCE_MD5: source_md5}
    own_name = f"{name}-{model}"
    version = registered.find_version(own_name, model)
    if version is not None:
        own = deployment.get_version(own_name, version)
        experiment = own.tags.get(promotion.EXPERIMENT, "")
        return promotion.register_version(
            name, model_id=own.model_id, run_id=own.run_id, tags=tags, experiment=experiment
        )
    identity = model_identity(source_md5, generation)
    existing = promotion.find_usable(name, promotion.IDENTITY, identity)
    experiment = lineage.experiment_name()
    if existing is not None:
        return promotion.register_version(
            name, model_id=existing.model_id, run_id=existing.run_id, tags={}, experiment=experiment
        )
    inputs = {folder.as_posix(): source_md5}
    with runs.stage_run("release", member=model, params={"generation": generation}, inputs=inputs) as run:
        with with_generation(folder, generation) as view:
            model_id = log_member(run, view, example=example)
        run_id = run.run_id
    tags |= {"variant": "soup", promotion.IDENTITY: identity}
    return promotion.register_version(name, model_id=model_id, run_id=run_id, tags=tags, experiment=experiment)
