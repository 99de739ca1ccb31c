"""Every family loads from a local folder, in fp32 whatever was saved, trains a step's loss and writes a token."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from trained_members import parse_trained
from yoyak.data.records import Dialogue
from yoyak.decoding.torch import TorchSummarizer
from yoyak.errors import UserError
from yoyak.models import preflight
from yoyak.models.families import family_of
from yoyak.models.families.seq2seq import Seq2Seq
from yoyak.models.load import build_model, load_trained
from yoyak.models.spec import save_spec
from yoyak.models.text import encode_targets
from yoyak.models.tokenizers import load_tokenizer, train_tokenizer
from yoyak.params import Tokenizer, TrainedMember

MASKS = ["#Person1#", "#Person2#"]
ROW = Dialogue(fname="a", dialogue="#Person1#: 안녕하세요?\n#Person2#: 네.", summaries=("#Person1#은 인사한다.",))


def member(**values: Any) -> TrainedMember:
    return parse_trained(
        {"family": "seq2seq", "learning_rate": 0.1, "max_input_tokens": 64, "max_target_tokens": 16, **values}
    )


def test_a_checkpoint_saved_in_bf16_is_used_in_fp32(checkpoint: tuple[str, str, Path], tmp_path: Path) -> None:
    _, family, folder = checkpoint
    settings = member(family=family, checkpoint=str(folder))
    tokenizer = load_tokenizer(folder, MASKS)
    model = build_model("m", settings, tokenizer)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    spec = family_of(settings).make_spec("m", settings)
    preflight.check(spec, settings, model, tokenizer, [(ROW.dialogue, ROW.summaries[0])], tmp_path)
    model.to(torch.bfloat16).save_pretrained(tmp_path / "saved")
    tokenizer.save_pretrained(tmp_path / "saved")
    save_spec(tmp_path / "saved", spec)
    assert {parameter.dtype for parameter in load_trained(tmp_path / "saved", family_of(settings)).parameters()} == {
        torch.float32
    }
    summaries = TorchSummarizer.load(tmp_path / "saved", "cpu").summarize([ROW.dialogue, "짧다", ""])
    assert [len(candidates) for candidates in summaries.candidates] == [1, 1, 1]


def test_the_wrong_family_is_reported(checkpoint: tuple[str, str, Path]) -> None:
    _, family, folder = checkpoint
    wrong = "causal" if family == "seq2seq" else "seq2seq"
    with pytest.raises(UserError, match=f"write family: {family}"):
        build_model("m", member(family=wrong, checkpoint=str(folder)), load_tokenizer(folder, MASKS))


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer([ROW.dialogue] * 20, MASKS, Tokenizer(type="bpe", vocab_size=320))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"model_type": "pegasu"}, "transformers has no 'pegasu' (did you mean 'pegasus'?)"),
        ({"model_type": "bart", "d_modle": 16}, "bart has no 'd_modle' (did you mean 'd_model'?)"),
        ({"model_type": "gpt2"}, "write family: causal"),
        (
            {"model_type": "bart", "d_model": 16, "encoder_attention_heads": 3},
            "describe a valid bart (ValueError: ",
        ),
        ({"model_type": "bart", "d_model": "big"}, "describe a valid bart (TypeError: "),
        ({"model_type": "t5", "feed_forward_proj": "a-b-c"}, "describe a valid t5 (ValueError: "),
    ],
)
def test_a_wrong_config_gives_one_sentence(tokenizer, config: dict[str, object], message: str) -> None:
    with pytest.raises(UserError) as caught:
        build_model("m", member(config=config, tokenizer="bpe"), tokenizer)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("kobrt", "did you mean 'kobart',"),
        ("./nowhere", "nowhere"),
        ("someone/no-such-model", "no-such-model"),
    ],
)
def test_a_missing_checkpoint_gives_one_sentence(
    tokenizer, name: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UserError) as caught:
        build_model("m", member(checkpoint=name), tokenizer)
    assert message in str(caught.value)


SIZES = {"d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 8, "decoder_ffn_dim": 8}


@pytest.fixture
def bart(tokenizer, tmp_path: Path) -> Path:
    """A folder as `yoyak train` leaves it."""
    settings = member(config={"model_type": "bart", **SIZES}, tokenizer="bpe")
    build_model("m", settings, tokenizer).save_pretrained(tmp_path / "bart")
    tokenizer.save_pretrained(tmp_path / "bart")
    save_spec(tmp_path / "bart", family_of(settings).make_spec("m", settings))
    return tmp_path / "bart"


def change_config(folder: Path, **values: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_pickled_weights_of_a_trained_model_are_not_read(bart: Path) -> None:
    torch.save(load_trained(bart, Seq2Seq()).state_dict(), bart / "pytorch_model.bin")
    (bart / "model.safetensors").unlink()
    with pytest.raises(UserError, match="safetensors"):
        load_trained(bart, Seq2Seq())


def test_weights_that_a_checkpoint_lacks_are_reported(bart: Path, tokenizer, caplog: pytest.LogCaptureFixture) -> None:
    change_config(bart, decoder_layers=2)
    build_model("m", member(checkpoint=str(bart)), tokenizer)
    assert "26 weights" in caplog.text and "model.decoder.layers.1." in caplog.text


def test_a_trained_model_that_lacks_weights_is_not_used(bart: Path) -> None:
    change_config(bart, decoder_layers=2)
    with pytest.raises(UserError, match=r"bart .*26 .*model\.decoder\.layers\.1\."):
        load_trained(bart, Seq2Seq())


def test_a_complete_checkpoint_gives_no_warning(bart: Path, tokenizer, caplog: pytest.LogCaptureFixture) -> None:
    build_model("m", member(checkpoint=str(bart), config={"dropout": 0.3}), tokenizer)
    assert caplog.text == ""


def test_a_checkpoint_of_other_sizes_or_keys_gives_one_sentence(bart: Path, tokenizer) -> None:
    with pytest.raises(UserError, match=r"'drpout' \(did you mean 'dropout'\?\)"):
        build_model("m", member(checkpoint=str(bart), config={"drpout": 0.3}), tokenizer)
    change_config(bart, d_model=32)
    with pytest.raises(UserError, match="config"):
        build_model("m", member(checkpoint=str(bart)), tokenizer)
    (bart / "config.json").write_text("{")
    with pytest.raises(UserError, match=r"config\.json"):
        build_model("m", member(checkpoint=str(bart)), tokenizer)


@pytest.mark.parametrize(
    ("name", "damaged", "message"),
    [
        ("model.safetensors", b"\0" * 64, "seq2seq"),
        ("yoyak.json", b'{"member": "m"}', r"yoyak\.json is damaged \(KeyError\)"),
        ("yoyak.json", b"{", r"yoyak\.json is damaged \(JSONDecodeError\)"),
        ("tokenizer.json", b'{"a": 1}', "tokenizer .*bart'"),
        ("tokenizer.json", None, "tokenizer .*bart'"),
    ],
)
def test_a_damaged_model_gives_one_sentence(bart: Path, name: str, damaged: bytes | None, message: str) -> None:
    if damaged is None:
        (bart / name).unlink()
    else:
        (bart / name).write_bytes(damaged)
    with pytest.raises(UserError, match=message):
        TorchSummarizer.load(bart, "cpu")


def check(settings, model, tokenizer, rows: list[tuple[str, str]], folder: Path) -> None:
    preflight.check(family_of(settings).make_spec("m", settings), settings, model, tokenizer, rows, folder)


def test_the_preflight_finds_a_window_that_is_too_small(tokenizer, tmp_path: Path) -> None:
    config = {"model_type": "bart", "max_position_embeddings": 32, **SIZES}
    settings = member(config=config, tokenizer="bpe")
    model = build_model("m", settings, tokenizer)
    with pytest.raises(UserError, match=r"\b64 positions.*\b32\b"):
        preflight.check(
            family_of(settings).make_spec("m", settings), settings, model, tokenizer, [("a", "b")], tmp_path
        )


def test_the_preflight_finds_weights_that_are_damaged(tokenizer, tmp_path: Path) -> None:
    config = {"model_type": "gpt2", "n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 128}
    settings = member(family="causal", config=config, tokenizer="bpe")
    model = build_model("m", settings, tokenizer)
    model.transformer.wpe.weight.data[0] = float("nan")
    with pytest.raises(UserError, match="weights are damaged"):
        preflight.check(
            family_of(settings).make_spec("m", settings), settings, model, tokenizer, [("안녕", "네")], tmp_path
        )


def test_what_is_cut_is_the_dialogue_and_never_the_separator(tokenizer) -> None:
    settings = member(family="causal", config={"model_type": "gpt2"}, tokenizer="bpe", max_input_tokens=24)
    spec = family_of(settings).make_spec("m", settings)
    encoded = family_of(spec).encode_dialogues(tokenizer, ["#Person1#: " + "안녕 " * 50, "짧다"], spec)
    separator = tokenizer(spec.separator)["input_ids"]
    assert encoded.cut == [True, False]
    assert len(encoded.input_ids[0]) == 24
    assert all(row[-len(separator) :] == separator for row in encoded.input_ids)


def test_a_window_that_the_separator_fills_is_refused(tokenizer) -> None:
    settings = member(family="causal", config={"model_type": "gpt2"}, tokenizer="bpe", max_input_tokens=2)
    with pytest.raises(UserError, match="max_input_tokens is 2,"):
        family_of(settings).encode_dialogues(
            tokenizer, ["#Person1#: 안녕"], family_of(settings).make_spec("m", settings)
        )


def test_targets_always_end(tokenizer) -> None:
    rows = encode_targets(tokenizer, ["안녕 " * 50, "네"], 8)
    assert len(rows[0]) == 8
    assert all(row[-1] == tokenizer.eos_token_id for row in rows)


def test_the_preflight_finds_a_model_that_could_not_write(tokenizer, tmp_path: Path) -> None:
    # transformers 4.57 sizes the decoder's cache by the encoder's layers.
    config = {"model_type": "t5", "d_model": 16, "d_kv": 8, "d_ff": 8, "num_layers": 1, "num_decoder_layers": 2}
    settings = member(config={**config, "num_heads": 2}, tokenizer="bpe")
    model = build_model("m", settings, tokenizer)
    with pytest.raises(UserError, match="one row"):
        preflight.check(
            family_of(settings).make_spec("m", settings), settings, model, tokenizer, [("안녕", "네")], tmp_path
        )


@pytest.mark.parametrize("scaled", [True, False])
def test_positions_of_a_new_model_resemble_their_neighbours(scaled: bool) -> None:
    tokenizer = train_tokenizer(["안녕하세요? 네."], MASKS, Tokenizer(type="bpe", vocab_size=300))
    config = {
        "model_type": "bart", "d_model": 64, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2,
        "decoder_attention_heads": 2, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16, "max_position_embeddings": 128,
        "scale_embedding": scaled,
    }  # fmt: skip
    model = build_model("m", member(config=config, tokenizer="bpe"), tokenizer)
    table = model.get_encoder().embed_positions.weight.detach()
    likeness = torch.nn.functional.cosine_similarity(table[:-8], table[1:-7]).min()
    assert likeness > 0.9 > torch.nn.functional.cosine_similarity(table[:-8], table[8:]).max()
    tokens = model.get_input_embeddings().weight.detach().std() * (64**0.5 if scaled else 1)
    assert table.std().item() == pytest.approx(tokens.item(), rel=0.2)
