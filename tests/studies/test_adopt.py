"""`yoyak study adopt` edits nothing but the values; `yoyak study convert` reads sweeps as people have them."""

from __future__ import annotations

from pathlib import Path

import pytest
from ruamel.yaml import YAML

from pipeline.conftest import ROOT
from yoyak.errors import UserError
from yoyak.params.overrides import read_yaml
from yoyak.params.studies import CategoricalDimension, FloatDimension, IntDimension, Searched
from yoyak.params.study_files import load_study
from yoyak.stages.study.adopt import run as adopt
from yoyak.studies.adopt import diff_params, edit_params
from yoyak.studies.sweeps import convert_sweep

SWEEP = """
program: train.py
method: bayes
metric: {name: rouge_l_f1, goal: maximize}
early_terminate: {type: hyperband, min_iter: 2, eta: 2}
parameters:
  learning_rate: {distribution: log_uniform_values, min: 1.0e-6, max: 1.0e-3}
  per_device_train_batch_size: {values: [8, 16]}
  num_train_epochs: {min: 2, max: 6}
  weight_decay: {distribution: uniform, min: 0.0, max: 0.1}
  lr_scheduler_type: {value: cosine}
"""


@pytest.mark.parametrize("name", ["params.yaml", *(f"presets/{path.name}" for path in (ROOT / "presets").glob("*"))])
def test_only_the_adopted_lines_change(name: str) -> None:
    text = (ROOT / name).read_text()
    member = next(iter(read_yaml(ROOT / name)["members"]))
    edited = edit_params(text, {f"members.{member}.learning_rate": 0.000321, "seed": 77})
    lines = [
        line for line in diff_params(text, edited).splitlines() if line[0] in "+-" and line[:3] not in ("+++", "---")
    ]
    assert [line.split("#")[0].strip("+- ") for line in lines if line[0] == "+"].count("seed: 77") == 1
    assert len(lines) <= 4
    assert edited.count("#") == text.count("#")


def test_a_word_becomes_a_mapping() -> None:
    text = (ROOT / "params.yaml").read_text()
    weights = {f"ensemble.strategies.weighted.weights.{name}": 0.5 for name in ("bart", "t5", "gpt2")}
    tree = YAML(typ="safe").load(edit_params(text, weights))
    assert tree["ensemble"]["strategies"]["weighted"]["weights"] == {"bart": 0.5, "t5": 0.5, "gpt2": 0.5}


def test_a_value_that_members_share_is_not_edited() -> None:
    text = (ROOT / "params.yaml").read_text().replace("  bart:\n", "  bart: &bart\n", 1)
    text = text.replace("  t5:\n", "  same: *bart\n  t5:\n", 1)
    with pytest.raises(UserError, match=r"members\.bart\.learning_rate .*shared by an anchor"):
        edit_params(text, {"members.bart.learning_rate": 0.002})


def test_adopt_shows_the_change_and_makes_it(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = (ROOT / "params.yaml").read_text()
    (project / "params.yaml").write_text(text)
    (project / "studies/h").mkdir(parents=True)
    with pytest.raises(UserError, match="yoyak study run h"):
        adopt("h")
    (project / "studies/h/best.yaml").write_text("members.bart.learning_rate: 0.002\n")
    adopt("h", dry_run=True)
    assert "+    learning_rate: 0.002" in capsys.readouterr().out
    assert (project / "params.yaml").read_text() == text
    adopt("h")
    assert read_yaml("params.yaml")["members"]["bart"]["learning_rate"] == 0.002
    adopt("h")
    assert "has these values already" in capsys.readouterr().out
    (project / "studies/h/best.yaml").write_text("{}\n")
    with pytest.raises(UserError, match="no values to adopt"):
        adopt("h")


def test_a_sweep_becomes_a_study(tmp_path: Path) -> None:
    (tmp_path / "sweep.yaml").write_text(SWEEP)
    (tmp_path / "study.yaml").write_text(convert_sweep(tmp_path / "sweep.yaml", "bart"))
    study = load_study(tmp_path / "study.yaml", read_yaml(ROOT / "params.yaml"))
    assert isinstance(study, Searched)
    assert (study.sampler.type, study.pruner.type, study.pruner.min_resource, study.pruner.reduction_factor) == (
        "tpe", "hyperband", 2, 2,
    )  # fmt: skip
    assert study.objectives == {"combined": "maximize"}
    dimensions = {key.removeprefix("members.bart."): value for key, value in study.dimensions.items()}
    assert list(dimensions) == ["learning_rate", "batch_size", "num_epochs", "weight_decay", "lr_scheduler_type"]
    assert dimensions["learning_rate"] == FloatDimension(type="float", low=1e-6, high=1e-3, log=True)
    assert dimensions["weight_decay"] == FloatDimension(type="float", low=0.0, high=0.1)
    assert dimensions["batch_size"] == CategoricalDimension(type="categorical", choices=[8, 16])
    assert dimensions["num_epochs"] == IntDimension(type="int", low=2, high=6)
    assert dimensions["lr_scheduler_type"] == CategoricalDimension(type="categorical", choices=["cosine"])


def test_a_sweep_by_loss_is_minimized_and_pruned(tmp_path: Path) -> None:
    sweep = SWEEP.replace("{name: rouge_l_f1, goal: maximize}", "{name: eval/loss, goal: minimize}")
    (tmp_path / "sweep.yaml").write_text(sweep)
    (tmp_path / "study.yaml").write_text(convert_sweep(tmp_path / "sweep.yaml", "bart"))
    study = load_study(tmp_path / "study.yaml", read_yaml(ROOT / "params.yaml"))
    assert study.objectives == {"eval_loss": "minimize"}
    assert study.pruner.type == "hyperband"


def test_what_is_left_out_of_a_sweep_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "sweep.yaml").write_text(
        "method: grid\nrun_cap: 7\nproject: lab\n"
        "early_terminate: {type: hyperband, min_iter: 2, s: 2, max_iter: 27}\n"
        "parameters:\n  batch_size: {values: [8, 16], probabilities: [0.2, 0.8]}\n"
    )
    text = convert_sweep(tmp_path / "sweep.yaml", "bart")
    left_out = "project, early_terminate.s, early_terminate.max_iter, parameters.batch_size.probabilities"
    assert f"# Left out: {left_out}.\n" in text
    assert left_out in capsys.readouterr().err
    assert YAML(typ="safe").load(text)["trials"] == 7


@pytest.mark.parametrize(
    ("before", "after", "sentence"),
    [
        ("method: bayes", "method: bohb", "method must be one of bayes, random, grid"),
        ("learning_rate:", "learning_rat:", "did you mean 'learning_rate'"),
        ("weight_decay:", "num_beams:", "generation.num_beams are tried without training"),
        ("distribution: uniform", "distribution: beta", "the distribution beta has no counterpart"),
        ("goal: maximize", "goal: minimize", "more of rouge_l_f1 is better"),
        ("rouge_l_f1", "accuracy", "a study has combined ROUGE"),
        ("type: hyperband", "type: median", "must be hyperband"),
    ],
)
def test_what_a_study_does_not_have_is_said(before: str, after: str, sentence: str, tmp_path: Path) -> None:
    (tmp_path / "sweep.yaml").write_text(SWEEP.replace(before, after))
    with pytest.raises(UserError, match=sentence):
        convert_sweep(tmp_path / "sweep.yaml", "bart")
