"""yoyak base <member>: gather what a member's training starts from, so that DVC retrains for no other reason."""

from __future__ import annotations

import shutil
from pathlib import Path

from yoyak import params, project
from yoyak.errors import UserError
from yoyak.failures import write_failure
from yoyak.files import atomic_path, write_json
from yoyak.params.stages import BaseParams
from yoyak.params.train import TrainPolicy
from yoyak.stages.arguments import MemberName


def run(member: MemberName, /) -> None:
    """Write bases/<member>/: the member's own tokenizer, and its checkpoint with a digest where that is a folder.

    A folder must be below pretrained/, which DVC watches; symbolic links do not count, since DVC does not follow them.
    A member that is not trained starts from its params, and from the files that they name.
    """
    settings = params.load(BaseParams, key=member).member
    folder = project.base_folder(member)
    try:
        with atomic_path(folder) as work:
            work.mkdir()
            if isinstance(settings, params.TrainedMember):
                _collect(member, settings, work)
            else:
                from yoyak.models.families import get_family

                get_family(settings.family).collect(member, settings, work)
    except UserError as error:
        if params.load(TrainPolicy).train.on_error == "stop":
            raise
        write_failure(folder, str(error))


def _collect(member: str, settings: params.TrainedMember, out: Path) -> None:
    from yoyak.models import catalog
    from yoyak.tracking import lineage

    name = settings.checkpoint
    folder = Path(name) if name and catalog.is_checkpoint_folder(name) else None
    if folder is not None and not folder.resolve().is_relative_to(project.PRETRAINED.resolve()):
        raise UserError(
            f"members.{member}.checkpoint is the folder '{name}', and DVC would not notice when it changes: "
            f"copy it below {project.PRETRAINED}/."
        )
    if name:
        try:
            catalog.checkpoint(name)
        except UserError as error:
            raise UserError(f"members.{member}.checkpoint: {error}") from None
    if settings.tokenizer:
        shutil.copytree(project.TOKENIZERS / settings.tokenizer, out / project.BASE_TOKENIZER)
    digest = lineage.digest(folder) if folder is not None else None
    revision = catalog.find_revision(name, settings.revision) if name else None
    write_json(out / "checkpoint.json", {"checkpoint": name, "revision": revision, "md5": digest})
