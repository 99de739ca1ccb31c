"""Training: the golden loss, the same result for the same seed, what is learned, what is left on the disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from yoyak.data.records import Dialogue
from yoyak.data.samples import generate
from yoyak.decoding.torch import TorchSummarizer
from yoyak.errors import UserError
from yoyak.models.spec import ModelSpec
from yoyak.models.text import decode
from yoyak.models.tokenizers import train_tokenizer
from yoyak.params import Generation, Member, Tokenizer
from yoyak.scoring.rouge import rouge
from yoyak.training.dataset import IGNORED, EpochLengthGroupedSampler, encode
from yoyak.training.trainer import Training, train_member

SIZES = {
    "bart": ("seq2seq", {"model_type": "bart", "d_model": 16, "encoder_layers": 1, "decoder_layers": 1,
                         "encoder_ffn_dim": 32, "decoder_ffn_dim": 32, "encoder_attention_heads": 2,
                         "decoder_attention_heads": 2, "max_position_embeddings": 512}),
    "t5": ("seq2seq", {"model_type": "t5", "d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2}),
    "gpt2": ("causal", {"model_type": "gpt2", "n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 512}),
}  # fmt: skip
GOLDEN = {"bart": 6.0543, "t5": 6.6573, "gpt2": 6.0582}
"""Loss of the last logged update: with the seed, the data and the sizes above, the arithmetic leaves no choice."""

ROWS = list(generate(40, 5, split="train"))
TEXTS = [text for row in ROWS for text in (row.dialogue, *row.summaries)]
MASKS = ["#Person1#", "#Person2#", "#Person3#"]


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(TEXTS, MASKS, Tokenizer(type="bpe", vocab_size=600))


def member(kind: str, **values: object) -> Member:
    family, config = SIZES[kind]
    settings = {
        "family": family, "config": config, "tokenizer": "bpe", "learning_rate": 0.01, "batch_size": 8, "num_epochs": 2,
        "max_input_tokens": 256, "max_target_tokens": 32, "evaluations": 2, "evaluation_dialogues": 4,
    }  # fmt: skip
    return Member(**{**settings, **values})


def train(kind: str, tokenizer, folder: Path, rows: list[Dialogue] = ROWS, **values: object) -> Training:
    return train_member(
        kind, member(kind, **values), tokenizer, rows[:32], rows[32:],
        seed=7, out=folder / "model", checkpoints=folder / "checkpoints",
    )  # fmt: skip


@pytest.mark.parametrize("kind", SIZES)
def test_golden_loss(kind: str, tokenizer, tmp_path: Path) -> None:
    done = train(kind, tokenizer, tmp_path)
    assert done.metrics["train_loss"] == pytest.approx(GOLDEN[kind], abs=2e-4)
    assert [row["step"] for row in done.curves] == sorted({row["step"] for row in done.curves})
    assert sum("eval_combined" in row for row in done.curves) == 2
    assert not (tmp_path / "checkpoints").exists()
    assert {path.name for path in (tmp_path / "model").iterdir()} >= {
        "model.safetensors",
        "yoyak.json",
        "tokenizer.json",
    }


def test_the_same_seed_gives_the_same_weights(tokenizer, tmp_path: Path) -> None:
    for name in ("one", "two"):
        train("bart", tokenizer, tmp_path / name)
    one, two = ((tmp_path / name / "model/model.safetensors").read_bytes() for name in ("one", "two"))
    assert one == two


@pytest.mark.slow
@pytest.mark.parametrize("kind", SIZES)
def test_a_few_rows_are_learned_by_heart(kind: str, tokenizer, tmp_path: Path) -> None:
    rows = [*ROWS[:4]] * 8
    names = [Dialogue(fname=str(n), dialogue=row.dialogue, summaries=row.summaries) for n, row in enumerate(rows)]
    longer = {"num_epochs": 60, "learning_rate": 0.02, "early_stopping_patience": 60, "max_target_tokens": 64}
    train(kind, tokenizer, tmp_path, [*names, *names[:4]], **longer)
    summarizer = TorchSummarizer.load(tmp_path / "model", "cpu")
    beams = Generation(num_beams=2, num_return_sequences=2, max_new_tokens=64)
    found = summarizer.summarize([row.dialogue for row in ROWS[:4]], generation=beams).candidates
    texts, references = [best[0].text for best in found], [row.summaries for row in ROWS[:4]]
    weights = (0.33, 0.33, 0.34)
    scores = rouge(texts, references, granularity="syllable", multi_reference="mean", weights=weights)
    assert scores["combined"].mean() > 0.6
    assert all(first.score >= second.score for first, second in found)


def test_the_loss_of_a_decoder_only_model_is_on_the_target_alone(tokenizer) -> None:
    data = encode(ROWS[:4], tokenizer, ModelSpec.of("m", member("gpt2")), 64)
    for row, source in zip(data, ROWS[:4], strict=True):
        target = [label for label in row["labels"] if label != IGNORED]
        assert row["input_ids"][-len(target) :] == target
        assert decode(tokenizer, [target]) == [source.summaries[0]]
        assert len(target) < len(row["input_ids"])


def test_batches_depend_on_seed_and_epoch_alone() -> None:
    import torch

    def order(epoch: int, seed: int = 1) -> list[int]:
        sampler = EpochLengthGroupedSampler(4, list(range(40)), seed)
        sampler.set_epoch(epoch)
        torch.rand(epoch + 3)
        return list(sampler)

    assert order(2) == order(2)
    assert order(2) != order(3)
    assert order(2) != order(2, seed=2)
    assert sorted(order(2)) == list(range(40))


def test_a_training_that_diverges_stops_and_leaves_no_model(tokenizer, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"after 4 steps the dev loss is nan: lower its learning_rate, 1e\+30"):
        train("bart", tokenizer, tmp_path, learning_rate=1e30)
    assert not (tmp_path / "model").exists()


def test_a_foreseeable_failure_costs_no_training(tokenizer, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="need 600 positions, the model has 512"):
        train("bart", tokenizer, tmp_path, max_input_tokens=600)
    assert list(tmp_path.iterdir()) == []
