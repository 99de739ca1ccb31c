"""What ensembles are worth: their gain over the best member, what each member adds, and what would be possible.

`analyse` returns what evaluation/ensembles.json holds. Everything is said by the primary score (combined ROUGE at the
first granularity and the protocol of params.yaml), for every split and slice:

- ``gain``: a strategy less the member that is best on dev, paired.
- ``contributions``: ``change`` is what a strategy scores with all its members less what it scores without this one,
  paired (null where that was not tried); ``share`` is that of the summaries that this member wrote, ``of_several``
  that of those made of several.
- ``agreement``: the mean ROUGE of every two members' own summaries, and the share of those that are the same.
- ``oracle``: the best candidate of all members for each dialogue, chosen with the references in hand; ``headroom`` is
  what it gains over the best member, ``captured`` the share of it that a strategy gains.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from yoyak.data.records import Dialogue
from yoyak.decoding.candidates import Candidate
from yoyak.ensemble.splits import Choice
from yoyak.ensemble.utility import rouge_matrix
from yoyak.params import Scoring
from yoyak.params.ensemble import Strategy
from yoyak.scoring.baselines import split_turns
from yoyak.scoring.bins import length_bins
from yoyak.scoring.bootstrap import Comparison, Interval, bootstrap_intervals, paired_bootstraps
from yoyak.scoring.evaluation import DEV, Evaluation, index_parts
from yoyak.scoring.results import ALL, DIGITS, rounded
from yoyak.scoring.rouge import METRICS, reference_scores
from yoyak.scoring.tokenize import tokenizer

Scores = np.ndarray
"""[dialogues of all splits]: the primary score."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """All that is counted before it is cut into parts."""

    best: Scores
    """Of the best member."""
    oracle: Scores
    strategies: Mapping[str, Scores]
    without: Mapping[tuple[str, str], Scores]
    """By strategy and the member that it is made without."""
    writers: Mapping[str, Sequence[str]]
    """By strategy: the member that wrote each summary, empty where several did."""
    agreement: np.ndarray
    """[dialogues, members, members]."""
    same: np.ndarray
    """[dialogues, members, members]: whether the summaries are the same."""


def analyse(
    splits: Mapping[str, Sequence[Dialogue]],
    evaluation: Evaluation,
    strategies: Mapping[str, Strategy],
    candidates: Mapping[str, Mapping[str, Mapping[str, Sequence[Candidate]]]],
    choices: Mapping[str, Mapping[str, Mapping[str, Choice]]],
    scoring: Scoring,
    seed: int,
) -> dict[str, Any]:
    """Return the content of evaluation/ensembles.json; members and strategies are in their order on dev, best first.

    Args:
        splits: Dialogues, those that ``evaluation`` scored.
        strategies: The ensembles' params by name; none are allowed.
        candidates: By member, split and fname, best first.
        choices: By ensemble, split and fname.
    """
    best = evaluation.summary.best_member
    dev = next(indices for part, indices in index_parts(splits).items() if part.split == DEV)

    def ranked(names: Iterable[str]) -> list[str]:
        return sorted(names, key=lambda name: -float(evaluation.primary[name][dev].mean()))

    candidates = {member: candidates[member] for member in ranked(candidates)}
    choices = {name: choices[name] for name in ranked(choices)}
    about = {name: _about(strategies[name], list(candidates)) for name in choices}
    found = _found(splits, evaluation, candidates, choices, scoring, best)
    options = {"samples": scoring.bootstrap_samples, "confidence": scoring.confidence, "seed": seed}
    rows = [row for split in splits.values() for row in split]
    cut: dict[str, dict[str, Any]] = {name: {} for name in splits}
    for part, indices in index_parts(splits).items():
        cut[part.split][part.slice] = _part(found, indices, about, [rows[index] for index in indices], options)
    leading = evaluation.summary.best_ensemble
    return {
        "primary": asdict(evaluation.summary.primary),
        "confidence": scoring.confidence,
        "best_member": best,
        "best_ensemble": leading,
        "conclusion": _conclusion(cut, about, best, leading, scoring.confidence),
        "members": list(candidates),
        "strategies": about,
        "splits": cut,
    }


def _about(strategy: Strategy, members: list[str]) -> dict[str, Any]:
    used = strategy.members or members
    return {"type": getattr(strategy, "type", ""), "members": list(used), "pass_through": len(used) == 1}


def figures(analysis: Mapping[str, Any]) -> dict[str, float | None]:
    """Return the few numbers that MLflow shows: ``ensemble/<name>/<split>/gain`` and the like."""
    found: dict[str, float | None] = {}
    for split, parts in analysis["splits"].items():
        whole = parts[ALL]
        for name, strategy in whole["strategies"].items():
            found[f"ensemble/{name}/{split}/gain"] = strategy["gain"]["difference"]
            found[f"ensemble/{name}/{split}/p_value"] = strategy["gain"]["p_value"]
            found[f"ensemble/{name}/{split}/captured"] = strategy["captured"]
        found[f"ensemble/oracle/{split}/combined"] = whole["oracle"]["mean"]
    return found


def _found(
    splits: Mapping[str, Sequence[Dialogue]],
    evaluation: Evaluation,
    candidates: Mapping[str, Mapping[str, Mapping[str, Sequence[Candidate]]]],
    choices: Mapping[str, Mapping[str, Mapping[str, Choice]]],
    scoring: Scoring,
    best: str,
) -> _Found:
    places = [(split, row) for split, rows in splits.items() for row in rows]
    pools = [[candidates[member][split][row.fname] for member in candidates] for split, row in places]
    chosen = {name: [parts[split][row.fname] for split, row in places] for name, parts in choices.items()}
    pooled = [dict.fromkeys(candidate.text for found in pool for candidate in found) for pool in pools]
    wanted = [
        texts | dict.fromkeys(text for found in chosen.values() for text in found[place].without.values())
        for place, texts in enumerate(pooled)
    ]
    scores = _scores(wanted, [row.summaries for _, row in places], scoring)
    without = {
        (name, member): np.array([known[choice.without[member]] for known, choice in zip(scores, found, strict=True)])
        for name, found in chosen.items()
        for member in found[0].without
    }
    agreement, same = _agreement([[found[0].text for found in pool] for pool in pools], scoring)
    return _Found(
        best=evaluation.primary[best],
        oracle=np.array([max(known[text] for text in texts) for known, texts in zip(scores, pooled, strict=True)]),
        strategies={name: evaluation.primary[name] for name in choices},
        without=without,
        writers={name: [choice.member for choice in found] for name, found in chosen.items()},
        agreement=agreement,
        same=same,
    )


def _scores(
    texts: Sequence[Mapping[str, None]], references: Sequence[Sequence[str]], scoring: Scoring
) -> list[dict[str, float]]:
    """Return the primary score of each text of each dialogue."""
    found = reference_scores(
        [text for each in texts for text in each],
        [row for each, row in zip(texts, references, strict=True) for _ in each],
        granularity=scoring.granularities[0],
        weights=scoring.weights,
        processes=scoring.processes,
    ).reduce(scoring.multi_reference)[:, METRICS.index("combined")]
    values = iter(found.tolist())
    return [{text: next(values) for text in each} for each in texts]


def _agreement(texts: Sequence[Sequence[str]], scoring: Scoring) -> tuple[np.ndarray, np.ndarray]:
    """Return [dialogues, members, members]: the ROUGE of their summaries, and whether they are the same."""
    units = tokenizer(scoring.granularities[0])
    agreement, same = [], []
    for row in texts:
        different = list(dict.fromkeys(row))
        of = np.array([different.index(text) for text in row])
        matrix = rouge_matrix(units.tokenize_all(different), scoring.weights)
        # The same text agrees, even one without a word that could be counted.
        np.fill_diagonal(matrix, 1.0)
        agreement.append(matrix[np.ix_(of, of)])
        same.append(of[:, None] == of[None])
    return np.array(agreement), np.array(same)


def _part(
    found: _Found,
    places: np.ndarray,
    about: Mapping[str, Mapping[str, Any]],
    rows: Sequence[Dialogue],
    options: Mapping[str, Any],
) -> dict[str, Any]:
    best, oracle = found.best[places], found.oracle[places]
    values = {name: scores[places] for name, scores in found.strategies.items()}
    headroom = round(float((oracle - best).mean()), DIGITS)
    averaged = [_plain(each) for each in bootstrap_intervals([best, oracle, *values.values()], **options)]
    differences = [scores - best for scores in values.values()]
    differences += [values[name] - scores[places] for (name, _), scores in found.without.items()]
    compared = iter(_compared(differences, options))
    gains = {name: next(compared) for name in values}
    changes = {key: next(compared) for key in found.without}
    strategies = {}
    for score, (name, gain) in zip(averaged[2:], gains.items(), strict=True):
        wrote = Counter(found.writers[name][place] for place in places)
        strategies[name] = {
            "score": score,
            "gain": gain,
            "captured": round(gain["difference"] / headroom, DIGITS) if headroom > 0 else None,
            "contributions": {
                member: {"change": changes.get((name, member)), "share": round(wrote[member] / len(places), DIGITS)}
                for member in about[name]["members"]
            },
            "of_several": round(wrote[""] / len(places), DIGITS),
        }
    return {
        "n": len(places),
        "best_member": averaged[0],
        "oracle": averaged[1],
        "headroom": headroom,
        "strategies": strategies,
        "agreement": {
            "rouge": found.agreement[places].mean(axis=0).round(DIGITS).tolist(),
            "same": found.same[places].mean(axis=0).round(DIGITS).tolist(),
        },
        "lengths": _lengths(values, best, rows, options),
    }


def _lengths(
    values: Mapping[str, Scores], best: Scores, rows: Sequence[Dialogue], options: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the strategies' gains in dialogues of each length."""
    bins = length_bins([len(split_turns(row.dialogue)) for row in rows], [len(row.dialogue) for row in rows])
    found = []
    for place, label in enumerate(bins.labels):
        inside = bins.indices == place
        gains = _compared([(scores - best)[inside] for scores in values.values()], options)
        found.append({"label": label, "n": int(inside.sum()), "gains": dict(zip(values, gains, strict=True))})
    return {"by": bins.by, "bins": found}


def _compared(differences: Sequence[np.ndarray], options: Mapping[str, Any]) -> list[dict[str, float]]:
    if not differences:
        return []
    return [_plain(found) for found in paired_bootstraps(differences, **options)]


def _plain(result: Interval | Comparison) -> dict[str, float]:
    return {key: value for key, value in asdict(rounded(result)).items() if key != "n"}


def _conclusion(
    cut: Mapping[str, Mapping[str, Any]],
    about: Mapping[str, Mapping[str, Any]],
    best: str,
    leading: str | None,
    confidence: float,
) -> str:
    """Return in words what was found: chosen on dev, judged on test, with chance and ceiling beside it."""
    split = next((name for name in ("test", *cut) if name in cut and name != DEV), DEV)
    there = cut[split][ALL]
    ceiling = (
        f"The best of all candidates, chosen with the references in hand, would be {there['headroom']:.3f} above "
        f"{best} on {split}."
    )
    if leading is None:
        return f"There is no ensemble: params.yaml names none under ensemble. {ceiling}"
    if all(strategy["pass_through"] for strategy in about.values()):
        return f"The ensembles have one member each, whose summaries they pass through: nothing is combined. {ceiling}"
    on_dev, found = cut[DEV][ALL], there["strategies"][leading]
    gain, p = found["gain"]["difference"], found["gain"]["p_value"]
    choice = (
        f"{leading} is the best of {len(about)} ensembles on dev" if len(about) > 1 else f"{leading} is the ensemble"
    )
    text = (
        f"{choice} ({on_dev['strategies'][leading]['score']['mean']:.3f}; the best member, {best}, has "
        f"{on_dev['best_member']['mean']:.3f}). "
    )
    if about[leading]["pass_through"]:
        text += "It has one member, whose summaries it passes through. "
    chance = f"{confidence * 100:g} % interval {_signed(found['gain']['low'])} to {_signed(found['gain']['high'])}, "
    chance += f"p = {p:.3f}"
    if p >= round(1 - confidence, DIGITS):
        unsure = f"On {split} its gain over {best} is {_signed(gain)} ({chance}): it is not shown to be better."
        return f"{text}{unsure} {ceiling}"
    if gain < 0:
        return f"{text}On {split} it is worse than {best} by {-gain:.3f} ({chance}). {ceiling}"
    share = "" if found["captured"] is None else f" {leading} captures {found['captured'] * 100:.0f} % of that."
    return f"{text}On {split} it is better than {best} by {gain:.3f} ({chance}). {ceiling}{share}"


def _signed(value: float) -> str:
    text = f"{value:+.3f}".replace("-", "−")
    return "0.000" if text[1:] == "0.000" else text
