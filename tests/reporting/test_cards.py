"""Model cards and data cards in both languages."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from reporting.reporting_project import Project, settings
from yoyak.behaviour.results import Behaviour, make_rate, write_behaviour
from yoyak.params import Report
from yoyak.reporting import cards
from yoyak.reporting.cards import ModelFacts
from yoyak.scoring.results import read_evaluation
from yoyak.tracking.registered import Promotion, read_registered

LANGUAGES = ("en", "ko")


def read_facts(root: Path, member: str = "bart", promotion: Promotion | None = None) -> ModelFacts:
    registered = replace(read_registered(root), commit="0123456789abcdef", promotion=promotion)
    model = next(model for model in registered.registered if model.member == member)
    return cards.read_model_facts(
        root,
        replace(model, weights="cafe" * 8, identity="1d" * 32, size=5_100_000),
        registered,
        read_evaluation(root / "evaluation"),
        settings(root, Report()),
        cards.read_splits(root),
    )


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_model_card_says_what_the_model_is_and_where_it_comes_from(scored: Path, language: cards.Language) -> None:
    text = cards.render_model_card(read_facts(scored), language)
    for fact in (
        "yoyak-bart",
        "seq2seq",
        "5.1 MB",
        "learning_rate 0.001",
        "num_beams 4",
        "`0123456789`",
        "`cafecafe`",
        "test, unseen",
        "mlflow models serve -m models:/yoyak-bart/2",
    ):
        assert fact in text
    mean = read_facts(scored).scores[0].combined.mean
    assert f"{mean:.3f}" in text
    assert ("| gate |" in text) is False


def test_the_korean_card_is_korean(scored: Path) -> None:
    facts = read_facts(scored)
    english, korean = (cards.render_model_card(facts, language) for language in cards.LANGUAGES)
    assert not any("가" <= char <= "힣" for char in english)
    assert sum("가" <= char <= "힣" for char in korean) > 200


def test_only_the_sample_corpus_is_called_that(make_project: Project) -> None:
    root = make_project()
    assert "sample corpus" not in cards.render_model_card(read_facts(root), "en")
    from yoyak.data.samples import scenarios

    report = json.loads((root / "prepared/report.json").read_text(encoding="utf-8"))
    topics = {scenarios()[0].topic: 7}
    report["splits"] = {"train": {"topics": {"most_common": topics}}}
    (root / "prepared/report.json").write_text(json.dumps(report), encoding="utf-8")
    assert "sample corpus" in cards.render_model_card(read_facts(root), "en")
    assert "샘플 말뭉치" in cards.render_model_card(read_facts(root), "ko")


def test_a_checkpoint_is_named_with_the_licence_that_its_folder_states(make_project: Project) -> None:
    root = make_project()
    params = json.loads((root / "params.yaml").read_text(encoding="utf-8"))
    params["members"]["bart"]["checkpoint"] = "pretrained/mine"
    (root / "params.yaml").write_text(json.dumps(params), encoding="utf-8")
    assert "see its own card" in cards.render_model_card(read_facts(root), "en")
    (root / "pretrained/mine").mkdir(parents=True)
    (root / "pretrained/mine/README.md").write_text("---\nlanguage: ko\nlicense: cc-by-nc-sa-4.0\n---\n# Mine\n")
    text = cards.render_model_card(read_facts(root), "en")
    assert "`pretrained/mine`; licence: cc-by-nc-sa-4.0" in text


def test_behaviour_rates_are_on_the_card(make_project: Project) -> None:
    root = make_project()
    rates = {"numbers_made_up": make_rate("numbers_made_up", 3, 40, 0.95)}
    (root / "behaviour").mkdir(exist_ok=True)
    write_behaviour(
        root / "behaviour/bart.json",
        Behaviour(member="bart", cases=(), confidence=0.95, rates=rates, references={}, failures=()),
    )
    facts = read_facts(root)
    assert "number made up&nbsp; | 3/40" in cards.render_model_card(facts, "en")
    assert "없는 숫자를 지어냄&nbsp; | 3/40" in cards.render_model_card(facts, "ko")


def test_a_description_fits_into_a_database(scored: Path) -> None:
    facts = read_facts(scored)
    text = cards.describe_version(facts)
    assert len(text) <= cards.MAX_DESCRIPTION
    assert "Limits" in text and "한계" in text
    many = [replace(facts.scores[0], part=replace(facts.scores[0].part, slice=f"s{number}")) for number in range(200)]
    text = cards.describe_version(replace(facts, scores=(facts.scores[0], *many)))
    assert len(text) <= cards.MAX_DESCRIPTION
    assert "한계" in text and "s199" not in text
    text = cards.describe_version(replace(facts, params={f"param{number}": "x" * 50 for number in range(200)}))
    assert len(text) <= cards.MAX_DESCRIPTION


def test_a_data_card_counts_what_was_read_and_names_each_split(scored: Path, tmp_path: Path) -> None:
    summary = read_evaluation(scored / "evaluation")
    cards.write_cards(scored, tmp_path, None, summary, settings(scored, Report()))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data-card.ko.md", "data-card.md"]
    english = (tmp_path / "data-card.md").read_text(encoding="utf-8")
    korean = (tmp_path / "data-card.ko.md").read_text(encoding="utf-8")
    for text in (english, korean):
        assert "| test | 24 | 2 | 4 |" in text
        assert "| `data/test.csv` | 25 | 24 |" in text
        assert "**gate**" in text
    assert "3 rows removed from train" in english
    assert "train에서 3행 제거" in korean


def test_a_registered_model_is_described_in_a_paragraph() -> None:
    text = cards.describe_registered_model("yoyak", "", ensemble="stack")
    assert "`stack`" in text and "champion" in text and "대화 요약" in text
    assert "**bart**" in cards.describe_registered_model("yoyak", "bart", ensemble=None)
