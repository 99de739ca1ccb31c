"""Studies that train a tiny member for real, and studies of how it writes."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from optuna.exceptions import TrialPruned
from optuna.trial import TrialState
from ruamel.yaml import YAML

from studies.conftest import Recorded, StudyProject, open_study
from training.tiny_training import ROWS
from yoyak import params, project
from yoyak.data.folding import hold_out
from yoyak.data.keys import hash_dialogue
from yoyak.errors import UserError
from yoyak.models.spec import load_spec
from yoyak.registration.study import register_best
from yoyak.registry.evaluations import read_trained_on
from yoyak.studies.generating import GenerationKind
from yoyak.studies.kinds import StoppedError
from yoyak.studies.outcome import measure_effects
from yoyak.studies.training import Hyperparameter

pytestmark = pytest.mark.slow
DIMENSIONS = {
    "members.bart.learning_rate": {"type": "float", "low": 1e-3, "high": 1e-2, "log": True},
    "members.bart.label_smoothing": {"type": "float", "low": 0.0, "high": 0.1},
}


def test_a_trial_that_is_stopped_goes_on_with_the_same_result(training_project: StudyProject) -> None:
    kind = open_study(training_project, kind="hyperparameter", member="bart", trials=1, dimensions=DIMENSIONS)
    assert isinstance(kind, Hyperparameter)
    values = {"members.bart.learning_rate": 0.004, "members.bart.label_smoothing": 0.05}
    whole = Recorded(Path("whole"))
    expected = kind.run(whole.trial, values)
    assert sorted(whole.reports) == [1, 2]
    assert max(whole.reports.values()) == expected["combined"]

    with pytest.raises(StoppedError):
        kind.run(Recorded(Path("half"), stop_after=4).trial, values)
    assert list(Path("half/checkpoints").glob("checkpoint-*"))
    half = json.loads(Path("half/seconds.json").read_text())
    assert half > 0
    resumed = Recorded(Path("half"))
    measures = kind.run(resumed.trial, values)
    assert resumed.asked < whole.asked
    assert resumed.reports == whole.reports
    assert measures["combined"] == expected["combined"]
    assert measures["eval_loss"] == expected["eval_loss"]
    assert measures["seconds"] > half, "those of the first attempt count too"
    assert not Path("half/checkpoints").exists()

    with pytest.raises(TrialPruned):
        kind.run(Recorded(Path("pruned"), prune_at=1).trial, values)
    assert not Path("pruned/model").exists()
    other = kind.run(Recorded(Path("other")).trial, {**values, "members.bart.learning_rate": 0.0011})
    assert other["eval_loss"] != expected["eval_loss"], "the values are those of the trial"
    with pytest.raises(UserError, match=r"does not change how bart is trained: a study of the kind generation"):
        beams = {"type": "int", "low": 1, "high": 4}
        open_study(
            training_project, kind="hyperparameter", member="bart", trials=1, dimensions={"generation.num_beams": beams}
        )


def test_a_trial_is_pruned_by_its_objective(training_project: StudyProject) -> None:
    rate = {key: DIMENSIONS[key] for key in ("members.bart.learning_rate",)}
    for objective, goal in (("eval_loss", "minimize"), ("combined", "maximize")):
        kind = open_study(
            training_project, kind="hyperparameter", member="bart", trials=1, dimensions=rate,
            objectives={objective: goal}, pruner={"type": "median"},
        )  # fmt: skip
        trial = Recorded(Path(objective))
        measures = kind.run(trial.trial, {"members.bart.learning_rate": 0.004})
        assert measures[objective] in trial.reports.values()


def test_a_study_trains_keeps_and_scores_its_best_trials(training_project: StudyProject) -> None:
    training_project.write_study(
        "h", kind="hyperparameter", member="bart", trials=3, keep=2, dimensions=DIMENSIONS,
        sampler={"type": "random"}, pruner={"type": "median", "startup_trials": 2},
    )  # fmt: skip
    summary = training_project.run_here("h")
    assert sum(summary.states.values()) == 3
    assert summary.best is not None
    assert summary.best.dev is not None
    assert summary.best.gate is not None
    assert (summary.best.dev.n, summary.best.gate.n) == (8, 8)
    folder = training_project.folder / "studies/h/trials"
    assert {path.name for path in folder.iterdir()} == {str(number) for number in summary.kept}
    assert summary.kept[0] == summary.best.number
    assert all((folder / str(number) / "model/model.safetensors").is_file() for number in summary.kept)
    _, runs = training_project.runs("h")
    assert {run.info.status for run in runs} <= {"FINISHED", "KILLED"}
    best = next(run for run in runs if int(run.data.tags["yoyak.trial"]) == summary.best.number)
    assert {"loss", "eval_loss", "eval_combined", "combined"} <= best.data.metrics.keys()
    for trial in training_project.trials("h"):
        assert trial.state is TrialState.PRUNED or sorted(trial.intermediate_values) == [1, 2]

    # What a study has kept becomes a version, which no gate has seen, and an ensemble.
    somebody = {"yoyak.study": "h", "yoyak.stage": "trial", "yoyak.trial": str(summary.best.number)}
    MlflowClient().create_run(best.info.experiment_id, tags=somebody)
    version = register_best("h", params.load(params.Params))
    assert version.run_id == best.info.run_id
    assert read_trained_on(version) == {hash_dialogue(row.dialogue) for row in ROWS[:32]}
    assert version.name == "yoyak-bart"
    assert version.aliases == ("challenger",)
    assert register_best("h", params.load(params.Params)).version == version.version
    utility = {"ensemble.strategies.mbr.utility": {"type": "categorical", "choices": ["rouge", "chrf"]}}
    values = {"kind": "generation", "strategy": "mbr", "sampler": {"type": "grid"}, "dimensions": utility}
    kept = open_study(training_project, members={"study": "h", "top_k": 2}, **values)
    assert isinstance(kept, GenerationKind)
    assert list(kept.models) == ["h-1", "h-2"]
    assert 0 <= kept.run(Recorded(Path("kept")).trial, {next(iter(utility)): "chrf"})["combined"] <= 1
    with pytest.raises(UserError, match=r"top_k is 3, and h has kept 2 models"):
        open_study(training_project, members={"study": "h", "top_k": 3}, **values)

    # The same, by params.yaml.
    with pytest.raises(UserError, match=r"ensemble\.members of params\.yaml no 'study'.*add study"):
        open_study(training_project, **values)
    tree = YAML().load(Path("params.yaml"))
    tree["ensemble"]["members"] = {"study": {"study": "h", "top_k": 2}}
    YAML().dump(tree, Path("params.yaml"))
    named = open_study(training_project, **values)
    assert isinstance(named, GenerationKind)
    assert named.models == kept.models
    assert named.warning() == "Its models are the 2 best of the 3 trials of h, which were chosen on dev too."
    with pytest.raises(UserError, match="several members need a strategy"):
        open_study(training_project, **{key: value for key, value in values.items() if key != "strategy"})


def test_trials_that_only_combine_share_one_decoding_pass(training_project: StudyProject) -> None:
    values = {"members.bart.learning_rate": 0.004, "members.bart.label_smoothing": 0.05}
    trained = open_study(training_project, kind="hyperparameter", member="bart", trials=1, dimensions=DIMENSIONS)
    trained.run(Recorded(Path("one")).trial, values)
    for name in ("bart", "twin"):
        shutil.copytree("one/model", Path("models", name))

    weights = {
        f"ensemble.strategies.weighted.weights.{name}": {"type": "float", "low": 0.1, "high": 1.0}
        for name in ("bart", "twin")
    }
    kind = open_study(
        training_project, kind="generation", members=["bart", "twin"], strategy="weighted", trials=2, dimensions=weights
    )
    assert isinstance(kind, GenerationKind)
    decoded = []
    for weight in (0.2, 0.5, 0.9):
        trial = Recorded(Path(f"combined{weight}"))
        measures = kind.run(trial.trial, dict.fromkeys(weights, weight) | {next(iter(weights)): 0.3})
        decoded.append("decoded" in trial.notes)
        assert 0 <= measures["combined"] <= 1
    assert decoded == [True, False, False]
    assert set(kind.score(Path(), dict.fromkeys(weights, 0.5))) == {"dev", "gate"}

    beams: Mapping[str, Any] = {"generation.num_beams": {"type": "categorical", "choices": [1, 3]}}
    single = open_study(
        training_project, kind="generation", members=["bart"], trials=2, dimensions=dict(beams),
        pruner={"type": "wilcoxon"},
    )  # fmt: skip
    every, some = Recorded(Path("every")), Recorded(Path("some"), prune_at=3)
    measures = single.run(every.trial, {"generation.num_beams": 1})
    assert len(every.reports) == 8, "one score for each dialogue"
    assert {step: metrics["value"] for step, metrics in every.logged.items()} == every.reports
    assert measures["combined"] == pytest.approx(sum(every.reports.values()) / 8)
    pruned = single.run(some.trial, {"generation.num_beams": 1})
    assert some.notes["pruned"]
    assert pruned["combined"] == pytest.approx(sum(list(every.reports.values())[:3]) / 3)
    timed = open_study(
        training_project, kind="generation", members=["bart"], trials=2, objectives={"latency": "minimize"},
        dimensions={"generation.batch_size": {"type": "categorical", "choices": [1, 8]}},
    )  # fmt: skip
    for size in (1, 8):
        batch = Recorded(Path(f"batch{size}"))
        timed.run(batch.trial, {"generation.batch_size": size})
        assert "decoded" in batch.notes, "each batch size is timed"
    whole: dict[str, Any] = {"kind": "generation", "members": ["bart"], "trials": 2, "dimensions": dict(beams)}
    passes = set(Path("studies/study/decoded").glob("*"))
    open_study(training_project, **whole).score(Path(), {"generation.num_beams": 1})
    decoded_once = set(Path("studies/study/decoded").glob("*"))
    gate = project.split_file("gate")
    gate.write_text("".join(reversed(gate.read_text().splitlines(keepends=True))))
    for _ in range(2):
        open_study(training_project, **whole).score(Path(), {"generation.num_beams": 1})
        new = set(Path("studies/study/decoded").glob("*")) - decoded_once
        assert len([path for path in new if path.is_dir()]) == 1, "other rows of gate are decoded, and dev is not again"
    assert len([path for path in decoded_once - passes if path.is_dir()]) == 2
    with pytest.raises(UserError, match="models/brat is missing"):
        open_study(training_project, kind="generation", members=["brat"], trials=1, dimensions=dict(beams))


def test_a_trial_holds_out_the_fold_of_its_member(training_project: StudyProject) -> None:
    tree = YAML().load(Path("params.yaml"))
    tree["members"]["bart"]["fold"] = {"index": 1, "of": 2}
    YAML().dump(tree, Path("params.yaml"))
    kind = open_study(training_project, kind="hyperparameter", member="bart", trials=1, dimensions=DIMENSIONS)
    trial = Recorded(Path("fold"))
    kind.run(trial.trial, {})
    kept, _ = hold_out(ROWS[:24], 1, 2)
    assert trial.notes["training"]["steps"] == 2 * math.ceil(len(kept) / 8) < 2 * 24 / 8


def test_an_ablation_measures_what_each_component_is_worth(training_project: StudyProject) -> None:
    import optuna

    ablation: dict[str, Any] = {
        "kind": "ablation", "member": "bart", "seeds": [1, 2],
        "components": {"warmup": {"members.bart.warmup_ratio": 0.0}},
    }  # fmt: skip
    kind = open_study(training_project, **ablation)
    queue = kind.queue()
    assert queue is not None
    assert len(queue) == 4
    assert isinstance(kind, Hyperparameter) is False
    settings = kind.settings({"without": "warmup", "seed": 2})  # type: ignore[attr-defined]
    assert (settings.seed, settings.members["bart"].warmup_ratio) == (2, 0.0)
    assert kind.settings({"without": "all", "seed": 1}).members["bart"].warmup_ratio == 0.05  # type: ignore[attr-defined]
    study = optuna.create_study(direction="maximize")
    for values, score in zip(queue, (0.5, 0.4, 0.7, 0.5), strict=True):
        study.enqueue_trial(values)
        trial = study.ask()
        assert kind.suggest(trial) == values
        study.tell(trial, score)
    by_loss = open_study(training_project, **ablation, objectives={"eval_loss": "minimize"})
    assert measure_effects(study.get_trials(), by_loss)[1].difference == pytest.approx(-0.15), "a lower loss is better"
    everything, without = measure_effects(study.get_trials(), kind)
    assert (everything.name, without.name) == ("all", "warmup")
    assert without.difference == pytest.approx(0.15)
    assert without.difference_low is not None
    assert without.difference_low < 0.15 < (without.difference_high or 0)


def test_steps_before_and_after_the_model_are_components(training_project: StudyProject) -> None:
    kind = open_study(
        training_project,
        kind="ablation",
        member="bart",
        seeds=[1, 2],
        values={"members.bart.preprocessing": ["plain_masks"], "generation.postprocessing": ["drop_repeats"]},
        components={
            "plain_masks": {"members.bart.preprocessing": []},
            "drop_repeats": {"generation.postprocessing": []},
        },
    )
    assert steps_of(kind, "all") == (("plain_masks",), ("drop_repeats",))
    assert steps_of(kind, "plain_masks") == ((), ("drop_repeats",))
    assert steps_of(kind, "drop_repeats") == (("plain_masks",), ())
    kind.run(Recorded(Path("trial")).trial, {"without": "all", "seed": 1})
    spec = load_spec(Path("trial/model"))
    assert (spec.preprocessing, spec.generation.postprocessing) == (("plain_masks",), ("drop_repeats",))


def steps_of(kind: Any, without: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    settings = kind.settings({"without": without, "seed": 1})
    return settings.members["bart"].preprocessing, settings.generation.postprocessing
