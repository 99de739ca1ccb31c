"""params.yaml: typed, closed, overridden from the environment, and read in the sections that a stage names."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from trained_members import trained
from yoyak import params
from yoyak.errors import UserError
from yoyak.params import Params
from yoyak.params.base import Section
from yoyak.params.ensemble import Auto, Mbr, Weighted, without_members
from yoyak.params.stages import EnsembleParams, PredictParams, TrainParams

ROOT = Path(__file__).parents[2]

SMALL = """
seed: 1
tokenizers:
  bpe: {type: bpe, vocab_size: 400}
members:
  bart: {family: seq2seq, config: {model_type: bart}, tokenizer: bpe, learning_rate: 1e-4}
  gpt2: {family: causal, config: {model_type: gpt2}, tokenizer: bpe, learning_rate: 0.1}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "params.yaml"
    path.write_text(SMALL)
    return path


def learning_rates(p: Params) -> dict[str, float]:
    return {name: trained(member).learning_rate for name, member in p.members.items()}


def test_numbers_are_read_as_dvc_reads_them(file: Path) -> None:
    assert learning_rates(params.load(Params, file, env={}))["bart"] == 1e-4


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "learning_rate: 1e-4",
            "learning_rte: 1e-4",
            "'learning_rte' (did you mean 'learning_rate'?)",
        ),
        (
            "learning_rate: 1e-4",
            "learning_rate: 1e-4, evaluation_granularity: english",
            "members.bart.evaluation_granularity no longer exists",
        ),
        (
            "config: {model_type: bart}",
            "separator: x, config: {model_type: bart}",
            "members.bart has no key 'separator' where its family is seq2seq",
        ),
        (
            "seed: 1",
            "ensemble: {strategies: {vote: {type: vote, utility: rouge}}}",
            "ensemble.strategies.vote has no key 'utility' where its type is vote",
        ),
        ("seed: 1", "ensemble: {strategies: {a b: {type: vote}}}", "the name 'a b': use letters"),
        (
            "seed: 1",
            "ensemble: {strategies: {best: {type: auto, options: {bart: {type: mbr}}}}}",
            "best.options: 'bart' is the name of a member",
        ),
        (
            "seed: 1",
            "ensemble: {strategies: {best: {type: auto, options: {mine: {type: mbr, weights: {brat: 1}}}}}}",
            "best refers to the member 'brat', which does not exist (did you mean 'bart'?)",
        ),
        (
            "seed: 1",
            "ensemble: {members: {study: hyperparameter, top_k: 4}}",
            "which study combines the models: kept: {study: hyperparameter, top_k: 4}",
        ),
        ("seed: 1", "data: {columns: {summary: 3}}", "data.columns.summary: input"),
        ("seed: 1", "scoring: null", "scoring: must hold keys and values, not null"),
        ("seed: 1", f"seed: {'[' * 3000}", "nested too deeply"),
        ("seed: 1", f"seed: {'[' * 200_000}{']' * 200_000}", "nested too deeply"),
        ("seed: 1", "sed: 1", "'sed' (did you mean 'seed'?)"),
        ("seed: 1", "seed: no", "seed: "),
        (
            "tokenizer: bpe, learning_rate: 1e-4",
            "tokenizer: bep, learning_rate: 1e-4",
            "'bep' (did you mean 'bpe'?)",
        ),
        ("config: {model_type: bart}, ", "", "members.bart: a member needs a checkpoint"),
        ("seed: 1", "seed: [1", "is not valid YAML"),
        (
            "seed: 1",
            "generation: {num_beams: 2, num_return_sequences: 4}",
            "num_return_sequences",
        ),
        ("  gpt2:", "  lead3:", "members.lead3: "),
        ("  gpt2:", "  gpt 2:", "the name 'gpt 2'"),
        ("  gpt2:", "  2:", "the name 2"),
        ("  gpt2:", "  null:", "members cannot hold the name None"),
        ("seed: 1", "scoring: {weights: [-1, 1, 1]}", "scoring.weights.0: "),
        ("learning_rate: 1e-4", "learning_rate: .inf", "learning_rate: input should be a finite"),
        ("learning_rate: 1e-4", "learning_rate: null", "not null"),
        ("seed: 1", "seed: 5000000000", "less than 4294967296"),
        ("seed: 1", "seed: 1\nseed: 2", "is not valid YAML (line 3)"),
        ("seed: 1", "scoring: {weights: [0, 0, 0]}", "scoring: weights"),
        ("seed: 1", "scoring: {granularities: []}", "scoring: granularities"),
        ("seed: 1", f"seed: {'x' * 5000}", f"not '{'x' * 59}…."),
    ],
)
def test_a_wrong_key_or_value_gives_one_sentence(file: Path, old: str, new: str, message: str) -> None:
    file.write_text(SMALL.replace(old, new))
    with pytest.raises(UserError) as caught:
        params.load(Params, file, env={})
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere\.yaml is missing"):
        params.load(Params, tmp_path / "nowhere.yaml", env={})


def test_the_environment_overrides_one_key_or_that_of_all_members(file: Path) -> None:
    p = params.load(
        Params,
        file,
        env={
            "BATCH_SIZE": "3",
            "YOYAK__MEMBERS__BART__LEARNING_RATE": "5e-3",
            "YOYAK__SCORING__BOOTSTRAP_SAMPLES": "200",
        },
    )
    assert [trained(member).batch_size for name, member in p.members.items()] == [3, 3]
    assert learning_rates(p) == {"bart": 5e-3, "gpt2": 0.1}
    assert p.scoring.bootstrap_samples == 200


def test_an_override_does_not_change_members_that_share_an_anchor(file: Path) -> None:
    first, second = "{family: seq2seq, config: &config {model_type: bart}", "tokenizer: bpe, learning_rate: 1e-4}"
    file.write_text(
        f"tokenizers: {{bpe: {{type: bpe, vocab_size: 400}}}}\nmembers:\n  bart: &bart {first}, {second}\n"
        f"  same: *bart\n  other: {{family: seq2seq, config: *config, {second}\n"
    )
    env = {"YOYAK__MEMBERS__BART__LEARNING_RATE": "0.5", "YOYAK__MEMBERS__BART__CONFIG__MODEL_TYPE": "t5"}
    p = params.load(Params, file, env=env)
    assert learning_rates(p) == {"bart": 0.5, "same": 1e-4, "other": 1e-4}
    types = [trained(member).config["model_type"] for member in p.members.values()]
    assert types == ["t5", "bart", "bart"]


@pytest.mark.parametrize(
    ("variable", "message"),
    [
        ("YOYAK__MEMBERS__BERT__LEARNING_RATE", "'bert' (did you mean 'bart'?)"),
        (
            "YOYAK__MEMBERS__BART__LERNING_RATE",
            "'lerning_rate' (did you mean 'learning_rate'?)",
        ),
        ("YOYAK__SEED__BART", "seed is a value"),
    ],
)
def test_a_wrong_variable_names_the_nearest_key(file: Path, variable: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        params.load(Params, file, env={variable: "1"})
    assert message in str(caught.value)


@pytest.mark.parametrize("variable", ["LEARNING_RATE", "YOYAK__MEMBERS__BART__LEARNING_RATE"])
def test_a_wrong_value_names_the_variable_that_holds_it(file: Path, variable: str) -> None:
    with pytest.raises(UserError, match=rf"^{variable}: members\.bart\.learning_rate: .*not 'abc'"):
        params.load(Params, file, env={variable: "abc"})


def test_a_variable_of_all_members_leaves_out_those_that_are_not_trained(file: Path) -> None:
    file.write_text(f"{SMALL}  solar: {{family: api, model: solar, base_url: 'http://localhost', prompt: short}}\n")
    p = params.load(Params, file, env={"LEARNING_RATE": "0.5", "BATCH_SIZE": "3", "NUM_EPOCHS": "1"})
    assert [trained(p.members[name]).learning_rate for name in ("bart", "gpt2")] == [0.5, 0.5]
    assert p.members["solar"].family == "api"


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("YOYAK__MEMBERS__BART__SEPARATOR", "x", "members.bart has no key 'separator' where its family is seq2seq"),
        ("YOYAK__MEMBERS__BART", "{family: bert}", "members.bart.family must be one of"),
        ("YOYAK__SCORING", "{granularitys: []}", "scoring has no key 'granularitys' (did you mean 'granularities'?)"),
    ],
)
def test_a_variable_with_a_key_that_is_refused_is_named(file: Path, variable: str, value: str, message: str) -> None:
    with pytest.raises(UserError, match=rf"^{variable}: {re.escape(message)}"):
        params.load(Params, file, env={variable: value})


def test_a_stage_gets_the_part_that_its_class_names(file: Path) -> None:
    p = params.load(TrainParams, file, key="bart", env={})
    assert (trained(p.member).learning_rate, p.seed) == (1e-4, 1)
    assert set(TrainParams.model_fields) == {"member", "granularities", "multi_reference", "weights", "seed"}


def test_fields_can_come_from_any_depth(file: Path) -> None:
    file.write_text(f"{SMALL}ensemble: {{min_members: 1, strategies: {{best: {{type: mbr, candidates: 2}}}}}}\n")
    p = params.load(EnsembleParams, file, key="best", env={})
    assert isinstance(p.strategy, Mbr)
    assert (p.strategy.candidates, p.min_members, list(p.members)) == (2, 1, ["bart", "gpt2"])


def test_what_a_run_logs_is_named_as_in_the_file(file: Path) -> None:
    logged = params.dump(params.load(TrainParams, file, key="bart", env={}), "bart")
    assert {"members.bart", "scoring.granularities", "seed"} <= set(logged)
    assert logged["members.bart"]["learning_rate"] == 1e-4


@pytest.mark.parametrize(
    ("schema", "name", "message"),
    [
        (TrainParams, "bert", "members has no 'bert' (did you mean 'bart'?)"),
        (TrainParams, "", "members has no '' (known: bart, gpt2)"),
        (EnsembleParams, "mbr", "ensemble.strategies has no 'mbr'"),
    ],
)
def test_an_unknown_member_or_strategy_is_named(file: Path, schema: type[Section], name: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        params.load(schema, file, key=name, env={})
    assert message in str(caught.value)


def test_overrides_that_dvc_cannot_see_are_refused_in_its_stages(file: Path) -> None:
    env = {"DVC_STAGE": "train@bart", "LEARNING_RATE": "1"}
    with pytest.raises(UserError, match=r"LEARNING_RATE would change members\.bart\.learning_rate"):
        params.load(TrainParams, file, key="bart", env=env)
    assert params.load(PredictParams, file, key="bart", env=env).seed == 1


@pytest.mark.parametrize("variable", ["YOYAK__MEMBERS__BART", "YOYAK__SCORING"])
def test_an_override_of_a_whole_section_is_refused_too(file: Path, variable: str) -> None:
    values = {"YOYAK__SCORING": "{multi_reference: max}"}
    values["YOYAK__MEMBERS__BART"] = "{family: seq2seq, config: {model_type: bart}, tokenizer: bpe, learning_rate: 1}"
    env = {"DVC_STAGE": "train@bart", variable: values[variable]}
    section = variable.removeprefix("YOYAK__").replace("__", ".").lower()
    with pytest.raises(UserError, match=rf"{variable} would change {re.escape(section)} "):
        params.load(TrainParams, file, key="bart", env=env)


def test_overrides_of_another_member_do_not_affect_a_stage(file: Path) -> None:
    file.write_text(SMALL.replace("  gpt2:", "  bart2:"))
    env = {"DVC_STAGE": "train@bart", "YOYAK__MEMBERS__BART2__LEARNING_RATE": "1"}
    member = params.load(TrainParams, file, key="bart", env=env).member
    assert trained(member).learning_rate == 1e-4


def test_defaults_apply_outside_a_project(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text(f"{SMALL}registry: {{name: ours}}\n")
    monkeypatch.chdir(file.parent)
    assert params.load_or_default().registry.name == "ours"
    file.unlink()
    assert params.load_or_default() == Params.model_construct()
    assert (params.load_or_default().registry.name, params.load_or_default().members) == ("yoyak", {})


def test_names_of_baselines_are_reserved() -> None:
    from yoyak.scoring.baselines import BASELINES
    from yoyak.scoring.systems import ORACLE

    assert {*BASELINES, ORACLE, "best_baseline"} == set(params.RESERVED)


def test_no_member_is_named_like_the_log_of_champions(file: Path) -> None:
    file.write_text("members: {history: {family: seq2seq, checkpoint: kobart, learning_rate: 0.1}}\n")
    with pytest.raises(UserError, match="history"):
        params.load(Params, file, env={})


def test_params_are_frozen(file: Path) -> None:
    with pytest.raises(Exception, match="frozen"):
        params.load(Params, file, env={}).seed = 3


def test_the_committed_params_are_the_demo_preset() -> None:
    assert (ROOT / "params.yaml").read_text() == (ROOT / "presets/demo.yaml").read_text()


def test_options_go_without_members_that_failed() -> None:
    strategy = Auto(type="auto", options={"given": Weighted(type="weighted", weights={"bart": 2, "t5": 1, "gpt2": 1})})
    left = without_members(strategy, {"t5"})
    assert getattr(left.options["given"], "weights") == {"bart": 2, "gpt2": 1}  # noqa: B009
