"""Stacking: features depend on a row alone, folds on dialogues, and the reranker learns from references."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from ensemble.ensemble_rows import row_of
from yoyak.data.records import Dialogue
from yoyak.decoding.candidates import Candidate
from yoyak.ensemble import stack
from yoyak.ensemble.combine import FILE, Combiner, combine, load, save
from yoyak.ensemble.fitting import fit, score_texts
from yoyak.ensemble.folds import make_folds
from yoyak.ensemble.pool import Row, make_row
from yoyak.errors import UserError
from yoyak.params.ensemble import Stack

STRATEGY = Stack(type="stack", folds=4)
DIALOGUE = "#Person1#: 지훈 씨, 3시 30분에 회의실에서 만나요.\n#Person2#: 네, #PhoneNumber#로 연락할게요."


def named(values: np.ndarray, name: str) -> float:
    return float(values[stack.FEATURES.index(name)])


def test_features_of_a_row_depend_on_that_row_alone() -> None:
    rows = [
        row_of("a", DIALOGUE, x=["지훈이 3시에 만난다.", "만난다."], y="#Person1#은 만난다."),
        row_of("b", "#Person1#: 네.", x=["다른 요약이다.", ""], y="요약."),
        row_of("c", DIALOGUE, x=["", ""], y=""),
    ]
    together = stack.describe(rows, ["x", "y"], "morpheme")
    assert together.origins == [(index, *own) for index in range(3) for own in [("x", 0), ("x", 1), ("y", 0)]]
    for index, row in enumerate(rows):
        alone = stack.describe([row], ["x", "y"], "morpheme").values
        np.testing.assert_array_equal(together.values[3 * index : 3 * index + 3], alone)
    assert np.isfinite(together.values).all()


def test_features_by_hand() -> None:
    candidates = {
        "x": [Candidate("지훈은 3시 30분에 회의실에서 만난다.", -0.1), Candidate("#Person3#은 5시에 만난다.", -0.5, 1)],
        "y": [Candidate("지훈은 3시 30분에 회의실에서 만난다.", -0.3)],
    }
    row = make_row(Dialogue(fname="a", dialogue=DIALOGUE), candidates)
    first, second, third = stack.describe([row], ["x", "y"], "morpheme").values
    assert [named(first, name) for name in ("score", "rank", "first", "changed_input")] == [-0.1, 0, 1, 0]
    assert [named(second, name) for name in ("score", "rank", "first", "changed_input")] == [-0.5, 1, 0, 1]
    assert [named(first, "score_in_member"), named(second, "score_in_member")] == pytest.approx([1, -1])
    assert named(third, "score_in_member") == 0
    assert [named(features, "copies") for features in (first, second, third)] == [1, 0, 1]
    assert named(first, "agreement_of_firsts") == pytest.approx(1)
    assert named(first, "agreement") > named(second, "agreement")
    assert [named(features, "numbers_from_dialogue") for features in (first, second)] == [1, 0]
    assert [named(features, "numbers_kept") for features in (first, second)] == [1, 0]
    assert [named(features, "masks_made_up") for features in (first, second)] == [0, 1]
    assert [named(features, "names_kept") for features in (first, second)] == [1, 0]
    assert list(first[len(stack.FEATURES) :]) == [1, 0]
    assert list(third[len(stack.FEATURES) :]) == [0, 1]


def test_agreement_of_firsts_excludes_the_member_itself() -> None:
    row = row_of(x=["가 나 다 라", "마"], y="가 나", z="바")
    values = stack.describe([row], ["x", "y", "z"], "eojeol").values
    # ROUGE-1 and -L of x with y: 2 of 4 and 2 of 2; ROUGE-2: 1 of 3 and 1 of 1. With z nothing.
    by_hand = (0.33 * 2 / 3 + 0.33 * 1 / 2 + 0.34 * 2 / 3) / 2
    assert [named(features, "agreement_of_firsts") for features in values] == pytest.approx([by_hand, 0, by_hand, 0])


def test_predictions_are_scikit_learns_ridge_on_scores_minus_their_dialogues_mean() -> None:
    from sklearn.linear_model import RidgeCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    rows, _ = misleading(25, seed=6)
    described = stack.describe(rows, list("abcd"), "eojeol")
    scores = np.random.default_rng(1).random(len(described.origins)) + np.repeat(np.arange(25), 4)
    targets = scores - np.repeat(scores.reshape(25, 4).mean(axis=1), 4)
    expected = make_pipeline(StandardScaler(), RidgeCV(alphas=stack.ALPHAS)).fit(described.values, targets)
    predictions = stack.fit(described, scores).predict(described.values)
    np.testing.assert_allclose(predictions, expected.predict(described.values), atol=1e-9)
    assert predictions.mean() == pytest.approx(0, abs=1e-9)


def test_a_part_has_the_renumbered_candidates_of_its_rows() -> None:
    rows = [row_of(str(number), x=[f"가{number}", f"나{number}"], y=f"다{number}") for number in range(4)]
    described = stack.describe(rows, ["x", "y"], "syllable")
    part, kept = stack.select_rows(described, [3, 1])
    assert kept.tolist() == [3, 4, 5, 9, 10, 11]
    assert [origin[0] for origin in part.origins] == [1, 1, 1, 0, 0, 0]
    np.testing.assert_array_equal(part.values, described.values[kept])


WORDS = list("가나다라마바사아자차카타파하")


def misleading(count: int, seed: int) -> tuple[list[Row], list[list[str]]]:
    """Rows in which three members agree on most of the reference, and a fourth is sure of nonsense."""
    draw = np.random.default_rng(seed)
    rows, references = [], []
    for number in range(count):
        truth = draw.choice(WORDS, size=8, replace=False)
        texts = {}
        for member in ("a", "b", "c"):
            text = truth.copy()
            text[draw.integers(8)] = "흥"
            texts[member] = [Candidate(" ".join(text), -2.0 - draw.random())]
        texts["d"] = [Candidate(" ".join(draw.choice(WORDS, size=8)), -0.1 * draw.random())]
        order = {member: texts[member] for member in draw.permutation(list(texts)).tolist()}
        rows.append(make_row(Dialogue(fname=str(number), dialogue=f"#Person1#: {number}"), order))
        references.append([" ".join(truth)])
    return rows, references


def shared(text: str, reference: str) -> int:
    return sum(word == reference_word for word, reference_word in zip(text.split(), reference.split(), strict=True))


def test_the_reranker_learns_that_agreement_is_right_and_the_score_misleads() -> None:
    rows, references = misleading(60, seed=1)
    fitted = fit(STRATEGY, ["a", "b", "c", "d"], rows, references, granularity="eojeol", seed=20)
    test_rows, targets = misleading(60, seed=2)
    chosen = combine(fitted.combiner, test_rows)
    right = np.mean([shared(outcome.text, target[0]) >= 7 for outcome, target in zip(chosen, targets, strict=True)])
    by_score = [max((nbest[0] for nbest in row.candidates.values()), key=lambda c: c.score).text for row in test_rows]
    assert right > 0.95
    assert np.mean([shared(text, target[0]) >= 7 for text, target in zip(by_score, targets, strict=True)]) < 0.05
    assert all(outcome.member in "abc" and outcome.rank == 0 for outcome in chosen)


def test_it_learns_without_the_members_names_too() -> None:
    """Whoever is right changes from row to row: only agreement tells."""
    draw = np.random.default_rng(5)

    def renamed(rows: list[Row]) -> list[Row]:
        shuffled = []
        for row in rows:
            names = draw.permutation(["a", "b", "c", "d"]).tolist()
            texts = dict(zip(names, row.candidates.values(), strict=True))
            shuffled.append(Row(row.fname, row.dialogue, {member: texts[member] for member in "abcd"}))
        return shuffled

    rows, references = misleading(80, seed=1)
    fitted = fit(STRATEGY, ["a", "b", "c", "d"], renamed(rows), references, granularity="eojeol", seed=20)
    test_rows, targets = misleading(80, seed=2)
    chosen = combine(fitted.combiner, renamed(test_rows))
    assert np.mean([shared(o.text, target[0]) >= 7 for o, target in zip(chosen, targets, strict=True)]) > 0.9
    model = fitted.combiner.model
    assert model
    coefficients = dict(zip(stack.FEATURES, model.coefficients, strict=False))
    assert coefficients["score"] < 0
    assert coefficients["agreement"] + coefficients["agreement_of_firsts"] > 0


def test_outcomes_on_dev_are_of_fits_that_did_not_see_the_row() -> None:
    """References that are noise: a fit that saw a row would know what is best there more often than chance."""
    rows, references = misleading(40, seed=3)
    result = fit(STRATEGY, ["a", "b", "c", "d"], rows, references, granularity="eojeol", seed=20)
    described = stack.describe(rows, ["a", "b", "c", "d"], "eojeol")
    texts = [rows[index].candidates[member][rank].text for index, member, rank in described.origins]
    scores = score_texts(texts, [references[index] for index, _, _ in described.origins], "eojeol")
    folds = make_folds([row.dialogue for row in rows], STRATEGY.folds)
    assert len(folds) == 4
    for fold in folds:
        part, kept = stack.select_rows(described, fold.fitted_to)
        model = stack.fit(part, scores[kept])
        held_out = stack.select_rows(described, fold.held_out)[0]
        expected = stack.choose([rows[index] for index in fold.held_out], held_out, model)
        assert [result.outcomes[index] for index in fold.held_out] == expected
    assert [o.score for o in result.outcomes] != [o.score for o in combine(result.combiner, rows)]


def test_equal_dialogues_do_not_help_each_other() -> None:
    """Every dialogue is there twice: its twin is out of fold too, or its references would leak."""
    rows, references = misleading(12, seed=4)
    twins = [*rows, *(Row(f"{row.fname} again", row.dialogue, row.candidates) for row in rows)]
    fitted = fit(STRATEGY, ["a", "b", "c", "d"], twins, references * 2, granularity="eojeol", seed=20)
    assert fitted.outcomes[:12] == fitted.outcomes[12:]


def test_a_loaded_reranker_chooses_the_same(tmp_path: Path) -> None:
    rows, references = misleading(30, seed=1)
    combiner = fit(STRATEGY, ["a", "b", "c", "d"], rows, references, granularity="eojeol", seed=20).combiner
    save(combiner, tmp_path)
    loaded = load(tmp_path)
    assert loaded == combiner
    test_rows, _ = misleading(30, seed=2)
    assert combine(loaded, test_rows) == combine(combiner, test_rows)
    value = json.loads((tmp_path / FILE).read_text())
    assert list(value["reranker"]["coefficients"]) == [*stack.FEATURES, *(f"member {name}" for name in "abcd")]


def damage(change) -> str:
    coefficients = dict.fromkeys([*stack.FEATURES, "member a", "member b"], 0.5)
    value = {
        "strategy": STRATEGY.model_dump(),
        "granularity": "eojeol",
        "weights": {"a": 0.5, "b": 0.5},
        "reranker": {"intercept": 0.1, "coefficients": coefficients},
    }
    change(value)
    return json.dumps(value)


@pytest.mark.parametrize(
    "text",
    [
        damage(lambda value: value["reranker"]["coefficients"].pop("agreement")),
        damage(lambda value: value["reranker"]["coefficients"].pop("member b")),
        damage(lambda value: value["reranker"]["coefficients"].update(agreement="much")),
        damage(lambda value: value["reranker"]["coefficients"].update(agreement=math.nan)),
        damage(lambda value: value["reranker"].update(intercept=None)),
        damage(lambda value: value["reranker"].update(coefficients=[1, 2])),
        damage(lambda value: value.pop("reranker")),
        damage(lambda value: value.update(weights=["a", "b"])),
        damage(lambda value: value.update(weights={})),
        damage(lambda value: value.update(strategy={"type": "stack", "members": 3})),
        damage(lambda value: value.update(strategy={"type": "staple"})),
        damage(lambda value: value.pop("granularity")),
        damage(lambda value: None)[:-20],
        "[]",
        "",
    ],
)
def test_a_damaged_coefficient_file_is_an_error(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(damage(lambda value: None))
    assert isinstance(load(tmp_path).model, stack.Reranker)
    (tmp_path / FILE).write_text(text)
    with pytest.raises(UserError, match=r"combiner\.json"):
        load(tmp_path)


def test_ties_go_to_the_first_and_last_bits_do_not_count() -> None:
    row = row_of(x=["가", "나"], y="다")
    described = stack.describe([row], ["x", "y"], "syllable")
    flat = stack.Reranker(0.0, tuple([0.0] * described.values.shape[1]))
    assert stack.choose([row], described, flat)[0].text == "가"
    last_bit = stack.Reranker(0.0, (*[0.0] * (described.values.shape[1] - 1), 1e-12))
    assert stack.choose([row], described, last_bit)[0].text == "가"
    clear = stack.Reranker(0.0, (*[0.0] * (described.values.shape[1] - 1), 1.0))
    outcome = stack.choose([row], described, clear)[0]
    assert (outcome.text, outcome.member, outcome.rank, outcome.score) == ("다", "y", 0, 1.0)


def test_infinite_scores_and_empty_texts_still_give_a_choice() -> None:
    rows, references = misleading(20, seed=1)
    odd = make_row(
        Dialogue(fname="odd", dialogue="#Person1#: 네"),
        {"a": [Candidate("", math.nan)], "b": [Candidate("가 나", math.nan)], "c": [Candidate("가 나", -math.inf)],
         "d": [Candidate("", -1.0)]},
    )  # fmt: skip
    fitted = fit(STRATEGY, ["a", "b", "c", "d"], [*rows, odd], [*references, ["가 나"]], granularity="eojeol", seed=20)
    model = fitted.combiner.model
    assert model
    assert np.isfinite(model.coefficients).all()
    assert combine(fitted.combiner, [odd])[0].text in ("", "가 나")
    empty = [row_of(str(number), f"#Person1#: {number}", x="", y="") for number in range(6)]
    nothing = fit(STRATEGY, ["x", "y"], empty, [["가"]] * 6, granularity="eojeol", seed=20)
    assert [outcome.text for outcome in nothing.outcomes] == [""] * 6


def test_fit_returns_a_combiner_with_a_reranker() -> None:
    rows, references = misleading(10, seed=1)
    combiner = fit(STRATEGY, ["a", "d"], rows, references, granularity="eojeol", seed=20).combiner
    assert isinstance(combiner, Combiner)
    assert combiner.model is not None
    assert combiner.weights == {"a": 0.5, "d": 0.5}
