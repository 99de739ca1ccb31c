"""`yoyak check`: failures that cost minutes of training are known in seconds, for all members at once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from transformers import AutoConfig, BartConfig, BartForConditionalGeneration

from pipeline.checkpoints import CHECKPOINTS
from pipeline.conftest import make_project, shell, succeed
from training.tiny_training import MASKS, ROWS, TEXTS, member
from yoyak.models.families import family_of, get_family
from yoyak.models.memory import Memory, estimate_memory
from yoyak.models.precision import Decision
from yoyak.models.tokenizers import train_tokenizer
from yoyak.params import Tokenizer
from yoyak.training.check import CHECKS, Report, check_member, make_report


@pytest.fixture(scope="module")
def own_tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizer")
    train_tokenizer(TEXTS, MASKS, Tokenizer(type="bpe", vocab_size=600)).save_pretrained(folder)
    return folder


def check(kind: str, own_tokenizer: Path | None, out: Path, **values: Any) -> Report:
    if own_tokenizer is None:
        values = {"tokenizer": None, **values}
    return make_report("m", check_member("m", member(kind, **values), ROWS[:32], MASKS, own_tokenizer, out / "model"))


def note(report: Report, name: str) -> str:
    return next(finding.note for finding in report.findings if finding.check == name)


def failed(report: Report) -> str:
    """The check that failed."""
    return next(finding.check for finding in report.findings if finding.level == "error")


@pytest.mark.parametrize("kind", ["bart", "t5", "gpt2"])
def test_a_member_that_can_be_trained_passes_every_check(kind: str, own_tokenizer: Path, tmp_path: Path) -> None:
    report = check(kind, own_tokenizer, tmp_path)
    assert [finding.check for finding in report.findings] == list(CHECKS)
    assert not report.fails
    assert ROWS[0].summaries[0][:20] in note(report, "example")


def test_summaries_that_are_cut_are_a_warning_too(own_tokenizer: Path, tmp_path: Path) -> None:
    for tokens, level in ((8, "warning"), (96, "ok")):
        report = check("bart", own_tokenizer, tmp_path, max_input_tokens=500, max_target_tokens=tokens)
        [window] = [finding for finding in report.findings if finding.check == "window"]
        assert window.level == level
        assert ("raise max_target_tokens" in window.note) == (level == "warning")
    assert "0.0% of the summaries" in window.note


def test_a_part_that_would_be_empty_is_found(own_tokenizer: Path, tmp_path: Path) -> None:
    report = check("bart", own_tokenizer, tmp_path, fold={"index": 1, "of": 10_000})
    assert failed(report) == "example"
    assert "too few for 10000 parts" in note(report, "example")


def test_a_package_that_is_missing_is_named(
    own_tokenizer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("yoyak.training.tensorboard.find_spec", lambda name: None)
    report = check("bart", own_tokenizer, tmp_path, tensorboard=True)
    assert "pip install tensorboard" in note(report, failed(report))


@pytest.mark.parametrize(
    ("values", "name", "words"),
    [
        ({"checkpoint": "solar-11b", "config": {}}, "checkpoint", "solar-10.7b"),
        ({"config": {"model_type": "bert-base"}}, "checkpoint", "bert"),
        ({"checkpoint": "pretrained/mine", "config": {}}, "checkpoint", "config.json"),
        ({"metrics": ["no-such-metric"]}, "precision", "no-such-metric"),
        ({"max_input_tokens": 600}, "window", "512"),
        ({"precision": "fp16"}, "precision", "fp16"),
        ({"optim": "paged_adamw_8bit"}, "precision", "adamw_torch"),
    ],
)
def test_what_fails_is_named_with_what_would_be_right(
    values: dict[str, Any], name: str, words: str, own_tokenizer: Path, tmp_path: Path
) -> None:
    report = check("bart", own_tokenizer, tmp_path, **values)
    assert failed(report) == name
    assert words in note(report, name)


def test_a_checkpoint_that_does_not_fit_is_known_from_its_config(tmp_path: Path) -> None:
    folder = tmp_path / "solar"
    CHECKPOINTS["solar-10.7b"](TEXTS, folder)
    huge = {"hidden_size": 16384, "intermediate_size": 65536, "num_hidden_layers": 80, "num_attention_heads": 128}
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | huge))
    values = {"family": "causal", "checkpoint": str(folder), "config": {}}
    assert "adapter: {}" in note(report := check("", None, tmp_path, **values), "memory")
    assert failed(report) == "memory"
    assert "quantization" in note(check("", None, tmp_path, **values, adapter={}), "memory")
    quantized = check("", None, tmp_path, **values, adapter={"quantization": {}})
    assert "gradient_checkpointing" in note(quantized, "memory")


def test_a_batch_that_does_not_fit_is_answered_with_one_that_does(own_tokenizer: Path, tmp_path: Path) -> None:
    # The tokens alone of such a batch would not fit into any memory.
    report = check("bart", own_tokenizer, tmp_path, batch_size=10_000_000_000)
    assert not report.fails
    assert "starts over with less" in note(report, "memory")


def test_a_model_that_cannot_be_measured_is_not_refused(tmp_path: Path) -> None:
    folder = tmp_path / "experts"
    CHECKPOINTS["qwen3-4b"](TEXTS, folder)
    sizes = {"vocab_size": 1300, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
             "num_key_value_heads": 2, "head_dim": 16, "num_experts": 4, "num_experts_per_tok": 2,
             "moe_intermediate_size": 16}  # fmt: skip
    AutoConfig.for_model("qwen3_moe", **sizes).save_pretrained(folder)
    report = check("", None, tmp_path, family="causal", checkpoint=str(folder), config={})
    assert [finding.check for finding in report.findings] == list(CHECKS)
    assert not report.fails
    assert "qwen3_moe" in note(report, "memory")


def test_the_template_decides_how_a_summary_ends(tmp_path: Path) -> None:
    CHECKPOINTS["smollm2-135m"](TEXTS, tmp_path / "smollm2")
    values = {"family": "causal", "checkpoint": str(tmp_path / "smollm2"), "config": {}, "chat": True}
    report = check("", None, tmp_path, **values)
    assert not report.fails
    assert "<|im_start|>, but" in note(report, "tokenizer")
    assert "<|im_end|>' (" in note(report, "example")


def test_the_memory_of_many_layers_is_that_of_each() -> None:
    sizes = {"d_model": 32, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64, "encoder_attention_heads": 2,
             "decoder_attention_heads": 2, "vocab_size": 300}  # fmt: skip

    def estimate(**layers: int) -> Memory:
        return estimate_memory(
            member("bart"), get_family("seq2seq"), AutoConfig.for_model("bart", **sizes, **layers),  # type: ignore[arg-type]
            Decision(precision="fp32", reason=""), device="cuda", vocabulary=300, input_tokens=50, target_tokens=10,
            batch_size=4,
        )  # fmt: skip

    deep = estimate(encoder_layers=5, decoder_layers=3)
    model = BartForConditionalGeneration(BartConfig(**sizes, encoder_layers=5, decoder_layers=3))
    assert deep.parameters == sum(parameter.numel() for parameter in model.parameters())
    one, two = estimate(encoder_layers=1, decoder_layers=1), estimate(encoder_layers=2, decoder_layers=2)
    assert one.activations < two.activations < deep.activations
    assert deep.weights == deep.gradients == deep.optimizer / 2 == deep.parameters * 4


@pytest.mark.slow
def test_no_member_is_trained_if_one_of_them_cannot_be(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    params = YAML(typ="safe").load(project / "params.yaml")
    params["members"]["zebra"] = {"family": "causal", "checkpoint": "solar-11b", "learning_rate": 1e-4}
    with (project / "params.yaml").open("w") as out:
        YAML().dump(params, out)
    done = shell(project, "dvc", "repro")
    assert done.returncode != 0
    assert "zebra" in done.stdout + done.stderr
    assert not list((project / "models").glob("*"))
    found = json.loads(shell(project, "yoyak", "check", "--json").stdout)
    assert [report["member"] for report in found] == list(params["members"])
    assert found[-1]["findings"][0]["level"] == "error"
    assert "solar-10.7b" in found[-1]["findings"][0]["note"]
    assert "bart" in succeed(project, "yoyak", "check", "bart")


def test_chunks_and_parts_take_less_memory_and_r_drop_more() -> None:
    config = AutoConfig.for_model("gpt2", vocab_size=30_000, n_embd=32, n_head=2, n_layer=2)

    def estimate(**values: Any) -> Memory:
        settings = member("gpt2", **values)
        return estimate_memory(
            settings,
            family_of(settings),
            config,
            Decision(precision="fp32", reason=""),
            device="cuda",
            vocabulary=30_000,
            input_tokens=64,
            target_tokens=32,
            batch_size=8,
        )

    plain = estimate()
    logits = 8 * 32 * 30_000 * 4
    # All positions in one chunk are what the model itself computes.
    assert estimate(loss_chunk_tokens=1000).activations == pytest.approx(plain.activations, rel=0.05)
    assert plain.activations - estimate(loss_chunk_tokens=16).activations > 1.5 * logits
    assert estimate(r_drop=1.0, loss_chunk_tokens=1000).activations > 2 * plain.activations
    halved = estimate(max_batch_tokens=4 * 96)
    assert halved.rows == 4
    assert halved.activations == pytest.approx(plain.activations / 2, rel=0.05)
    assert estimate(max_batch_tokens=1).rows == 1
