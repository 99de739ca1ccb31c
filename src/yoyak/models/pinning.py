"""Which commit of the Hub a member's checkpoint is read at."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from yoyak.errors import UserError, first_line
from yoyak.models import catalog
from yoyak.params.members import Member, TrainedMember

COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, slots=True, kw_only=True)
class HubCheckpoint:
    """A member's checkpoint on the Hub."""

    name: str
    """On the Hub."""
    revision: str | None
    """That of the member, else that of the catalog; None is the newest commit of its main branch."""

    @property
    def is_pinned(self) -> bool:
        """Whether it is read at one commit, whatever happens on the Hub."""
        return self.revision is not None and COMMIT.fullmatch(self.revision) is not None


def hub_checkpoints(members: Mapping[str, Member]) -> dict[str, HubCheckpoint]:
    """Return the checkpoints of the members that have one on the Hub."""
    found = {}
    for member, settings in members.items():
        if not isinstance(settings, TrainedMember) or settings.checkpoint is None:
            continue
        try:
            name = catalog.checkpoint(settings.checkpoint)
        except UserError as error:
            raise UserError(f"members.{member}.checkpoint: {error}") from None
        if not catalog.is_checkpoint_folder(name):
            found[member] = HubCheckpoint(
                name=name, revision=catalog.find_revision(settings.checkpoint, settings.revision)
            )
    return found


def find_commit(name: str, revision: str | None = None) -> str:
    """Return the commit that a branch or tag of a checkpoint on the Hub has now; None is its main branch.

    Raises UserError if there is none, or the Hub cannot be asked.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError

    try:
        commit = HfApi().model_info(name, revision=revision or "main").sha
    except RevisionNotFoundError as error:
        raise UserError(no_such_revision(name, str(revision))) from error
    except RepositoryNotFoundError as error:
        raise UserError(
            f"The Hub has no model '{name}' that can be read here: check its name, or `hf auth login`."
        ) from error
    except (HfHubHTTPError, OSError, ValueError) as error:
        raise UserError(f"The Hub could not be asked for the commit of {name}: {first_line(error)}") from error
    if not commit or not COMMIT.fullmatch(commit):
        raise UserError(f"The Hub named no commit of {name}, but {commit!r}.")
    return commit


def no_such_revision(name: str, revision: str) -> str:
    """Return the sentence for a revision that a checkpoint on the Hub does not have."""
    return f"'{name}' has no commit, tag or branch '{revision}' on the Hub: `yoyak pin` finds its commit."
