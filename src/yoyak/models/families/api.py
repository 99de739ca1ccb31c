"""Chat endpoints with OpenAI's interface: Upstage Solar, OpenAI, vLLM, llama.cpp, a server of Yoyak.

Nothing is trained. `base` keeps the prompt, `train` writes yoyak.json with all that decides an answer, and the examples
to choose from for few-shot prompts; `predict` asks.
"""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from yoyak import project
from yoyak.errors import UserError, nearest
from yoyak.models.families.base import Family, Finding
from yoyak.params.endpoint import Endpoint
from yoyak.params.members import Member

if TYPE_CHECKING:
    from yoyak.models.prompts import Prompt
    from yoyak.models.spec import ModelSpec

PROMPT_FILE = "prompt.yaml"


class ApiMember(Member, Endpoint):
    """A model behind a chat endpoint."""

    family: Literal["api"]

    @property
    def sample_size(self) -> int | None:
        """How many dialogues of each split it summarizes."""
        return self.max_samples


class Api(Family):
    """Chat endpoints."""

    name = "api"
    member_class = ApiMember
    summarizer = "yoyak.decoding.endpoint.summarizer:EndpointSummarizer"
    requirements = ("openai", "jinja2")

    def make_spec(self, name: str, member: Any) -> ModelSpec:
        """Return the spec without the prompt, which is in a file."""
        from yoyak.models.spec import ModelSpec

        settings = member.model_dump(mode="json", exclude={"family"})
        return ModelSpec(member=name, family=self.name, max_samples=member.sample_size, options={"endpoint": settings})

    def collect(self, name: str, member: Any, folder: Path) -> None:
        """Write the params and the prompt."""
        super().collect(name, member, folder)
        shutil.copyfile(_find_prompt(name, member)[0], folder / PROMPT_FILE)

    def assemble(
        self, name: str, member: Any, base: Path, examples: Iterable[tuple[str, str]], seed: int, out: Path
    ) -> None:
        """Write the spec with the prompt, and the pool of examples if the prompt shows any."""
        from yoyak.models.prompts import EXAMPLES_FILE, read_prompt
        from yoyak.models.spec import save_spec

        prompt = read_prompt(base / PROMPT_FILE)
        spec = self.make_spec(name, member)
        added = {"prompt": asdict(prompt), "prompt_digest": prompt.digest, "seed": seed}
        save_spec(out, replace(spec, options={**spec.options, **added}))
        if member.few_shot is None:
            return
        rows = list(examples)
        if len(rows) < member.few_shot.examples:
            raise UserError(
                f"members.{name}.few_shot.examples is {member.few_shot.examples}, but train has only {len(rows)} "
                "dialogues: lower it."
            )
        chosen = sorted(random.Random(seed).sample(range(len(rows)), min(member.few_shot.pool, len(rows))))
        with (out / EXAMPLES_FILE).open("w", encoding="utf-8", newline="\n") as file:
            for dialogue, summary in (rows[index] for index in chosen):
                file.write(json.dumps({"dialogue": dialogue, "summary": summary}, ensure_ascii=False) + "\n")

    def check(self, name: str, member: Any) -> Iterator[Finding]:
        """Yield whether the prompt, the key, the endpoint and the budget are as they must be; no token is spent."""
        from yoyak.models.endpoint import check_endpoint, read_key

        where = f"members.{name}"
        _, prompt = _find_prompt(name, member)
        yield "prompt", "ok", f"{member.prompt}, {prompt.digest}"
        read_key(member, where)
        if member.api_key_env and member.base_url.startswith("http:") and not member.is_local:
            yield "key", "warning", f"{member.api_key_env} goes over the network without TLS: write https"
        else:
            yield "key", "ok", f"in {member.api_key_env}" if member.api_key_env else "none"
        yield "endpoint", *check_endpoint(member, where)
        if member.budget is not None:
            yield "budget", "ok", f"{member.budget:g} in all"
        elif member.is_local:
            yield "budget", "ok", "none: it runs here"
        else:
            yield "budget", "warning", "none: nothing limits what it costs; set price and budget"

    def version_tags(self, spec: ModelSpec) -> dict[str, str]:
        """Return what a registered version says of the endpoint, without which it cannot be served."""
        endpoint = spec.options["endpoint"]
        return {
            "variant": "endpoint",
            "endpoint.base_url": endpoint["base_url"],
            "endpoint.model": endpoint["model"],
            "endpoint.api_key_env": endpoint["api_key_env"] or "",
            "endpoint.prompt_digest": spec.options["prompt_digest"],
        }


def _find_prompt(name: str, member: Endpoint) -> tuple[Path, Prompt]:
    """Return a member's prompt and its file. Raises UserError if it is not below prompts/, which DVC watches."""
    from yoyak.models.prompts import read_prompt

    path = Path(member.prompt)
    files = sorted(file.as_posix() for file in project.PROMPTS.glob("**/*.yaml"))
    if not path.resolve().is_relative_to(project.PROMPTS.resolve()):
        raise UserError(
            f"members.{name}.prompt is '{member.prompt}', and DVC would not notice when it changes: put it below "
            f"{project.PROMPTS}/."
        )
    if not path.is_file():
        raise UserError(f"members.{name}.prompt: there is no file '{member.prompt}'{nearest(member.prompt, files)}.")
    return path, read_prompt(path)
