"""The report of a study: report.html, a single file, and report.md with its images."""

from __future__ import annotations

import base64
import io
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import optuna
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from yoyak.files import atomic_path
from yoyak.studies import files, records
from yoyak.studies.kinds import Kind
from yoyak.studies.outcome import Effect, Summary

TEMPLATES = Path(__file__).parent
SHOWN_TRIALS = 20
PLOT_INCHES = (8.0, 4.5)


def write_report(kind: Kind, study: optuna.Study, summary: Summary, storage: str | None) -> None:
    """Write both pages, and the plots as SVG, into studies/<name>/report/."""
    trials = study.get_trials(deepcopy=False)
    env = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=lambda name: bool(name and name.endswith(".html.j2")),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    env.filters["number"] = lambda value: "" if value is None else f"{value:.4f}" if isinstance(value, float) else value
    plots = draw_plots(study, summary)
    values = {
        "summary": summary,
        "plots": {name: base64.b64encode(svg.encode()).decode() for name, svg in plots.items()},
        "top": records.best_trials(study, trials, SHOWN_TRIALS),
        "dashboard": dashboard_command(kind.folder, storage),
    }
    with atomic_path(kind.folder / files.REPORT) as work:
        work.mkdir()
        for name, svg in plots.items():
            (work / f"{name}.svg").write_text(svg, encoding="utf-8")
        for page in ("report.html", "report.md"):
            text = env.get_template(f"{page}.j2").render(values)
            (work / page).write_text(text.rstrip() + "\n", encoding="utf-8")


def dashboard_command(folder: Path, storage: str | None) -> str:
    """Return the command that opens the study in Optuna's dashboard."""
    if storage is None:
        return f"optuna-dashboard {folder / files.JOURNAL}"
    from sqlalchemy.engine import make_url

    return f"optuna-dashboard {make_url(storage).render_as_string(hide_password=True)}"


def draw_plots(study: optuna.Study, summary: Summary) -> dict[str, str]:
    """Return Optuna's plots that make sense for a study, and that of the effects, as SVG by name."""
    from optuna.visualization import matplotlib as plots

    ended = records.complete(study.get_trials(deepcopy=False))
    varied = [name for name in {name for trial in ended for name in trial.params} if _varies(ended, name)]
    objectives = list(summary.objectives)
    drawn: dict[str, Callable[[], Any]] = {}
    for index, objective in enumerate(objectives):
        several = len(objectives) > 1
        suffix = f"_{objective}" if several else ""
        options: dict[str, Any] = {"target": partial(_value_of, index) if several else None, "target_name": objective}
        if ended:
            drawn[f"history{suffix}"] = partial(plots.plot_optimization_history, study, **options)
        if len(ended) > 1 and varied:
            options = {**options, "params": varied}
            drawn[f"importances{suffix}"] = partial(plots.plot_param_importances, study, **options)
            drawn[f"parallel_coordinate{suffix}"] = partial(plots.plot_parallel_coordinate, study, **options)
            drawn[f"slices{suffix}"] = partial(plots.plot_slice, study, **options)
    if len(objectives) in (2, 3) and ended:
        drawn["pareto_front"] = lambda: plots.plot_pareto_front(study, target_names=objectives)
    if len(objectives) == 1 and any(trial.intermediate_values for trial in study.get_trials(deepcopy=False)):
        drawn["intermediate_values"] = lambda: plots.plot_intermediate_values(study)
    if any(trial.datetime_start for trial in study.get_trials(deepcopy=False)):
        drawn["timeline"] = lambda: plots.plot_timeline(study)
    if summary.effects:
        drawn["effects"] = lambda: _plot_effects(summary.effects, objectives[0])
    return {name: svg for name, draw in drawn.items() if (svg := _render(draw)) is not None}


def _value_of(index: int, trial: Any) -> float:
    return float(trial.values[index])


def _varies(trials: list[Any], name: str) -> bool:
    return len({repr(trial.params.get(name)) for trial in trials}) > 1


def _render(draw: Callable[[], Any]) -> str | None:
    """Return a plot as SVG; None where Optuna cannot draw it from these trials, such as importances of equal scores."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            axes = draw()
        except (ValueError, RuntimeError):
            pyplot.close("all")
            return None
        first = axes.flat[0] if hasattr(axes, "flat") else axes
        figure = first.figure
        width, height = PLOT_INCHES
        panels = axes.size if hasattr(axes, "size") else 1
        figure.set_size_inches(max(width, 2.6 * panels), height)
        file = io.StringIO()
        with mpl.rc_context({"svg.hashsalt": "yoyak"}):
            figure.savefig(file, format="svg", bbox_inches="tight", metadata={"Date": None})
        pyplot.close("all")
    return file.getvalue()


def _plot_effects(effects: list[Effect], objective: str) -> Any:
    """Draw what each component is worth, or what each model scores, with its interval over seeds."""
    from matplotlib import pyplot

    differences = [effect for effect in effects if effect.difference is not None]
    _, axes = pyplot.subplots()
    for index, effect in enumerate(differences or effects):
        mean, low, high = (
            (effect.difference, effect.difference_low, effect.difference_high)
            if differences
            else (effect.mean, effect.low, effect.high)
        )
        axes.plot([mean or 0.0], [index], "o", color="#0063a8")
        if low is not None and high is not None:
            axes.plot([low, high], [index, index], color="#0063a8")
    axes.set_yticks(range(len(differences or effects)), [effect.name for effect in differences or effects])
    axes.invert_yaxis()
    if differences:
        axes.axvline(0, color="#59636e", linewidth=0.8)
    axes.set_xlabel(f"{objective}: worse without it by" if differences else objective)
    axes.set_title("Effects" if differences else "Models")
    return axes
