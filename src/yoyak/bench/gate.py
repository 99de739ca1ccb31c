"""Whether the exported model should be served: faster than fp32 on this machine, and as good within a bound.

Pure functions of the measurements. If a check fails, fp32 stays, and the check says why in one sentence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import comb
from statistics import median

from yoyak.bench.results import GateDecision, Quality, RougeCheck, SpeedCheck, SpeedComparison
from yoyak.bench.variants import EXPORTED, FP32, NAMES
from yoyak.params.deploy import Gate


def decide(
    rounds: Mapping[str, Sequence[float]],
    quality: Quality,
    settings: Gate,
    *,
    batch_size: int,
    beams: int,
) -> GateDecision:
    """Decide by the speed of each variant in each round and by the difference in combined ROUGE.

    Args:
        rounds: Samples per second in each round at the serving batch, by variant: `EXPORTED`, and each of `FP32`
            that was measured. All have the same number of rounds.
        quality: What `quality.compare` returned.
    """
    return GateDecision(
        speed=check_speed(rounds, settings.confidence, batch_size=batch_size, beams=beams),
        rouge=check_rouge(quality, settings),
    )


def rounds_needed(confidence: float) -> int:
    """Return the fewest rounds of which the exported model can lose one and still pass."""
    count = 2
    while _sign_test_p_value(count - 1, count) > 1 - confidence:
        count += 1
    return count


def check_speed(rounds: Mapping[str, Sequence[float]], confidence: float, *, batch_size: int, beams: int) -> SpeedCheck:
    """Compare with the faster fp32 model by a sign test: at equal speed, each round is a coin toss."""
    measured = [name for name in FP32 if name in rounds]
    if not measured:
        sentence = "bench.variants names no fp32 model, so there is nothing to compare the exported model with."
        return SpeedCheck(passed=False, sentence=sentence, comparison=None)
    against = max(measured, key=lambda name: median(rounds[name]))
    ratios = [exported / fp32 for exported, fp32 in zip(rounds[EXPORTED], rounds[against], strict=True)]
    won = sum(ratio > 1 for ratio in ratios)
    comparison = SpeedComparison(
        against=against,
        batch_size=batch_size,
        beams=beams,
        ratio=median(ratios),
        low=min(ratios),
        high=max(ratios),
        won=won,
        rounds=len(ratios),
        p_value=_sign_test_p_value(won, len(ratios)),
    )
    passed = comparison.ratio > 1 and comparison.p_value <= 1 - confidence
    baseline = f"{NAMES[against]}{', the faster of the two fp32 models' if len(measured) > 1 else ''}"
    sentence = (
        f"At batch {batch_size} with {beams} {'beam' if beams == 1 else 'beams'} it is {comparison.ratio:.2f} times as "
        f"fast as {baseline} ({comparison.low:.2f} to {comparison.high:.2f} times), and faster in {won} of "
        f"{comparison.rounds} rounds"
    )
    if passed:
        sentence += "."
    elif comparison.ratio > 1:
        sentence += f": p = {comparison.p_value:.2f}, but at most {1 - confidence:.2g} is required."
    else:
        sentence += ", but it has to be faster."
    return SpeedCheck(passed=passed, sentence=sentence, comparison=comparison)


def check_rouge(quality: Quality, settings: Gate) -> RougeCheck:
    """Compare the lower end of the confidence interval of the difference in combined ROUGE with the bound."""
    combined = quality.metrics["combined"]
    enough = quality.n >= settings.min_dialogues
    passed = enough and combined.low >= -settings.max_rouge_drop
    bound = f"{'within' if combined.low >= -settings.max_rouge_drop else 'below'} the bound"
    sentence = (
        f"Its combined ROUGE on {quality.n} dev dialogues is {combined.exported:.4f}, fp32's is {combined.fp32:.4f}: "
        f"the difference is {_signed(combined.difference)} [{_signed(combined.low)}, {_signed(combined.high)}] at "
        f"{settings.confidence * 100:g}%, and the lower end is {bound} of {_signed(-settings.max_rouge_drop)}."
    )
    if not enough:
        sentence += f" That does not count: at least {settings.min_dialogues} dialogues are required."
    return RougeCheck(passed=passed, sentence=sentence, max_rouge_drop=settings.max_rouge_drop, comparison=combined)


def _sign_test_p_value(won: int, rounds: int) -> float:
    """Return the probability that a fair coin wins at least ``won`` of ``rounds`` tosses."""
    return sum(comb(rounds, count) for count in range(won, rounds + 1)) / 2**rounds


def _signed(value: float) -> str:
    text = f"{value:+.4f}"
    return "0" if text in ("+0.0000", "-0.0000") else text.replace("-", "−")
