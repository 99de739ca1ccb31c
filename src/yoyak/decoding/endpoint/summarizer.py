"""A `Summarizer` that asks a chat endpoint. It needs the endpoint, and its key in the environment, wherever it runs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from yoyak.decoding.candidates import Candidate
from yoyak.decoding.endpoint.asking import Asker, Request, unique
from yoyak.decoding.endpoint.examples import ExamplePool
from yoyak.decoding.endpoint.store import Store, open_store, request_key
from yoyak.decoding.summarizer import Summaries, TokenUsage
from yoyak.models.endpoint import run_async
from yoyak.models.prompts import EXAMPLES_FILE, Message, Prompt
from yoyak.models.spec import ModelSpec, load_spec
from yoyak.models.steps import finish_summary
from yoyak.params import Generation
from yoyak.params.endpoint import Endpoint
from yoyak.tracking.traces import current_traces


class EndpointSummarizer:
    """Summaries by a chat endpoint, one for each dialogue; settings of a search do not apply to it."""

    new_token_limit = None

    def __init__(self, spec: ModelSpec, pool: ExamplePool | None, store: Store) -> None:
        self.generation = spec.generation
        self.name = spec.member
        self.endpoint = Endpoint(**spec.options["endpoint"])
        self.prompt = Prompt(**spec.options["prompt"])
        self.pool = pool
        self.asker = Asker(spec.member, self.endpoint, store)

    @classmethod
    def load(cls, folder: Path, device: str | None = None) -> EndpointSummarizer:
        """Load what `yoyak train` saved. Nothing is asked yet."""
        spec = load_spec(folder)
        few_shot = Endpoint(**spec.options["endpoint"]).few_shot
        pool = ExamplePool.read(folder / EXAMPLES_FILE, few_shot, spec.options["seed"]) if few_shot else None
        return cls(spec, pool, open_store())

    def summarize(
        self, dialogues: Sequence[str], *, generation: Generation | None = None, progress: bool = False
    ) -> Summaries:
        """Return the answers, those that are known without asking.

        Raises UnavailableError that says what is missing if the endpoint fails for good or the budget ends.
        """
        settings = generation or self.generation
        texts = [dialogue[: self.endpoint.max_input_chars] for dialogue in dialogues]
        requests = [self._make_request(messages) for messages in self.render(texts)]
        store = self.asker.store
        answers = store.find(request.key for request in requests)
        open_requests = [request for request in unique(requests) if request.key not in answers]
        known = len(requests) - sum(request.key not in answers for request in requests)
        tries, retries = self.asker.tries, self.asker.retries
        spent = store.spent(self.name)
        if open_requests:
            with tqdm(total=len(open_requests), desc=self.name, unit="answer", delay=1, disable=not progress) as bar:
                answers |= run_async(self.asker.ask(open_requests, bar.update, current_traces()))
        found = [answers[request.key] for request in requests]
        cut_off = sum(answer.reason == "length" for answer in found)
        cost = store.spent(self.name) - spent
        if progress:
            self._report(known, len(requests), cut_off)
        return Summaries(
            candidates=[
                [Candidate(finish_summary(answer.text, dialogue, (), settings.postprocessing), 0.0)]
                for answer, dialogue in zip(found, dialogues, strict=True)
            ],
            cut=[len(text) < len(dialogue) for text, dialogue in zip(texts, dialogues, strict=True)],
            tokens=TokenUsage(
                read=sum(answer.read for answer in found), written=sum(answer.written for answer in found)
            ),
            measures={
                "answers_known": known,
                "answers_cut_off": cut_off,
                "requests": self.asker.tries - tries,
                "retries": self.asker.retries - retries,
                "cost": cost,
            },
        )

    def render(self, dialogues: Sequence[str]) -> list[list[Message]]:
        """Return the messages that ask for the summary of each dialogue."""
        if self.pool is None:
            return [self.prompt.render(dialogue) for dialogue in dialogues]
        examples = self.pool.choose(dialogues)
        return [self.prompt.render(dialogue, shown) for dialogue, shown in zip(dialogues, examples, strict=True)]

    def _make_request(self, messages: Sequence[Message]) -> Request:
        endpoint = self.endpoint
        body: dict[str, Any] = {
            "model": endpoint.model,
            "messages": list(messages),
            endpoint.max_tokens_key: endpoint.max_tokens,
        }
        if endpoint.temperature is not None:
            body["temperature"] = endpoint.temperature
        if endpoint.extra_body:
            body["extra_body"] = endpoint.extra_body
        return Request(request_key(endpoint.base_url, body), body)

    def _report(self, known: int, total: int, cut_off: int) -> None:
        spent, budget = self.asker.store.spent(self.name), self.endpoint.budget
        parts = [f"{total} answers, {known} of them known before"]
        if self.endpoint.price:
            parts.append(f"{spent:.6g}{'' if budget is None else f' of {budget:g}'} spent in all")
        if cut_off:
            parts.append(f"{cut_off} cut off at max_tokens, {self.endpoint.max_tokens}")
        if self.asker.estimated:
            parts.append("the endpoint counts no tokens, so they are upper bounds")
        print(f"{self.name}: {'; '.join(parts)}", file=sys.stderr)
