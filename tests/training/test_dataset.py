"""The order of batches, what their loss is, and the sample of dev rows that chooses a checkpoint."""

from __future__ import annotations

import inspect
from itertools import combinations

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from training.tiny_training import MASKS, ROWS, TEXTS, member
from yoyak.models.families import get_family
from yoyak.models.families.base import TrainedFamily
from yoyak.models.text import IGNORED
from yoyak.models.tokenizers import train_tokenizer
from yoyak.params import Tokenizer
from yoyak.training.dataset import LengthSampler, ShuffledSampler, encode_rows, make_collator, sample_rows

CAUSAL = {
    "gpt2": {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 512},
    "llama": {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2},
}
COLUMNS = ("input_ids", "labels")


@pytest.mark.parametrize("grouped", [True, False])
def test_batches_depend_on_seed_and_epoch_alone(grouped: bool) -> None:
    def order(epoch: int, seed: int = 1) -> list[int]:
        sampler = LengthSampler(4, [(row, row) for row in range(40)], seed) if grouped else ShuffledSampler(40, seed)
        sampler.set_epoch(epoch)
        torch.rand(epoch + 3)
        return list(sampler)

    assert order(2) == order(2)
    assert order(2) != order(3)
    assert order(2) != order(2, seed=2)
    assert sorted(order(2)) == list(range(40))


def test_batches_have_rows_of_similar_lengths_and_others_in_each_epoch() -> None:
    generator = torch.Generator().manual_seed(3)
    inputs = torch.randint(20, 400, (203,), generator=generator)
    lengths = [(int(row), int(row) // 5 + 1) for row in inputs]
    sampler = LengthSampler(8, lengths, seed=1)
    shared = []
    for epoch in range(2):
        sampler.set_epoch(epoch)
        order = list(sampler)
        assert sorted(order) == list(range(203))
        batches = [order[first : first + 8] for first in range(0, 203, 8)]
        assert len(batches[-1]) == 3
        assert int(inputs.argmax()) in batches[0] + batches[-1]
        padded = sum(len(batch) * max(lengths[row][column] for row in batch) for batch in batches for column in (0, 1))
        assert padded < 1.15 * sum(map(sum, lengths))
        shared.append({frozenset(pair) for batch in batches for pair in combinations(batch, 2)})
    assert len(shared[0] & shared[1]) < 0.5 * len(shared[0])


def test_random_batches_begin_with_the_longest_row() -> None:
    sampler = ShuffledSampler(40, seed=1, first=7)
    orders = []
    for epoch in range(2):
        sampler.set_epoch(epoch)
        orders.append(list(sampler))
        assert orders[-1][0] == 7
        assert sorted(orders[-1]) == list(range(40))
    assert orders[0] != orders[1]


@pytest.mark.parametrize("rows", [0, 1, 5, 8])
def test_few_rows_are_one_batch(rows: int) -> None:
    assert sorted(LengthSampler(8, [(3, 3)] * rows, seed=1)) == list(range(rows))


def test_the_sample_depends_on_the_seed_and_not_on_the_order_of_the_rows() -> None:
    sample = sample_rows(ROWS, 8, seed=7)
    assert sample == sample_rows(ROWS[::-1], 8, seed=7)
    assert {row.fname for row in sample} != {row.fname for row in ROWS[:8]}
    assert sample != sample_rows(ROWS, 8, seed=8)
    assert len(sample_rows(ROWS, 1000, seed=7)) == len(ROWS)


@pytest.mark.parametrize("model_type", CAUSAL)
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_a_decoder_only_models_loss_and_gradients_are_those_of_each_row_alone(model_type: str, attention: str) -> None:
    family = get_family("causal")
    assert isinstance(family, TrainedFamily)
    tokenizer = train_tokenizer(TEXTS, MASKS, Tokenizer(type="bpe", vocab_size=600))
    torch.manual_seed(0)
    config = AutoConfig.for_model(model_type, vocab_size=len(tokenizer), **CAUSAL[model_type])
    model = AutoModelForCausalLM.from_config(config, attn_implementation=attention).eval()
    settings = member("gpt2")
    rows = encode_rows(ROWS[:4], tokenizer, family.make_spec("m", settings), 32, model.generation_config).dataset
    assert len({len(row["input_ids"]) for row in rows}) > 1

    losses, targets = [], 0
    for row in rows:
        ids, labels = torch.tensor([row["input_ids"]]), torch.tensor([row["labels"]])
        logits = model(input_ids=ids).logits[0, :-1]
        losses.append(torch.nn.functional.cross_entropy(logits, labels[0, 1:], ignore_index=IGNORED, reduction="sum"))
        targets += int((labels[0, 1:] != IGNORED).sum())
    alone = torch.stack(losses).sum() / targets
    expected = torch.autograd.grad(alone, list(model.parameters()))

    batch = make_collator(tokenizer, model, family)([{name: row[name] for name in COLUMNS} for row in rows])
    inputs = family.loss_inputs(batch, inspect.signature(model.forward).parameters)
    output = model(**inputs)
    assert output.logits.shape[1] < batch["input_ids"].shape[1] / 2
    torch.testing.assert_close(output.loss, alone, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(
        torch.autograd.grad(output.loss, list(model.parameters())), expected, rtol=1e-3, atol=1e-6
    )
