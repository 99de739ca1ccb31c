"""A model as a ZIP: out of MLflow and back with the same answers."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from bundles.zips import refused, summaries, zipped
from mlflow_helpers import DIALOGUE, register_champion
from yoyak import cli
from yoyak.bundles.archive import open_bundle, write_bundle
from yoyak.bundles.resolve import resolve_model
from yoyak.bundles.training_params import unflatten
from yoyak.errors import UserError
from yoyak.models.manifest import TAG, write_manifest
from yoyak.models.spec import load_spec
from yoyak.params import parse_member
from yoyak.registration.packaging import log_member
from yoyak.registry import promotion
from yoyak.tracking import runs
from yoyak.tracking.stage_run import flatten

MEMBER = parse_member(
    {
        "family": "seq2seq",
        "config": {"model_type": "bart", "d_model": 16},
        "tokenizer": "bpe",
        "revision": "123",
        "learning_rate": 1e-3,
    }
)


@pytest.fixture
def trained(store: Any, tiny_bart: Path) -> promotion.Version:
    """The version of a training with params and metrics."""
    params = {"members": {"bart": MEMBER}, "seed": 20}
    with runs.stage_run("train", member="bart", params=params, inputs={"prepared": "p" * 32}) as run:
        run.log_metrics({"eval_loss": 2.5, "broken": float("nan")})
        model_id = log_member(run, tiny_bart, example=DIALOGUE)
    return register_champion(
        "yoyak", model_id, run.run_id, **{"member": "bart", promotion.DEV_SCORE: "0.5", "variant": "fp32", "a": "b"}
    )


def versions(store: Any, name: str) -> list[Any]:
    return sorted(store.search_model_versions(f"name = '{name}'"), key=lambda version: int(version.version))


def test_a_bundle_holds_the_model_and_its_metadata(store, trained, tiny_bart, tmp_path):
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
    assert parse_member(params["members"]["bart"]) == MEMBER
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
def test_a_bundle_moves_a_model_between_stores_with_the_same_answers(
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
    for message in ("yoyak-bart version 1\n", "yoyak-bart version 1 has this bundle already\n"):
        assert cli.main(["import", str(out)]) == 0
        assert capsys.readouterr().out == message
    assert summaries("models:/yoyak-bart/1") == expected

    from yoyak.tracking.client import connect

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
    assert {item.path for item in store.list_artifacts(version.run_id)} == {"config.yaml", "metadata.json"}

    # From there it goes on with the lineage of the first training.
    copy = write_bundle("models:/yoyak-bart/1", fresh / "again.zip")
    assert copy.lineage.run_id == trained.run_id
    assert copy.lineage.inputs == {"prepared": "p" * 32}
    assert open_bundle(fresh / "again.zip").params == open_bundle(out).params

    assert cli.main(["import", str(out), "--name", "other.name"]) == 0
    assert [item.name for item in versions(store, "other.name")] == ["other.name"]
    shutil.rmtree("mlruns")
    assert cli.main(["import", str(out)]) == 0
    assert [int(item.version) for item in versions(store, "yoyak-bart")] == [1, 2], "files that were lost are back"


def test_processes_that_open_the_same_bundle_at_once_share_the_first_copy(parts, tmp_path, cache):
    """What the first process has opened must not be replaced under it by the second."""
    path = zipped(tmp_path / "m.zip", {**parts, "vocab.txt": os.urandom(32 << 20)})
    code = """
import sys, time
from pathlib import Path
from yoyak.bundles.archive import open_bundle
Path(sys.argv[2]).touch()
while not all(Path(name).exists() for name in ("ready0", "ready1", "ready2")):
    time.sleep(0.005)
print(open_bundle(Path(sys.argv[1])).folder.stat().st_ino)
"""
    processes = [
        subprocess.Popen([sys.executable, "-c", code, str(path), f"ready{number}"], stdout=subprocess.PIPE, text=True)
        for number in range(3)
    ]
    seen = {int(process.communicate(timeout=600)[0]) for process in processes}
    assert seen == {open_bundle(path).folder.stat().st_ino}
    assert len(list((cache / "yoyak/bundles").iterdir())) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["bundle", "models:/yoyak/1", "."], ". is a folder"),
        (["bundle", "models:/yoyak/1", "out.tar"], "out.tar"),
        (["bundle", "data.dvc", "out.zip"], "data.dvc"),
        (["bundle", "models:/yoyack/1", "out.zip"], "'yoyack' (did you mean 'yoyak'?)"),
        (["import", "no.zip"], "no.zip is not a file"),
        (["import", "data.dvc"], "data.dvc is not a ZIP"),
        (["import", "data.dvc", "--name", "a/b"], "--name 'a/b'"),
    ],
)
def test_wrong_arguments_give_one_sentence(trained, capsys, arguments, message):
    Path("params.yaml").unlink()
    assert cli.main(arguments) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"yoyak {arguments[0]}: ")
    assert message in error
    assert error.count("\n") == 1
    assert not Path("out.zip").exists()


def test_an_ensemble_has_to_be_bundled_member_by_member(store, trained, tmp_path):
    [inside] = Path(store.get_logged_model(trained.model_id).artifact_location).glob("artifacts/*")
    (inside / "config.json").rename(inside / "ensemble.json")
    store.set_logged_model_tags(trained.model_id, {TAG: write_manifest(inside.parents[1])})
    with pytest.raises(UserError, match="is an ensemble"):
        write_bundle("models:/yoyak/1", tmp_path / "out.zip")


def test_a_bundle_is_unpacked_once_and_nothing_is_changed(parts, tmp_path, tiny_bart):
    path = zipped(tmp_path / "m.zip", {**parts, "README.md": b"hello"})
    folder = open_bundle(path).folder
    assert {file.name for file in folder.iterdir()} == {file.name for file in tiny_bart.iterdir()}
    for file in folder.iterdir():
        assert file.read_bytes() == (tiny_bart / file.name).read_bytes()
    moment = (folder / "config.json").stat().st_mtime_ns
    copy = shutil.copy(path, tmp_path / "copy.zip")
    assert resolve_model(str(copy)) == folder
    assert (folder / "config.json").stat().st_mtime_ns == moment
    assert load_spec(folder) == load_spec(tiny_bart)


def test_a_folder_zipped_on_a_mac_is_read(parts, tmp_path, tiny_bart):
    names = {name.removeprefix("tokenizer/"): data for name, data in parts.items()}
    mac = {f"__MACOSX/kobart/._{name}": b"\0" for name in names}
    path = zipped(tmp_path / "m.zip", {**{f"kobart/{name}": data for name, data in names.items()}, **mac})
    folder = open_bundle(path).folder
    assert {file.name for file in folder.iterdir()} == {file.name for file in tiny_bart.iterdir()}


def test_shards_and_their_index_survive_a_round_trip(store, tiny_bart, tmp_path):
    from transformers import BartForConditionalGeneration

    folder = tmp_path / "bart"
    shutil.copytree(tiny_bart, folder)
    (folder / "model.safetensors").unlink()
    BartForConditionalGeneration.from_pretrained(tiny_bart).save_pretrained(folder, max_shard_size="20KB")
    shards = {path.name for path in folder.glob("*.safetensors")}
    assert len(shards) > 1
    with runs.stage_run("train", member="bart", params={}, inputs={}) as run:
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


def test_without_any_hint_of_the_family_the_error_says_what_to_add(parts, tmp_path, cache):
    del parts["yoyak.json"]
    parts["config.json"] = b'{"architectures": ["BertModel"]}'
    refused(zipped(tmp_path / "m.zip", parts), "add `family: seq2seq or causal` to its config.yaml", cache)


def test_a_foreign_bundle_summarizes(parts, tmp_path):
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
    messages = {
        "missing": "lacks 1 of the model's weights, such as model.decoder.layers.0.fc1.weight",
        "nan": "its weights are damaged",
        "vocabulary": "tokens, the model only 50",
        "window": "need 10000 positions, the model has 256",
        "tokenizer": "No tokenizer could be loaded from",
    }[fault]
    path = zipped(tmp_path / "m.zip", parts)
    assert cli.main(["import", str(path), "--name", "x"]) == 1
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("yoyak import: ")
    assert messages in last
    assert str(tmp_path / "cache") not in last
    assert store.search_registered_models() == []
    assert store.search_runs([experiment.experiment_id for experiment in store.search_experiments()]) == []


def test_foreign_metadata_is_logged_as_far_as_mlflow_accepts_it(store, parts, tmp_path):
    from yoyak.registration.bundle import register_bundle

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
    registered = register_bundle(path, registry_name="theirs")
    assert (registered.version.name, registered.new) == ("theirs-bart", True)
    run = store.get_run(registered.version.run_id)
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
def test_params_of_a_run_survive_a_round_trip(values):
    text = {key: value for key, value in values.items() if key in ("separator", "checkpoint", "revision")}
    tree = {"members": {"m": {**values, **{key: str(value) for key, value in text.items()}}}, "seed": 1}
    assert unflatten(flatten(tree)) == tree
