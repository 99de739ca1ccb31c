"""How far a study is: one live view on a terminal, one line for each trial that ends elsewhere."""

from __future__ import annotations

import statistics
import sys
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from yoyak.studies import records

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

    from yoyak.studies.processes import WorkerProcess

SHOWN_VALUES = 4


@dataclass(kw_only=True)
class Progress:
    """What is shown while a study runs."""

    name: str
    target: int | None
    workers: int
    _live: Any = None
    _seconds: list[float] = field(default_factory=list)
    """Of the trials that have ended."""

    def __enter__(self) -> Progress:
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.live import Live

            self._live = Live(console=Console(stderr=True), refresh_per_second=4, transient=True)
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def ended(self, event: Mapping[str, Any]) -> None:
        """Print the line of a trial that has ended."""
        if event["state"] in ("COMPLETE", "PRUNED"):
            self._seconds.append(event["seconds"])
        values = ", ".join(f"{value:.4f}" for value in event.get("values") or ())
        words = [f"{self.name} {event['number']}: {event['state'].lower()}", values, f"({event['seconds']:.1f} s)"]
        self.say(" ".join([word for word in words if word] + ([event["reason"]] if event.get("reason") else [])))

    def say(self, line: str) -> None:
        """Print a line, above the view if there is one."""
        if self._live is not None:
            self._live.console.print(line, markup=False, highlight=False)
        else:
            print(line, file=sys.stderr, flush=True)

    def show(self, study: optuna.Study, trials: Iterable[FrozenTrial], workers: Iterable[WorkerProcess]) -> None:
        """Refresh the view."""
        if self._live is None:
            return
        from rich.text import Text

        self._live.update(Text("\n".join(describe(self, study, list(trials), workers))))


def describe(
    progress: Progress, study: optuna.Study, trials: list[FrozenTrial], workers: Iterable[WorkerProcess]
) -> list[str]:
    """Return the lines of the view."""
    states = Counter(records.state_name(trial) for trial in trials)
    ended = states["COMPLETE"] + states["PRUNED"]
    counts = ", ".join(f"{count} {state.lower()}" for state, count in sorted(states.items()))
    of = f" of {progress.target}" if progress.target else ""
    lines = [f"{progress.name}: {ended}{of} trials ended ({counts or 'none yet'})"]
    for best in records.best_trials(study, trials, 1):
        shown = ", ".join(
            f"{key.rpartition('.')[2]}={value}" for key, value in list(best.params.items())[:SHOWN_VALUES]
        )
        lines.append(f"best: {', '.join(f'{value:.4f}' for value in best.values)} (trial {best.number}: {shown})")
    for worker in workers:
        doing = "starting" if not worker.ready else "waiting"
        if worker.trial is not None:
            step = f", {worker.step[1]:.4f} at step {worker.step[0]}" if worker.step else ""
            doing = f"trial {worker.trial}, {time.monotonic() - worker.began:.0f} s{step}"
        lines.append(f"worker {worker.index}: {doing}")
    left = estimate(progress, ended)
    if left is not None:
        lines.append(f"ends in about {left / 60:.0f} min" if left >= 90 else f"ends in about {left:.0f} s")
    return lines


def estimate(progress: Progress, ended: int) -> float | None:
    """Return the seconds until the last trial ends, from the median of those that have; None if that is not known."""
    if progress.target is None or not progress._seconds:
        return None
    return statistics.median(progress._seconds) * max(0, progress.target - ended) / progress.workers
