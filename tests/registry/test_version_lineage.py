import json
from pathlib import Path

import pytest

from lineage_project import edit_params, register
from mlflow_helpers import git
from yoyak.errors import UserError
from yoyak.registry.lineage import read_lineage, to_dict
from yoyak.registry.lineage_record import MAX_TAG_CHARS, is_recorded
from yoyak.registry.lineage_text import format_differences, format_lineage
from yoyak.registry.verify import verify
from yoyak.registry.versions import to_version
from yoyak.tracking import lineage as tracked


def subjects(found):
    return {difference.subject for difference in found}


def test_an_alias_leads_to_version_runs_commit_params_data_and_libraries(registered):
    found = read_lineage("yoyak@champion")
    assert (found.label, found.aliases, found.member) == ("yoyak/1", ("champion",), "bart")
    assert found.run
    assert found.parent
    assert (found.run.name, found.run.status, found.run.deleted) == ("train bart", "FINISHED", False)
    assert found.run.run_id == registered.get_model_version("yoyak", "1").run_id
    assert found.parent.name.startswith("pipeline ")
    assert (found.commit, found.dirty, found.experiment) == (git("rev-parse", "HEAD"), False, "")
    assert found.seed == "20"
    assert found.params["members.bart.a"] == "1"
    assert [stage.name for stage in found.stages] == ["prepare", "base@bart", "train@bart", "predict@bart"]
    lock = tracked.read_lock()
    assert found.stages[2].outs["models/bart"] == lock["train@bart"]["outs"][0]["md5"]
    assert found.stages[2].params["members.bart"] == {"learning_rate": 0.01, "dropout": None}
    [data] = found.data
    assert (data.path, data.rows, data.md5) == ("data/train.csv", 2, tracked.digest("data/train.csv"))
    assert found.splits == {"train": 2}
    assert found.versions == tracked.versions()
    assert found.files["model.safetensors"] == tracked.digest("models/bart/model.safetensors")
    assert set(found.scores) == {"dev"}
    assert to_dict(read_lineage("models:/yoyak/1")) == {**to_dict(found), "uri": "models:/yoyak/1"}
    assert json.loads(json.dumps(to_dict(found)))["name"] == "yoyak"
    text = format_lineage(found)
    assert all(part in text for part in ("yoyak/1 (champion): bart", found.commit, "data/train.csv: 2 rows", "torch"))


def test_tags_fit_into_mlflow_and_come_back_however_long_they_are(registered):
    note = "가" * 3 * MAX_TAG_CHARS
    edit_params(lambda tree: tree["members"]["bart"].update(note=note))
    lock = Path("dvc.lock").read_text(encoding="utf-8")
    Path("dvc.lock").write_text(lock.replace("dropout:", f"note: {note}\n          dropout:"), encoding="utf-8")
    number = register("bart", "yoyak")
    tags = registered.get_model_version("yoyak", number).tags
    assert max(len(value) for key, value in tags.items() if key.startswith("lineage.")) <= MAX_TAG_CHARS
    found = read_lineage(f"yoyak/{number}")
    assert found.stages[2].params["members.bart"]["note"] == note
    assert found.dirty


def test_what_was_made_with_uncommitted_changes_is_recorded_again_once_they_are_committed(registered):
    def version(number):
        return to_version(registered.get_model_version("yoyak", number))

    assert is_recorded(version("1"))
    assert not is_recorded(None)
    edit_params(lambda tree: tree["members"]["t5"].update(learning_rate=0.03))
    number = register("t5", "yoyak")
    assert is_recorded(version(number))
    git("commit", "-q", "-a", "-m", "later")
    assert not is_recorded(version(number))
    registered.set_model_version_tag("yoyak", "1", "lineage.stages.2", "left from a longer value")
    assert len(read_lineage("yoyak/1").stages) == 4


def test_runs_and_versions_that_were_deleted_do_no_harm(registered):
    source = str(Path("models/bart").resolve())
    registered.create_model_version("yoyak", source, tags={"variant": "int8", "source.version": "yoyak/1"})
    registered.create_model_version("yoyak", source, tags={"member.bart": "yoyak/1", "member.t5": "yoyak-t5/7"})
    exported, ensemble = read_lineage("yoyak/2"), read_lineage("yoyak/3")
    assert exported.source
    assert exported.source.label == "yoyak/1"
    assert exported.run is None
    assert [member.label for member in ensemble.members] == ["yoyak/1"]
    assert ensemble.missing == ("yoyak-t5/7",)
    registered.delete_run(registered.get_model_version("yoyak", "1").run_id)
    found = read_lineage("yoyak@champion")
    assert found.run
    assert found.run.deleted
    assert found.seed == "20"
    assert "deleted" in format_lineage(found)
    assert "yoyak-t5/7" in format_lineage(ensemble)
    assert "yoyak-t5/7" in subjects(verify(ensemble))


def test_an_experiment_and_what_a_bundle_says_are_in_it(registered, monkeypatch):
    monkeypatch.setenv("DVC_EXP_NAME", "wise-owl")
    number = register("t5", "yoyak", **{"imported.git.commit": "abc"})
    found = read_lineage(f"yoyak/{number}")
    assert found.experiment == "wise-owl"
    assert found.imported == {"git.commit": "abc"}


def test_errors_name_the_nearest_name(registered):
    with pytest.raises(UserError, match="did you mean 'champion'"):
        read_lineage("yoyak@champoin")
    with pytest.raises(UserError, match="did you mean 'yoyak'"):
        read_lineage("yoyk/1")
    with pytest.raises(UserError, match="no version '9'"):
        read_lineage("yoyak/9")
    with pytest.raises(UserError, match="not a registered version"):
        read_lineage(f"models:/{read_lineage('yoyak/1').model_id}")


def test_nothing_differs_right_after_the_registration(registered):
    Path("src/__pycache__").mkdir()
    Path("src/__pycache__/make.pyc").write_bytes(b"DVC ignores this")
    Path(".dvcignore").write_text("__pycache__\n")
    found = read_lineage("yoyak@champion")
    assert verify(found) == []
    assert "Nothing differs" in format_differences(found, [])


def test_a_changed_byte_is_found_wherever_it_is(registered):
    found = read_lineage("yoyak@champion")
    data = Path("data/train.csv")
    data.chmod(0o644)
    data.write_text(data.read_text().replace("2,b", "2,c"))
    assert subjects(verify(found)) == {"data", "data/train.csv"}
    [sentence] = [difference.sentence for difference in verify(found) if difference.subject == "data"]
    assert "train.csv" in sentence

    stored = next(Path("mlruns").rglob("model.safetensors"))
    weights = bytearray(stored.read_bytes())
    weights[-1] ^= 1
    stored.write_bytes(weights)
    assert "model.safetensors" in subjects(verify(found))
    stored.unlink()
    [sentence] = [entry.sentence for entry in verify(found) if entry.subject == "model.safetensors"]
    assert "missing" in sentence


def test_params_libraries_outputs_and_commits_that_differ_are_told(registered):
    here = tracked.versions()
    registered.set_model_version_tag(
        "yoyak", "1", "lineage.versions", json.dumps({**here, "torch": "0.1", "gone": "2"})
    )
    found = read_lineage("yoyak@champion")
    edit_params(lambda tree: tree["members"]["bart"].update(learning_rate=0.5))
    edit_params(lambda tree: tree["members"]["t5"].update(learning_rate=0.5))
    Path("predictions/bart/dev.jsonl").unlink()
    Path("predictions/bart").rmdir()
    differences = verify(found)
    assert subjects(differences) == {"torch", "gone", "members.bart.learning_rate", "predictions/bart"}
    assert all(difference.sentence.endswith(".") for difference in differences)
    [torch] = [difference for difference in differences if difference.subject == "torch"]
    assert (torch.recorded, torch.found) == ("0.1", here["torch"])
    registered.set_model_version_tag("yoyak", "1", "lineage.commit", "0" * 40)
    assert "commit" in subjects(verify(read_lineage("yoyak/1")))
