"""What is known about a model that a person names, and the weights that follow from it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mlflow_helpers import DIALOGUE, register_champion
from yoyak.bundles.archive import write_bundle
from yoyak.combining.combiner import build_combiner, choose_strategy
from yoyak.combining.sources import Origin, Source, list_models, open_source
from yoyak.ensemble.combine import Combiner
from yoyak.errors import UserError
from yoyak.params.ensemble import Ensemble
from yoyak.registration.packaging import log_member
from yoyak.registry import promotion
from yoyak.tracking import runs


@pytest.fixture
def champion(store: Any, tiny_bart: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> promotion.Version:
    """A registered model, champion, with a score on dev."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with runs.stage_run("train", member="bart", params={"seed": 1}, inputs={"prepared": "p" * 32}) as run:
        model_id = log_member(run, tiny_bart, example=DIALOGUE)
    tags = {"input.prepared": "p" * 32, "git.commit": "c" * 40, "other": "x"}
    tags |= {"member": "bart", "variant": "fp32", promotion.DEV_SCORE: "0.5"}
    return register_champion("yoyak", model_id, run.run_id, **tags)


def test_a_registered_version_brings_its_lineage_and_scores(champion: promotion.Version) -> None:
    source = open_source("models:/yoyak@champion")
    assert source.label == "yoyak/1"
    assert source.member == "bart"
    assert (source.origin.name, source.origin.version) == ("yoyak", 1)
    assert source.origin.run_id == champion.run_id
    assert source.origin.lineage["input.prepared"] == "p" * 32
    assert "other" not in source.origin.lineage
    assert source.dev_score == 0.5


def test_a_bundle_carries_the_metadata_of_its_registry(champion: promotion.Version, tmp_path: Path) -> None:
    write_bundle("models:/yoyak@champion", tmp_path / "best.zip")
    source = open_source(str(tmp_path / "best.zip"))
    assert source.label == "best"
    assert (source.origin.name, source.origin.version) == ("yoyak", 1)
    assert source.origin.lineage["input.prepared"] == "p" * 32
    assert source.dev_score == 0.5


def test_a_run_and_a_folder_bring_no_scores(champion: promotion.Version, tiny_bart: Path) -> None:
    source = open_source(f"runs:/{champion.run_id}/bart")
    assert (source.label, source.origin.run_id, source.dev_score) == ("bart", champion.run_id, None)
    assert open_source(str(tiny_bart)).origin == Origin()


def test_all_lists_bundles_in_a_folder_above_but_none_that_is_hidden(
    store: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "models/inner/.hidden").mkdir(parents=True)
    for name in ("models/a.zip", "models/inner/b.zip", "models/inner/.hidden/c.zip"):
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path / "models/inner")
    assert list_models("yoyak", Path("..")) == ["../a.zip", "../inner/b.zip"]


def test_all_lists_members_but_no_log_of_champions(store: Any, tmp_path: Path) -> None:
    for name in ("yoyak-bart", "yoyak", "yoyak-history", "yoyak-bart-history"):
        store.create_registered_model(name)
        store.create_model_version(name, "/somewhere")
    assert list_models("yoyak", tmp_path) == ["models:/yoyak-bart/1"]


def build(strategy: str, scores: dict[str, float | None], **ensemble: Any) -> Combiner:
    """Build a combiner for models of which only the dev scores are known."""
    sources = {
        name: Source(
            uri=name,
            folder=Path(name),
            label=name,
            origin=Origin(scores={} if score is None else {"dev.combined": score}),
            index=index,
        )
        for index, (name, score) in enumerate(scores.items())
    }
    return build_combiner(
        list(scores),
        sources,
        strategy=choose_strategy(strategy, Ensemble()),
        granularity="eojeol",
        given=ensemble.get("given"),
        fitted=None,
    )


def test_given_weights_are_in_the_order_of_the_models_and_sum_to_one() -> None:
    assert build("vote", {"a": None, "b": None}, given=[3, 1]).weights == {"a": 0.75, "b": 0.25}


def test_dev_scores_weigh_the_models_where_all_are_known(tiny_bart: Path) -> None:
    assert build("weighted", {"a": 0.3, "b": 0.1}).weights == pytest.approx({"a": 0.75, "b": 0.25})
    assert build("vote", {"a": None}).pass_through


@pytest.mark.parametrize(("name", "hint"), [("mbrr", "'mbr'"), ("soup", "yoyak blend")])
def test_an_unknown_strategy_names_what_would_be_right(name: str, hint: str) -> None:
    with pytest.raises(UserError, match=hint):
        choose_strategy(name, Ensemble())
