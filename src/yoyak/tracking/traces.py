"""Traces of the requests to a model's endpoint, in MLflow: prompt, answer, tokens and time of each, linked to its run.

    with traced(run):
        summarizer.summarize(dialogues)

Spans are made here and not by `mlflow.openai.autolog`, which would trace each try apart and everything else that the
process does with the client. No header is in them, so no key is either.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlflow.entities import LiveSpan

    from yoyak.tracking.stage_run import StageRun

SOURCE_RUN = "mlflow.sourceRun"
"""The metadata by which MLflow's UI shows a trace with its run."""
TOKENS = "mlflow.chat.tokenUsage"


class Span:
    """A request that is under way."""

    def __init__(self, span: LiveSpan | None) -> None:
        self._span = span

    def end(self, text: str, *, read: int, written: int) -> None:
        """Note the answer, and the tokens that were read and written."""
        if self._span is None:
            return
        self._span.set_attribute(
            TOKENS, {"input_tokens": read, "output_tokens": written, "total_tokens": read + written}
        )
        self._span.set_outputs({"choices": [{"message": {"role": "assistant", "content": text}}]})


class Traces:
    """Where requests are traced to: a run, or nowhere."""

    def __init__(self, run: StageRun | None = None) -> None:
        self._run = run
        self.any = False
        """Whether a request was traced."""

    @contextmanager
    def span(self, name: str, model: str, messages: Sequence[Any]) -> Iterator[Span]:
        """Trace a request for as long as the block lasts; an error that leaves it is noted in its own words."""
        if self._run is None:
            yield Span(None)
            return
        from mlflow import start_span_no_context

        self.any = True
        span = start_span_no_context(
            name,
            span_type="CHAT_MODEL",
            inputs={"model": model, "messages": list(messages)},
            metadata={SOURCE_RUN: self._run.run_id},
            experiment_id=self._run.experiment_id,
        )
        try:
            yield Span(span)
        except BaseException as error:
            span.set_attribute("error", str(error) or type(error).__name__)
            span.end(status="ERROR")
            raise
        span.end(status="OK")


_current: ContextVar[Traces | None] = ContextVar("traces", default=None)


def current_traces() -> Traces:
    """Return where requests are traced to in this thread."""
    return _current.get() or Traces()


@contextmanager
def traced(run: StageRun) -> Iterator[None]:
    """Trace the requests of the block to a run. A store that is away loses traces, never answers."""
    traces = Traces(run)
    token = _current.set(traces)
    try:
        yield
    finally:
        _current.reset(token)
        if traces.any:
            from mlflow import flush_trace_async_logging

            flush_trace_async_logging()
