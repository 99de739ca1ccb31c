"""Making versions once more: real git, DVC and MLflow, in a project whose stages take no time."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from lineage_project import commit_params, register
from mlflow_helpers import git
from yoyak.errors import UserError
from yoyak.registration.reproduce import format_reproduction, reproduce

pytestmark = pytest.mark.slow


def everything(folder="."):
    """Size and time of each file, but for MLflow's database and what git keeps of its own."""
    files = [path for path in Path(folder).rglob("*") if path.is_file() and "mlflow.db" not in path.name]
    files = [path for path in files if not {".git", "tmp", "logs"} & set(path.parts)]
    return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in files}


def leftovers():
    return [*Path(tempfile.gettempdir()).glob("yoyak-*"), *git("worktree", "list").splitlines()[1:]]


def running_in(group):
    """The processes of a process group, but for those that have ended and that nobody has waited for."""
    members = []
    for process in psutil.process_iter(["status"]):
        with suppress(psutil.NoSuchProcess, ProcessLookupError):
            if os.getpgid(process.pid) == group and process.info["status"] != psutil.STATUS_ZOMBIE:
                members.append(process.cmdline())
    return members


def run_count(store):
    return len(store.search_runs([entry.experiment_id for entry in store.search_experiments()]))


def test_a_commit_that_is_as_it_was_gives_the_same_weights_and_scores(registered):
    before, runs = everything(), run_count(registered)
    result = reproduce("yoyak@champion")
    assert (result.verdict, result.weights, result.version) == ("identical", True, "yoyak/1")
    assert (result.stages, result.tensors, result.environment) == ((), (), ())
    [score] = result.scores
    assert (score.split, score.change) == ("dev", 0)
    assert "identical" in format_reproduction(result)
    assert everything() == before
    assert run_count(registered) == runs
    assert not leftovers()
    assert not git("status", "--porcelain")


def test_other_params_are_told_with_the_first_stage_the_tensors_and_the_scores(registered):
    commit = commit_params(lambda tree: tree["members"]["bart"].update(learning_rate=0.011))
    result = reproduce("models:/yoyak/1", commit=commit, tolerance=0.1)
    assert (result.verdict, result.weights) == ("within tolerance", False)
    assert [stage.stage for stage in result.stages] == ["base@bart", "train@bart", "predict@bart"]
    train = result.stages[1]
    assert train.params == {"members.bart.learning_rate": ("0.01", "0.011")}
    assert "models/bart" in train.outs
    [tensor] = result.tensors
    assert (tensor.member, tensor.name) == ("bart", "learned")
    assert tensor.largest == pytest.approx(0.006)
    [score] = result.scores
    assert score.change == pytest.approx(0.006)
    text = format_reproduction(result)
    assert "members.bart.learning_rate was 0.01 and is 0.011" in text
    assert "learned" in text
    assert reproduce("yoyak/1", commit="HEAD", tolerance=0.001).verdict == "different"


def test_an_ensemble_is_made_with_all_its_members_and_an_export_s_source(registered):
    registered.create_registered_model("yoyak-t5")
    members = {"member.bart": "yoyak/1", "member.t5": f"yoyak-t5/{register('t5', 'yoyak-t5')}"}
    number = register("vote", "yoyak", strategy="vote", **members)
    result = reproduce(f"yoyak/{number}")
    assert (result.verdict, result.weights, len(result.scores)) == ("identical", True, 1)

    commit = commit_params(lambda tree: tree["members"]["t5"].update(learning_rate=0.03))
    result = reproduce(f"yoyak/{number}", commit=commit, tolerance=0)
    assert (result.verdict, result.stages[0].stage) == ("different", "base@t5")
    assert {tensor.member for tensor in result.tensors} == {"t5"}
    assert result.stages[-1].stage == "ensemble@vote"

    exported = register("bart", "yoyak", **{"variant": "int8", "source.version": "yoyak/1"})
    assert reproduce(f"yoyak/{exported}").version == "yoyak/1"


def test_a_version_of_which_nothing_is_known_is_not_called_identical(registered):
    version = registered.get_model_version("yoyak", "1")
    for tag in version.tags:
        if tag.startswith(("score.", "lineage.stages")):
            registered.delete_model_version_tag("yoyak", "1", tag)
    for file in list(Path("mlruns").rglob("*.safetensors")):
        shutil.rmtree(file.parent)
    git("rm", "-q", "--cached", "dvc.lock")
    git("commit", "-q", "-m", "without a lock")
    with pytest.raises(UserError, match="nothing of it is known any more that it could be compared with"):
        reproduce("yoyak/1", commit="HEAD")
    assert not leftovers()


def test_what_cannot_be_made_again_is_one_sentence_before_anything_runs(registered, capfd):
    def sentence(**tags):
        number = register("bart", "yoyak", **{key.replace("_", "."): value for key, value in tags.items()})
        for key, value in tags.items():
            registered.set_model_version_tag("yoyak", number, key.replace("_", "."), value)
        with pytest.raises(UserError) as error:
            reproduce(f"yoyak/{number}")
        return str(error.value)

    assert "not in this repository" in sentence(lineage_commit="0" * 40)
    assert "'wise-owl'" in sentence(lineage_experiment="wise-owl")
    assert "changes" in sentence(lineage_dirty="true")
    assert "bundle" in sentence(bundle_sha256="abc")
    registered.set_model_version_tag("yoyak", "1", "member", "brat")
    with pytest.raises(UserError, match="did you mean 'bart'"):
        reproduce("yoyak/1")
    shutil.rmtree(".dvc/cache/files")
    with pytest.raises(UserError, match=r"data\.dvc.*remote"):
        reproduce("yoyak/1")
    assert "Running stage" not in capfd.readouterr().err
    assert not leftovers()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_nothing_is_left_after_an_interruption(registered, tmp_path, number):
    commit_params(lambda tree: tree["members"]["bart"].update(seconds=600))
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from yoyak.registration.reproduce import reproduce\n"
        "reproduce('yoyak/1', commit='HEAD')"
    )
    environment = {**os.environ, "TMPDIR": tempfile.gettempdir()}
    log = tmp_path / "log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-c", code], stderr=out, stdout=out, env=environment, start_new_session=True
        )
    while "make.py train" not in log.read_text():
        assert process.poll() is None, log.read_text()
        time.sleep(0.1)
    if number == signal.SIGINT:
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)
    assert process.wait() != 0
    assert not running_in(process.pid)
    assert not leftovers()
