"""A model as a ZIP: out of MLflow and back with the same answers; whatever is wrong or hostile is one sentence."""

from __future__ import annotations

import io
import json
import os
import shutil
import stat
import struct
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from mlflow_helpers import DIALOGUE
from yoyak import cli, registry, tracking, zip_reading
from yoyak.bundle_parts import nested
from yoyak.bundles import open_bundle, write_bundle
from yoyak.errors import UserError
from yoyak.model_uri import resolve_model
from yoyak.models.text import load_spec
from yoyak.params import Member
from yoyak.serving.packaging import log_member
from yoyak.tracking_run import flatten

MEMBER = Member.model_validate(
    {
        "family": "seq2seq",
        "config": {"model_type": "bart", "d_model": 16},
        "tokenizer": "bpe",
        "revision": "123",
        "learning_rate": 1e-3,
    }
)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of the test's own, all that a ZIP may touch; and no project around."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "cache"


@pytest.fixture
def trained(store: Any, tiny_bart: Path) -> registry.Version:
    """The version of a training with params and metrics."""
    params = {"members": {"bart": MEMBER}, "seed": 20}
    with tracking.stage_run("train", member="bart", params=params, inputs={"prepared": "p" * 32}) as run:
        run.log_metrics({"eval_loss": 2.5, "broken": float("nan")})
        model_id = log_member(run, tiny_bart, example=DIALOGUE)
    scores = {"dev": {"combined": 0.5}}
    return registry.register_best(
        "yoyak", member="bart", model_id=model_id, run_id=run.run_id, scores=scores, tags={"a": "b"}
    )


@pytest.fixture
def parts(tiny_bart: Path) -> dict[str, bytes]:
    """The files of a bundle that has nothing but the model."""
    files = {path.name: path.read_bytes() for path in tiny_bart.iterdir()}
    return {f"tokenizer/{name}" if "token" in name else name: data for name, data in files.items()}


def zipped(path: Path, parts: Mapping[str, bytes], change: Callable[[zipfile.ZipFile], None] | None = None) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in parts.items():
            file.writestr(name, data)
        if change:
            change(file)
    return path


def patched(path: Path, before: bytes, after: bytes) -> None:
    assert len(before) == len(after)
    data = path.read_bytes()
    assert before in data
    path.write_bytes(data.replace(before, after))


def summaries(model: str | Path) -> list[Any]:
    from yoyak.decoding.generate import Summarizer

    return Summarizer.load(resolve_model(str(model)), device="cpu").summarize([DIALOGUE, "#Person1#: 네 시?"])


def versions(store: Any, name: str) -> list[Any]:
    return sorted(store.search_model_versions(f"name = '{name}'"), key=lambda found: int(found.version))


def test_a_bundle_holds_the_model_and_what_is_known_of_it(store, trained, tiny_bart, tmp_path):
    out = tmp_path / "out.zip"
    write_bundle("models:/yoyak@champion", out)
    with zipfile.ZipFile(out) as file:
        assert sorted(file.namelist()) == [
            "config.json",
            "config.yaml",
            "generation_config.json",
            "metadata.json",
            "model.safetensors",
            "tokenizer/special_tokens_map.json",
            "tokenizer/tokenizer.json",
            "tokenizer/tokenizer_config.json",
            "yoyak.json",
        ]
        assert file.read("model.safetensors") == (tiny_bart / "model.safetensors").read_bytes()
        params = YAML(typ="safe").load(file.read("config.yaml"))
        metadata = json.loads(file.read("metadata.json"))
    assert Member.model_validate(params["members"]["bart"]) == MEMBER
    assert params["seed"] == 20
    lineage = metadata.pop("lineage")
    assert metadata == {
        "member": "bart",
        "run_id": trained.run_id,
        "model_id": trained.model_id,
        "name": "yoyak",
        "version": 1,
        "metrics": {"eval_loss": 2.5, "score.dev.combined": 0.5},
    }
    assert lineage["git_commit"] == store.get_run(trained.run_id).data.tags["git.commit"]
    assert lineage["inputs"] == {"prepared": "p" * 32}
    assert {"python", "torch", "transformers"} <= set(lineage["versions"])
    assert (lineage["run_id"], lineage["git_dirty"], lineage["seed"]) == (trained.run_id, False, 20)


def test_the_same_model_gives_the_same_file(trained, tmp_path):
    for name in ("a.zip", "b.zip"):
        write_bundle("models:/yoyak/1", tmp_path / name)
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    write_bundle(f"runs:/{trained.run_id}/bart", tmp_path / "c.zip")
    assert "version" not in json.loads(zipfile.ZipFile(tmp_path / "c.zip").read("metadata.json"))


@pytest.mark.slow
def test_out_of_one_store_into_another_with_the_same_answers(
    trained, tmp_path, monkeypatch, empty_store, tiny_bart, capsys
):
    out = tmp_path / "out.zip"
    assert cli.main(["bundle", "models:/yoyak@champion", str(out)]) == 0
    expected = summaries(tiny_bart)
    assert summaries(out) == expected

    fresh = tmp_path / "fresh"
    fresh.mkdir()
    monkeypatch.chdir(fresh)
    shutil.copy(empty_store, fresh / "mlflow.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{fresh}/mlflow.db")
    capsys.readouterr()
    for said in ("yoyak-bart version 1\n", "yoyak-bart version 1 has this bundle already\n"):
        assert cli.main(["register", str(out)]) == 0
        assert capsys.readouterr().out == said
    assert summaries("models:/yoyak-bart/1") == expected

    from yoyak.tracking_store import connect

    store = connect()
    [version] = versions(store, "yoyak-bart")
    run = store.get_run(version.run_id)
    assert version.tags["source"] == "bundle"
    assert version.tags["imported.git.commit"] == run.data.tags["imported.git.commit"]
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "import bart"
    assert run.data.tags["yoyak.stage"] == "import"
    assert (run.data.tags["imported"], run.data.tags["imported.run_id"]) == ("true", trained.run_id)
    assert run.data.tags["imported.input.prepared"] == "p" * 32
    assert run.data.params["members.bart.learning_rate"] == "0.001"
    assert run.data.metrics == {"eval_loss": 2.5, "score.dev.combined": 0.5}
    assert {found.path for found in store.list_artifacts(version.run_id)} == {"config.yaml", "metadata.json"}

    # From there it goes on with the lineage of the first training.
    again = write_bundle("models:/yoyak-bart/1", fresh / "again.zip")
    assert again.lineage.run_id == trained.run_id
    assert again.lineage.inputs == {"prepared": "p" * 32}
    assert open_bundle(fresh / "again.zip").params == open_bundle(out).params

    assert cli.main(["register", str(out), "--name", "other.name"]) == 0
    assert [found.name for found in versions(store, "other.name")] == ["other.name"]
    shutil.rmtree("mlruns")
    assert cli.main(["register", str(out)]) == 0
    assert [int(found.version) for found in versions(store, "yoyak-bart")] == [1, 2], "files that were lost are back"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["bundle", "models:/yoyak/1", "."], ". is a folder: name a file in it"),
        (["bundle", "models:/yoyak/1", "out.tar"], "out.tar does not end in .zip"),
        (["bundle", "data.dvc", "out.zip"], "data.dvc is a file or folder, of whose training nothing is known"),
        (["bundle", "models:/yoyack/1", "out.zip"], "No registered model is named 'yoyack' (did you mean 'yoyak'?)"),
        (["register", "no.zip"], "no.zip is no file: give the ZIP that `yoyak bundle` wrote"),
        (["register", "data.dvc"], "data.dvc is no ZIP, or a damaged one"),
        (["register", "data.dvc", "--name", "a/b"], "--name 'a/b' cannot name a model"),
        (["register", "data.dvc", "--undo"], "--undo takes back a move of the champion alias"),
        (["register", "--name", "x"], "--name is for a bundle"),
    ],
)
def test_wrong_arguments_are_one_sentence(trained, capsys, arguments, said):
    Path("params.yaml").unlink()
    assert cli.main(arguments) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"yoyak {arguments[0]}: {said}")
    assert error.count("\n") == 1
    assert not Path("out.zip").exists()


def test_an_ensemble_is_told_to_be_bundled_member_by_member(store, trained, tmp_path):
    [inside] = Path(store.get_logged_model(trained.model_id).artifact_location).glob("artifacts/*")
    (inside / "config.json").rename(inside / "ensemble.json")
    with pytest.raises(UserError, match="is an ensemble, and a bundle holds one model: bundle each of its members"):
        write_bundle("models:/yoyak/1", tmp_path / "out.zip")


def refused(path: Path, message: str, cache: Path) -> None:
    """The ZIP is refused in one sentence, and nothing is left of it anywhere."""
    before = {found for found in path.parent.rglob("*") if cache not in found.parents and found != cache}
    with pytest.raises(UserError, match=message) as raised:
        open_bundle(path)
    assert "\n" not in str(raised.value)
    assert str(raised.value).isprintable()
    assert not [found for found in cache.rglob("*") if found.is_file()]
    assert {found for found in path.parent.rglob("*") if cache not in found.parents and found != cache} == before


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


def test_a_name_behind_a_nul_is_seen(parts, tmp_path, cache):
    path = zipped(tmp_path / "m.zip", {**parts, "a.jsonXY": b"{}"})
    patched(path, b"a.jsonXY", b"a.json\0Y")
    refused(path, r"the name 'a\.json\\x00Y' holds characters that no file has", cache)
    path = zipped(tmp_path / "m.zip", {**parts, "a\x1b[2Jb": b"{}"})
    refused(path, "holds characters that no file has", cache)


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
    refused(
        path, "may be a pickle, which can run any program when it is loaded: save the weights as safetensors", cache
    )


def test_a_pickle_by_the_name_of_weights_is_not_loaded(store, parts, tmp_path, capsys):
    marker = tmp_path / "run"
    pickle = b"cos\nsystem\n(S'touch " + os.fsencode(marker) + b"'\ntR."
    path = zipped(tmp_path / "m.zip", {**parts, "model.safetensors": pickle})
    assert cli.main(["register", str(path), "--name", "x"]) == 1
    assert "cannot be loaded as a seq2seq model" in capsys.readouterr().err
    assert not marker.exists()


def test_a_bomb_is_refused_by_its_header(parts, tmp_path, cache):
    refused(zipped(tmp_path / "m.zip", {**parts, "vocab.txt": bytes(20 << 20)}), "more than 100 times larger", cache)


def test_a_bomb_whose_header_lies_is_refused_by_what_comes_out(parts, tmp_path, cache):
    """The header says one byte; zipfile stops there and its checksum does not fit."""
    path = tmp_path / "m.zip"
    zipped(path, {**parts, "vocab.txt": bytes(20 << 20)})
    patched(path, struct.pack("<I", 20 << 20), struct.pack("<I", 1))
    refused(path, "is no ZIP, or a damaged one", cache)


def test_what_comes_out_is_counted(parts, tmp_path, monkeypatch):
    path = zipped(tmp_path / "m.zip", {"a": bytes(3 << 20), "b": os.urandom(3 << 20)})
    monkeypatch.setattr(zip_reading, "MAX_RATIO", 10_000)
    with zip_reading.opened(path) as archive:
        monkeypatch.setattr(zip_reading, "MAX_RATIO", 100)
        with pytest.raises(UserError, match="'a' is more than 100 times larger"):
            archive.extract("a", tmp_path / "a")
        with pytest.raises(UserError, match="'b' is larger than 2 MiB"):
            archive.extract("b", tmp_path / "b", limit=2 << 20)
        monkeypatch.setattr(zip_reading, "MAX_BYTES", 4 << 20)
        with pytest.raises(UserError, match="larger than 4 MiB when unpacked"):
            archive.extract("b", tmp_path / "b2")
    monkeypatch.setattr(zip_reading, "MAX_RATIO", 10_000)
    with pytest.raises(UserError, match="larger than 4 MiB when unpacked"), zip_reading.opened(path):
        pass


def test_a_zip_larger_than_the_disk_is_refused(parts, tmp_path, cache, monkeypatch):
    path = zipped(tmp_path / "m.zip", parts)
    monkeypatch.setattr(shutil, "disk_usage", lambda where: shutil._ntuple_diskusage(1, 1, 0))
    refused(path, "needs 0 MiB of disk", cache)


def test_many_entries_are_refused(parts, tmp_path, cache):
    many = {f"f{number}": b"" for number in range(1001)}
    refused(zipped(tmp_path / "m.zip", {**parts, **many}), "entries, a model has no more than 1000", cache)
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


def test_encrypted_and_unusual_zips_are_told(parts, tmp_path, cache):
    path = zipped(tmp_path / "m.zip", {"config.json": parts["config.json"]})
    data = bytearray(path.read_bytes())
    data[6] |= 1
    data[data.rindex(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    refused(path, "'config.json' is encrypted: make the ZIP without a password", cache)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as file:
        file.writestr("config.json", "{}")
    refused(path, "is packed in an unusual way", cache)


@pytest.mark.parametrize("cut", [0, 10, 0.5, 0.99])
def test_damaged_zips_are_told(parts, tmp_path, cache, cut):
    path = zipped(tmp_path / "m.zip", parts)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * cut) if isinstance(cut, float) else cut])
    refused(path, "is no ZIP, or a damaged one .*: copy or download it again", cache)


def test_a_flipped_bit_in_the_weights_is_told(tmp_path, parts, cache):
    path = tmp_path / "m.zip"
    with zipfile.ZipFile(path, "w") as file:
        for name, data in parts.items():
            file.writestr(name, data)
    data = bytearray(path.read_bytes())
    data[data.index(parts["model.safetensors"][-64:])] ^= 1
    path.write_bytes(data)
    refused(path, "Bad CRC-32 for file 'model.safetensors'", cache)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=6))
def test_any_damage_is_one_sentence_or_none(tmp_path, cache, changes):
    """Bytes changed anywhere: it is read, or refused in a sentence; nothing appears outside of the cache."""
    weights = b"weights" * 20
    files = {"config.json": b'{"is_encoder_decoder": true}', "model.safetensors": weights, "tokenizer.json": b"{}"}
    path = zipped(tmp_path / "fuzz.zip", files)
    data = bytearray(path.read_bytes())
    for place, value in changes:
        data[int(place * len(data))] = value
    path.write_bytes(data)
    try:
        folder = open_bundle(path).folder
        assert (folder / "model.safetensors").read_bytes() == weights
    except UserError as error:
        assert "\n" not in str(error)
    assert {found.name for found in tmp_path.iterdir()} <= {"fuzz.zip", "cache", "here"}


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("config.json", b"[]", "config.json holds no JSON object"),
        ("config.json", b"[" * 100_000, "config.json is no JSON"),
        ("config.json", b'{"a": "' + os.urandom(6 << 20).hex().encode() + b'"}', "'config.json' is larger than 4 MiB"),
        ("yoyak.json", b"{}", "yoyak.json: member: field required"),
        ("yoyak.json", b"{", "yoyak.json is no JSON"),
        ("metadata.json", b'{"metrics": {"loss": NaN}}', r"metadata.json: metrics\.loss: "),
        ("metadata.json", b'{"member": "../x"}', "metadata.json: member: string should match"),
        ("config.yaml", b"a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]", "without aliases"),
        ("config.yaml", b"!!python/object/apply:os.system ['touch pwned']", "config.yaml is no YAML"),
        ("config.yaml", b"- 1", "must be a mapping"),
        ("config.yaml", b"a: " + b"[" * 5000, "not deeper than 50"),
        ("config.yaml", b"\xff\xfe\x00", "config.yaml is no YAML"),
        ("model.safetensors.index.json", b'{"weight_map": {"a": "../../../secret.safetensors"}}', "does not hold"),
        ("model.safetensors.index.json", b'{"weight_map": {"a": 1}}', "names 1, which the bundle does not hold"),
        ("model.safetensors.index.json", b"{}", "holds no weight_map"),
    ],
)
def test_small_files_that_are_wrong_are_told(parts, tmp_path, cache, name, data, message):
    refused(zipped(tmp_path / "m.zip", {**parts, name: data}), message, cache)
    assert not Path("pwned").exists()


@pytest.mark.parametrize("key", ["member", "family", "max_input_tokens", "generation"])
def test_a_spec_that_is_wrong_is_told(parts, tmp_path, cache, key):
    value = json.loads(parts["yoyak.json"])
    value[key] = {"member": "../../x", "family": "pickle", "max_input_tokens": -1, "generation": {"num_beams": 0}}[key]
    path = zipped(tmp_path / "m.zip", {**parts, "yoyak.json": json.dumps(value).encode()})
    refused(path, f"yoyak.json: {key}", cache)


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("config.json", "holds no model: it has no config.json"),
        ("model.safetensors", "holds no weights"),
        ("tokenizer/tokenizer.json", "holds no tokenizer"),
    ],
)
def test_what_is_missing_is_told(parts, tmp_path, cache, missing, message):
    refused(zipped(tmp_path / "m.zip", {name: parts[name] for name in parts if name != missing}), message, cache)


def test_code_is_neither_unpacked_nor_looked_for(parts, tmp_path):
    """What transformers would run, had it been asked: Python files, the keys that name some, and adapters."""
    code = b"open('pwned', 'w').write('x')"
    config = {
        **json.loads(parts["config.json"]),
        "auto_map": {"AutoConfig": "modeling_evil.Config", "AutoModelForSeq2SeqLM": "modeling_evil.Model"},
        "attn_implementation": "someone/kernel",
        "extra": {"auto_map": {"AutoModel": "modeling_evil.Model"}, "kept": 1},
    }
    tokenizer = {
        **json.loads(parts["tokenizer/tokenizer_config.json"]),
        "auto_map": {"AutoTokenizer": ["tokenization_evil.Slow", "tokenization_evil.Fast"]},
        "vocab_file": "/etc/passwd",
    }
    evil = {
        "modeling_evil.py": code,
        "tokenizer/tokenization_evil.py": code,
        "custom_generate/generate.py": code,
        "adapter_config.json": b'{"base_model_name_or_path": "someone/evil", "peft_type": "LORA"}',
        "adapter_model.safetensors": parts["model.safetensors"],
        "tokenizer/config.json": b"{}",
    }
    path = zipped(
        tmp_path / "m.zip",
        {
            **parts,
            **evil,
            "config.json": json.dumps(config).encode(),
            "tokenizer/tokenizer_config.json": json.dumps(tokenizer).encode(),
        },
    )
    folder = open_bundle(path).folder
    assert not {found.suffix for found in folder.rglob("*")} & {".py"}
    assert not (folder / "adapter_config.json").exists()
    read = json.loads((folder / "config.json").read_text())
    assert not {"auto_map", "attn_implementation"} & set(read)
    assert read["extra"] == {"kept": 1}
    read = json.loads((folder / "tokenizer_config.json").read_text())
    assert not {"auto_map", "vocab_file"} & set(read)
    assert summaries(path)
    assert not Path("pwned").exists()


def test_a_model_that_is_known_by_its_own_code_only_is_refused_without_a_question(store, parts, tmp_path, capsys):
    """transformers would ask whether to run the code, and wait for an answer."""
    config = {"model_type": "evil", "auto_map": {"AutoConfig": "someone/evil--x.Config"}, "vocab_size": 300}
    path = zipped(tmp_path / "m.zip", {**parts, "config.json": json.dumps(config).encode()})
    assert cli.main(["register", str(path), "--name", "x"]) == 1
    said = capsys.readouterr()
    assert "m.zip cannot be loaded as a seq2seq model" in said.err
    assert "[y/N]" not in said.out + said.err


def test_a_bundle_is_unpacked_once_and_nothing_is_changed(parts, tmp_path, tiny_bart):
    path = zipped(tmp_path / "m.zip", {**parts, "README.md": b"hello"})
    folder = open_bundle(path).folder
    assert {found.name for found in folder.iterdir()} == {found.name for found in tiny_bart.iterdir()}
    for found in folder.iterdir():
        assert found.read_bytes() == (tiny_bart / found.name).read_bytes()
    moment = (folder / "config.json").stat().st_mtime_ns
    copy = shutil.copy(path, tmp_path / "copy.zip")
    assert resolve_model(str(copy)) == folder
    assert (folder / "config.json").stat().st_mtime_ns == moment
    assert load_spec(folder) == load_spec(tiny_bart)


def test_a_folder_zipped_as_a_mac_does_is_read(parts, tmp_path, tiny_bart):
    names = {name.removeprefix("tokenizer/"): data for name, data in parts.items()}
    mac = {f"__MACOSX/kobart/._{name}": b"\0" for name in names}
    path = zipped(tmp_path / "m.zip", {**{f"kobart/{name}": data for name, data in names.items()}, **mac})
    folder = open_bundle(path).folder
    assert {found.name for found in folder.iterdir()} == {found.name for found in tiny_bart.iterdir()}


def test_shards_and_their_index_go_out_and_in(store, tiny_bart, tmp_path):
    from transformers import BartForConditionalGeneration

    folder = tmp_path / "bart"
    shutil.copytree(tiny_bart, folder)
    (folder / "model.safetensors").unlink()
    BartForConditionalGeneration.from_pretrained(tiny_bart).save_pretrained(folder, max_shard_size="20KB")
    shards = {found.name for found in folder.glob("*.safetensors")}
    assert len(shards) > 1
    with tracking.stage_run("train", member="bart", params={}, inputs={}) as run:
        model_id = log_member(run, folder, example=DIALOGUE)
    write_bundle(f"models:/{model_id}", tmp_path / "out.zip")
    assert shards | {"model.safetensors.index.json"} <= set(zipfile.ZipFile(tmp_path / "out.zip").namelist())
    assert summaries(tmp_path / "out.zip") == summaries(tiny_bart)


@pytest.mark.parametrize(
    ("config", "params", "expected"),
    [
        ({}, {}, {"member": "bart", "family": "seq2seq", "max_input_tokens": 256, "separator": ""}),
        ({"max_position_embeddings": 4096}, {}, {"max_input_tokens": 512}),
        (
            {},
            {"members": {"mine": {"prefix": "요약: ", "max_input_tokens": 99, "learning_rate": 1}}},
            {"member": "mine", "prefix": "요약: ", "max_input_tokens": 99},
        ),
        ({"is_encoder_decoder": None, "architectures": ["GPT2LMHeadModel"], "model_type": "gpt2",
          "max_position_embeddings": None, "n_positions": 100},
         {"max_target_tokens": 30, "generation": {"num_beams": 3, "do_sample": True}},
         {"family": "causal", "member": "gpt2", "separator": "\n요약: "}),
        ({"is_encoder_decoder": None, "architectures": None, "_name_or_path": "skt/kogpt2-base-v2"}, {},
         {"family": "causal"}),
        ({"is_encoder_decoder": None, "architectures": ["XForConditionalGeneration"]}, {}, {"family": "seq2seq"}),
        ({"is_encoder_decoder": None, "architectures": ["BertModel"]}, {"family": "causal"}, {"family": "causal"}),
    ],
)  # fmt: skip
def test_without_yoyak_json_the_spec_is_derived(parts, tmp_path, config, params, expected):
    del parts["yoyak.json"]
    parts["config.json"] = json.dumps({**json.loads(parts["config.json"]), **config}).encode()
    out = io.StringIO()
    YAML().dump(params, out)
    path = zipped(tmp_path / "m.zip", {**parts, "config.yaml": out.getvalue().encode()})
    spec = open_bundle(path).spec
    assert {key: getattr(spec, key) for key in expected} == expected
    if "generation" in params:
        assert (spec.generation.num_beams, spec.generation.max_new_tokens, spec.max_input_tokens) == (3, 30, 70)


def test_without_any_hint_of_the_family_it_is_told_what_to_add(parts, tmp_path, cache):
    del parts["yoyak.json"]
    parts["config.json"] = b'{"architectures": ["BertModel"]}'
    refused(zipped(tmp_path / "m.zip", parts), "add `family: seq2seq` or `family: causal` to its config.yaml", cache)


def test_a_bundle_from_elsewhere_answers(parts, tmp_path):
    del parts["yoyak.json"]
    assert all(summaries(zipped(tmp_path / "m.zip", parts)))


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["missing", "nan", "vocabulary", "window", "tokenizer"])
def test_a_broken_model_is_never_registered(store, tiny_bart, parts, tmp_path, capsys, fault):
    import torch
    from safetensors.torch import load_file, save

    weights = load_file(tiny_bart / "model.safetensors")
    spec, config = json.loads(parts["yoyak.json"]), json.loads(parts["config.json"])
    if fault == "missing":
        del weights["model.decoder.layers.0.fc1.weight"]
    elif fault == "nan":
        weights["model.shared.weight"] = torch.full_like(weights["model.shared.weight"], float("nan"))
    elif fault == "vocabulary":
        config["vocab_size"] = 50
        for name in ("model.shared.weight", "final_logits_bias"):
            weights[name] = weights[name][..., :50] if name.endswith("bias") else weights[name][:50]
    elif fault == "window":
        spec["max_input_tokens"] = 10_000
    else:
        parts["tokenizer/tokenizer.json"] = b"{}"
    parts |= {
        "model.safetensors": save({name: tensor.contiguous() for name, tensor in weights.items()}, {"format": "pt"}),
        "yoyak.json": json.dumps(spec).encode(),
        "config.json": json.dumps(config).encode(),
    }
    said = {
        "missing": "lacks 1 of the model's weights, such as model.decoder.layers.0.fc1.weight",
        "nan": "its weights are damaged",
        "vocabulary": "tokens, the model only 50",
        "window": "need 10000 positions, the model has 256",
        "tokenizer": "No tokenizer could be loaded from",
    }[fault]
    path = zipped(tmp_path / "m.zip", parts)
    assert cli.main(["register", str(path), "--name", "x"]) == 1
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("yoyak register: ")
    assert said in last
    assert str(tmp_path / "cache") not in last
    assert store.search_registered_models() == []
    assert store.search_runs([found.experiment_id for found in store.search_experiments()]) == []


def test_a_stranger_s_metadata_is_logged_as_far_as_mlflow_takes_it(store, parts, tmp_path):
    from yoyak.bundle_registration import register_bundle

    metadata = {
        "metrics": {"rouge": 0.5, "../x": 1.0, "a#b": 2.0},
        "lineage": {"inputs": {"../../etc": "m", "data": "d"}},
        "unknown": [1],
    }
    params = {"a#b": 1, "long": "x" * 7000, "deep": {"er": [1, 2]}, "../up": 1, "seed": "no number"}
    out = io.StringIO()
    YAML().dump(params, out)
    path = zipped(
        tmp_path / "my 모델.zip",
        {**parts, "metadata.json": json.dumps(metadata).encode(), "config.yaml": out.getvalue().encode()},
    )
    done = register_bundle(path, registry_name="theirs")
    assert (done.version.name, done.new) == ("theirs-bart", True)
    run = store.get_run(done.version.run_id)
    assert run.data.params == {"deep.er": "[1, 2]", "seed": "no number"}
    assert run.data.metrics == {"rouge": 0.5}
    assert run.data.tags["imported.input.data"] == "d"
    assert run.info.status == "FINISHED"


@given(
    st.dictionaries(
        st.sampled_from(["learning_rate", "separator", "config", "checkpoint", "batch_size", "revision"]),
        st.none() | st.integers() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False),
        min_size=1,
    )
)
def test_the_params_of_a_run_come_back_as_they_were(values):
    text = {key: value for key, value in values.items() if key in ("separator", "checkpoint", "revision")}
    tree = {"members": {"m": {**values, **{key: str(value) for key, value in text.items()}}}, "seed": 1}
    assert nested(flatten(tree)) == tree
