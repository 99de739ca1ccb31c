"""Trials that prepare data in other ways: what they share, what they leave as it is, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
import pytest
from ruamel.yaml import YAML
from transformers import AutoTokenizer

from studies.conftest import Recorded, StudyProject, open_study, write_csv
from training.tiny_training import MASKS, ROWS
from yoyak.data.records import read_jsonl
from yoyak.errors import UserError
from yoyak.studies.comparing import Ablation
from yoyak.studies.records import describe_change
from yoyak.studies.run import check_identity, identify
from yoyak.tracking import lineage

pytestmark = pytest.mark.slow
MASK_TOKENS = {"data.mask_tokens": {"type": "categorical", "choices": [True, False]}}


def open_hyperparameter(project: StudyProject, dimensions: dict[str, Any]) -> Any:
    return open_study(project, kind="hyperparameter", member="bart", trials=2, dimensions=dimensions)


def test_trials_prepare_their_own_data_once_and_leave_the_projects_alone(training_project: StudyProject) -> None:
    before = lineage.digest("prepared")
    vocabulary = {"tokenizers.bpe.vocab_size": {"type": "int", "low": 500, "high": 700}}
    kind = open_hyperparameter(training_project, {**MASK_TOKENS, **vocabulary})
    assert "data" in {path.name for path in kind.inputs()}
    apart: dict[str, Any] = {"data.mask_tokens": False, "tokenizers.bpe.vocab_size": 610}
    first, again = (kind.run(Recorded(Path(name)).trial, apart) for name in ("first", "again"))
    assert first["eval_loss"] == again["eval_loss"]
    kind.run(Recorded(Path("whole")).trial, {**apart, "data.mask_tokens": True})
    sizes = {name: len(tokenizer(f"{name}/model")) for name in ("first", "whole")}
    assert sizes == {"first": 610, "whole": 610}
    assert all(len(tokenizer("first/model").tokenize(mask)) > 1 for mask in MASKS)
    assert [tokenizer("whole/model").tokenize(mask) for mask in MASKS] == [[mask] for mask in MASKS]
    every = Path("prepared/masks.txt").read_text().split()
    own = [path for path in Path("studies/study/prepared").iterdir() if path.is_dir()]
    assert sorted((path / "masks.txt").read_text().split() for path in own) == [[], every]
    assert {(path / "eval/dev.jsonl").read_bytes() for path in own} == {Path("prepared/eval/dev.jsonl").read_bytes()}
    assert lineage.digest("prepared") == before


def test_trials_may_add_rows_to_train(training_project: StudyProject) -> None:
    share = "augmentation.fillers.share"
    kind = open_hyperparameter(training_project, {share: {"type": "float", "low": 0, "high": 1}})
    plain, augmented = (Recorded(Path(name)) for name in ("plain", "augmented"))
    kind.run(plain.trial, {share: 0.0})
    kind.run(augmented.trial, {share: 1.0})
    assert augmented.notes["training"]["steps"] == 2 * plain.notes["training"]["steps"]
    own = {path.parent: read_jsonl(path) for path in Path("studies/study/prepared").glob("*/train.jsonl")}
    assert sorted(sorted({row.method for row in rows}) for rows in own.values()) == [[""], ["", "fillers"]]
    assert {(path / "eval/dev.jsonl").read_bytes() for path in own} == {Path("prepared/eval/dev.jsonl").read_bytes()}


def test_a_study_knows_its_checkpoints_and_libraries(
    training_project: StudyProject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("pretrained/tiny").mkdir(parents=True)
    Path("pretrained/tiny/config.json").write_text("{}")
    Path("pretrained/tiny/model.safetensors").write_text("weights")
    tree = YAML().load(Path("params.yaml"))
    tree["members"]["bart"] = {"family": "seq2seq", "checkpoint": "pretrained/tiny", "learning_rate": 0.001}
    tree["members"]["twin"] = {**tree["members"]["bart"], "checkpoint": "lab/model", "revision": "abc"}
    YAML().dump(tree, Path("params.yaml"))
    values = {"kind": "model_comparison", "members": ["bart", "twin"]}
    before = identify(open_study(training_project, **values))
    assert before["checkpoint lab/model"] == "lab/model@abc"
    Path("pretrained/tiny/model.safetensors").write_text("other weights")
    after = identify(open_study(training_project, **values))
    assert describe_change(before, after) == "checkpoint pretrained/tiny"

    info = tmp_path / "newer/torch-99.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: torch\nVersion: 99.0\n")
    monkeypatch.syspath_prepend(str(info.parent))
    assert describe_change(after, identify(open_study(training_project, **values))) == "version of torch"


def test_seeds_can_be_added_to_a_comparison_and_models_cannot(training_project: StudyProject) -> None:
    study = optuna.create_study()
    values: dict[str, Any] = {"kind": "model_comparison", "members": ["bart", "twin"]}
    for seeds in ([1], [1, 2]):
        kind = open_study(training_project, **values, seeds=seeds)
        check_identity(study, identify(kind), kind, extend=True)
        study.enqueue_trial({"model": "bart", "seed": seeds[-1]})
        assert kind.suggest(study.ask()) == {"model": "bart", "seed": seeds[-1]}
    tree = YAML().load(Path("params.yaml"))
    tree["members"]["third"] = dict(tree["members"]["bart"])
    YAML().dump(tree, Path("params.yaml"))
    kind = open_study(training_project, **{**values, "members": ["bart", "twin", "third"]}, seeds=[1, 2])
    with pytest.raises(UserError, match=r"other choices than when it was begun \(members.*give the study a new name"):
        check_identity(study, identify(kind), kind, extend=True)


def tokenizer(folder: str) -> Any:
    return AutoTokenizer.from_pretrained(folder)


def test_values_that_change_the_rows_of_dev_are_refused(training_project: StudyProject) -> None:
    limit = {"data.max_chars": {"type": "int", "low": 60, "high": 20000}}
    with pytest.raises(UserError, match=r"data\.max_chars would give dev and gate other rows than prepared/ has"):
        open_hyperparameter(training_project, limit)
    # Training files differ in what is trained on, and in what a member with a fold is compared by.
    write_csv(Path("data/fewer.csv"), ROWS[:16])
    files = {"data.files.train": {"type": "categorical", "choices": ["train.csv", "fewer.csv"]}}
    kind = open_hyperparameter(training_project, files)
    fewer = Recorded(Path("fewer"))
    kind.run(fewer.trial, {"data.files.train": "fewer.csv"})
    assert fewer.notes["training"]["steps"] == 2 * 16 / 8
    tree = YAML().load(Path("params.yaml"))
    tree["members"]["bart"]["fold"] = {"index": 1, "of": 2}
    YAML().dump(tree, Path("params.yaml"))
    kind = open_hyperparameter(training_project, files)
    with pytest.raises(UserError, match="study a member without a fold"):
        kind.run(Recorded(Path("fold")).trial, {"data.files.train": "fewer.csv"})


def test_what_decides_how_trials_are_measured_is_the_same_for_all(training_project: StudyProject) -> None:
    for key, choices in (
        ("scoring.multi_reference", ["mean", "max"]),
        ("members.bart.evaluation_dialogues", [2, 8]),
        ("seed", [1, 2]),
    ):
        with pytest.raises(UserError, match=rf"dimensions\.{key} "):
            open_hyperparameter(training_project, {key: {"type": "categorical", "choices": choices}})
    smoothing = {"members.bart.label_smoothing": {"type": "float", "low": 0.0, "high": 0.2}}
    open_hyperparameter(training_project, smoothing)
    by_loss: dict[str, Any] = {"kind": "hyperparameter", "member": "bart", "trials": 2}
    with pytest.raises(UserError, match=r"label_smoothing decides how trials are measured.*compared by eval_loss"):
        open_study(training_project, **by_loss, dimensions=smoothing, objectives={"eval_loss": "minimize"})
    with pytest.raises(UserError, match=r"fewer\.members\.bart\.evaluation_dialogues decides"):
        open_study(
            training_project, kind="ablation", member="bart", seeds=[1, 2],
            components={"fewer": {"members.bart.evaluation_dialogues": 2}},
        )  # fmt: skip
    tree = YAML().load(Path("params.yaml"))
    tree["members"]["twin"]["evaluation_dialogues"] = 8
    YAML().dump(tree, Path("params.yaml"))
    models: dict[str, Any] = {"kind": "model_comparison", "members": ["bart", "twin"], "seeds": [1]}
    with pytest.raises(UserError, match=r"evaluation_dialogues .*\(bart 4, twin 8\): set it in values"):
        open_study(training_project, **models)
    open_study(training_project, **models, values={"evaluation_dialogues": 8})
    tree["members"]["bart"]["evaluation_dialogues"] = 8
    YAML().dump(tree, Path("params.yaml"))
    open_hyperparameter(training_project, {"seed": {"type": "categorical", "choices": [1, 2]}})


def test_a_component_that_is_off_anyway_is_refused(training_project: StudyProject) -> None:
    values: dict[str, Any] = {
        "kind": "ablation", "member": "bart", "seeds": [1, 2],
        "components": {"masks": {"data.mask_tokens": False}, "prefix": {"members.bart.prefix": ""}},
    }  # fmt: skip
    with pytest.raises(UserError, match=r"components\.prefix changes nothing"):
        open_study(training_project, **values, values={"members.bart.prefix": ""})
    kind = open_study(training_project, **values, values={"members.bart.prefix": "요약: "})
    assert isinstance(kind, Ablation)
    prefixes = [kind.settings({"without": name, "seed": 1}).members["bart"].prefix for name in ("all", "prefix")]  # type: ignore[attr-defined]
    assert prefixes == ["요약: ", ""]
    assert not kind.settings({"without": "masks", "seed": 1}).data.mask_tokens
