"""Writes what was measured as index.html (one file, nothing loaded from anywhere) and as report.md with its images."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from yoyak.bench import charts
from yoyak.bench.batch_size import LARGEST, PAYS
from yoyak.bench.variants import EXPORTED, title
from yoyak.reporting import render
from yoyak.reporting.formats import format_p_value, format_score, format_signed, format_signed_interval
from yoyak.reporting.view import Table
from yoyak.scoring.bootstrap import Interval
from yoyak.scoring.metrics import METRIC_LABELS

HERE = Path(__file__).parent
TYPES = {"int8": "8-bit integers", "int4": "4-bit integers", "float": "float", "int64": "other"}


def write(figures: Mapping[str, Any], out: Path) -> None:
    """Write the pages and images of what `run.run_bench` returned into ``out``, which is made."""
    drawn = charts.draw(figures)
    env = render.make_environment(HERE, render.HERE)
    values = {
        "figures": figures,
        "name": title(EXPORTED, figures["precision"]),
        "verdict": verdict(figures),
        "conditions": figures["gate"]["conditions"],
        "charts": drawn,
        "frontiers": [chart for name, chart in drawn.items() if name.startswith("frontier")],
        "tables": tables(figures),
        "pays": f"{(PAYS - 1) * 100:g}\u00a0%",
        "largest": LARGEST,
        "style": render.read_style(),
    }
    render.write_images(drawn, out)
    render.write_text_file(out / "index.html", env.get_template("page.html.j2").render(values))
    render.write_text_file(out / "report.md", env.get_template("page.md.j2").render(values))


def verdict(figures: Mapping[str, Any]) -> str:
    """Return the sentence that the page begins with."""
    what = f"{title(EXPORTED, figures['precision'])} of {figures['model']}"
    if figures["gate"]["passed"]:
        return f"{what} is the model to serve: it is faster than fp32 on this machine, and as good within the bound"
    failed = [one["name"] for one in figures["gate"]["conditions"] if not one["passed"]]
    reasons = {"speed": "it is not shown to be faster", "rouge": "it may lose more ROUGE than is allowed"}
    return f"fp32 is kept, and not {what}: {' and '.join(reasons[name] for name in failed)}"


def tables(figures: Mapping[str, Any]) -> dict[str, Any]:
    """Return the page's tables, by what they are of; those of the cells are a list, one for each number of beams."""
    beams = dict.fromkeys(row["beams"] for row in figures["cells"])
    return {
        "variants": _variants(figures),
        "cells": [_cells(figures, count) for count in beams],
        "rounds": _rounds(figures),
        "search": _search(figures["search"]),
        "rouge": _rouge(figures["quality"]),
        "float": _float(figures["ops"]),
    }


def _variants(figures: Mapping[str, Any]) -> Table:
    rows = []
    for name, about in figures["variants"].items():
        peak = max(row["peak_mb"] for row in figures["cells"] if row["variant"] == name)
        rows.append(
            (
                title(name, figures["precision"]),
                _number(about["disk_mb"]),
                f"{about['load_seconds']:.2f}",
                f"{about['start_seconds']:.1f}",
                _number(about["loaded_mb"]),
                _number(peak),
                about["device"],
            )
        )
    columns = ("model", "on disk, MB", "loading, s", "with imports, s", "loaded, MB", "peak, MB", "device")
    return Table(title="Files and processes", columns=columns, rows=tuple(rows))


def _cells(figures: Mapping[str, Any], beams: int) -> Table:
    rows = [
        (
            title(row["variant"], figures["precision"]),
            str(row["batch_size"]),
            _number(row["samples_per_second"]),
            f"{row['ratio']:.2f}" if row["ratio"] is not None else "–",
            _number(row["p50_ms"]),
            _number(row["p95_ms"]),
            str(row["batches"]),
            f"{row['tokens_per_sample']:.1f}",
            _number(row["peak_mb"]),
            str(row["threads"] or "–"),
        )
        for row in sorted((row for row in figures["cells"] if row["beams"] == beams), key=lambda row: row["batch_size"])
    ]
    columns = (
        "model", "batch", "samples/s", "times torch fp32", "p50, ms", "p95, ms", "batches", "tokens each", "peak, MB",
        "threads",
    )  # fmt: skip
    return Table(title=f"{beams} {'beam' if beams == 1 else 'beams'}", columns=columns, rows=tuple(rows))


def _rounds(figures: Mapping[str, Any]) -> Table:
    rows = tuple(
        (title(name, figures["precision"]), *(_number(speed) for speed in speeds))
        for name, speeds in figures["rounds"].items()
    )
    count = len(rows[0]) - 1
    columns = ("samples/s in round", *(str(number) for number in range(1, count + 1)))
    return Table(title="Each round at the serving batch", columns=columns, rows=rows)


def _search(search: Mapping[str, Any]) -> Table:
    rows = tuple(
        (
            str(one["batch_size"]),
            _number(one["samples_per_second"]),
            _number(one["peak_mb"]),
            one["verdict"],
        )
        for one in search["tried"]
    )
    return Table(title="Batch sizes that were tried", columns=("batch", "samples/s", "peak, MB", "verdict"), rows=rows)


def _rouge(quality: Mapping[str, Any]) -> Table:
    rows = []
    for name, found in quality["metrics"].items():
        gain = Interval(mean=found["difference"], low=found["low"], high=found["high"], n=found["n"])
        rows.append(
            (
                METRIC_LABELS[name],
                format_score(found["exported"]),
                format_score(found["fp32"]),
                format_signed(gain),
                format_signed_interval(gain),
                format_p_value(found["p_value"]),
            )
        )
    columns = ("metric", "exported", "fp32", "difference", "interval", "p")
    return Table(title="Exported model and fp32", columns=columns, rows=tuple(rows))


def _float(ops: Mapping[str, Any]) -> list[Table]:
    total = sum(ops["bytes_by_type"].values()) or 1
    kinds = tuple(
        (TYPES.get(name, name), _number(size / 1e6, 3), f"{100 * size / total:.1f}\u00a0%")
        for name, size in ops["bytes_by_type"].items()
    )
    found = tuple((name, _number(size / 1e6, 3)) for name, size in ops["float_bytes_by_op"].items())
    return [
        Table(title="Weights by type", columns=("numbers", "MB", "share"), rows=kinds),
        Table(title="Float weights by operator", columns=("operator", "MB"), rows=found),
    ]


def _number(value: float | None, digits: int = 1) -> str:
    """Return three figures or more; a dash for none."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if value >= 100 else f"{value:,.{digits}f}"
