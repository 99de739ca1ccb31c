from __future__ import annotations

from pathlib import Path

import pytest

from yoyak.reporting.curves import MAX_POINTS, read_curves

HEAD = "step,epoch,loss,eval_loss,eval_combined,learning_rate\n"


def write(root: Path, member: str, rows: str) -> None:
    path = root / f"plots/curves_{member}.csv"
    path.parent.mkdir(exist_ok=True)
    path.write_text(HEAD + rows, encoding="utf-8")


def test_empty_cells_are_gaps_and_not_zeros(tmp_path: Path) -> None:
    write(tmp_path, "bart", "10,0.5,4.0,,,0.1\n10,0.5,,3.5,0.25,\n20,1.0,2.0,,,0.1\n")
    curves, unit = read_curves(tmp_path, ["bart"], {"bart": 2})
    assert unit == "epoch"
    assert {name: members[0].points for name, members in curves.items()} == {
        "loss": ((0.5, 4.0), (1.0, 2.0)),
        "eval_loss": ((0.5, 3.5),),
        "eval_combined": ((0.5, 0.25),),
    }
    assert curves["loss"][0].series == 2


def test_a_quantity_that_was_never_logged_has_no_curve(tmp_path: Path) -> None:
    write(tmp_path, "bart", "10,0.5,4.0,,,0.1\n")
    assert set(read_curves(tmp_path, ["bart"], {"bart": 0})[0]) == {"loss"}


@pytest.mark.parametrize("rows", ["", "10,,nan,inf,,\n"])
def test_a_file_without_finite_values_has_no_curve(tmp_path: Path, rows: str) -> None:
    write(tmp_path, "bart", rows)
    assert read_curves(tmp_path, ["bart"], {"bart": 0})[0] == {}


def test_steps_are_used_if_an_epoch_is_missing(tmp_path: Path) -> None:
    write(tmp_path, "bart", "10,0.5,4.0,,,0.1\n")
    write(tmp_path, "t5", "30,,5.0,,,0.1\n")
    curves, unit = read_curves(tmp_path, ["bart", "t5"], {"bart": 0, "t5": 1})
    assert unit == "step"
    assert [curve.points for curve in curves["loss"]] == [((10.0, 4.0),), ((30.0, 5.0),)]


def test_a_long_curve_is_thinned_and_keeps_its_ends(tmp_path: Path) -> None:
    write(tmp_path, "bart", "".join(f"{step},{step / 100},{9 - step / 2000},,,\n" for step in range(1, 10_002)))
    points = read_curves(tmp_path, ["bart"], {"bart": 0})[0]["loss"][0].points
    assert MAX_POINTS / 2 < len(points) <= MAX_POINTS + 1
    assert points[0][0] == 0.01
    assert points[-1][0] == 100.01


def test_members_without_a_file_or_a_colour_have_no_curve(tmp_path: Path) -> None:
    write(tmp_path, "bart", "10,0.5,4.0,,,0.1\n")
    assert read_curves(tmp_path, ["bart", "called"], {"called": 0}) == ({}, "epoch")
