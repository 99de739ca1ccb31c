"""Soups: the arithmetic of the weights, the greedy choice, and who may be averaged with whom."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from transformers import PreTrainedTokenizerFast

from trained_members import parse_trained
from yoyak.decoding.torch import TorchSummarizer
from yoyak.ensemble.compatibility import check_same_architecture
from yoyak.ensemble.soup import Score, Soup, average, choose_ingredients, save
from yoyak.errors import UserError
from yoyak.models.families import family_of
from yoyak.models.load import build_model
from yoyak.models.tokenizers import train_tokenizer
from yoyak.params import Generation, Tokenizer

TEXTS = ["#Person1#: 안녕하세요?\n#Person2#: 네, 반갑습니다.", "#Person1#: 내일 만날까요?"]
BART = {"model_type": "bart", "d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2,
        "decoder_attention_heads": 2, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16,
        "max_position_embeddings": 64}  # fmt: skip
GPT2 = {"model_type": "gpt2", "n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 128}
SEARCH = Generation(num_beams=2, num_return_sequences=2, max_new_tokens=8)


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return train_tokenizer(TEXTS * 20, ["#Person1#", "#Person2#"], Tokenizer(type="bpe", vocab_size=320))


@pytest.fixture(scope="module")
def make(tokenizer: PreTrainedTokenizerFast) -> Callable[..., TorchSummarizer]:
    def build(seed: int, config: dict = BART, **values: Any) -> TorchSummarizer:
        member = parse_trained(
            {
                "family": "causal" if config["model_type"] == "gpt2" else "seq2seq",
                "config": config,
                "tokenizer": "bpe",
                "learning_rate": 0.1,
                "max_input_tokens": 40,
                "max_target_tokens": 8,
                **values,
            }
        )
        torch.manual_seed(seed)
        model = build_model("m", member, tokenizer)
        return TorchSummarizer(model.eval(), tokenizer, family_of(member).make_spec(f"m{seed}", member))

    return build


def test_every_weight_is_the_mean(make: Callable[..., TorchSummarizer]) -> None:
    members = [make(seed, GPT2) for seed in range(3)]
    before = [{key: value.clone() for key, value in member.model.state_dict().items()} for member in members]
    for number, member in enumerate(members):
        member.model.register_buffer("count", torch.tensor([number + 7]))
        before[number]["count"] = torch.tensor([number + 7])
    soup = average("soup", members).model
    changed = 0
    for key, value in soup.state_dict().items():
        if key == "count":
            # A whole number has no mean.
            assert value.tolist() == [7] and value.dtype == torch.int64
            continue
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, sum(state[key] for state in before) / 3)
        changed += not torch.equal(value, before[0][key])
    assert changed > 3
    for member, state in zip(members, before, strict=True):
        assert all(torch.equal(value, state[key]) for key, value in member.model.state_dict().items())


def test_tied_weights_stay_tied(make: Callable[..., TorchSummarizer], tmp_path: Path) -> None:
    soup = average("soup", [make(1), make(2)])
    save(soup, tmp_path / "soup")
    for model in (soup.model, TorchSummarizer.load(tmp_path / "soup", "cpu").model):
        shared = model.get_input_embeddings().weight
        assert model.get_output_embeddings().weight.data_ptr() == shared.data_ptr()
        assert model.model.encoder.embed_tokens.weight.data_ptr() == shared.data_ptr()


def test_a_soup_of_identical_members_is_that_member(make: Callable[..., TorchSummarizer]) -> None:
    soup = average("soup", [make(1)] * 3)
    assert soup.summarize(TEXTS, generation=SEARCH) == make(1).summarize(TEXTS, generation=SEARCH)


def test_a_saved_soup_loads_as_a_member(make: Callable[..., TorchSummarizer], tmp_path: Path) -> None:
    soup = average("soup", [make(1), make(2, max_input_tokens=30)])
    save(soup, tmp_path / "model")
    names = {path.name for path in (tmp_path / "model").iterdir()}
    assert {"model.safetensors", "yoyak.json", "config.json", "tokenizer.json"} <= names
    assert not [name for name in names if name.endswith((".bin", ".pt", ".pkl"))]
    loaded = TorchSummarizer.load(tmp_path / "model", "cpu")
    assert loaded.spec.member == "soup"
    # One member has not learned the positions beyond its window.
    assert loaded.spec.max_input_tokens == 30
    assert {value.dtype for value in loaded.model.state_dict().values()} == {torch.float32}
    assert loaded.summarize(TEXTS, generation=SEARCH) == soup.summarize(TEXTS, generation=SEARCH)


def mark(summarizer: TorchSummarizer) -> float:
    """A number that is averaged as the weights are: it tells which members are in a soup."""
    return round(summarizer.model.final_logits_bias[0, 0].item(), 4)


def marked(make: Callable[..., TorchSummarizer], **marks: float) -> dict[str, TorchSummarizer]:
    members = {}
    for seed, (name, value) in enumerate(marks.items()):
        members[name] = make(seed)
        members[name].model.final_logits_bias.fill_(value)
    return members


def choose(members: dict[str, TorchSummarizer], method: Literal["uniform", "greedy"], score: Score) -> Soup:
    return choose_ingredients(members, method, DEV, score)


DEV = [f"#Person1#: {number}" for number in range(5)]


def always(scores: dict[float, float]) -> Score:
    """Score a model by its mark, the same on each dialogue of dev."""
    return lambda summarizer: np.full(len(DEV), scores.get(mark(summarizer), 0.0))


def test_the_greedy_soup_adds_whatever_does_not_make_it_worse(make: Callable[..., TorchSummarizer]) -> None:
    members = marked(make, a=1.0, b=2.0, c=6.0, d=10.0)
    tried = []
    # c alone (mark 6) is best; with b the mark is 4 and the score as good; with d too it is 6; with a too 4.75.
    scores = {1.0: 0.1, 2.0: 0.4, 6.0: 0.5, 10.0: 0.3, 4.0: 0.5, 4.75: 0.0}

    def score(summarizer: TorchSummarizer) -> np.ndarray:
        tried.append(mark(summarizer))
        return always(scores)(summarizer)

    soup = choose(members, "greedy", score)
    assert tried == [1.0, 2.0, 6.0, 10.0, 4.0, 6.0, 4.75]
    assert soup.ingredients == ("c", "b", "d")
    assert [(step.member, step.alone, step.together, step.added) for step in soup.steps] == [
        ("c", 0.5, 0.5, True), ("b", 0.4, 0.5, True), ("d", 0.3, 0.5, True), ("a", 0.1, 0.0, False),
    ]  # fmt: skip


def test_a_member_that_makes_it_worse_stays_out_of_later_soups(make: Callable[..., TorchSummarizer]) -> None:
    members = marked(make, a=1.0, b=2.0, c=5.0)
    soup = choose(members, "greedy", always({1.0: 0.5, 2.0: 0.4, 5.0: 0.3, 1.5: 0.49, 3.0: 0.7}))
    assert soup.ingredients == ("a", "c")


def test_each_row_of_dev_has_a_soup_that_was_chosen_without_it(make: Callable[..., TorchSummarizer]) -> None:
    """Adding b helps on the first dialogue alone, by so much that it decides: without that dialogue it stays out."""
    members = marked(make, a=1.0, b=2.0)
    scores = {1.0: [0.5] * 5, 2.0: [0.4] * 5, 1.5: [1.0, 0.45, 0.45, 0.45, 0.45]}
    soup = choose(members, "greedy", lambda summarizer: np.array(scores[mark(summarizer)]))
    assert soup.ingredients == ("a", "b")
    assert soup.cross_fits
    assert {ingredients: sorted(rows) for ingredients, rows in soup.cross_fits.items()} == {
        ("a",): [0],
        ("a", "b"): [1, 2, 3, 4],
    }


def test_a_uniform_soup_uses_all_and_scores_nothing(make: Callable[..., TorchSummarizer]) -> None:
    soup = choose(marked(make, a=1.0, b=2.0, c=6.0), "uniform", lambda _: pytest.fail("scored"))
    assert (soup.ingredients, soup.steps, soup.cross_fits) == (("a", "b", "c"), (), None)


def test_models_that_cannot_be_averaged_are_named(make: Callable[..., TorchSummarizer]) -> None:
    first = make(1)
    check_same_architecture({"a": first, "b": make(2, {**BART, "dropout": 0.3})}, "ensemble.models.soup")
    incompatible = [
        (
            make(2, GPT2),
            "bart and gpt2",
        ),
        (
            make(2, {**BART, "decoder_ffn_dim": 24}),
            r"decoder\.layers\.0\.fc1\.weight .*16, 16.*24, 16",
        ),
        (make(2, {**BART, "decoder_layers": 2}), r"decoder\.layers\.1\.\S+ are missing"),
        (make(2, {**BART, "encoder_attention_heads": 4}), "encoder_attention_heads is 2 and 4"),
        (make(2, {**BART, "scale_embedding": True}), "scale_embedding is False and True"),
        (make(2, prefix="요약: "), "'' and '요약: '"),
    ]
    for member, message in incompatible:
        with pytest.raises(UserError, match=message):
            check_same_architecture({"a": first, "b": member}, "ensemble.models.soup")
