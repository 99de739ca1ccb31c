"""The section on ensembles: the analysis as tables of formatted cells, and unchanged for the charts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from yoyak.reporting.formats import (
    format_comparison,
    format_p_cell,
    format_score,
    format_score_with_interval,
    format_share,
    format_signed,
)
from yoyak.reporting.view import Ensembles, Table
from yoyak.scoring.ensembles import EnsembleAnalysis, PartAnalysis, StrategyChoice
from yoyak.scoring.results import Part

MAX_MEMBERS = 16
"""Members in the table of agreement: the best on dev. evaluation/ensembles.json lists all."""


def make_section(analysis: EnsembleAnalysis, parts: tuple[Part, ...]) -> Ensembles | None:
    """Return the content of the section on ensembles; None if there are none.

    ``parts`` are those of the report, the headline's first; the analysis covers each of them.
    """
    if analysis.best_ensemble is None:
        return None
    headline = parts[0]
    figures = analysis.splits[headline.split][headline.slice]
    return Ensembles(
        conclusion=analysis.conclusion,
        best=analysis.best_ensemble,
        results=tuple(_make_result_table(part, analysis.splits[part.split][part.slice], analysis) for part in parts),
        rerankers=_make_reranker_table(analysis),
        choices=tuple(
            _make_choice_table(name, info.choice) for name, info in analysis.strategies.items() if info.choice
        ),
        contributions=Table(
            title=f"What each member adds on {headline.label}",
            columns=("strategy: member", "effect on score", "p", "share of summaries"),
            rows=tuple(_make_contribution_rows(figures, analysis)),
        ),
        agreement=_make_agreement_table(headline, figures, analysis),
        lengths=_make_length_table(headline, figures),
        analysis=analysis,
    )


def _make_result_table(part: Part, figures: PartAnalysis, analysis: EnsembleAnalysis) -> Table:
    """Return a table with a row for each strategy; the best member and the oracle come last."""
    rows = []
    for name, result in figures.strategies.items():
        info = analysis.strategies[name]
        kind = f"{info.type}, passed through" if info.pass_through else info.type
        gain = (format_comparison(result.gain), format_p_cell(result.gain.p_value), format_share(result.captured))
        rows.append((name, kind, format_score_with_interval(result.score), *gain))
    rows.append((analysis.best_member, "best member", format_score_with_interval(figures.best_member), "", "", ""))
    oracle = (format_score_with_interval(figures.oracle), format_signed(figures.headroom), "", format_share(1.0))
    rows.append(("best candidate", "chosen by references", *oracle))
    columns = ("strategy", "type", "score", f"gain over {analysis.best_member}", "p", "headroom captured")
    return Table(title=f"{part.label} (n = {part.n:,})", columns=columns, rows=tuple(rows))


def _make_reranker_table(analysis: EnsembleAnalysis) -> Table | None:
    rows = tuple((name, info.reranker) for name, info in analysis.strategies.items() if info.reranker)
    return (
        Table(title="What rerankers have learned on dev", columns=("strategy", "chooses by"), rows=rows)
        if rows
        else None
    )


def _make_choice_table(name: str, choice: StrategyChoice) -> Table:
    """Return a table with a row for each option, best first, and what the choice is worth."""
    ranked = sorted(choice.options, key=lambda option: (-choice.options[option], option != choice.chosen))
    in_folds = Counter(choice.in_folds)
    rows = [
        (
            f"{option}, chosen" if option == choice.chosen else option,
            format_score(choice.options[option]),
            f"{in_folds[option]} of {len(choice.in_folds)}" if in_folds[option] else "",
        )
        for option in ranked
    ]
    rows.append(("choice made without the fold it is applied to", format_score(choice.nested), ""))
    flattery = f"{choice.flattery:.4f}".replace("-", "−")
    title = f"What {name} has chosen by cross-validation on dev: the choice flatters by {flattery}"
    return Table(title=title, columns=("option", "score on dev", "chosen in folds"), rows=tuple(rows))


def _make_contribution_rows(figures: PartAnalysis, analysis: EnsembleAnalysis) -> Iterator[tuple[str, ...]]:
    for name in analysis.strategies:
        result = figures.strategies[name]
        for member, contribution in result.contributions.items():
            change = contribution.change
            cells = (format_comparison(change), format_p_cell(change.p_value)) if change else ("–", "–")
            yield (f"{name}: {member}", *cells, format_share(contribution.share))
        if result.of_several:
            yield (f"{name}: several members", "–", "–", format_share(result.of_several))


def _make_agreement_table(part: Part, figures: PartAnalysis, analysis: EnsembleAnalysis) -> Table | None:
    members = analysis.members[:MAX_MEMBERS]
    if len(members) < 2:
        return None
    rouge, same = figures.agreement.rouge, figures.agreement.same
    rows = tuple(
        (
            name,
            *("" if a == b else f"{rouge[a][b]:.3f} ({format_share(same[a][b])} equal)" for b in range(len(members))),
        )
        for a, name in enumerate(members)
    )
    return Table(title=f"Similarity of the members' summaries on {part.label}", columns=("", *members), rows=rows)


def _make_length_table(part: Part, figures: PartAnalysis) -> Table:
    names = list(figures.strategies)
    rows = tuple(
        (group.label, f"{group.n:,}", *(format_comparison(group.gains[name]) for name in names))
        for group in figures.lengths.bins
    )
    columns = (figures.lengths.by, "n", *names)
    return Table(title=f"Gain by dialogue length on {part.label}", columns=columns, rows=rows)
