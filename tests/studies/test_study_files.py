"""studies/*.yaml: what is valid, and the sentence where something is not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from pipeline.conftest import ROOT
from yoyak.errors import UserError
from yoyak.params.overrides import read_yaml
from yoyak.params.studies import CategoricalDimension, Dimension, FloatDimension, IntDimension, Sampler, Searched
from yoyak.params.study_files import load_study, parse_study, set_values, study_file
from yoyak.studies import space
from yoyak.studies.adopt import edit_params
from yoyak.studies.kinds import open_kind
from yoyak.studies.samplers import make_sampler, worker_seed

TREE = read_yaml(ROOT / "params.yaml")
RATE = "members.bart.learning_rate"
VALID: dict[str, Any] = {
    "kind": "hyperparameter",
    "member": "bart",
    "trials": 3,
    "dimensions": {RATE: {"type": "float", "low": 1e-6, "high": 1e-3, "log": True}},
}


BEAMS = {"member": None, "dimensions": {"generation.num_beams": {"type": "int", "low": 1, "high": 4}}}


def load(folder: Path, values: dict[str, Any]) -> Any:
    YAML().dump({key: value for key, value in values.items() if value is not None}, folder / "s.yaml")
    return load_study(folder / "s.yaml", TREE)


@pytest.mark.parametrize("path", sorted(set((ROOT / "studies").glob("*.yaml")) - {ROOT / "studies/dvc.yaml"}), ids=str)
def test_the_projects_own_studies_are_valid(path: Path) -> None:
    study = load_study(path, TREE)
    if path.stem != "kept":  # It opens what another study has left.
        assert open_kind(study, TREE, path.with_suffix("")).study is study


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"kind": "hyperparametr"}, "did you mean 'hyperparameter'"),
        ({"trails": 3}, r"the top level has no key 'trails' \(did you mean 'trials'"),
        ({"sampler": {"typ": "tpe"}}, r"sampler has no key 'typ' \(did you mean 'type'"),
        ({"sampler": {"type": "bayes"}}, "sampler.type: input should be 'tpe'"),
        ({"dimensions": {RATE: {"type": "float", "low": 1, "hi": 2}}}, r"has no key 'hi' \(did you mean 'high'"),
        ({"dimensions": {RATE: {"type": "float", "low": 2, "high": 1}}}, "low is 2 and high 1"),
        ({"dimensions": {RATE: {"type": "float", "low": 0, "high": 1, "log": True}}}, "has no logarithm"),
        ({"dimensions": {RATE: {"type": "float", "low": -1, "high": 1}}}, "learning_rate: input should be greater"),
        (
            {"dimensions": {"members.bart.learning_rat": {"type": "float", "low": 1, "high": 2}}},
            r"has no key 'learning_rat' \(did you mean 'learning_rate'",
        ),
        (
            {"dimensions": {"members.brat.learning_rate": {"type": "float", "low": 1, "high": 2}}},
            r"members has no 'brat' \(did you mean 'bart'",
        ),
        (
            {"dimensions": {"members.bart.batch_size": {"type": "float", "low": 2, "high": 6}}},
            "dimensions.members.bart.batch_size is a whole number: use type: int",
        ),
        ({"trials": None}, "without them the study would never end"),
        ({"sampler": {"type": "grid"}}, "needs a step for a grid"),
        (
            {"objectives": {"combined": "maximize", "latency": "minimize"}, "pruner": {"type": "median"}},
            "several objectives cannot be pruned",
        ),
        (
            {"objectives": {"seconds": "minimize"}, "pruner": {"type": "median"}},
            "cannot be pruned by seconds, which only ended ones have",
        ),
        ({"kind": "generation", "pruner": {"type": "median"}, **BEAMS}, "the pruner median compares evaluations"),
        (
            {"kind": "generation", "pruner": {"type": "wilcoxon"}, "strategy": "mbr", **BEAMS},
            "trials of several members cannot be pruned",
        ),
        (
            {"dimensions": {RATE: {"type": "float", "low": 1, "high": 2, "when": {"seed": [1]}}}},
            "depends on seed, which is not a dimension above it",
        ),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(change: dict[str, Any], sentence: str, tmp_path: Path) -> None:
    assert load(tmp_path, VALID).trials == 3
    with pytest.raises(UserError, match=sentence):
        load(tmp_path, {**VALID, **change})


def test_an_unknown_study_names_the_nearest_one() -> None:
    with pytest.raises(UserError, match="did you mean 'generation'"):
        study_file("generatoin", ROOT / "studies")


def test_values_are_set_where_a_word_stood_before() -> None:
    tree = set_values(TREE, {"ensemble.strategies.weighted.weights.bart": 0.5, "seed": 3})
    assert tree["ensemble"]["strategies"]["weighted"]["weights"] == {"bart": 0.5}
    assert tree["seed"] == 3
    assert TREE["ensemble"]["strategies"]["weighted"]["weights"] == "dev", "the tree itself stays"


def test_a_value_is_set_for_one_of_the_members_that_share_an_anchor(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("members: {bart: &bart {learning_rate: 1}, other: *bart}\n")
    tree = set_values(read_yaml(tmp_path / "params.yaml"), {RATE: 2})
    assert tree["members"] == {"bart": {"learning_rate": 2}, "other": {"learning_rate": 1}}


def test_a_dimension_exists_only_where_it_depends_on() -> None:
    dimensions: dict[str, Dimension] = {
        "optim": CategoricalDimension(type="categorical", choices=["adafactor", "adamw_torch"]),
        "decay": FloatDimension(type="float", low=0, high=0.2, step=0.1, when={"optim": ["adamw_torch"]}),
        "epochs": IntDimension(type="int", low=1, high=2),
    }
    combinations = space.combinations(dimensions)
    assert len(combinations) == 2 + 3 * 2
    assert all(("decay" in each) is (each["optim"] == "adamw_torch") for each in combinations)
    assert {each.get("decay") for each in combinations} == {None, 0.0, 0.1, 0.2}


def test_machines_that_start_together_sample_other_values_but_share_a_sequence() -> None:
    for kind, shared in (("tpe", False), ("random", False), ("qmc", True)):
        sampler = Sampler.model_validate({"type": kind})
        first, second = (worker_seed(sampler, 20, 0, 0, host) for host in ("first", "second"))
        assert (first == second) is shared
        assert worker_seed(sampler, 20, 0, 0) == 20, "a single machine can be repeated anywhere"


def test_the_best_values_of_fewer_beams_can_be_adopted() -> None:
    study = load_study(ROOT / "studies/generation.yaml", TREE)
    kind = open_kind(study, TREE, ROOT / "studies/generation")
    values = kind.adopted({"generation.num_beams": 1})
    assert values == {"generation.num_beams": 1, "generation.num_return_sequences": 1}
    assert "num_beams: 1" in edit_params((ROOT / "params.yaml").read_text(), values)
    assert kind.adopted({"generation.num_beams": 6}) == {"generation.num_beams": 6}


def test_suggested_values_are_within_the_dimensions() -> None:
    import optuna

    study = parse_study(
        {
            **VALID,
            "dimensions": {
                RATE: {"type": "float", "low": 1e-6, "high": 1e-3, "log": True},
                "members.bart.num_epochs": {"type": "int", "low": 1, "high": 5, "step": 2},
                "members.bart.optim": {"type": "categorical", "choices": ["adamw_torch", "adafactor"]},
                "members.bart.weight_decay": {
                    "type": "float",
                    "low": 0.0,
                    "high": 0.1,
                    "when": {"members.bart.optim": ["adafactor"]},
                },
            },
        },
        "s.yaml",
    )
    assert isinstance(study, Searched)
    for kind in ("tpe", "gp", "cmaes", "random", "qmc"):
        sampler = make_sampler(Sampler(type=kind, startup_trials=2), seed=1, objectives=1)
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        searched = optuna.create_study(sampler=sampler, direction="maximize")
        for _ in range(4):
            trial = searched.ask()
            values = space.suggest(trial, study.dimensions)
            assert 1e-6 <= values[RATE] <= 1e-3
            assert values["members.bart.num_epochs"] in (1, 3, 5)
            assert ("members.bart.weight_decay" in values) is (values["members.bart.optim"] == "adafactor")
            searched.tell(trial, values[RATE])
