"""ZIPs that are wrong or hostile: each is one sentence, and nothing is left of it."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import stat
import struct
import warnings
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bundles.zips import patched, refused, summaries, zipped
from yoyak import cli
from yoyak.bundles import zip_reading
from yoyak.bundles.archive import open_bundle
from yoyak.errors import UserError

CONFIG = b'{"is_encoder_decoder": true, "model_type": "bart"}'


@pytest.mark.parametrize(
    "name",
    [
        "../escaped.json",
        "tokenizer/../../escaped.json",
        "/tmp/yoyak-escaped.json",
        "//server/share/escaped.json",
        "C:/escaped.json",
        "C:escaped.json",
        "..\\escaped.json",
        "tokenizer\\..\\..\\escaped.json",
        "./config.json",
        "tokenizer//tokenizer.json",
        "config.json:stream",
        "..",
    ],
)
def test_no_path_leaves_the_folder(parts, tmp_path, cache, name):
    refused(zipped(tmp_path / "m.zip", {**parts, name: b"{}"}), "would lead out of the model's folder", cache)
    assert not Path("/tmp/yoyak-escaped.json").exists()


def test_a_name_after_a_nul_byte_is_checked(parts, tmp_path, cache):
    path = zipped(tmp_path / "m.zip", {**parts, "a.jsonXY": b"{}"})
    patched(path, b"a.jsonXY", b"a.json\0Y")
    refused(path, r"'a\.json\\x00Y' has characters", cache)
    path = zipped(tmp_path / "m.zip", {**parts, "a\x1b[2Jb": b"{}"})
    refused(path, "has characters that no file name has", cache)


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFSOCK])
def test_links_and_devices_are_refused(parts, tmp_path, cache, kind):
    def link(file):
        info = zipfile.ZipInfo("tokenizer/vocab.txt")
        info.create_system = 3
        info.external_attr = (kind | 0o777) << 16
        file.writestr(info, "/etc/passwd")

    refused(zipped(tmp_path / "m.zip", parts, link), "is a link or a device", cache)


@pytest.mark.parametrize("second", ["config.json", "CONFIG.json", "Config.JSON"])
def test_two_entries_of_one_name_are_refused(parts, tmp_path, cache, second):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        path = zipped(tmp_path / "m.zip", parts, lambda file: file.writestr(second, "{}"))
    refused(path, f"holds '{second}' twice", cache)


def test_a_tokenizer_both_beside_the_weights_and_in_its_folder_is_refused(parts, tmp_path, cache):
    path = zipped(tmp_path / "m.zip", {**parts, "tokenizer.json": b"{}"})
    refused(path, "holds 'tokenizer.json' twice, in the model's folder and in tokenizer/", cache)


@pytest.mark.parametrize(
    "name", ["pytorch_model.bin", "x/optimizer.pt", "a.PTH", "data.pkl", "last.ckpt", "training_args.bin"]
)
def test_pickles_are_refused_with_the_reason(parts, tmp_path, cache, name):
    path = zipped(tmp_path / "m.zip", {**parts, name: b"\x80\x04."})
    refused(path, "may be a pickle", cache)


def test_a_pickle_named_like_a_weights_file_is_not_loaded(store, parts, tmp_path, capsys):
    marker = tmp_path / "run"
    pickle = b"cos\nsystem\n(S'touch " + os.fsencode(marker) + b"'\ntR."
    path = zipped(tmp_path / "m.zip", {**parts, "model.safetensors": pickle})
    assert cli.main(["import", str(path), "--name", "x"]) == 1
    assert "seq2seq" in capsys.readouterr().err
    assert not marker.exists()


def test_a_zip_bomb_is_refused_by_its_header(parts, tmp_path, cache):
    refused(zipped(tmp_path / "m.zip", {**parts, "vocab.txt": bytes(20 << 20)}), "100 times", cache)


def test_a_zip_bomb_with_a_false_header_is_refused_while_unpacking(parts, tmp_path, cache):
    """The header says one byte; zipfile stops there and its checksum does not fit."""
    path = tmp_path / "m.zip"
    zipped(path, {**parts, "vocab.txt": bytes(20 << 20)})
    patched(path, struct.pack("<I", 20 << 20), struct.pack("<I", 1))
    refused(path, "not a ZIP file", cache)


def test_unpacked_bytes_are_counted(parts, tmp_path, monkeypatch):
    path = zipped(tmp_path / "m.zip", {"a": bytes(3 << 20), "b": os.urandom(3 << 20)})
    monkeypatch.setattr(zip_reading, "MAX_RATIO", 10_000)
    with zip_reading.open_archive(path) as archive:
        monkeypatch.setattr(zip_reading, "MAX_RATIO", 100)
        with pytest.raises(UserError, match=r"'a' .*100 times"):
            archive.extract("a", tmp_path / "a")
        with pytest.raises(UserError, match=r"'b' .*2 MiB"):
            archive.extract("b", tmp_path / "b", limit=2 << 20)
        monkeypatch.setattr(zip_reading, "MAX_BYTES", 4 << 20)
        with pytest.raises(UserError, match="4 MiB"):
            archive.extract("b", tmp_path / "b2")
    monkeypatch.setattr(zip_reading, "MAX_RATIO", 10_000)
    with pytest.raises(UserError, match="4 MiB"), zip_reading.open_archive(path):
        pass


def test_a_zip_larger_than_the_disk_is_refused(parts, tmp_path, cache, monkeypatch):
    path = zipped(tmp_path / "m.zip", parts)
    monkeypatch.setattr(shutil, "disk_usage", lambda where: shutil._ntuple_diskusage(1, 1, 0))
    refused(path, "needs 0 MiB of disk", cache)


def test_many_entries_are_refused(parts, tmp_path, cache):
    many = {f"f{number}": b"" for number in range(1001)}
    refused(zipped(tmp_path / "m.zip", {**parts, **many}), "a model has at most 1000", cache)
    long = {f"{number:05}" * 2000: b"" for number in range(200)}
    refused(zipped(tmp_path / "m.zip", {**parts, **long}), "lists more entries than any model has", cache)


def test_entries_that_share_their_bytes_are_refused(tmp_path, parts, cache):
    """A quoted bomb: many names, all of which are the same packed bytes."""
    path = zipped(tmp_path / "m.zip", {**parts, "vocab0.txt": os.urandom(1 << 20)})
    data = bytearray(path.read_bytes())
    end = data.rindex(b"PK\x05\x06")
    start = struct.unpack("<I", data[end + 16 : end + 20])[0]
    record = data[data.rindex(b"PK\x01\x02") : end]
    copies = b"".join(bytes(record).replace(b"vocab0", f"vocab{n}".encode()) for n in range(1, 9))
    count = struct.unpack("<H", data[end + 10 : end + 12])[0] + 8
    tail = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, count, count, end - start + len(copies), start, 0)
    path.write_bytes(bytes(data[:end]) + copies + tail)
    refused(path, "its entries are larger than the file|damaged", cache)


def test_encrypted_and_unsupported_zips_are_reported(parts, tmp_path, cache):
    path = zipped(tmp_path / "m.zip", {"config.json": parts["config.json"]})
    data = bytearray(path.read_bytes())
    data[6] |= 1
    data[data.rindex(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    refused(path, "'config.json' is encrypted", cache)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as file:
        file.writestr("config.json", "{}")
    refused(path, "unusual method", cache)


@pytest.mark.parametrize("cut", [0, 10, 0.5, 0.99])
def test_damaged_zips_are_reported(parts, tmp_path, cache, cut):
    path = zipped(tmp_path / "m.zip", parts)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * cut) if isinstance(cut, float) else cut])
    refused(path, "not a ZIP file", cache)


def test_a_flipped_bit_in_the_weights_is_reported(tmp_path, parts, cache):
    path = tmp_path / "m.zip"
    with zipfile.ZipFile(path, "w") as file:
        for name, data in parts.items():
            file.writestr(name, data)
    data = bytearray(path.read_bytes())
    data[data.index(parts["model.safetensors"][-64:])] ^= 1
    path.write_bytes(data)
    refused(path, "Bad CRC-32 for file 'model.safetensors'", cache)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=6))
def test_any_damage_gives_one_sentence_or_none(tmp_path, cache, changes):
    """Bytes changed anywhere: it is read, or refused in a sentence; nothing appears outside of the cache."""
    weights = b"weights" * 20
    files = {"config.json": CONFIG, "model.safetensors": weights, "tokenizer.json": b"{}"}
    path = zipped(tmp_path / "fuzz.zip", files)
    data = bytearray(path.read_bytes())
    for position, value in changes:
        data[int(position * len(data))] = value
    path.write_bytes(data)
    try:
        folder = open_bundle(path).folder
        assert (folder / "model.safetensors").read_bytes() == weights
    except UserError as error:
        assert "\n" not in str(error)
    assert {file.name for file in tmp_path.iterdir()} <= {"fuzz.zip", "cache", "here"}


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("config.json", b"[]", "config.json .*object"),
        ("config.json", b"[" * 100_000, "config.json .*JSON"),
        ("config.json", b'{"a": "' + os.urandom(6 << 20).hex().encode() + b'"}', "'config.json' .*4 MiB"),
        ("yoyak.json", b"{}", "yoyak.json: member: "),
        ("yoyak.json", b"{", "yoyak.json .*JSON"),
        ("metadata.json", b'{"metrics": {"loss": NaN}}', r"metadata.json: metrics\.loss: "),
        ("metadata.json", b'{"member": "../x"}', "metadata.json: member: "),
        ("config.yaml", b"a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]", "without aliases"),
        ("config.yaml", b"!!python/object/apply:os.system ['touch pwned']", "config.yaml .*YAML"),
        ("config.yaml", b"- 1", "must be a mapping"),
        ("config.yaml", b"a: " + b"[" * 5000, "not deeper than 50"),
        ("config.yaml", b"\xff\xfe\x00", "config.yaml .*YAML"),
        ("model.safetensors.index.json", b'{"weight_map": {"a": "../../../secret.safetensors"}}', "does not hold"),
        ("model.safetensors.index.json", b'{"weight_map": {"a": 1}}', "names 1,"),
        ("model.safetensors.index.json", b'{"weight_map": {"a": []}}', r"names \[\],"),
        ("model.safetensors.index.json", b"{}", "has no weight_map"),
    ],
)
def test_wrong_small_files_are_reported(parts, tmp_path, cache, name, data, message):
    refused(zipped(tmp_path / "m.zip", {**parts, name: data}), message, cache)
    assert not Path("pwned").exists()


@pytest.mark.parametrize("key", ["member", "family", "max_input_tokens", "generation"])
def test_a_wrong_spec_is_reported(parts, tmp_path, cache, key):
    value = json.loads(parts["yoyak.json"])
    value[key] = {"member": "../../x", "family": "pickle", "max_input_tokens": -1, "generation": {"num_beams": 0}}[key]
    path = zipped(tmp_path / "m.zip", {**parts, "yoyak.json": json.dumps(value).encode()})
    refused(path, f"yoyak.json: {key}", cache)


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("config.json", "has no config.json"),
        ("model.safetensors", "has no weights"),
        ("tokenizer/tokenizer.json", "has no tokenizer"),
    ],
)
def test_what_is_missing_is_told(parts, tmp_path, cache, missing, message):
    refused(zipped(tmp_path / "m.zip", {name: parts[name] for name in parts if name != missing}), message, cache)


def test_code_is_neither_unpacked_nor_looked_for(parts, tmp_path):
    """What transformers would run, had it been asked: Python files, the keys that name some, and adapters."""
    code = b"open('pwned', 'w').write('x')"
    hostile: dict[str, Any] = {
        "auto_map": {"AutoConfig": "modeling_evil.Config", "AutoModelForSeq2SeqLM": "modeling_evil.Model"},
        "attn_implementation": "someone/kernel",
        "_attn_implementation": "someone/kernel",
        "_attn_implementation_internal": "someone/kernel",
        "quantization_config": {"quant_method": "mxfp4"},
        "invented_by_the_next_version": "someone/kernel",
        "extra": {"auto_map": {"AutoModel": "modeling_evil.Model"}},
    }
    nested = {"task_specific_params": {"auto_map": {"AutoModel": "modeling_evil.Model"}, "summarization": {"k": 1}}}
    elsewhere = {"vocab_file": "/etc/passwd", "spm_file": "/etc/passwd", "tokenizer_file": "/etc/passwd"}
    tokenizer = {"auto_map": {"AutoTokenizer": ["tokenization_evil.Slow", "tokenization_evil.Fast"]}, **elsewhere}
    evil = {
        "modeling_evil.py": code,
        "tokenizer/tokenization_evil.py": code,
        "custom_generate/generate.py": code,
        "adapter_config.json": b'{"base_model_name_or_path": "someone/evil", "peft_type": "LORA"}',
        "adapter_model.safetensors": parts["model.safetensors"],
        "tokenizer/config.json": b"{}",
    }
    added: dict[str, dict[str, Any]] = {
        "config.json": {**hostile, **nested},
        "generation_config.json": {"custom_generate": "someone/evil", "trust_remote_code": True},
        "tokenizer/tokenizer_config.json": tokenizer,
        "tokenizer/special_tokens_map.json": elsewhere,
    }
    changed = {name: json.dumps({**json.loads(parts[name]), **keys}).encode() for name, keys in added.items()}
    path = zipped(tmp_path / "m.zip", {**parts, **evil, **changed})
    folder = open_bundle(path).folder
    assert not {file.suffix for file in folder.rglob("*")} & {".py"}
    assert not (folder / "adapter_config.json").exists()
    for name in added:
        expected = json.loads(parts[name])
        if name == "config.json":
            expected["task_specific_params"] = {"summarization": {"k": 1}}
        assert json.loads((folder / Path(name).name).read_text()) == expected
    assert summaries(path)
    assert not Path("pwned").exists()


@pytest.mark.parametrize("model_type", ["bart", "t5", "mbart", "gpt2", "gpt_neox", "llama", "gemma2", "qwen3"])
def test_what_transformers_saves_of_an_architecture_is_kept(tmp_path, model_type):
    """With any value changed: what is left out must be what no model has, not what one needs."""
    from transformers import CONFIG_MAPPING, GenerationConfig

    from yoyak.bundles.config_keys import keep_known_keys

    config = CONFIG_MAPPING[model_type]()
    own = [key for key, value in config.to_dict().items() if type(value) is int and not key.startswith("_")]
    own = [key for key in own if key not in GenerationConfig().to_dict()]
    for key in own:
        setattr(config, key, getattr(config, key) + 1)
    config.save_pretrained(tmp_path)
    GenerationConfig(num_beams=3, forced_bos_token_id=2, no_repeat_ngram_size=3).save_pretrained(tmp_path)
    for name in ("config.json", "generation_config.json"):
        before = json.loads((tmp_path / name).read_text())
        keep_known_keys(tmp_path / name, name)
        kept = json.loads((tmp_path / name).read_text())
        assert {**kept, **{key: value for key, value in before.items() if key.startswith("_")}} == before


def test_configurations_inside_of_a_configuration_are_checked_too(parts, tmp_path, cache):
    inside = {"model_type": "gpt2", "n_embd": 8, "_attn_implementation_internal": "someone/kernel"}
    config = {"model_type": "encoder-decoder", "is_encoder_decoder": True, "encoder": inside, "decoder": inside}
    path = zipped(tmp_path / "m.zip", {**parts, "config.json": json.dumps(config).encode()})
    read = json.loads((open_bundle(path).folder / "config.json").read_text())
    assert read["encoder"] == read["decoder"] == {"model_type": "gpt2", "n_embd": 8}
    config["decoder"] = {**inside, "model_type": "evil"}
    path = zipped(tmp_path / "n.zip", {**parts, "config.json": json.dumps(config).encode()})
    with pytest.raises(UserError, match=r"n\.zip: config\.json: decoder: model_type is 'evil'"):
        open_bundle(path)


def test_a_model_that_needs_its_own_code_is_refused_without_a_prompt(store, parts, tmp_path, cache, capsys):
    """transformers would ask whether to run the code, and wait for an answer."""
    config = {"model_type": "evil", "auto_map": {"AutoConfig": "someone/evil--x.Config"}, "vocab_size": 300}
    path = zipped(tmp_path / "m.zip", {**parts, "config.json": json.dumps(config).encode()})
    assert cli.main(["import", str(path), "--name", "x"]) == 1
    output = capsys.readouterr()
    assert "m.zip" in output.err and "seq2seq" in output.err
    assert "[y/N]" not in output.out + output.err
    refused(path, "model_type is 'evil', but must be an architecture of transformers", cache)
    bert = json.dumps({"model_type": "vit", "is_encoder_decoder": True}).encode()
    refused(zipped(tmp_path / "n.zip", {**parts, "config.json": bert}), "model_type is 'vit'", cache)


def test_what_is_cached_under_a_digest_are_the_bytes_of_that_digest(parts, tmp_path, cache, monkeypatch):
    """A ZIP that is exchanged while it is read: its content must not be taken for that of the one before."""
    path = zipped(tmp_path / "m.zip", parts)
    good, evil = (
        path.read_bytes(),
        zipped(tmp_path / "evil.zip", {**parts, "tokenizer/vocab.txt": b"evil"}).read_bytes(),
    )
    original = shutil.disk_usage

    def exchange(folder):
        # Called between hashing and unpacking.
        path.write_bytes(evil)
        return original(folder)

    monkeypatch.setattr(shutil, "disk_usage", exchange)
    bundle = open_bundle(path)
    assert bundle.sha256 == hashlib.sha256(evil).hexdigest()
    assert (bundle.folder / "vocab.txt").read_bytes() == b"evil"
    monkeypatch.setattr(shutil, "disk_usage", original)
    path.write_bytes(good)
    assert not (open_bundle(path).folder / "vocab.txt").exists()


def test_a_bundle_is_known_by_its_sha256(parts, tmp_path):
    """Two files of one md5 can be made by anyone: one must not be taken for the other."""
    folders = {
        open_bundle(zipped(tmp_path / f"{name}.zip", {**parts, "tokenizer/vocab.txt": name.encode()})).folder
        for name in ("one", "two")
    }
    assert len(folders) == 2
    assert all(re.fullmatch("[0-9a-f]{64}", folder.parent.name) for folder in folders)
