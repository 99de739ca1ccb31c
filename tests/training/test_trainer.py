"""Training: the golden loss, the same result for the same seed, what is learned, what is left on the disk."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import GenerationConfig

from training.tiny_training import MASKS, ROWS, SIZES, TEXTS, TWICE_SUMMARIZED, member, train
from yoyak.data.records import Dialogue
from yoyak.decoding.torch import TorchSummarizer
from yoyak.errors import UserError
from yoyak.models.families import family_of
from yoyak.models.text import IGNORED, decode
from yoyak.models.tokenizers import train_tokenizer
from yoyak.params import Generation, Tokenizer
from yoyak.scoring.rouge import rouge
from yoyak.training.dataset import encode_rows, sample_rows
from yoyak.training.selection import CheckpointScoring

GOLDEN = {"bart": 5.9808, "t5": 6.6241, "gpt2": 6.0031}
"""Loss of the last logged update: with the seed, the data and the sizes above, the arithmetic leaves no choice."""


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(TEXTS, MASKS, Tokenizer(type="bpe", vocab_size=600))


@pytest.mark.parametrize("kind", SIZES)
def test_golden_loss(kind: str, tokenizer, tmp_path: Path) -> None:
    result = train(kind, tokenizer, tmp_path)
    assert result.metrics.train_loss == pytest.approx(GOLDEN[kind], abs=2e-4)
    assert [row["step"] for row in result.curves] == sorted({row["step"] for row in result.curves})
    assert sum("eval_combined" in row for row in result.curves) == 2
    assert {path.name for path in (tmp_path / "model").iterdir()} >= {
        "model.safetensors",
        "yoyak.json",
        "tokenizer.json",
    }


def test_bf16_trains_on_a_cpu(tokenizer, tmp_path: Path) -> None:
    metrics = train("gpt2", tokenizer, tmp_path, precision="bf16", num_epochs=1, evaluations=1).metrics
    assert (metrics.precision, metrics.device) == ("bfloat16", "cpu")
    assert 0 < metrics.eval_loss < 10


def test_the_same_seed_gives_the_same_weights(tokenizer, tmp_path: Path) -> None:
    for name in ("one", "two"):
        train("bart", tokenizer, tmp_path / name)
    first, second = ((tmp_path / name / "model/model.safetensors").read_bytes() for name in ("one", "two"))
    assert first == second


@pytest.mark.slow
@pytest.mark.parametrize("kind", SIZES)
def test_a_few_rows_are_memorized(kind: str, tokenizer, tmp_path: Path) -> None:
    rows = [*ROWS[:4]] * 8
    names = [Dialogue(fname=str(n), dialogue=row.dialogue, summaries=row.summaries) for n, row in enumerate(rows)]
    train(
        kind, tokenizer, tmp_path, [*names, *names[:4]],
        num_epochs=80, learning_rate=0.01, early_stopping_patience=80, max_target_tokens=64,
    )  # fmt: skip
    summarizer = TorchSummarizer.load(tmp_path / "model", "cpu")
    beams = Generation(num_beams=2, num_return_sequences=2, max_new_tokens=64)
    candidates = summarizer.summarize([row.dialogue for row in ROWS[:4]], generation=beams).candidates
    texts, references = [best[0].text for best in candidates], [row.summaries for row in ROWS[:4]]
    weights = (0.33, 0.33, 0.34)
    scores = rouge(texts, references, granularity="syllable", multi_reference="mean", weights=weights)
    assert scores["combined"].mean() > 0.6
    assert all(first.score >= second.score for first, second in candidates)


def test_the_loss_of_a_decoder_only_model_covers_only_the_target(tokenizer) -> None:
    data = encode_rows(
        ROWS[:4], tokenizer, family_of(member("gpt2")).make_spec("m", member("gpt2")), 64, GenerationConfig()
    ).dataset
    for row, source in zip(data, ROWS[:4], strict=True):
        target = [label for label in row["labels"] if label != IGNORED]
        assert row["input_ids"][-len(target) :] == target
        assert decode(tokenizer, [target]) == [source.summaries[0]]
        assert len(target) < len(row["input_ids"])


def test_a_model_learns_the_first_token_that_its_checkpoint_forces(tokenizer, tmp_path: Path) -> None:
    from yoyak.models.load import build_model

    checkpoint, forced = tmp_path / "checkpoint", 9
    torch.manual_seed(1)
    model = build_model("bart", member("bart"), tokenizer)
    model.generation_config.forced_bos_token_id = forced
    model.save_pretrained(checkpoint)
    train("bart", tokenizer, tmp_path, checkpoint=str(checkpoint), config={}, learning_rate=0.05, num_epochs=4)
    trained = TorchSummarizer.load(tmp_path / "model", "cpu").model
    assert trained.generation_config.forced_bos_token_id == forced
    start = torch.tensor([[trained.generation_config.decoder_start_token_id]])
    # Without generate(), which would force the token whatever the model has learned.
    logits = trained(input_ids=torch.tensor([[20, 21, 22]]), decoder_input_ids=start).logits
    assert int(logits[0, -1].argmax()) == forced


def test_a_training_that_diverges_stops_and_leaves_no_model(tokenizer, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"after 4 steps .*\bnan\b.*1e\+30"):
        train("bart", tokenizer, tmp_path, learning_rate=1e30)
    assert not (tmp_path / "model").exists()


def test_a_foreseeable_failure_costs_no_training(tokenizer, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"600 positions.*512"):
        train("bart", tokenizer, tmp_path, max_input_tokens=600)
    assert list(tmp_path.iterdir()) == []


def test_the_best_checkpoint_is_chosen_by_the_scoring_of_params_on_a_sample_of_dev(tokenizer, tmp_path: Path) -> None:
    scoring = CheckpointScoring(granularity="syllable", multi_reference="max", weights=(1.0, 0.0, 0.0))
    rows = [*ROWS[:32], *TWICE_SUMMARIZED]
    result = train("bart", tokenizer, tmp_path, rows, scoring=scoring, num_epochs=6, evaluations=1)
    sample = sample_rows(TWICE_SUMMARIZED, 4, seed=7)
    summaries = TorchSummarizer.load(tmp_path / "model", "cpu").summarize([row.dialogue for row in sample])
    scores = rouge(
        summaries.texts,
        [row.summaries for row in sample],
        granularity="syllable",
        multi_reference="max",
        weights=(1.0, 0.0, 0.0),
    )
    assert result.metrics.eval_combined > 0
    assert result.metrics.eval_combined == pytest.approx(scores["combined"].mean())


def test_truncated_rows_are_counted_and_warned_about(tokenizer, tmp_path: Path, capsys) -> None:
    result = train("bart", tokenizer, tmp_path, max_target_tokens=8, max_input_tokens=64, num_epochs=0.5)
    assert result.metrics.truncated_summaries == 32
    assert 0 < result.metrics.truncated_dialogues <= 32
    errors = capsys.readouterr().err
    assert "warning: 32 of 32 training summaries" in errors
    assert f"warning: {result.metrics.truncated_dialogues} of 32 training dialogues" in errors
    train(
        "bart", tokenizer, tmp_path / "tolerated",
        max_target_tokens=8, max_input_tokens=64, num_epochs=0.5, max_truncated_share=1,
    )  # fmt: skip
    errors = capsys.readouterr().err
    assert "32 of 32 training summaries" in errors
    assert "warning" not in errors
    uncut = train("bart", tokenizer, tmp_path / "whole", max_target_tokens=128, max_input_tokens=512, num_epochs=0.5)
    assert (uncut.metrics.truncated_dialogues, uncut.metrics.truncated_summaries) == (0, 0)
    assert "training summaries" not in capsys.readouterr().err
