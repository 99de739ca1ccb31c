"""Checkpoints without safetensors: pickled weights, of which nothing is run, and GGUF files."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import gguf
import pytest
import torch
from transformers import AutoModelForCausalLM, BartConfig, BartForConditionalGeneration, LlamaConfig, LlamaForCausalLM

from trained_members import parse_trained
from yoyak.errors import UserError
from yoyak.models.checkpoints import open_source
from yoyak.models.load import build_model
from yoyak.models.tokenizers import load_tokenizer, train_tokenizer
from yoyak.params import Tokenizer

TEXTS = ["#Person1#: 안녕하세요? 오늘 날씨가 좋네요.", "#Person1#은 인사한다."] * 20
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return train_tokenizer(TEXTS, ["#Person1#"], Tokenizer(type="bpe", vocab_size=320))


def make_bart(tokenizer: Any) -> Any:
    torch.manual_seed(0)
    config = BartConfig(
        vocab_size=len(tokenizer), d_model=16, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=16, decoder_ffn_dim=16, max_position_embeddings=64,
        pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=2,
    )  # fmt: skip
    return BartForConditionalGeneration(config)


def save_pickled(model: Any, tokenizer: Any, folder: Path, shards: int = 1) -> None:
    """Save a checkpoint as the Hub has it from the time before safetensors."""
    tokenizer.save_pretrained(folder)
    model.config.save_pretrained(folder)
    model.generation_config.save_pretrained(folder)
    state = model.state_dict()
    if shards == 1:
        torch.save(state, folder / "pytorch_model.bin")
        return
    names = [f"pytorch_model-{number:05d}-of-{shards:05d}.bin" for number in range(1, shards + 1)]
    weight_map = {key: names[index % shards] for index, key in enumerate(state)}
    for name in names:
        torch.save({key: value for key, value in state.items() if weight_map[key] == name}, folder / name)
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))


def member(family: str, checkpoint: str) -> Any:
    return parse_trained({"family": family, "checkpoint": checkpoint, "learning_rate": 1e-4})


def assert_same_weights(model: Any, expected: Any) -> None:
    state = model.state_dict()
    assert state.keys() == expected.state_dict().keys()
    for key, value in expected.state_dict().items():
        assert torch.equal(state[key], value), key


@pytest.mark.parametrize("shards", [1, 3])
def test_pickled_weights_are_converted_once(shards: int, tokenizer: Any, tmp_path: Path, cache: Path, capfd) -> None:
    folder, expected = tmp_path / "old", make_bart(tokenizer)
    save_pickled(expected, tokenizer, folder, shards)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    for _ in range(2):
        assert_same_weights(build_model("m", member("seq2seq", str(folder)), tokenizer), expected)
    assert capfd.readouterr().err.count("converting") == 1
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    [converted] = (cache / "yoyak/checkpoints").iterdir()
    assert not [path for path in converted.iterdir() if path.suffix not in (".json", ".safetensors")]


def test_other_weights_under_the_same_path_are_converted_again(tokenizer: Any, tmp_path: Path) -> None:
    folder, model = tmp_path / "old", make_bart(tokenizer)
    save_pickled(model, tokenizer, folder)
    first = open_source(str(folder)).weights
    with torch.no_grad():
        model.get_input_embeddings().weight.add_(1.0)
    save_pickled(model, tokenizer, folder)
    assert open_source(str(folder)).weights != first
    assert_same_weights(build_model("m", member("seq2seq", str(folder)), tokenizer), model)


class Attack:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (os.mkdir, (str(self.path),))


@pytest.mark.parametrize("kind", ["code", "list", "cut"])
def test_a_pickle_that_is_not_weights_is_refused_and_not_run(
    kind: str, tokenizer: Any, tmp_path: Path, cache: Path
) -> None:
    folder, trace = tmp_path / "evil", tmp_path / "trace"
    save_pickled(make_bart(tokenizer), tokenizer, folder)
    file = folder / "pytorch_model.bin"
    if kind == "code":
        file.write_bytes(pickle.dumps({"weight": Attack(trace)}))
    elif kind == "list":
        torch.save([1, 2], file)
    else:
        file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(UserError, match=r"pytorch_model\.bin"):
        build_model("m", member("seq2seq", str(folder)), tokenizer)
    assert not trace.exists()
    assert not [*cache.rglob("*.safetensors")]


def test_a_missing_shard_is_named(tokenizer: Any, tmp_path: Path) -> None:
    folder = tmp_path / "old"
    save_pickled(make_bart(tokenizer), tokenizer, folder, 3)
    (folder / "pytorch_model-00002-of-00003.bin").unlink()
    with pytest.raises(UserError, match="00002-of-00003"):
        open_source(str(folder))


CODE = """
from trained_members import parse_trained
from yoyak.models.checkpoints import open_source
from yoyak.models.load import build_model
from yoyak.models.tokenizers import load_tokenizer
source = open_source('kobart_digit82')
tokenizer = load_tokenizer(source.tokenizer, (), source.revision)
values = {'family': 'seq2seq', 'checkpoint': 'kobart_digit82', 'learning_rate': 1e-4}
model = build_model('m', parse_trained(values), tokenizer)
print(model.config._commit_hash, len(tokenizer), float(model.state_dict()['model.shared.weight'].sum()))
"""


def load_from_hub(tokenizer: Any, **variables: str) -> None:
    """Load a name in the catalog whose weights are pickled, in a process of its own, and compare the weights."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **variables}
    done = subprocess.run([sys.executable, "-c", CODE], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    commit, size, total = done.stdout.split()
    assert (commit, int(size)) == (COMMIT, len(tokenizer))
    expected = float(make_bart(tokenizer).state_dict()["model.shared.weight"].sum())
    assert float(total) == pytest.approx(expected, abs=1e-4)


@pytest.mark.slow
def test_pickled_weights_load_from_the_hubs_cache(tokenizer: Any, tmp_path: Path) -> None:
    repository = tmp_path / "hub/hub/models--digit82--kobart-summarization"
    save_pickled(make_bart(tokenizer), tokenizer, repository / "snapshots" / COMMIT)
    (repository / "refs").mkdir()
    (repository / "refs/main").write_text(COMMIT)
    load_from_hub(tokenizer, HF_HOME=str(tmp_path / "hub"), HF_HUB_OFFLINE="1")


@pytest.mark.slow
def test_pickled_weights_are_downloaded_from_the_hub(tokenizer: Any, tmp_path: Path) -> None:
    files = tmp_path / "files"
    save_pickled(make_bart(tokenizer), tokenizer, files, shards=2)
    requested: list[str] = []

    class Hub(BaseHTTPRequestHandler):
        """Answers as the Hub does: a list of files, and each with its ETag and commit."""

        def do_GET(self) -> None:
            requested.append(self.path)
            file = files / self.path.rpartition("/")[2]
            if self.path.startswith("/api/models/"):
                rows = [{"type": "file", "path": path.name, "size": 1, "oid": "0" * 40} for path in files.iterdir()]
                self.answer(json.dumps(rows).encode())
            elif file.is_file():
                self.answer(file.read_bytes())
            else:
                self.send_response(404)
                self.send_header("X-Error-Code", "EntryNotFound")
                self.end_headers()

        def do_HEAD(self) -> None:
            self.do_GET()

        def answer(self, body: bytes) -> None:
            self.send_response(200)
            self.send_header("ETag", f'"{hashlib.sha1(body).hexdigest()}"')
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        endpoint = f"http://127.0.0.1:{server.server_port}"
        load_from_hub(tokenizer, HF_HOME=str(tmp_path / "hub"), HF_ENDPOINT=endpoint, HF_HUB_OFFLINE="0")
        server.shutdown()
    assert not [path for path in requested if path.endswith("safetensors")]


def write_gguf(model: LlamaForCausalLM, path: Path) -> list[str]:
    """Write a model as llama.cpp has it, in fp32 with a byte-level vocabulary, and return its tokens."""
    config = model.config
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_rope_dimension_count(config.hidden_size // config.num_attention_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)
    alphabet = [chr(code) for code in (*range(33, 127), *range(161, 173), *range(174, 256))]
    alphabet += [chr(256 + number) for number in range(256 - len(alphabet))]
    tokens = ["<|start|>", "<|end|>", *alphabet, "Ġa", "Ġb"]
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    writer.add_token_merges(["Ġ a", "Ġ b"])
    writer.add_token_types([3, 3, *[1] * (len(tokens) - 2)])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    for key, value in model.state_dict().items():
        stem, _, suffix = key.rpartition(".")
        weight = value
        for projection, count in heads.items():
            if projection in key:  # llama.cpp rotates pairs of neighbours, transformers the two halves.
                rows, columns = weight.shape
                weight = weight.view(count, 2, rows // count // 2, columns).swapaxes(1, 2).reshape(rows, columns)
        writer.add_tensor(f"{names.get_name(stem)}.{suffix}", weight.contiguous().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return tokens


def test_a_gguf_file_is_a_checkpoint(tmp_path: Path, cache: Path) -> None:
    folder = tmp_path / "llama"
    folder.mkdir()
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=260, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=64, rms_norm_eps=1e-5, tie_word_embeddings=False,
    )  # fmt: skip
    expected = LlamaForCausalLM(config).eval()
    write_gguf(expected, folder / "model.gguf")
    source = open_source(str(folder))
    tokenizer = load_tokenizer(source.tokenizer, ["#Person1#"])
    assert (
        tokenizer.decode(tokenizer("안녕 a#Person1#은", add_special_tokens=False)["input_ids"]) == "안녕 a#Person1#은"
    )
    model = build_model("m", member("causal", str(folder)), tokenizer).eval()
    ids = torch.tensor([[5, 6, 7, 8, 9]])
    with torch.inference_mode():
        torch.testing.assert_close(model(ids).logits[..., :260], expected(ids).logits, rtol=1e-4, atol=1e-5)
    AutoModelForCausalLM.from_pretrained(source.weights, use_safetensors=True)

    shutil.copy(folder / "model.gguf", folder / "other.gguf")
    with pytest.raises(UserError, match=r"model\.gguf, other\.gguf"):
        open_source(str(folder))
    (folder / "other.gguf").unlink()
    (folder / "model.gguf").write_bytes((folder / "model.gguf").read_bytes()[:2000])
    with pytest.raises(UserError, match=r"model\.gguf cannot be read"):
        open_source(str(folder))
    assert len([*(cache / "yoyak/checkpoints").iterdir()]) == 1
