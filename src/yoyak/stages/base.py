"""yoyak base <member>: gather what a member's training starts from, so that DVC retrains for no other reason."""

from __future__ import annotations

import shutil
from pathlib import Path

from yoyak import params, project
from yoyak.errors import UserError, nearest
from yoyak.files import atomic_path, write_json
from yoyak.params.stages import BaseParams
from yoyak.stages.arguments import MemberName


def run(member: MemberName, /) -> None:
    """Write bases/<member>/: the member's own tokenizer, and its checkpoint with a digest where that is a folder.

    A folder must be below pretrained/, which DVC watches; symbolic links do not count, since DVC does not follow them.
    A member that is not trained starts from its params alone.
    """
    settings = params.load(BaseParams, key=member).member
    with atomic_path(project.base_folder(member)) as work:
        work.mkdir()
        if isinstance(settings, params.TrainedMember):
            _collect(member, settings, work)
        else:
            write_json(work / "params.json", settings.model_dump(mode="json"))


def _collect(member: str, settings: params.TrainedMember, out: Path) -> None:
    from yoyak.models import catalog
    from yoyak.tracking import lineage

    name = settings.checkpoint
    folder = Path(name) if name and catalog.is_checkpoint_folder(name) else None
    if name and folder is None and Path(name).parts[0] == project.PRETRAINED.name:
        # It looks like a name on the Hub, which would only be known to be wrong once training has begun.
        folders = [path.as_posix() for path in project.PRETRAINED.glob("*") if catalog.is_checkpoint_folder(str(path))]
        raise UserError(
            f"members.{member}.checkpoint: {name} has neither a config.json nor a .gguf file{nearest(name, folders)}."
        )
    if folder is not None and not folder.resolve().is_relative_to(project.PRETRAINED.resolve()):
        raise UserError(
            f"members.{member}.checkpoint is the folder '{name}', and DVC would not notice when it changes: "
            f"copy it below {project.PRETRAINED}/."
        )
    if name:
        catalog.checkpoint(name)
    if settings.tokenizer:
        shutil.copytree(project.TOKENIZERS / settings.tokenizer, out / project.BASE_TOKENIZER)
    digest = lineage.digest(folder) if folder is not None else None
    write_json(out / "checkpoint.json", {"checkpoint": name, "revision": settings.revision, "md5": digest})
