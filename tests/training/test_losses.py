"""Chunked cross-entropy, R-Drop and batches in parts give the loss and the gradients that they promise."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch.nn.functional import cross_entropy, kl_div
from transformers import GenerationConfig, PreTrainedTokenizerBase
from transformers.trainer_pt_utils import LabelSmoother

from training.tiny_training import MASKS, ROWS, TEXTS, member, train
from yoyak.errors import UserError
from yoyak.models.families import TrainedFamily, family_of
from yoyak.models.load import build_model
from yoyak.models.precision import Decision
from yoyak.models.target_loss import TargetLoss, computes_the_same_logits, target_loss
from yoyak.models.text import IGNORED
from yoyak.models.tokenizers import train_tokenizer
from yoyak.params import Tokenizer, TrainedMember
from yoyak.training.arguments import build_arguments
from yoyak.training.dataset import encode_rows, make_collator
from yoyak.training.loss_trainer import LossTrainer, split_batch
from yoyak.training.summary_trainer import CheckpointScoring

SMALL = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
CAUSAL: dict[str, dict[str, Any]] = {
    "llama": {"num_key_value_heads": 2},
    "gemma2": {"num_key_value_heads": 2, "head_dim": 8, "final_logit_softcapping": 0.1},
    "cohere": {"num_key_value_heads": 2, "logit_scale": 0.25},
    "granite": {"num_key_value_heads": 2, "logits_scaling": 8.0},
}
KINDS = ("bart", "t5", "t5-untied", "gpt2", *CAUSAL)
NO_DROPOUT = {
    "bart": {"dropout": 0.0},
    "t5": {"dropout_rate": 0.0},
    "gpt2": {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0},
}
SYLLABLES = CheckpointScoring(granularity="syllable", multi_reference="mean", weights=(1.0, 0.0, 0.0))
VALUES: dict[str, Any] = {
    "scoring": SYLLABLES, "num_epochs": 1, "evaluations": 1, "evaluation_dialogues": 1, "learning_rate": 1e-3,
    "gradient_accumulation_steps": 2,
}  # fmt: skip


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerBase:
    return train_tokenizer(TEXTS, MASKS, Tokenizer(type="bpe", vocab_size=600))


def member_of(kind: str, **values: Any) -> TrainedMember:
    if kind in CAUSAL:
        return member("", family="causal", config={"model_type": kind, **SMALL, **CAUSAL[kind]}, **values)
    name, _, untied = kind.partition("-")
    made = member(name, **values)
    return made.model_copy(update={"config": {**made.config, "tie_word_embeddings": False}}) if untied else made


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """A model without dropout, the padded batch that it is called with, and its family."""

    model: Any
    batch: dict[str, Any]
    """As the collator returns it."""
    inputs: dict[str, Any]
    family: TrainedFamily

    def gradients(self, loss: torch.Tensor) -> dict[str, torch.Tensor]:
        self.model.zero_grad()
        loss.backward()
        return {name: parameter.grad.clone() for name, parameter in self.model.named_parameters()}

    def loss(self, **values: Any) -> torch.Tensor:
        """Return the mean loss of the target tokens."""
        settings = {"chunk_tokens": 7, "r_drop": 0.0, "label_smoothing": 0.0}
        total = TargetLoss(family=self.family, **{**settings, **values})(self.model, self.model, self.inputs)
        return total / (self.inputs["labels"] != IGNORED).sum()


def make_ready(kind: str, tokenizer: PreTrainedTokenizerBase, **config: Any) -> Ready:
    torch.manual_seed(3)
    settings = member_of(kind)
    settings = settings.model_copy(update={"config": {**settings.config, **config}})
    family, model = family_of(settings), build_model("m", settings, tokenizer).eval()
    if hasattr(model, "final_logits_bias"):
        model.final_logits_bias.normal_()
    data = encode_rows(ROWS[:5], tokenizer, family.make_spec("m", settings), 32, GenerationConfig()).dataset
    batch = make_collator(tokenizer, model, family)(list(data))
    inputs = family.loss_inputs(batch, inspect.signature(model.forward).parameters.keys())
    return Ready(model=model, batch=dict(batch), inputs=inputs, family=family)


def make_trainer(ready: Ready, settings: TrainedMember, folder: Path) -> LossTrainer:
    return LossTrainer(
        family=ready.family,
        base_model=ready.model,
        parameters=frozenset(inspect.signature(ready.model.forward).parameters),
        target_loss=target_loss(settings, ready.family),
        max_batch_tokens=settings.max_batch_tokens,
        row_tokens=None,
        model=ready.model,
        args=build_arguments(settings, 1, folder, 5, Decision(precision="fp32", reason="")),
        eval_dataset=ROWS,
    )


def assert_close(left: Mapping[str, torch.Tensor], right: Mapping[str, torch.Tensor]) -> None:
    torch.testing.assert_close(dict(right), dict(left), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_chunked_it_is_the_loss_of_the_model(kind: str, tokenizer) -> None:
    ready = make_ready(kind, tokenizer)
    expected = ready.model(**ready.inputs).loss
    gradients = ready.gradients(expected)
    for chunk_tokens in (7, 10_000):
        loss = ready.loss(chunk_tokens=chunk_tokens)
        torch.testing.assert_close(loss, expected)
        assert_close(gradients, ready.gradients(loss))


@pytest.mark.parametrize("kind", ["bart", "gpt2"])
def test_label_smoothing_is_that_of_transformers(kind: str, tokenizer) -> None:
    ready = make_ready(kind, tokenizer)
    labels = ready.inputs["labels"]
    expected = LabelSmoother(epsilon=0.2)(ready.model(**ready.inputs), labels, shift_labels=kind == "gpt2")
    gradients = ready.gradients(expected)
    loss = ready.loss(label_smoothing=0.2)
    torch.testing.assert_close(loss, expected)
    assert_close(gradients, ready.gradients(loss))
    ready.model.train()
    torch.testing.assert_close(make_ready(kind, tokenizer, **NO_DROPOUT[kind]).loss(label_smoothing=0.2), expected)


@pytest.mark.parametrize("kind", ["bart", "gpt2"])
def test_label_smoothing_is_that_of_transformers_for_a_compiled_model(kind: str, tokenizer, tmp_path: Path) -> None:
    ready = make_ready(kind, tokenizer)
    trainer = make_trainer(ready, member(kind, label_smoothing=0.2), tmp_path)
    expected = LabelSmoother(epsilon=0.2)(
        ready.model(**ready.inputs), ready.inputs["labels"], shift_labels=kind == "gpt2"
    )
    compiled = torch.compile(ready.model, backend="eager")
    torch.testing.assert_close(trainer.compute_loss(compiled, dict(ready.batch)), expected)


def test_no_more_logits_exist_at_once_than_those_of_a_chunk(tokenizer) -> None:
    ready = make_ready("gpt2", tokenizer)
    positions: list[int] = []
    ready.model.get_output_embeddings().register_forward_hook(
        lambda module, arguments, logits: positions.append(logits.numel() // logits.shape[-1])
    )
    ready.loss(chunk_tokens=7).backward()
    targets = int((ready.inputs["labels"] != IGNORED).sum())
    # None in the model's forward, each chunk in that of the loss, and again in its backward pass.
    assert positions[0] == 0
    assert sum(positions) == 2 * targets
    assert max(positions) == 7


@pytest.mark.parametrize("kind", ["gemma2", "cohere", "granite", "bart"])
def test_logits_that_a_model_computes_otherwise_are_noticed(kind: str, tokenizer) -> None:
    ready = make_ready(kind, tokenizer)

    class Plain(type(ready.family)):  # type: ignore[misc]
        """A family that knows of nothing that is done to the logits."""

        def finish_logits(self, model: Any, logits: torch.Tensor) -> torch.Tensor:
            return logits

    loss = TargetLoss(family=ready.family, chunk_tokens=7, r_drop=0, label_smoothing=0)
    assert computes_the_same_logits(loss, ready.model, ready.inputs)
    assert not computes_the_same_logits(replace(loss, family=Plain()), ready.model, ready.inputs)


@pytest.mark.parametrize("kind", NO_DROPOUT)
def test_r_drop_without_dropout_is_cross_entropy(kind: str, tokenizer) -> None:
    ready = make_ready(kind, tokenizer, **NO_DROPOUT[kind])
    ready.model.train()
    expected = ready.loss()
    gradients = ready.gradients(expected)
    loss = ready.loss(r_drop=3.0)
    torch.testing.assert_close(loss, expected)
    assert_close(gradients, ready.gradients(loss))


@pytest.mark.parametrize("kind", ["bart", "gpt2"])
def test_r_drop_is_the_divergence_of_two_passes(kind: str, tokenizer) -> None:
    ready = make_ready(kind, tokenizer)
    ready.model.train()
    labels = ready.inputs["labels"]
    inputs = {
        name: torch.cat([value, value]) if isinstance(value, torch.Tensor) else value
        for name, value in ready.inputs.items()
        if name != "labels"
    }
    torch.manual_seed(5)
    logits = ready.model(**inputs).logits
    if kind == "gpt2":
        logits, labels = logits[:, :-1], labels[:, 1:]
    first, second = logits.chunk(2)
    kept = labels != IGNORED
    p, q = first[kept].log_softmax(-1), second[kept].log_softmax(-1)
    entropy = (cross_entropy(first[kept], labels[kept]) + cross_entropy(second[kept], labels[kept])) / 2
    divergence = (kl_div(p, q, reduction="sum", log_target=True) + kl_div(q, p, reduction="sum", log_target=True)) / 2
    expected = entropy + 2.5 * divergence / kept.sum()
    assert divergence > 0.01
    gradients = ready.gradients(expected)
    torch.manual_seed(5)
    loss = ready.loss(r_drop=2.5)
    torch.testing.assert_close(loss, expected)
    assert_close(gradients, ready.gradients(loss))
    ready.model.eval()
    torch.testing.assert_close(ready.loss(r_drop=2.5), ready.loss())  # An evaluation has one pass.


def test_r_drop_is_refused_where_nothing_is_dropped(tokenizer, tmp_path: Path) -> None:
    settings = member("bart", r_drop=1.0)
    config = {**settings.config, "dropout": 0.0}
    with pytest.raises(UserError, match=r"members\.bart\.r_drop: the model has no dropout"):
        train("bart", tokenizer, tmp_path, config=config, r_drop=1.0)


def curves(kind: str, tokenizer: PreTrainedTokenizerBase, folder: Path, **values: Any) -> list[dict[str, float]]:
    config = {**member(kind).config, **NO_DROPOUT[kind]}
    return train(kind, tokenizer, folder, config=config, **{**VALUES, **values}).curves


@pytest.mark.parametrize(
    ("kind", "smoothing", "values"),
    [
        ("bart", 0.0, {"max_batch_tokens": 500}),
        ("bart", 0.1, {"max_batch_tokens": 500, "loss_chunk_tokens": 16}),
        ("gpt2", 0.0, {"max_batch_tokens": 500, "loss_chunk_tokens": 16}),
        ("gpt2", 0.1, {"max_batch_tokens": 500}),
    ],
)
def test_a_training_is_the_same_in_parts_and_in_chunks(
    kind: str, smoothing: float, values: dict[str, Any], tokenizer, tmp_path: Path
) -> None:
    expected = curves(kind, tokenizer, tmp_path / "plain", label_smoothing=smoothing)
    assert len(expected) == 2
    found = curves(kind, tokenizer, tmp_path / "other", label_smoothing=smoothing, **values)
    for row, other in zip(expected, found, strict=True):
        assert other == pytest.approx(row, rel=2e-4)


@pytest.mark.parametrize(
    ("kind", "values"),
    [("bart", {}), ("bart", {"label_smoothing": 0.1}), ("gpt2", {}), ("gpt2", {"loss_chunk_tokens": 16})],
)
def test_an_evaluation_is_the_same_in_parts(kind: str, values: dict[str, Any], tokenizer, tmp_path: Path) -> None:
    ready = make_ready(kind, tokenizer)
    rows = []
    ready.model.register_forward_pre_hook(
        lambda module, args, inputs: rows.append(len(inputs["input_ids"])), with_kwargs=True
    )
    [whole, parts] = (
        make_trainer(ready, member(kind, max_batch_tokens=limit, **values), tmp_path).prediction_step(
            ready.model, dict(ready.batch), prediction_loss_only=True
        )[0]
        for limit in (None, 1)
    )
    assert rows == [5, 1, 1, 1, 1, 1]
    torch.testing.assert_close(parts, whole)


def test_smoothed_losses_are_normalized_over_the_update(tokenizer, tmp_path: Path) -> None:
    """transformers adds up the means of the batches, for models that normalize their own loss over the update."""
    plain = curves("gpt2", tokenizer, tmp_path / "plain")
    smoothed = curves("gpt2", tokenizer, tmp_path / "smoothed", label_smoothing=1e-6)
    assert [row["loss"] for row in smoothed] == pytest.approx([row["loss"] for row in plain], abs=2e-4)
    assert [row["grad_norm"] for row in smoothed] == pytest.approx([row["grad_norm"] for row in plain], rel=1e-3)


def test_a_training_with_r_drop_is_the_same_in_parts_of_another_size_of_chunk(tokenizer, tmp_path: Path) -> None:
    """Dropout is drawn alike, so that all else has to be alike too."""
    results = [
        train("bart", tokenizer, tmp_path / str(size), r_drop=1.0, loss_chunk_tokens=size, **VALUES).curves
        for size in (16, 10_000)
    ]
    for row, other in zip(*results, strict=True):
        assert other == pytest.approx(row, rel=2e-4)


def test_an_adapter_is_trained_in_chunks(tokenizer, tmp_path: Path) -> None:
    train("gpt2", tokenizer, tmp_path / "base", scoring=SYLLABLES, num_epochs=0.5, evaluation_dialogues=1)
    values = {**VALUES, "config": {}, "checkpoint": str(tmp_path / "base" / "model"), "adapter": {"lora_dropout": 0.0}}
    plain = train("gpt2", tokenizer, tmp_path / "plain", **values)
    chunked = train("gpt2", tokenizer, tmp_path / "chunked", loss_chunk_tokens=16, **values)
    for row, other in zip(plain.curves, chunked.curves, strict=True):
        assert other == pytest.approx(row, rel=2e-4)


def test_a_compiled_model_has_its_own_loss_only() -> None:
    for values in ({"r_drop": 1.0}, {"loss_chunk_tokens": 16}):
        with pytest.raises(ValidationError, match="torch_compile does not go with"):
            member("bart", torch_compile=True, **values)


def test_a_batch_is_split_by_rows() -> None:
    batch = {"input_ids": torch.arange(50).view(5, 10), "labels": torch.arange(50).view(5, 10)}
    assert [len(part["labels"]) for part in split_batch(batch, 50)] == [5]
    assert [len(part["labels"]) for part in split_batch(batch, 49)] == [3, 2]
    assert [len(part["labels"]) for part in split_batch(batch, 20)] == [2, 2, 1]
    assert [len(part["labels"]) for part in split_batch(batch, 1)] == [1] * 5
    assert torch.equal(torch.cat([part["input_ids"] for part in split_batch(batch, 20)]), batch["input_ids"])
    with_decoder = batch | {"decoder_input_ids": torch.ones(5, 10)}
    assert [len(part["labels"]) for part in split_batch(with_decoder, 50)] == [2, 2, 1]
