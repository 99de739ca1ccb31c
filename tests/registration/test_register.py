"""`register` on the files of the stages before it: what becomes a version, and whom the gate compares with whom."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from mlflow_helpers import git, make_bart
from yoyak import params
from yoyak.data.records import Dialogue, write_jsonl
from yoyak.decoding.candidates import Candidate, write_candidates
from yoyak.ensemble.evaluate import score_pipeline
from yoyak.errors import UserError
from yoyak.files import write_json
from yoyak.models.spec import load_spec
from yoyak.params.stages import EvaluateParams
from yoyak.registry import history
from yoyak.registry.lineage import read_lineage
from yoyak.registry.versions import Version, to_version
from yoyak.serving.loading import load_summarizer
from yoyak.stages import register
from yoyak.tracking import lineage, runs
from yoyak.tracking.registered import read_registered

MEMBER = {"family": "seq2seq", "config": {"model_type": "bart"}, "tokenizer": "bpe", "learning_rate": 0.001}
SETTINGS: dict[str, Any] = {
    "seed": 20,
    "tokenizers": {"bpe": {"type": "bpe", "vocab_size": 300}},
    "members": {"bart": MEMBER},
    "generation": {"max_new_tokens": 8},
    "scoring": {"granularities": ["syllable"], "bootstrap_samples": 100},
    "registry": {"seed_std": 0.0},
}
WORDS = ["가", "나", "다", "라", "마", "바", "사", "아", "자", "차"]
Produce = Callable[..., Version]


def write_params(**changes: Any) -> None:
    with Path("params.yaml").open("w") as out:
        YAML().dump({**SETTINGS, **changes}, out)


def dialogue(split: str, number: int) -> Dialogue:
    return Dialogue(
        fname=f"{split}_{number}",
        dialogue=f"#Person1#: {split} {number}번 이야기",
        summaries=(" ".join(WORDS),),
        slice="odd" if number % 2 else "even",
    )


@pytest.fixture
def produce(store: Any, project: Path, tmp_path: Path) -> Produce:
    """A function that does what the stages do, commits and registers, and returns the newest version."""
    sizes = {"train": 20, "dev": 10, "test": 10, "gate": 60}
    for split, size in sizes.items():
        path = Path("prepared/train.jsonl") if split == "train" else Path(f"prepared/eval/{split}.jsonl")
        write_jsonl(path, [dialogue(split, number) for number in range(size)])
    models = {seed: make_bart(tmp_path / f"models/{seed}", seed=seed) for seed in (1, 2, 3)}
    git("rm", "-q", "--cached", "params.yaml")
    Path(".gitignore").write_text("*\n!params.yaml\n!.gitignore\n")

    def run(
        weights: int, right_words: int, *, commit: bool = True, spoiled: Sequence[int] = (), **changes: Any
    ) -> Version:
        """Register a model that writes ``right_words`` of ten words, and none for the gate dialogues ``spoiled``."""
        write_params(**changes)
        if commit:
            git("add", ".")
            git("commit", "-q", "--allow-empty", "-m", "another model")
        shutil.rmtree("models", ignore_errors=True)
        shutil.copytree(models[weights], "models/bart")
        for split, size in sizes.items():
            if split != "train":
                rows = []
                for number in range(size):
                    # Dialogues differ, so that a difference between models has a spread.
                    right = 0 if split == "gate" and number in spoiled else right_words - number % 3
                    rows.append((f"{split}_{number}", [Candidate(" ".join(WORDS[:right]) or "없음", -0.1)]))
                write_candidates(Path(f"predictions/bart/{split}.jsonl"), rows)
        score_pipeline(params.load(EvaluateParams))
        receipt = Path(f"receipts/{weights}.json")
        if not receipt.exists():
            with runs.stage_run("train", member="bart", params={"seed": weights}, inputs={}) as training:
                lineage.write_receipt(receipt, training.receipt("bart", {}))
        shutil.copy(receipt, "receipts/bart.json")
        write_json("training/bart.json", {"seconds": 1.0})
        register.run()
        return newest(store)

    return run


def newest(store: Any) -> Version:
    number = max(int(version.version) for version in store.search_model_versions("name = 'yoyak'"))
    return to_version(store.get_model_version("yoyak", str(number)))


def aliases(store: Any, name: str = "yoyak") -> dict[str, int]:
    return {alias: int(number) for alias, number in store.get_registered_model(name).aliases.items()}


def count(store: Any, name: str) -> int:
    return len(store.search_model_versions(f"name = '{name}'"))


def test_a_better_model_is_promoted_and_a_worse_one_is_told_by_how_much(
    store: Any, produce: Produce, capsys: pytest.CaptureFixture[str]
) -> None:
    assert produce(1, 6).aliases == ("champion",)
    worse = produce(2, 5)
    assert worse.aliases == ("challenger",)
    assert float(worse.tags["alias.challenger.gate.gain"]) < -0.05
    assert (worse.tags["alias.challenger.gate.champion"], worse.tags["alias.challenger.gate.dialogues"]) == ("1", "60")
    better = produce(3, 8)
    assert better.aliases == ("champion",)
    assert float(better.tags["alias.champion.gate.gain"]) > 0.05
    assert "version 3" in capsys.readouterr().out
    assert aliases(store) == {"champion": 3, "previous": 1, "challenger": 2}
    assert [entry.target for entry in history.read_history(store, "yoyak")] == [1, 3]


def test_going_back_and_forth_leaves_two_versions(store: Any, produce: Produce) -> None:
    """The same weights with other generation settings are another model; both keep what belongs to them."""
    greedy = {"generation": {"max_new_tokens": 6}}
    first = produce(1, 6)
    second = produce(1, 5, **greedy)
    gain = second.tags["alias.challenger.gate.gain"]
    for _ in range(3):
        produce(1, 6)
        produce(1, 5, **greedy)
    assert count(store, "yoyak") == count(store, "yoyak-bart") == 2
    assert aliases(store) == {"champion": first.version, "challenger": second.version}
    assert newest(store).tags["alias.challenger.gate.gain"] == gain
    assert float(gain) < -0.05


def test_other_code_is_another_version(store: Any, produce: Produce, monkeypatch: pytest.MonkeyPatch) -> None:
    produce(1, 6)
    monkeypatch.setattr("yoyak.registration.packaging.code_digest", lambda: "other code")
    produce(1, 6, report={"title": "Another one"})
    assert count(store, "yoyak") == 2
    assert aliases(store)["champion"] == 1, "it writes the same, so it is no better"


def test_an_equal_model_of_other_weights_stays_challenger(store: Any, produce: Produce) -> None:
    produce(1, 6)
    equal = produce(2, 6)
    assert equal.aliases == ("challenger",)
    assert float(equal.tags["alias.challenger.gate.gain"]) == 0
    assert produce(3, 7).tags["alias.champion.gate.attempt"] == "1", "what scores the same spends nothing"


def test_dialogues_that_the_champion_was_trained_on_do_not_count(store: Any, produce: Produce) -> None:
    produce(1, 6)
    # The next commit's training set lacks what is now among the gate dialogues: 20 of the 60, which leaves too few.
    seen = [replace(dialogue("train", number), fname=f"gate_{number}") for number in range(20)]
    write_jsonl("prepared/eval/gate.jsonl", [*seen, *(dialogue("gate", number) for number in range(20, 60))])
    write_jsonl("prepared/train.jsonl", [dialogue("train", number) for number in range(20, 40)])
    tags = produce(2, 9).tags
    assert tags["alias.challenger.gate.outcome"] == "undecided"
    assert tags["alias.challenger.gate.dialogues"] == "40"
    champion = store.get_model_version("yoyak", "1")
    assert not [tag for tag in champion.tags if tag.startswith("gate.tried.")], "nothing was tested, or spent"
    assert produce(2, 9, registry={"seed_std": 0.0, "min_dialogues": 40}).aliases == ("champion",)


def test_gate_dialogues_that_are_equal_up_to_whitespace_are_told_apart(store: Any, produce: Produce) -> None:
    texts = [f"#Person1#: {' ' * (number % 2)}{number // 2}번 이야기" for number in range(60)]
    write_jsonl(
        "prepared/eval/gate.jsonl",
        [replace(dialogue("gate", number), dialogue=text) for number, text in enumerate(texts)],
    )
    produce(1, 6)
    tags = produce(2, 6).tags
    assert float(tags["alias.challenger.gate.gain"]) == 0
    assert float(tags["alias.challenger.gate.p_value"]) == 1


def test_the_first_champion_of_a_member_is_none_of_the_best_models(store: Any, produce: Produce) -> None:
    produce(1, 6)
    store.delete_registered_model_alias("yoyak-bart", "champion")
    produce(2, 5)
    assert aliases(store, "yoyak-bart")["champion"] == 2
    assert aliases(store) == {"champion": 1, "challenger": 2}
    assert [entry.target for entry in history.read_history(store, "yoyak")] == [1]


def test_without_a_gate_split_nothing_is_promoted(store: Any, produce: Produce) -> None:
    produce(1, 6)
    Path("prepared/eval/gate.jsonl").unlink()
    version = produce(2, 9)
    assert version.aliases == ("challenger",)
    assert version.tags["alias.challenger.gate.outcome"] == "undecided"
    assert "data.split.gate" in version.tags["alias.challenger.gate.sentence"]


def test_uncommitted_changes_and_experiments_are_challengers_until_they_are_committed(
    store: Any, produce: Produce, monkeypatch: pytest.MonkeyPatch
) -> None:
    produce(1, 6)
    dirty = {"commit": False, "scoring": {**SETTINGS["scoring"], "bootstrap_samples": 101}}
    assert produce(2, 9, **dirty).aliases == ("challenger",)
    assert newest(store).tags["git.dirty"] == "true"
    git("commit", "-qam", "more resamples")
    promoted = produce(2, 9, **dirty)
    assert promoted.aliases == ("champion",)
    assert (promoted.tags["git.dirty"], promoted.tags["git.commit"]) == ("false", git("rev-parse", "HEAD"))
    assert "yoyak.experiment" not in promoted.tags
    monkeypatch.setenv("DVC_EXP_NAME", "wide")
    assert produce(3, 10).aliases == ("challenger",)
    assert aliases(store)["champion"] == 2
    assert read_lineage("yoyak/3").experiment == "wide"
    monkeypatch.delenv("DVC_EXP_NAME")
    assert produce(3, 10).aliases == ("champion",)
    assert read_lineage("yoyak/3").experiment == ""
    assert read_lineage("yoyak-bart/3").experiment == ""


def test_a_slice_may_not_get_worse(store: Any, produce: Produce) -> None:
    produce(1, 6)
    spoiled = [number for number in range(60) if number % 2][:15]
    version = produce(2, 9, spoiled=spoiled)
    assert version.aliases == ("challenger",)
    assert version.tags["alias.challenger.gate.check.slice.odd"] == "false"
    assert version.tags["alias.challenger.gate.check.slice.even"] == "true"


def test_bounds_of_size_and_speed_and_behaviour(store: Any, produce: Produce) -> None:
    produce(1, 6)
    rules = {"seed_std": 0.0, "max_size_mb": 0.001, "max_seconds": 60, "max_behaviour": {"masks_made_up": 0.1}}
    tags = produce(2, 9, registry=rules).tags
    checks = {
        name: tags[f"alias.challenger.gate.check.{name}"] for name in ("size", "speed", "behaviour.masks_made_up")
    }
    assert checks == {"size": "false", "speed": "true", "behaviour.masks_made_up": "false"}, "it was not measured"
    with pytest.raises(UserError, match="did you mean 'masks_made_up'"):
        produce(2, 9, registry={"max_behaviour": {"mask_made_up": 0.1}})


def test_speed_is_measured_with_the_registered_settings(
    store: Any, produce: Produce, monkeypatch: pytest.MonkeyPatch
) -> None:
    timed = []

    def load(folder: Path) -> Any:
        timed.append(load_spec(folder).generation.max_new_tokens)
        return load_summarizer(folder)

    monkeypatch.setattr("yoyak.serving.loading.load_summarizer", load)
    produce(1, 6)
    produce(2, 9, generation={"max_new_tokens": 3}, registry={"seed_std": 0.0, "max_seconds": 60})
    assert set(timed) == {3}


def test_registering_twice_changes_nothing(store: Any, produce: Produce, capsys: pytest.CaptureFixture[str]) -> None:
    produce(1, 6)
    experiments = [experiment.experiment_id for experiment in store.search_experiments()]
    before = len(store.search_runs(experiments))
    capsys.readouterr()
    register.run()
    assert "nothing changed" in capsys.readouterr().out
    assert len(store.search_runs(experiments)) == before


def test_what_became_of_the_best_model_is_left_for_the_report(store: Any, produce: Produce) -> None:
    produce(1, 6)
    first = read_registered().promotion
    assert first is not None
    assert (first.before, first.after, first.verdict) == (0, 1, None)
    better = produce(3, 8)
    registered = read_registered()
    promotion = registered.promotion
    assert promotion is not None and promotion.verdict is not None
    assert (promotion.before, promotion.after, promotion.verdict.outcome) == (1, 2, "passed")
    assert [(move.source, move.target) for move in promotion.history] == [(0, 1), (1, 2)]
    assert {check.name for check in promotion.verdict.checks} >= {"significance", "gain", "slice.odd"}
    assert registered.commit == git("rev-parse", "HEAD")
    assert registered.origins["models/bart"] == better.tags["dvc.models_md5"]
    assert registered.origins["prepared"] == lineage.digest("prepared")


def test_pages_of_mlflow_say_what_a_version_and_a_pipeline_are(store: Any, produce: Produce) -> None:
    produce(1, 6)
    version = produce(3, 8)
    assert store.get_registered_model("yoyak").description
    description = store.get_model_version("yoyak", "2").description
    assert "models:/yoyak/2" in description
    assert "Passed against champion version 1" in description
    assert "통과했다" in description
    experiments = [experiment.experiment_id for experiment in store.search_experiments()]
    parent = store.search_runs(experiments, "tags.`yoyak.best_model` = 'yoyak/2'")[0]
    assert "mlflow.parentRunId" not in parent.data.tags
    assert parent.data.metrics["gate/gain"] > 0.05
    assert {"dev/combined", "dev/rouge1", "test/combined", "test/rouge1"} <= set(parent.data.metrics)
    datasets = {entry.dataset.name: entry.dataset.digest for entry in parent.inputs.dataset_inputs}
    assert datasets["train"] == lineage.digest("prepared/train.jsonl")
    assert set(datasets) == {"train", "dev", "test", "gate"}
    assert [output.model_id for output in parent.outputs.model_outputs] == [version.model_id]
    note = parent.data.tags["mlflow.note.content"]
    assert note.startswith("bart, the best member")
    assert "yoyak version 2 (bart) is the new champion" in note
    Path("registry/registered.json").unlink()
    register.run()
    assert len(store.get_metric_history(parent.info.run_id, "gate/gain")) == 1
    assert len(store.get_run(parent.info.run_id).inputs.dataset_inputs) == 4
