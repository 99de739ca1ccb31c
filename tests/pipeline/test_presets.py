"""Every preset runs, tiny, through every stage; its checkpoints are tiny ones of the same kind."""

from __future__ import annotations

import csv
import json
import random
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from transformers import AutoTokenizer

from pipeline.checkpoints import CHECKPOINTS
from pipeline.conftest import ROOT, shrink
from yoyak import params
from yoyak.behaviour.results import read_behaviour
from yoyak.data.records import read_jsonl
from yoyak.data.samples import write_corpus, write_samples
from yoyak.decoding.candidates import read_candidates
from yoyak.ensemble.splits import read_choices
from yoyak.models.catalog import entries
from yoyak.models.text import decode, encode_targets
from yoyak.project import EVAL_SPLITS, TRAIN_SPLIT
from yoyak.stages import (
    base,
    behaviour,
    blend,
    ensemble,
    evaluate,
    predict,
    prepare,
    register,
    report,
    score_candidates,
    train,
)

PRESETS = sorted(path.stem for path in (ROOT / "presets").glob("*.yaml"))
ROWS = {"train": 32, "dev": 8, "test": 8, "gate": 8}


def read(preset: str) -> dict[str, Any]:
    return YAML(typ="safe").load(ROOT / "presets" / f"{preset}.yaml")


def write_english(folder: Path) -> None:
    """Write DialogSum's form, with what follows a mask in English: 's, a comma, a full stop."""
    chance = random.Random(1)
    things = ["car", "laptop", "bicycle", "phone", "printer", "washing machine", "camera", "oven", "radio"]
    places = ["the garage", "a repair shop", "the new mall", "the station", "the office", "the market"]
    folder.mkdir()
    for split, count in ROWS.items():
        with (folder / f"{split}.csv").open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["fname", "dialogue", "summary", "topic"])
            for number in range(count):
                thing, place, hour = chance.choice(things), chance.choice(places), chance.randrange(1, 12)
                dialogue = (
                    f"#Person1#: My {thing} doesn't work, does it? ({split} {number})\n"
                    f"#Person2#: No, it's broken. I know someone at {place}, he'll mend it.\n"
                    f"#Person1#: Great! Let's meet there at {hour}:30."
                )
                summary = f"#Person1#'s {thing} is broken. #Person2# takes #Person1# to {place} at {hour}:30."
                rows.writerow([f"{split}_{number}", dialogue, summary, f"broken {thing}"])


def make_data(preset: str, folder: Path) -> list[str]:
    """Write the data that a preset is for, and return all its texts: a checkpoint of the Hub knows every letter."""
    if preset in ("english", "tiny-llm"):
        write_english(folder)
    else:
        write_corpus(folder, **ROWS, seed=1)
        (folder / "handwritten.csv").write_bytes((folder / "dev.csv").read_bytes())
    if preset == "distill":
        write_summaries(folder)
    texts = []
    for path in sorted(folder.glob("*.csv")):
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                texts += [row[key] for key in row if key.startswith(("dialogue", "summary"))]
    return texts


def write_summaries(folder: Path) -> None:
    """Write unlabelled dialogues, and the summaries of these and of train that an ensemble would have written."""
    with (folder / "unlabelled.csv").open("w", encoding="utf-8", newline="") as out:
        write_samples(out, 8, 2)
    for dialogues, summaries in (("unlabelled", "unlabelled_summaries"), ("train", "train_summaries")):
        with (folder / f"{dialogues}.csv").open(encoding="utf-8", newline="") as file:
            rows = [(row["fname"], row["summary"]) for row in csv.DictReader(file)]
        with (folder / f"{summaries}.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([("fname", "summary"), *rows])


def shrink_preset(tree: dict[str, Any], texts: list[str], folder: Path) -> None:
    """Shorten a preset's training, and replace the Hub's checkpoints by tiny ones in pretrained/."""
    shrink(tree)
    for member in tree["members"].values():
        if "checkpoint" in member:
            checkpoint = folder / "pretrained" / member["checkpoint"]
            CHECKPOINTS[member["checkpoint"]](texts, checkpoint)
            # The catalog knows it by its name only.
            if entries()[member["checkpoint"]].chat:
                member["chat"] = True
            member["checkpoint"] = str(checkpoint)


@pytest.mark.slow
@pytest.mark.usefixtures("store")
@pytest.mark.parametrize("preset", [name for name in PRESETS if name not in ("llm", "api")])  # test_llms.py has llm.
def test_a_preset_runs(preset: str, project: Path) -> None:
    tree = read(preset)
    shrink_preset(tree, make_data(preset, project / "data"), project)
    with (project / "params.yaml").open("w") as out:
        YAML().dump(tree, out)

    prepare.run()
    for member in tree["members"]:
        base.run(member)
        train.run(member)
        predict.run(member)
    strategies, models = tree["ensemble"]["strategies"], tree["ensemble"]["models"]
    score_candidates.run()
    for name in strategies:
        ensemble.run(name)
    for name in models:
        blend.run(name)
    evaluate.run()
    behaviour.run()
    register.run()
    report.run()

    splits = {path.stem: read_jsonl(path) for path in (TRAIN_SPLIT, *EVAL_SPLITS.glob("*.jsonl"))}
    references = [text for rows in splits.values() for row in rows for text in row.summaries]
    for member in tree["members"]:
        tokenizer = AutoTokenizer.from_pretrained(Path("models", member))
        assert decode(tokenizer, encode_targets(tokenizer, references, 500)) == references
        for split in splits.keys() - {"train"}:
            written = read_candidates(Path("predictions", member, f"{split}.jsonl"))
            assert [*written] == [row.fname for row in splits[split]]
            texts = [candidate.text for candidates in written.values() for candidate in candidates]
            assert not [text for text in texts for token in tokenizer.all_special_tokens if token in text]
    for name in (*strategies, *models):
        for split in splits.keys() - {"train"}:
            choices = read_choices(Path("ensembles", name, f"{split}.jsonl"))
            assert [*choices] == [row.fname for row in splits[split]]
    summary = json.loads(Path("evaluation/summary.json").read_text())
    systems = {row["name"] for row in summary["systems"] if row["kind"] == "member"}
    assert systems == set(tree["members"])
    assert set(summary["splits"]) == splits.keys() - {"train"}
    for member in tree["members"]:
        rates = read_behaviour(Path("behaviour", f"{member}.json")).rates
        assert rates["test_numbers_made_up"].n == len(splits["test"])
        assert rates["empty_accepted"].failures == 0
    assert all(member in Path("report/index.html").read_text() for member in tree["members"])


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_is_complete(preset: str) -> None:
    """DVC takes a value that is missing for an error, where Yoyak would take its default."""
    params.load(params.Params, ROOT / "presets" / f"{preset}.yaml", env={})
    tree = read(preset)
    pipelines = [
        YAML(typ="safe").load(ROOT / name)["stages"] for name in ("dvc.yaml", "export/dvc.yaml", "studies/dvc.yaml")
    ]
    for stage in [stage for stages in pipelines for stage in stages.values()]:
        over = stage.get("foreach", [""])
        entries = find(tree, over.strip("${}")) if isinstance(over, str) else over
        for key in entries:
            for name in stage.get("do", stage).get("params", []):
                find(tree, name.replace("${key}", key))


def find(tree: Any, name: str) -> Any:
    for key in name.split("."):
        assert key in tree, name
        tree = tree[key]
    return tree


def test_smoke_has_members_of_demo_and_of_each_family() -> None:
    presets = (read(name)["members"].items() for name in ("smoke", "demo"))
    smoke, demo = ({name: tree["family"] for name, tree in members} for members in presets)
    assert smoke.items() <= demo.items()
    assert {*smoke.values()} == {*demo.values()}
