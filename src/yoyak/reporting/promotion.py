"""The section on promotion: the challenger against the champion, and the history of champions."""

from __future__ import annotations

from collections.abc import Sequence

from yoyak.params import Registry
from yoyak.reporting.formats import format_gain
from yoyak.reporting.view import Promotion, Table
from yoyak.tracking.decisions import Check, Entry, Verdict
from yoyak.tracking.registered import Promotion as Decision
from yoyak.tracking.registered import Registered

MAX_HISTORY = 20
ACTIONS = {"first": "first champion", "promote": "promoted", "force": "forced", "rollback": "rolled back"}


def make_section(registered: Registered, rules: Registry, gate: int) -> Promotion | None:
    """Return what became of the best model; None if `register` did not record it.

    Args:
        rules: What the gate requires.
        gate: Number of dialogues of the gate split.
    """
    decision = registered.promotion
    if decision is None:
        return None
    verdict = decision.verdict
    comparison = [_describe(decision)]
    if not gate:
        comparison.append(
            "This project has no gate split, so the gate cannot decide anything: name a file in data.files.gate, or "
            "set data.split.gate."
        )
    return Promotion(
        decision=registered.decision,
        comparison=" ".join(comparison),
        tables=_make_tables(decision, verdict, rules) if verdict else (),
        history=_make_history(decision.history) if decision.history else None,
        verdict=verdict,
        min_gain=rules.min_gain,
    )


def _describe(decision: Decision) -> str:
    verdict = decision.verdict
    title = f"{decision.name} version {decision.version}"
    if verdict is None:
        if decision.before == decision.version:
            return f"{title} was the champion already, so there was nothing to compare it with."
        if decision.after == decision.version:
            return f"{title} is the first champion, so there was nothing to compare it with."
        return f"{decision.name} has no champion yet, and only a commit's models become one."
    champion = f"the champion at that time, version {verdict.champion}"
    if verdict.outcome == "undecided":
        return f"The gate did not decide whether {title} replaces {champion}: {verdict.sentence}."
    if verdict.outcome == "failed":
        return f"{title} did not pass the gate: version {verdict.champion} stays champion."
    if decision.after == decision.version:
        return f"{title} passed the gate and replaced version {verdict.champion}."
    if decision.experiment:
        return (
            f"{title} passed the gate, but comes from {decision.experiment}, and only a commit's models are promoted: "
            f"version {verdict.champion} stays champion."
        )
    return f"{title} passed the gate, but its promotion has been undone: version {verdict.champion} stays champion."


def _make_tables(decision: Decision, verdict: Verdict, rules: Registry) -> tuple[Table, ...]:
    passed = {check.name: "yes" if check.passed else "no" for check in verdict.checks}
    enough = "yes" if verdict.dialogues >= rules.min_dialogues else "no"
    rows = [("gate dialogues", f"{verdict.dialogues:,}", f"at least {rules.min_dialogues:,}", enough)]
    if verdict.gain is not None and verdict.low is not None and verdict.high is not None:
        gain = f"{format_gain(verdict.gain)} ({format_gain(verdict.low)} to {format_gain(verdict.high)})"
        rows.append(("gain in combined ROUGE", gain, f"at least {rules.min_gain:g}", passed.get("gain", "–")))
    if verdict.p_value is not None:
        required = f"below {verdict.significance:.4f}, as challenger {verdict.attempt} of this champion"
        rows.append(("p-value, one-sided", f"{verdict.p_value:.4f}", required, passed.get("significance", "–")))
    against = f"Version {decision.version} against version {verdict.champion} on the gate split"
    tables = [Table(title=against, columns=("", "measured", "required", "passed"), rows=tuple(rows))]
    further = tuple(
        (check.name.replace("_", " ").replace(".", ": "), _describe_check(check), passed[check.name])
        for check in verdict.checks
        if check.name not in ("gain", "significance")
    )
    if further:
        tables.append(Table(title="Further checks of the gate", columns=("check", "finding", "passed"), rows=further))
    return tuple(tables)


def _describe_check(check: Check) -> str:
    # A slice's sentence begins with its gain, which a table would align as a number.
    return f"gain {check.sentence}" if check.name.startswith("slice.") else check.sentence


def _make_history(entries: Sequence[Entry]) -> Table:
    rows = [
        (
            entry.when[:16].replace("T", " "),
            ACTIONS.get(entry.action, entry.action) + ("" if entry.valid else " (void: another was faster)"),
            f"{entry.source or '–'} → {entry.target}",
            entry.who or "–",
            entry.commit[:7] or "–",
            entry.reason or "–",
        )
        for entry in reversed(entries[-MAX_HISTORY:])
    ]
    columns = ("when (UTC)", "decision", "version", "who", "commit", "why")
    return Table(title="Champions so far", columns=columns, rows=tuple(rows))
