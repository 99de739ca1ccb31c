"""Reading files of cases: those that come with Yoyak, and a project's own in cases/."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, Field, ValidationError, model_validator

from yoyak import project
from yoyak.errors import UserError, nearest
from yoyak.params.base import Name, Section
from yoyak.params.overrides import read_yaml

SHIPPED = Path(__file__).parent / "cases"
Text = Annotated[str, Field(min_length=1)]
Turn = Annotated[int, Field(ge=1)]


class Case(Section):
    """One dialogue, and what is to be tried with it."""

    name: Name
    dialogue: Text
    """Turns, one per line, each ``speaker: words``."""
    reorder: tuple[Turn, Turn] | None = None
    """Two turns, counted from 1, that may change places without a change of meaning."""
    swap: bool = True
    """Whether the first two speakers may change their names."""
    mentions: tuple[Text, ...] = ()
    """Masks or words that any good summary has."""
    never: tuple[Text, ...] = ()
    """Words that no good summary has, such as a value that was corrected."""

    @property
    def turns(self) -> list[str]:
        """The dialogue's lines."""
        return self.dialogue.strip().split("\n")

    @property
    def speakers(self) -> list[str]:
        """The distinct speakers in the order in which they speak."""
        return list(dict.fromkeys(turn.partition(":")[0] for turn in self.turns))

    @model_validator(mode="after")
    def _is_complete(self) -> Case:
        for number, turn in enumerate(self.turns, 1):
            speaker, _, words = turn.partition(":")
            if not speaker.strip() or not words.strip():
                raise ValueError(f"dialogue: turn {number} must be 'speaker: words', not '{turn[:40]}'")
        if self.reorder and (max(self.reorder) > len(self.turns) or self.reorder[0] == self.reorder[1]):
            raise ValueError(f"reorder: must name two of the {len(self.turns)} turns, not {list(self.reorder)}")
        return self


class CaseFile(Section):
    """A file of cases."""

    language: Literal["ko", "en"]
    names: tuple[Text, ...] = ()
    """A vocabulary of names: one of them that a summary has and its dialogue has not is made up."""
    empty: tuple[str, ...] = ()
    """Dialogues without words, which are to be refused."""
    fillers: tuple[Text, ...] = ()
    """Words that say nothing, to be inserted as turns."""
    dialogues: Annotated[tuple[Case, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _names_are_unique(self) -> CaseFile:
        names = [case.name for case in self.dialogues]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice:
            raise ValueError(f"dialogues: two are named '{twice}'")
        return self


def load_cases(names: Sequence[str], root: Path | None = None) -> dict[str, CaseFile]:
    """Return files of cases by name; ``root`` is the project's folder, by default the current one.

    Raises UserError, which names file, case and key, where a file is missing or not valid.
    """
    own = (root or Path()) / project.CASES
    files = {path.stem: path for folder in (SHIPPED, own) for path in sorted(folder.glob("*.yaml"))}
    for name in names:
        if name not in files:
            raise UserError(
                f"behaviour.cases: there are no cases named '{name}'{nearest(name, files)}, and no "
                f"{project.CASES / name}.yaml."
            )
    return {name: read_cases(files[name]) for name in dict.fromkeys(names)}


def read_cases(path: Path) -> CaseFile:
    """Read one file of cases."""
    tree = read_yaml(path)
    try:
        return CaseFile.model_validate(tree)
    except ValidationError as error:
        raise UserError(f"{path}: {_describe(error, tree)}.") from error


def _describe(error: ValidationError, tree: dict[str, Any]) -> str:
    """Return what is wrong first; an unknown key is often the misspelling of a missing one."""
    errors = error.errors(include_url=False)
    first = next((entry for entry in errors if entry["type"] == "extra_forbidden"), errors[0])
    where, location = "the file", [part for part in first["loc"] if not isinstance(part, str) or "[" not in part]
    kind: type[BaseModel] = CaseFile
    if location[:1] == ["dialogues"] and len(location) > 1:
        number, *location = location[1:]
        case = tree["dialogues"][number]
        name = case.get("name") if isinstance(case, dict) else None
        where, kind = f"case '{name}'" if name else f"case {int(number) + 1}", Case
    key = ".".join(str(part + 1) if isinstance(part, int) else part for part in location)
    if first["type"] == "extra_forbidden":
        return f"{where} has no key '{key}'{nearest(key, kind.model_fields)}"
    message = first["msg"].removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    if first["type"] == "literal_error":
        valid = get_args(kind.model_fields[key].annotation)
        return f"{where}: {key} must be one of {', '.join(valid)}{nearest(str(first['input']), valid)}"
    value = "" if first["type"] in ("missing", "value_error") else f", not {str(first['input'])[:60]!r}"
    return f"{where}: {f'{key}: ' if key else ''}{message}{value}"
