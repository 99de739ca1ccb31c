"""The conclusion of the ensemble analysis in a few sentences: selected on dev, judged on test."""

from __future__ import annotations

from collections.abc import Mapping

from yoyak.project import DEV
from yoyak.scoring.ensembles import PartAnalysis, StrategyInfo, StrategyResult
from yoyak.scoring.results import ALL, DIGITS


def write_conclusion(
    splits: Mapping[str, Mapping[str, PartAnalysis]],
    strategies: Mapping[str, StrategyInfo],
    best_member: str,
    best_ensemble: str | None,
    confidence: float,
) -> str:
    """Describe the ensembles' gain on the test split, or on another one if there is none."""
    split = next((name for name in ("test", *splits) if name in splits and name != DEV), DEV)
    part = splits[split][ALL]
    headroom = (
        f"The best of all candidates, chosen by the references, would be {part.headroom:.3f} above {best_member} on "
        f"{split}."
    )
    if best_ensemble is None:
        return f"There is no ensemble: params.yaml names none under ensemble. {headroom}"
    if all(strategy.pass_through for strategy in strategies.values()):
        return f"Each ensemble has one member and passes its summaries through: nothing is combined. {headroom}"
    on_dev = splits[DEV][ALL]
    choice = f"is the best of {len(strategies)} ensembles on dev" if len(strategies) > 1 else "is the ensemble"
    text = (
        f"{best_ensemble} {choice} ({on_dev.strategies[best_ensemble].score.mean:.3f}; the best member, {best_member}, "
        f"has {on_dev.best_member.mean:.3f})."
    )
    if strategies[best_ensemble].pass_through:
        text += " It has one member and passes its summaries through."
    result = part.strategies[best_ensemble]
    text += f" {_judge(result, best_member, split, confidence)} {headroom}"
    if result.captured is not None and result.gain.difference > 0 and _is_significant(result, confidence):
        text += f" {best_ensemble} captures {result.captured * 100:.0f}% of that."
    return text


def _judge(result: StrategyResult, best_member: str, split: str, confidence: float) -> str:
    gain = result.gain
    evidence = f"{confidence * 100:g}% interval {_signed(gain.low)} to {_signed(gain.high)}, p = {gain.p_value:.3f}"
    if not _is_significant(result, confidence):
        return (
            f"On {split} its gain over {best_member} is {_signed(gain.difference)} ({evidence}): no significant "
            "difference."
        )
    verdict = "better" if gain.difference >= 0 else "worse"
    return f"On {split} it is {verdict} than {best_member} by {abs(gain.difference):.3f} ({evidence})."


def _is_significant(result: StrategyResult, confidence: float) -> bool:
    return result.gain.p_value < round(1 - confidence, DIGITS)


def _signed(value: float) -> str:
    text = f"{value:+.3f}".replace("-", "−")
    return "0.000" if text[1:] == "0.000" else text
