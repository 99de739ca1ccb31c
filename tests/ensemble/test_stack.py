"""Stacking: rerankers learn from references, and are pulled towards the best member."""

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
from yoyak.ensemble.features import describe, feature_names
from yoyak.ensemble.fitting import fit
from yoyak.ensemble.folds import make_folds
from yoyak.ensemble.pool import Row, make_row
from yoyak.ensemble.rankers import Linear
from yoyak.ensemble.target import score_texts
from yoyak.errors import UserError
from yoyak.params.ensemble import Stack

STRATEGY = Stack(type="stack", folds=4, rankers=["ridge", "pairwise"])
RERANK = STRATEGY.model_copy(update={"unfamiliar": "rerank"})


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


def test_outcomes_on_dev_are_of_fits_that_did_not_see_the_row() -> None:
    rows, references = misleading(40, seed=3)
    result = fit(STRATEGY, list("abcd"), rows, references, granularity="eojeol", seed=20)
    folds = make_folds([row.dialogue for row in rows], STRATEGY.folds)
    assert len(folds) == 4
    for fold in folds:
        seen = [rows[index] for index in fold.fitted_to]
        refitted = fit(
            STRATEGY, list("abcd"), seen, [references[i] for i in fold.fitted_to], granularity="eojeol", seed=20
        )
        expected = combine(refitted.combiner, [rows[index] for index in fold.held_out])
        assert [result.outcomes[index].text for index in fold.held_out] == [outcome.text for outcome in expected]


def noise(count: int, seed: int) -> tuple[list[Row], list[list[str]]]:
    """Rows of which nothing tells whose candidate is best, but that the first member's is on average."""
    draw = np.random.default_rng(seed)
    rows, references = [], []
    for number in range(count):
        truth = draw.choice(WORDS, size=8, replace=False)
        texts = {}
        for member, share in {"a": 0.3, "b": 0.5, "c": 0.5}.items():
            texts[member] = [
                Candidate(" ".join(np.where(draw.random(8) < share, draw.permutation(truth), truth)), -draw.random())
                for _ in range(3)
            ]
        rows.append(make_row(Dialogue(fname=str(number), dialogue=f"#Person1#: {number}"), texts))
        references.append([" ".join(truth)])
    return rows, references


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("count", [4, 12, 40])
def test_it_never_falls_below_the_best_member_in_cross_validation(count: int, seed: int) -> None:
    rows, references = noise(count, seed)
    members = ["a", "b", "c"]
    for strategy in (STRATEGY, RERANK):
        outcomes = fit(strategy, members, rows, references, granularity="eojeol", seed=20).outcomes
        score = score_texts([outcome.text for outcome in outcomes], references, "eojeol").mean()
        own = max(score_texts([row.best(m) for row in rows], references, "eojeol").mean() for m in members)
        assert score >= own - 1e-9


def helpful(count: int, seed: int) -> tuple[list[Row], list[list[str]]]:
    """Rows in which the best member is wrong where the other two agree, in two of five."""
    draw = np.random.default_rng(seed)
    rows, references = [], []
    for number in range(count):
        truth, *others = (" ".join(draw.choice(WORDS, size=6)) for _ in range(4))
        right = draw.random() < 0.6
        texts = {"a": truth if right else others[0], "b": others[1] if right else truth}
        texts["c"] = others[2] if right else truth
        rows.append(row_of(str(number), f"#Person1#: {number}", **texts))
        references.append([truth])
    return rows, references


def test_what_gains_enough_leaves_the_member() -> None:
    fitted = fit(RERANK, ["a", "b", "c"], *helpful(40, 1), granularity="eojeol", seed=20)
    assert fitted.combiner.model is not None
    assert fitted.combiner.model.member == "a"
    rows, references = helpful(40, 2)
    chosen = [outcome.text for outcome in combine(fitted.combiner, rows)]
    right = np.mean([text == reference for text, [reference] in zip(chosen, references, strict=True)])
    assert right > 0.9
    assert np.mean([row.best("a") == reference for row, [reference] in zip(rows, references, strict=True)]) < 0.8


def test_one_lucky_row_does_not_leave_the_member() -> None:
    rows, references = helpful(12, 3)
    for index, row in enumerate(rows):
        references[index] = [row.best("a" if index else "b")]
    fitted = fit(RERANK, ["a", "b", "c"], rows, references, granularity="eojeol", seed=20)
    assert fitted.combiner.model is None
    assert fitted.combiner.pass_through


def test_an_unfamiliar_dialogue_is_decided_together() -> None:
    """The best member is sure on dev; where it is not, two members that agree outvote it."""
    rows = [row_of(str(n), f"#Person1#: {n}", a=f"가 나 다 {n}", b="라 마", c="라 바") for n in range(20)]
    references = [[f"가 나 다 {n}"] for n in range(20)]
    combiner = fit(STRATEGY, ["a", "b", "c"], rows, references, granularity="eojeol", seed=20).combiner
    texts = {"b": [Candidate("라 마 바", -0.5)], "c": [Candidate("라 마 바", -0.5)]}
    sure, unsure = (
        make_row(Dialogue(fname="x", dialogue="#Person1#: x"), {"a": [Candidate("사 아 자", score)], **texts})
        for score in (-0.1, -2.0)
    )
    weights = combiner.weights
    assert weights["a"] > weights["b"]
    assert combine(combiner, [sure])[0].text == "사 아 자"
    combiner = Combiner(
        strategy=combiner.strategy, granularity="eojeol", weights={"a": 0.4, "b": 0.3, "c": 0.3}, model=combiner.model
    )
    assert [outcome.text for outcome in combine(combiner, [sure, unsure, sure])] == ["사 아 자", "라 마 바", "사 아 자"]


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


NAMES = feature_names(["a", "b"], [])


def damage(change) -> str:
    value = {
        "strategy": STRATEGY.model_dump(),
        "granularity": "eojeol",
        "weights": {"a": 0.5, "b": 0.5},
        "reranker": {
            "member": "a", "lowest_score": -0.5, "kind": "ridge", "margin": 0.1,
            "coefficients": dict.fromkeys(NAMES, 0.5),
        },
    }  # fmt: skip
    change(value)
    return json.dumps(value)


def plant(**changes: object):
    """Put trees in the place of the coefficients."""
    tree = {"feature": [1, 0, 0], "threshold": [0.5, 0.0, 0.0], "left": [1, -1, -1], "right": [2, -1, -1],
            "value": [0.0, -1.0, 1.0]}  # fmt: skip

    def change(value) -> None:
        del value["reranker"]["coefficients"]
        value["reranker"] |= {"kind": "trees", "features": list(NAMES), "trees": [{**tree, **changes}]}

    return change


@pytest.mark.parametrize(
    "text",
    [
        damage(lambda value: value["reranker"]["coefficients"].pop("agreement")),
        damage(lambda value: value["reranker"]["coefficients"].pop("member b")),
        damage(lambda value: value["reranker"]["coefficients"].update(agreement="much")),
        damage(lambda value: value["reranker"]["coefficients"].update(agreement=math.nan)),
        damage(lambda value: value["reranker"].update(margin=None)),
        damage(lambda value: value["reranker"].update(member="c")),
        damage(lambda value: value["reranker"].update(kind="forest")),
        damage(lambda value: value["reranker"].update(lowest_score="low")),
        damage(lambda value: value.update(scorers=["c"])),
        damage(plant(left=[0, -1, -1])),
        damage(plant(left=[7, -1, -1])),
        damage(plant(feature=[99, 0, 0])),
        damage(plant(value=[0.0, -1.0])),
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
    for good in (damage(lambda value: None), damage(plant())):
        (tmp_path / FILE).write_text(good)
        model = load(tmp_path).model
        assert isinstance(model, stack.Reranker)
        assert model.ranker is not None
    (tmp_path / FILE).write_text(text)
    with pytest.raises(UserError, match=r"combiner\.json"):
        load(tmp_path)


def test_ties_go_to_the_first_and_last_bits_do_not_count() -> None:
    row = row_of(x=["가", "나"], y="다")
    names = feature_names(["x", "y"], [])
    described = describe([row], ["x", "y"], "syllable")

    def chosen(margin: float = 0.0, **coefficients: float) -> tuple[str, str, int, float]:
        ranker = Linear(tuple(coefficients.get(name.replace(" ", "_"), 0.0) for name in names))
        reranker = stack.Reranker(member="x", kind="ridge", ranker=ranker, margin=margin)
        [outcome] = stack.choose([row], described, reranker, {"x": 0.5, "y": 0.5}, "syllable")
        return outcome.text, outcome.member, outcome.rank, outcome.score

    assert chosen() == ("가", "x", 0, 0.0)
    assert chosen(member_y=1e-12) == ("가", "x", 0, 0.0)
    assert chosen(member_y=1.0) == ("다", "y", 0, 1.0)
    assert chosen(member_y=1.0, margin=0.9) == ("다", "y", 0, 1.0)
    assert chosen(member_y=1.0, margin=1.0) == ("가", "x", 0, 0.0)


def test_infinite_scores_and_empty_texts_still_give_a_choice() -> None:
    rows, references = misleading(20, seed=1)
    odd = make_row(
        Dialogue(fname="odd", dialogue="#Person1#: 네"),
        {"a": [Candidate("", math.nan)], "b": [Candidate("가 나", math.nan)], "c": [Candidate("가 나", -math.inf)],
         "d": [Candidate("", -1.0)]},
    )  # fmt: skip
    fitted = fit(STRATEGY, ["a", "b", "c", "d"], [*rows, odd], [*references, ["가 나"]], granularity="eojeol", seed=20)
    assert combine(fitted.combiner, [odd])[0].text in ("", "가 나")
    empty = [row_of(str(number), f"#Person1#: {number}", x="", y="") for number in range(6)]
    nothing = fit(STRATEGY, ["x", "y"], empty, [["가"]] * 6, granularity="eojeol", seed=20)
    assert [outcome.text for outcome in nothing.outcomes] == [""] * 6
