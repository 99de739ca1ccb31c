"""`yoyak release`: the exported model in the registry, and where the alias `serving` points."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from bench.conftest import SETTINGS, TEXTS
from mlflow_helpers import DIALOGUE, register_champion
from yoyak.bench.results import (
    GateDecision,
    RougeCheck,
    RougeComparison,
    ServingDecision,
    ServingFigures,
    SpeedCheck,
    SpeedComparison,
)
from yoyak.bench.run import Subject
from yoyak.data.records import Dialogue, write_jsonl
from yoyak.errors import UserError
from yoyak.files import write_result
from yoyak.registration.packaging import log_member
from yoyak.registry import check, deployment, promotion
from yoyak.registry.resolve import resolve_model
from yoyak.registry.versions import Version
from yoyak.stages import release
from yoyak.stages.models import rollback
from yoyak.tracking import lineage
from yoyak.tracking import runs as tracking
from yoyak.tracking.registered import Registered, RegisteredModel, write_registered


@pytest.fixture
def made(store: Any, project: Path, subject: Subject) -> Any:
    """A project after its bench: two members, of which bart is the best and exported; the client of its registry."""
    with Path("params.yaml").open("w") as out:
        YAML().dump({"seed": 20, **SETTINGS}, out)
    shutil.copytree(subject.folder, "exports/bart")
    for member in ("bart", "other"):
        shutil.copytree(subject.source, Path("models", member))
    write_jsonl("prepared/eval/dev.jsonl", [Dialogue(fname="a", dialogue=TEXTS[0], summaries=("b",))])
    rows = []
    for member in ("bart", "other"):
        with tracking.stage_run("train", member=member, params={}, inputs={}) as run:
            model_id = log_member(run, Path("models", member), example=DIALOGUE)
        version = register_champion(f"yoyak-{member}", model_id, run.run_id)
        rows.append(entry(version, member))
        if member == "bart":
            best = register_champion("yoyak", model_id, run.run_id, member=member, variant="fp32")
            rows.append(entry(best, member))
    write_registered(Registered(registered=tuple(rows), decision="", tracking_uri="", fingerprint="f"))
    bench(passed=True)
    return store


def entry(version: Version, member: str) -> RegisteredModel:
    return RegisteredModel(
        name=version.name, version=version.version, aliases=(), run_id=version.run_id, member=member, restored=False
    )


def bench(passed: bool, name: str = "bart", ratio: float = 1.5) -> None:
    """Write what the bench leaves for `release`."""
    comparison = SpeedComparison(
        against="onnx_fp32", batch_size=16, beams=2, ratio=ratio, low=1.4, high=1.9, won=8, rounds=8, p_value=0.004
    )
    rouge = RougeComparison(exported=0.4, fp32=0.401, difference=-0.001, low=-0.002, high=0.001, p_value=0.3, n=1)
    decision = ServingDecision(
        model=name,
        precision="int8",
        export_md5=lineage.digest(Path("exports", name)),
        batch_size=16,
        gate=GateDecision(
            speed=SpeedCheck(passed=passed, sentence="It is fast.", comparison=comparison),
            rouge=RougeCheck(passed=True, sentence="It is as good.", max_rouge_drop=0.01, comparison=rouge),
        ),
        figures=ServingFigures(
            disk_mb=1.5, load_seconds=0.2, processor="a CPU", cores=2, samples_per_second=80.0, peak_mb=None
        ),
    )
    write_result("bench/serving.json", decision)


def aliases(store: Any) -> dict[str, int]:
    return {alias: int(number) for alias, number in store.get_registered_model("yoyak").aliases.items()}


def runs(store: Any) -> int:
    return len(store.search_runs([experiment.experiment_id for experiment in store.search_experiments()]))


def test_a_passed_export_is_served_with_all_its_tags(made: Any, capsys: pytest.CaptureFixture[str]) -> None:
    release.run()
    output = capsys.readouterr().out
    assert output.splitlines() == [
        "yoyak version 2 is int8 of bart",
        "It is fast.",
        "It is as good.",
        "served: yoyak version 2 (int8)",
    ]
    assert aliases(made) == {"champion": 1, "serving": 2}
    version = made.get_model_version("yoyak", "2")
    tags = version.tags
    assert (tags["variant"], tags["member"], tags["source.version"]) == ("int8", "bart", "yoyak/1")
    assert tags["git.commit"] == lineage.git().commit
    assert (tags["bench.disk_mb"], tags["gate.speed.ratio"], tags["serving.batch_size"]) == ("1.5", "1.5", "16")
    assert (tags["alias.serving.from"], tags["alias.serving.to"]) == ("1", "2")
    assert tags["alias.serving.who"] == lineage.current_user()
    assert tags["alias.serving.gate.passed"] == "true"
    assert all(part in version.description for part in ("`yoyak/1`", "It is fast.", "통과했다"))
    folder = resolve_model("models:/yoyak@serving")
    assert json.loads((folder / "serving.json").read_text())["batch_size"] == 16
    assert json.loads((folder / "yoyak.json").read_text())["generation"]["max_new_tokens"] == 6
    assert (folder / "weights.bin").read_bytes() == Path("exports/bart/weights.bin").read_bytes()


def test_a_failed_export_is_registered_and_fp32_is_served(made: Any, capsys: pytest.CaptureFixture[str]) -> None:
    bench(passed=False)
    release.run()
    assert capsys.readouterr().out.endswith("served: yoyak version 1 (fp32)\n")
    assert aliases(made) == {"champion": 1, "serving": 1}
    assert made.get_model_version("yoyak", "2").tags["variant"] == "int8"


def test_the_alias_goes_both_ways(made: Any) -> None:
    release.run()
    bench(passed=False, ratio=0.9)
    release.run()
    assert aliases(made) == {"champion": 1, "serving": 1}
    tags = made.get_model_version("yoyak", "1").tags
    assert (tags["alias.serving.from"], tags["alias.serving.gate.speed.ratio"]) == ("2", "0.9")
    assert made.get_model_version("yoyak", "2").tags["gate.speed.ratio"] == "0.9"
    bench(passed=True)
    release.run()
    assert aliases(made)["serving"] == 2
    assert len(made.search_model_versions("name = 'yoyak'")) == 2, "the same export is one version"


def test_a_second_time_changes_nothing(made: Any, capsys: pytest.CaptureFixture[str]) -> None:
    release.run()
    before = (runs(made), dict(made.get_model_version("yoyak", "2").tags))
    capsys.readouterr()
    release.run()
    assert capsys.readouterr().out.startswith("nothing changed")
    # The whole path changes nothing either, where the quick question is not answered.
    made.delete_registered_model_tag("yoyak", check.RELEASE)
    release.run()
    assert "nothing changed" not in capsys.readouterr().out
    assert (runs(made), dict(made.get_model_version("yoyak", "2").tags)) == before


def test_other_serving_settings_are_another_version(made: Any) -> None:
    release.run()
    tree = YAML(typ="safe").load(Path("params.yaml"))
    with Path("params.yaml").open("w") as out:
        YAML().dump({**tree, "serving": {"batch_size": 4}}, out)
    release.run()
    assert aliases(made)["serving"] == 3
    folder = resolve_model("models:/yoyak@serving")
    assert json.loads((folder / "serving.json").read_text())["batch_size"] == 4


def test_an_undone_move_stays_undone(made: Any, capsys: pytest.CaptureFixture[str]) -> None:
    release.run()
    rollback.run(alias="serving", reason="it repeats itself")
    assert capsys.readouterr().out.endswith("yoyak version 1 is served again\n")
    assert aliases(made)["serving"] == 1
    release.run()
    made.delete_registered_model_tag("yoyak", check.RELEASE)
    release.run()
    assert aliases(made)["serving"] == 1, "what a person undid stays undone"
    with pytest.raises(UserError, match="Version 1 of yoyak"):
        rollback.run(alias="serving")
    bench(passed=True, ratio=1.7)
    release.run()
    assert aliases(made)["serving"] == 2, "a new bench is a new release"


def test_nothing_to_undo_gives_one_sentence(made: Any) -> None:
    with pytest.raises(UserError, match="no release to undo"):
        deployment.undo_serving("yoyak")
    with pytest.raises(UserError, match=r"yoyack .*did you mean 'yoyak'"):
        deployment.undo_serving("yoyack")


def test_champions_compete_independently_of_the_serving_alias(made: Any) -> None:
    release.run()
    champion = promotion.champion("yoyak")
    assert champion and champion.version == 1
    with tracking.stage_run("train", member="bart", params={}, inputs={}) as run:
        model_id = log_member(run, Path("models/bart"), example=DIALOGUE)
    assert register_champion("yoyak", model_id, run.run_id, member="bart").aliases == ("challenger",)
    assert aliases(made) == {"champion": 1, "challenger": 3, "serving": 2}
    promotion.promote("yoyak", 3, reason="a test")
    assert aliases(made) == {"champion": 3, "previous": 1, "serving": 2}
    promotion.rollback("yoyak")
    assert aliases(made) == {"champion": 1, "challenger": 3, "serving": 2}


def test_a_member_that_is_not_the_best_has_its_fp32_there_too(made: Any) -> None:
    shutil.move("exports/bart", "exports/other")
    bench(passed=False, name="other")
    release.run()
    assert aliases(made) == {"champion": 1, "serving": 2}
    fp32, exported = (made.get_model_version("yoyak", number) for number in ("2", "3"))
    assert fp32.source == made.get_model_version("yoyak-other", "1").source
    assert (fp32.tags["variant"], exported.tags["source.version"]) == ("fp32", "yoyak/2")


def test_what_is_released_from_an_experiment_stays_that_of_the_experiment(made: Any) -> None:
    made.set_model_version_tag("yoyak-other", "1", promotion.EXPERIMENT, "the experiment wide")
    shutil.move("exports/bart", "exports/other")
    bench(passed=True, name="other")
    release.run()
    for number in (2, 3):
        with pytest.raises(UserError, match="the experiment wide"):
            promotion.promote("yoyak", number, reason="a test")


def test_a_soup_that_was_not_registered_is_logged(made: Any) -> None:
    shutil.move("exports/bart", "exports/soup")
    shutil.copytree("models/bart", "ensembles/soup/model")
    bench(passed=False, name="soup")
    release.run()
    soup = made.get_model_version("yoyak", str(aliases(made)["serving"]))
    assert (soup.tags["variant"], soup.tags["member"]) == ("soup", "soup")
    before = runs(made)
    made.delete_registered_model_tag("yoyak", check.RELEASE)
    release.run()
    assert runs(made) == before


def test_missing_files_are_recreated(made: Any) -> None:
    release.run()
    location = Path(
        made.get_logged_model(made.get_model_version("yoyak", "2").source.removeprefix("models:/")).artifact_location
    )
    shutil.rmtree(location)
    release.run()
    assert aliases(made)["serving"] == 3
    assert resolve_model("models:/yoyak@serving").is_dir()


def test_a_bench_of_another_export_and_a_missing_bench_are_errors(made: Any) -> None:
    with Path("exports/bart/ops.json").open("a") as file:
        file.write("\n")
    with pytest.raises(UserError, match=r"exports/bart"):
        release.run()
    shutil.rmtree("bench")
    with pytest.raises(UserError, match=r"serving\.json is missing"):
        release.run()
