"""The whole pipeline as people run it: real `dvc repro`, real SQLite, real processes."""

from __future__ import annotations

import csv
import hashlib
import json
import re
import shutil
from pathlib import Path

import pytest
from mlflow import MlflowClient

from pipeline.conftest import edit, shell, succeed

pytestmark = pytest.mark.slow

MEMBERS = ["bart", "gpt2", "t5"]
STRATEGIES = ["vote", "weighted", "mbr", "stack"]
SPLITS = {"dev", "test", "gate", "handwritten"}


def client(folder: Path) -> MlflowClient:
    return MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")


def runs(folder: Path) -> list:
    store = client(folder)
    return list(store.search_runs([e.experiment_id for e in store.search_experiments()], max_results=1000))


def planned(folder: Path) -> set[str]:
    """Stages that `dvc repro` would run now, other than `register`, which looks at the registry each time."""
    return set(re.findall(r"Running stage '([^']+)'", succeed(folder, "dvc", "repro", "--dry"))) - {"register"}


def changed_stages(folder: Path) -> set[str]:
    """Stages whose dependencies or params have changed, other than `register`, which always counts as changed."""
    status = json.loads(succeed(folder, "dvc", "status", "--json"))
    return {name for name in status if name != "register" and not name.endswith(".dvc") and "export/" not in name}


def copy_of(finished: Path, folder: Path) -> Path:
    return Path(shutil.copytree(finished, folder / "copy", symlinks=True))


def test_every_output_exists(finished: Path) -> None:
    for member in MEMBERS:
        assert (finished / "models" / member / "model.safetensors").is_file()
        assert {path.stem for path in (finished / "predictions" / member).glob("*.jsonl")} == SPLITS
    for strategy in STRATEGIES:
        names = {path.name for path in (finished / "ensembles" / strategy).iterdir()}
        assert names == {f"{split}.jsonl" for split in SPLITS} | {"info.json", "combiner.json"}
    assert "<svg" in (finished / "report/index.html").read_text()
    systems = {row["name"] for row in json.loads((finished / "evaluation/summary.json").read_text())["systems"]}
    assert {*MEMBERS, *STRATEGIES, "lead3", "oracle"} <= systems
    output = succeed(finished, "dvc", "metrics", "show")
    assert all(f"train_{member}.json" in output for member in MEMBERS)


def test_runs_are_one_tree_with_lineage(finished: Path) -> None:
    by_stage = runs(finished)
    parents = [run for run in by_stage if "mlflow.parentRunId" not in run.data.tags]
    assert len(parents) == 1
    names = sorted(run.info.run_name for run in by_stage if run not in parents)
    of_members = [f"{stage} {member}" for stage in ("train", "predict") for member in MEMBERS]
    of_ensembles = [*(f"ensemble {strategy}" for strategy in STRATEGIES), "register stack"]
    assert names == sorted([*of_members, *of_ensembles, "evaluate", "behaviour"])
    train = next(run for run in by_stage if run.info.run_name == "train bart")
    assert train.info.status == "FINISHED"
    assert train.data.tags["mlflow.parentRunId"] == parents[0].info.run_id
    assert train.data.params["members.bart.learning_rate"] == "0.0003"
    assert {"git.commit", "git.dirty", "seed", "device", "version.torch", "input.bases/bart"} <= set(train.data.tags)
    assert {entry.dataset.name for entry in train.inputs.dataset_inputs} == {"train", "dev"}
    assert len(client(finished).get_metric_history(train.info.run_id, "loss")) > 1
    evaluate = next(run for run in by_stage if run.info.run_name == "evaluate")
    artifacts = {item.path for item in client(finished).list_artifacts(evaluate.info.run_id)}
    assert "samples.json" in artifacts


def test_the_row_of_the_pipeline_shows_scores_data_and_the_best_model(finished: Path) -> None:
    store = client(finished)
    [parent] = [run for run in runs(finished) if "mlflow.parentRunId" not in run.data.tags]
    summary = json.loads((finished / "evaluation/summary.json").read_text())
    best = summary["best_member"]
    scores = json.loads((finished / f"metrics/scores/{best}.json").read_text())
    assert parent.data.metrics["dev/combined"] == pytest.approx(scores["dev"], abs=1e-6)
    assert {"test/combined", "test/rouge1", "ensemble/dev/combined"} <= set(parent.data.metrics)
    assert not any(key.startswith(("gate/", "ensemble/gate/")) for key in parent.data.metrics)
    assert len(store.get_metric_history(parent.info.run_id, "dev/combined")) == 1
    digests = {entry.dataset.name: entry.dataset.digest for entry in parent.inputs.dataset_inputs}
    assert digests["train"] == hashlib.md5((finished / "prepared/train.jsonl").read_bytes()).hexdigest()
    assert {"dev", "test", "gate"} <= set(digests)
    assert parent.data.tags["yoyak.best_model"] == "yoyak/1"
    champion = store.get_model_version_by_alias("yoyak", "champion")
    assert [output.model_id for output in parent.outputs.model_outputs] == [
        str(champion.source).removeprefix("models:/")
    ]
    assert parent.data.tags["mlflow.note.content"].startswith(f"{best}, the best member")


def test_every_version_has_a_model_card_in_both_languages(finished: Path) -> None:
    store = client(finished)
    for name in ("yoyak", *(f"yoyak-{member}" for member in MEMBERS)):
        assert store.get_registered_model(name).description
        for version in store.search_model_versions(f"name = '{name}'"):
            card = version.description or ""
            assert f"models:/{name}/{version.version}" in card
            assert "**Limits.**" in card
            assert "**한계.**" in card
            assert len(card) <= 5000
    assert "Champions so far" in (finished / "report/index.html").read_text()


def test_models_are_registered_without_pickle(finished: Path) -> None:
    store = client(finished)
    assert {model.name for model in store.search_registered_models()} == {"yoyak", *(f"yoyak-{m}" for m in MEMBERS)}
    champion = store.get_model_version_by_alias("yoyak", "champion")
    best = json.loads((finished / "evaluation/summary.json").read_text())["best_member"]
    assert champion.tags["member"] == best
    assert store.get_model_version_by_alias(f"yoyak-{best}", "champion").run_id == champion.run_id
    files = [path.name for path in (finished / "mlruns").rglob("*") if path.is_file()]
    assert "model.safetensors" in files
    assert not [name for name in files if name.endswith((".pkl", ".pickle", ".bin", ".pt"))]
    assert "yoyak.json" in files


def test_the_ensemble_is_a_model_that_writes_what_was_evaluated(finished: Path) -> None:
    version = client(finished).get_model_version_by_alias("yoyak", "ensemble")
    assert version.tags["variant"] == "ensemble"
    assert {version.tags[f"member.{member}"] for member in MEMBERS} == {f"yoyak-{member}/1" for member in MEMBERS}
    with (finished / "data/test.csv").open(encoding="utf-8", newline="") as file:
        fnames = [row["fname"] for row in csv.DictReader(file)]
    lines = (finished / "ensembles/stack/test.jsonl").read_text(encoding="utf-8").splitlines()
    evaluated = {row["fname"]: row["candidates"][0]["text"] for row in map(json.loads, lines)}
    code = (
        "import json, mlflow, pandas;"
        "rows = pandas.read_csv('data/test.csv');"
        "answers = mlflow.pyfunc.load_model('models:/yoyak@ensemble').predict(rows[['dialogue']]);"
        "print(json.dumps(list(answers['summary'])))"
    )
    done = shell(finished, "python", "-c", code, MLFLOW_TRACKING_URI=f"sqlite:///{finished / 'mlflow.db'}")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == [evaluated[fname] for fname in fnames]


def test_a_second_repro_does_nothing(finished: Path) -> None:
    before = {run.info.run_id for run in runs(finished)}
    printed = succeed(finished, "dvc", "repro")
    assert re.findall(r"Running stage '([^']+)'", printed) == ["register"]
    assert "nothing changed" in printed
    assert {run.info.run_id for run in runs(finished)} == before


def test_a_learning_rate_retrains_its_member_alone(finished: Path) -> None:
    try:
        edit(finished, lambda tree: tree["members"]["t5"].update(learning_rate=0.5))
        status = json.loads(succeed(finished, "dvc", "status", "--json"))
        trained = {name for name in status if name.startswith("train@")}
        assert trained == {"train@t5"}
        assert {name for name in status if name.startswith("predict@")} <= {"predict@t5"}
        assert "prepare" not in status
    finally:
        succeed(finished, "git", "checkout", "params.yaml")


def test_a_scoring_option_that_chooses_no_checkpoint_retrains_nothing(finished: Path) -> None:
    try:
        edit(finished, lambda tree: tree["scoring"].update(bootstrap_samples=120))
        assert changed_stages(finished) == {"evaluate", "report"}
        assert "evaluate" in planned(finished)
    finally:
        succeed(finished, "git", "checkout", "params.yaml")


def test_a_rule_that_chooses_the_checkpoint_retrains(finished: Path) -> None:
    try:
        edit(finished, lambda tree: tree["scoring"].update(multi_reference="max"))
        assert {f"train@{member}" for member in MEMBERS} <= changed_stages(finished)
    finally:
        succeed(finished, "git", "checkout", "params.yaml")


def test_code_that_chooses_the_checkpoint_retrains(finished: Path, tmp_path: Path) -> None:
    copy = copy_of(finished, tmp_path)
    with (copy / "src/yoyak/scoring/rouge.py").open("a", encoding="utf-8") as file:
        file.write("# Changed.\n")
    changed = changed_stages(copy)
    assert {f"train@{member}" for member in MEMBERS} <= changed
    assert "prepare" not in changed


def test_another_test_set_retrains_nothing(finished: Path, tmp_path: Path, fast_path: str) -> None:
    copy = copy_of(finished, tmp_path)
    shutil.copy(copy / "data/test.csv", copy / "data/handwritten.csv")
    succeed(copy, "dvc", "add", "-q", "data")
    succeed(copy, "dvc", "repro", "prepare", PATH=fast_path)
    changed = changed_stages(copy)
    assert {f"predict@{member}" for member in MEMBERS} <= changed
    assert not {name for name in changed if name.startswith(("base@", "train@"))}


def test_a_local_checkpoint_that_changes_in_place_concerns_the_members_that_start_from_it(
    finished: Path, tmp_path: Path, fast_path: str
) -> None:
    copy = copy_of(finished, tmp_path)
    (copy / "pretrained/mine").mkdir()
    (copy / "pretrained/mine/config.json").write_text("{}")
    assert {name.partition("@")[0] for name in changed_stages(copy)} == {"prepare", "base", "check"}
    succeed(copy, "dvc", "repro", "check", *(f"base@{member}" for member in MEMBERS), PATH=fast_path)
    assert not {name for name in changed_stages(copy) if name.startswith("train@")}


def test_a_clone_without_the_cache_only_registers(finished: Path, tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    succeed(tmp_path, "git", "clone", "-q", str(finished), str(clone))
    assert not (clone / "models").exists()
    printed = succeed(clone, "dvc", "repro", "--dry", "--allow-missing")
    assert re.findall(r"Running stage '([^']+)'", printed) == ["register"]


def test_headline_metrics_fit_on_a_screen(finished: Path) -> None:
    lines = succeed(finished, "dvc", "metrics", "show", COLUMNS="120").splitlines()
    assert max(len(line) for line in lines if line.startswith(("Path", "metrics/"))) <= 120
    output = {line.split()[0] for line in lines if line.startswith("metrics/")}
    assert {f"metrics/scores/{system}.json" for system in (*MEMBERS, *STRATEGIES, "best_baseline")} <= output


def test_a_lost_store_is_rebuilt_from_the_cache(finished: Path, tmp_path: Path, fast_path: str) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(finished, copy, symlinks=True)
    for name in ("models", "receipts", "training", "predictions", "evaluation", "mlruns", "ensembles"):
        shutil.rmtree(copy / name)
    (copy / "mlflow.db").unlink()
    printed = succeed(copy, "dvc", "repro", PATH=fast_path)
    assert set(re.findall(r"Running stage '([^']+)'", printed)) == {"register", "report"}
    assert (copy / "models/bart/model.safetensors").read_bytes() == (
        finished / "models/bart/model.safetensors"
    ).read_bytes()
    rebuilt = [run for run in runs(copy) if run.data.tags.get("restored") == "true"]
    assert sorted(run.data.tags["yoyak.member"] for run in rebuilt) == MEMBERS
    curve = client(copy).get_metric_history(rebuilt[0].info.run_id, "loss")
    original = next(run for run in runs(finished) if run.info.run_id == rebuilt[0].data.tags["restored.run_id"])
    assert [p.value for p in curve] == [
        p.value for p in client(finished).get_metric_history(original.info.run_id, "loss")
    ]
    assert client(copy).get_model_version_by_alias("yoyak", "champion")
    assert {run.data.tags["yoyak.stage"] for run in runs(copy)} == {"train", "pipeline", "register"}


def test_summarize_takes_any_file_and_model(finished: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    succeed(
        finished,
        "yoyak",
        "summarize",
        "models:/yoyak@champion",
        "--input",
        "data/test.csv",
        "--output",
        str(out),
    )
    rows = list(csv.DictReader(out.open(encoding="utf-8", newline="")))
    dialogues = list(csv.DictReader((finished / "data/test.csv").open(encoding="utf-8", newline="")))
    assert [row["fname"] for row in rows] == [row["fname"] for row in dialogues]
    assert list(rows[0]) == ["fname", "summary"]
    wrong = shell(finished, "yoyak", "summarize", "models:/yoyak@champoin", "--input", "data/test.csv")
    assert wrong.returncode == 1
    assert "did you mean 'champion'?" in wrong.stderr
    assert "Traceback" not in wrong.stderr


def test_an_experiment_overrides_params(finished: Path, tmp_path: Path, fast_path: str) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(finished, copy, symlinks=True)
    changed = ("-n", "longer", "-S", "generation.max_new_tokens=6")
    succeed(copy, "dvc", "exp", "run", *changed, "predict@bart", "register", "--single-item", PATH=fast_path)
    assert "longer" in succeed(copy, "dvc", "exp", "show", "--csv")
    tagged = {run.info.run_name for run in runs(copy) if run.data.tags.get("DVC_EXP_NAME") == "longer"}
    assert {"pipeline longer", "predict bart"} <= tagged
    assert not {name for name in tagged if name.startswith("train")}
    versions = client(copy).search_model_versions("name = 'yoyak-bart'")
    assert len(versions) == 2


def test_mlproject_trains_a_member(finished: Path, tmp_path: Path, fast_path: str) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(finished, copy, symlinks=True)
    succeed(copy, "mlflow", "run", ".", "--env-manager", "local", "-e", "train", "-P", "member=gpt2", PATH=fast_path)
    newest = sorted(
        (run for run in runs(copy) if run.info.run_name == "train gpt2"), key=lambda run: run.info.start_time
    )
    assert len(newest) == 2
    parent = client(copy).get_run(newest[-1].data.tags["mlflow.parentRunId"])
    assert parent.data.tags["mlflow.project.entryPoint"] == "train"


def test_the_export_is_measured_and_released_apart(finished: Path, tmp_path: Path, fast_path: str) -> None:
    """Its stages run when they are asked for, and a second time find nothing to do."""
    copy = tmp_path / "copy"
    shutil.copytree(finished, copy, symlinks=True)
    assert not (copy / "exports").exists()
    printed = succeed(copy, "dvc", "repro", "export/dvc.yaml", PATH=fast_path)
    ran = re.findall(r"Running stage '([^']+)'", printed)
    assert ran == ["register", "export/dvc.yaml:export", "export/dvc.yaml:bench", "export/dvc.yaml:release"]
    figures = json.loads((copy / "bench/figures.json").read_text())
    assert figures["quality"]["fp32_source"] == "predictions of the pipeline"
    names = {path.name for path in (copy / "bench").iterdir()}
    assert {"index.html", "report.md", "images", "serving.json"} <= names
    best = json.loads((copy / "evaluation/summary.json").read_text())["best_member"]
    store = client(copy)
    versions = {version.tags["variant"]: version for version in store.search_model_versions("name = 'yoyak'")}
    served = store.get_model_version_by_alias("yoyak", "serving")
    assert versions["int8"].tags["member"] == best
    passed = all(check["passed"] for check in figures["gate"].values())
    assert served.version == versions["int8" if passed else "fp32"].version
    run = next(run for run in runs(copy) if run.info.run_name == f"bench {best}")
    assert "bench" in {item.path for item in store.list_artifacts(run.info.run_id)}
    assert run.data.metrics["exported.batch_2.beams_2.samples_per_second"] > 0
    assert "speedup" in succeed(copy, "dvc", "metrics", "show")

    before = {run.info.run_id for run in runs(copy)}
    printed = succeed(copy, "dvc", "repro", "export/dvc.yaml", PATH=fast_path)
    assert re.findall(r"Running stage '([^']+)'", printed) == ["register", "export/dvc.yaml:release"]
    assert printed.count("nothing changed") == 2
    assert {run.info.run_id for run in runs(copy)} == before
    assert "export/dvc.yaml" not in succeed(copy, "dvc", "repro", "--dry")


def test_what_was_just_registered_differs_in_nothing(finished: Path) -> None:
    code = (
        "from yoyak.registry.lineage import read_lineage\n"
        "from yoyak.registry.verify import verify\n"
        "for name in ('yoyak@champion', 'yoyak@ensemble'):\n"
        "    found = read_lineage(name)\n"
        "    print(name, bool(found.stages), len(found.members), [entry.sentence for entry in verify(found)])"
    )
    done = shell(finished, "python", "-c", code, PYTHONPATH=str(finished / "src"))
    assert done.stdout.splitlines()[-2:] == ["yoyak@champion True 0 []", "yoyak@ensemble True 3 []"], done.stderr


def test_the_champion_is_made_once_more_from_its_commit(finished: Path, tmp_path: Path) -> None:
    copy = copy_of(finished, tmp_path)
    before = {run.info.run_id for run in runs(copy)}
    code = (
        "from yoyak.registration.reproduce import reproduce\n"
        "result = reproduce('yoyak@champion')\n"
        "print(result.verdict, result.weights, sorted(score.split for score in result.scores))"
    )
    done = shell(copy, "python", "-c", code, PYTHONPATH=str(copy / "src"))
    assert done.stdout.splitlines()[-1:] == ["identical True ['dev', 'handwritten', 'test']"], done.stderr
    assert {run.info.run_id for run in runs(copy)} == before
    assert len(succeed(copy, "git", "worktree", "list").splitlines()) == 1
