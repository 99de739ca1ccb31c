"""Prompt templates: the texts of the messages that a chat endpoint is asked with.

A file below prompts/ has the keys ``system`` (may be missing), ``user`` and ``assistant``, each a Jinja template:

    system: 대화를 한 문장으로 요약한다.
    user: "{{ dialogue }}"
    assistant: "{{ summary }}"   # the reply to an example; this is the default

Examples are shown as earlier turns of the chat, a message by the user and one by the assistant for each; if ``system``
or ``user`` uses ``examples`` itself, only there.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from yoyak.errors import UserError, first_line, nearest

if TYPE_CHECKING:
    from jinja2.sandbox import SandboxedEnvironment

EXAMPLES_FILE = "examples.jsonl"
"""In a member's folder: the examples that its prompts choose from."""
VARIABLES = {"system": ("examples",), "user": ("dialogue", "examples"), "assistant": ("summary",)}
"""What each text may use. An example has ``dialogue`` and ``summary``."""


class Message(TypedDict):
    """A message of a chat."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Example:
    """A dialogue of the training set with its summary."""

    dialogue: str
    summary: str


@dataclass(frozen=True)
class Prompt:
    """The templates of the messages."""

    user: str
    system: str = ""
    assistant: str = "{{ summary }}"

    @property
    def digest(self) -> str:
        """The sha256 of the templates, shortened."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:16]

    def render(self, dialogue: str, examples: Sequence[Example] = ()) -> list[Message]:
        """Return the messages that ask for the summary of a dialogue."""
        messages = [Message(role="system", content=self._fill("system", examples=examples))] if self.system else []
        for example in () if self._shows_examples else examples:
            messages += [
                Message(role="user", content=self._fill("user", dialogue=example.dialogue)),
                Message(role="assistant", content=self._fill("assistant", summary=example.summary)),
            ]
        return [*messages, Message(role="user", content=self._fill("user", dialogue=dialogue, examples=examples))]

    @cached_property
    def _environment(self) -> SandboxedEnvironment:
        from jinja2 import StrictUndefined
        from jinja2.sandbox import ImmutableSandboxedEnvironment

        # A registered model brings its templates along, so they are not trusted to be this project's own.
        return ImmutableSandboxedEnvironment(undefined=StrictUndefined)

    @cached_property
    def _templates(self) -> Mapping[str, Any]:
        return {name: self._environment.from_string(text) for name, text in asdict(self).items()}

    @cached_property
    def _shows_examples(self) -> bool:
        from jinja2.meta import find_undeclared_variables

        return any(
            "examples" in find_undeclared_variables(self._environment.parse(t)) for t in (self.system, self.user)
        )

    def _fill(self, name: str, **values: object) -> str:
        return str(self._templates[name].render(**values)).strip()


def read_prompt(path: Path) -> Prompt:
    """Read a prompt's file. Raises UserError that names the file and what is wrong with it."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        value = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, YAMLError) as error:
        raise UserError(f"{path} cannot be read as a prompt: {first_line(error)}.") from error
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise UserError(f"{path} must map user, and perhaps system and assistant, to the texts of these messages.")
    unknown = next((str(key) for key in value if key not in VARIABLES), None)
    if unknown is not None:
        raise UserError(f"{path} has no key '{unknown}'{nearest(unknown, VARIABLES)}.")
    prompt = Prompt(**{"user": "", **value})
    check_prompt(prompt, path)
    return prompt


def check_prompt(prompt: Prompt, path: Path) -> None:
    """Raise UserError if a template is not valid, or does not use what it must."""
    from jinja2 import TemplateError, TemplateSyntaxError
    from jinja2.meta import find_undeclared_variables

    used: dict[str, set[str]] = {}
    for name, text in asdict(prompt).items():
        try:
            used[name] = find_undeclared_variables(prompt._environment.parse(text))
        except TemplateSyntaxError as error:
            raise UserError(f"{path}, {name}, line {error.lineno}: {error.message}.") from error
        unknown = sorted(used[name] - set(VARIABLES[name]))
        if unknown:
            raise UserError(f"{path}: {name} uses '{unknown[0]}'{nearest(unknown[0], VARIABLES[name])}.")
    for name, variable in (("user", "dialogue"), ("assistant", "summary")):
        if variable not in used[name]:
            raise UserError(f"{path}: {name} must show the {variable}: write {{{{ {variable} }}}} into it.")
    try:
        prompt.render("#Person1#: …", [Example("#Person1#: …", "…")])
    except TemplateError as error:
        raise UserError(f"{path} cannot be filled in: {first_line(error)}.") from error
