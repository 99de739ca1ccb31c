"""Whether the exported model is the one to serve: faster than fp32 on this machine, and as good within a bound.

Pure functions of what was measured. A condition that does not hold keeps fp32, and says so in one sentence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import comb
from statistics import median
from typing import Any

from yoyak.bench.variants import EXPORTED, FP32, NAMES
from yoyak.params.deploy import Gate


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One of the gate's conditions."""

    name: str
    passed: bool
    sentence: str
    figures: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Whether the exported model is to be served, and why."""

    passed: bool
    conditions: tuple[Condition, ...]

    def figures(self) -> dict[str, Any]:
        """Return all figures, as tags of a version."""
        found = {f"{one.name}.{key}": value for one in self.conditions for key, value in one.figures.items()}
        passed = {f"{one.name}.passed": one.passed for one in self.conditions}
        return {"passed": self.passed, **passed, **found}


def decide(
    rounds: Mapping[str, Sequence[float]],
    quality: Mapping[str, Any],
    settings: Gate,
    *,
    batch_size: int,
    beams: int,
) -> Decision:
    """Decide from the speeds of each round, by variant, and the comparison of combined ROUGE.

    Args:
        rounds: Samples per second of `EXPORTED` and of those of `FP32` that were measured, at the serving batch, with
            the same number of rounds.
        quality: What `quality.compare` returned.
    """
    conditions = (faster(rounds, settings.confidence, batch_size, beams), as_good(quality, settings))
    return Decision(passed=all(one.passed for one in conditions), conditions=conditions)


def rounds_needed(confidence: float) -> int:
    """Return how many rounds it takes for one that was disturbed not to decide."""
    count = 2
    while _chance(count - 1, count) > 1 - confidence:
        count += 1
    return count


def faster(rounds: Mapping[str, Sequence[float]], confidence: float, batch_size: int, beams: int) -> Condition:
    """Compare with the faster of the fp32 models; who wins a round is a coin's toss where speeds are equal."""
    measured = [name for name in FP32 if name in rounds]
    where = f"At batch {batch_size} with {beams} {'beam' if beams == 1 else 'beams'}"
    if not measured:
        sentence = "bench.variants names no fp32 model, and without one nothing says that the exported model is faster."
        return Condition(name="speed", passed=False, sentence=sentence, figures={})
    against = max(measured, key=lambda name: median(rounds[name]))
    ratios = [own / other for own, other in zip(rounds[EXPORTED], rounds[against], strict=True)]
    won = sum(ratio > 1 for ratio in ratios)
    middle, p_value = median(ratios), _chance(won, len(ratios))
    figures = {
        "against": against,
        "batch_size": batch_size,
        "beams": beams,
        "ratio": middle,
        "low": min(ratios),
        "high": max(ratios),
        "won": won,
        "rounds": len(ratios),
        "p_value": p_value,
    }
    passed = middle > 1 and p_value <= 1 - confidence
    other = f"{NAMES[against]}{', the faster of the two in fp32' if len(measured) > 1 else ''}"
    sentence = (
        f"{where} it is {middle:.2f} times as fast as {other}: from {min(ratios):.2f} to {max(ratios):.2f} times, and "
        f"faster in {won} of {len(ratios)} rounds"
    )
    if passed:
        sentence += "."
    elif middle > 1:
        sentence += f", which chance alone does with p = {p_value:.2f}; {1 - confidence:.2g} is asked for."
    else:
        sentence += "; more than 1 is asked for."
    return Condition(name="speed", passed=passed, sentence=sentence, figures=figures)


def as_good(quality: Mapping[str, Any], settings: Gate) -> Condition:
    """Let the far end of the interval of the difference in combined ROUGE decide."""
    found = quality["metrics"]["combined"]
    passed = found["low"] >= -settings.max_rouge_drop
    sentence = (
        f"Its combined ROUGE on {quality['n']} dev dialogues is {found['exported']:.4f}, fp32's {found['fp32']:.4f}: "
        f"the difference is {_signed(found['difference'])} [{_signed(found['low'])}, {_signed(found['high'])}] at "
        f"{settings.confidence * 100:g}\u00a0%, and its far end is {'within' if passed else 'past'} "
        f"{_signed(-settings.max_rouge_drop)}."
    )
    figures = {key: found[key] for key in ("exported", "fp32", "difference", "low", "high", "n")}
    figures["max_rouge_drop"] = settings.max_rouge_drop
    return Condition(name="rouge", passed=passed, sentence=sentence, figures=figures)


def _chance(won: int, rounds: int) -> float:
    """Return how likely it is that a coin wins that many rounds or more."""
    return sum(comb(rounds, count) for count in range(won, rounds + 1)) / 2**rounds


def _signed(value: float) -> str:
    text = f"{value:+.4f}"
    return "0" if text in ("+0.0000", "-0.0000") else text.replace("-", "−")
