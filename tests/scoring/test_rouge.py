"""ROUGE: the traps of Korean with masks, the protocols, equality with rouge_score."""

import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rouge_score import rouge_scorer

from yoyak.korean.masks import MASK
from yoyak.params.scoring import MultiReference
from yoyak.scoring.metrics import METRICS
from yoyak.scoring.rouge import f1, reference_scores, rouge

KOREAN = ["eojeol", "morpheme", "syllable"]
WEIGHTS = (0.33, 0.33, 0.34)
SUMMARY = "#Person1#은 #Person2#에게 내일 회의실을 예약해 달라고 부탁했다."
OTHER = "#Person1#과 #Person2#이 어젯밤 꽃구경 얘기로 웃음."
TOKENS = st.lists(st.sampled_from("abcde"), max_size=25)


class Spaces:
    def tokenize(self, text: str) -> list[str]:
        return text.split()


def score(
    prediction: str, *references: str, granularity: str = "morpheme", protocol: MultiReference = "mean"
) -> dict[str, float]:
    values = rouge([prediction], [references], granularity=granularity, multi_reference=protocol, weights=WEIGHTS)
    return {metric: float(column[0]) for metric, column in values.items()}


@pytest.mark.parametrize("granularity", KOREAN)
def test_identical_hangul_scores_one(granularity: str) -> None:
    assert score(SUMMARY, SUMMARY, granularity=granularity) == dict.fromkeys(METRICS, pytest.approx(1, abs=1e-12))


@pytest.mark.parametrize("granularity", KOREAN)
def test_different_hangul_scores_low_and_zero_without_its_masks(granularity: str) -> None:
    assert score(OTHER, SUMMARY, granularity=granularity)["combined"] < 0.35
    bare = [MASK.sub("", text) for text in (OTHER, SUMMARY)]
    assert score(*bare, granularity=granularity) == dict.fromkeys(METRICS, 0)


def test_default_rouge_score_would_have_been_wrong() -> None:
    scorer = rouge_scorer.RougeScorer(["rouge1", "rougeL"], use_stemmer=True)
    assert scorer.score(SUMMARY, OTHER)["rouge1"].fmeasure == 1
    assert scorer.score("내일 회의", "내일 회의")["rouge1"].fmeasure == 0
    assert score(OTHER, SUMMARY)["rouge1"] < 0.5


@pytest.mark.parametrize("granularity", KOREAN)
def test_decomposed_hangul_scores_the_same(granularity: str) -> None:
    decomposed = unicodedata.normalize("NFD", SUMMARY)
    assert score(decomposed, OTHER, granularity=granularity) == score(SUMMARY, OTHER, granularity=granularity)


@pytest.mark.parametrize("granularity", [*KOREAN, "english"])
@pytest.mark.parametrize("prediction", ["", " \n", "...", "?"])
def test_an_empty_prediction_scores_zero(granularity: str, prediction: str) -> None:
    assert score(prediction, SUMMARY, "a b", granularity=granularity) == dict.fromkeys(METRICS, 0)


@given(TOKENS, TOKENS)
def test_f1_equals_rouge_score_to_the_last_digit(prediction: list[str], reference: list[str]) -> None:
    scorer = rouge_scorer.RougeScorer(list(METRICS[:3]), tokenizer=Spaces())
    expected = scorer.score(" ".join(reference), " ".join(prediction))
    assert f1(prediction, reference) == tuple(expected[metric].fmeasure for metric in METRICS[:3])


SENTENCE = "The doctor's patients #Person1# was running, visited ran visits (again) é 3.5 meeting"
ENGLISH = st.lists(
    st.sampled_from(
        [
            "The",
            "doctor's",
            "patients",
            "#Person1#",
            "was",
            "running,",
            "visited",
            "ran",
            "visits",
            "(again)",
            "é",
            "3.5",
            "meeting",
        ]
    ),
    max_size=30,
).map(" ".join)


@given(ENGLISH, ENGLISH)
def test_english_equals_rouge_score_to_the_last_digit(prediction: str, reference: str) -> None:
    expected = rouge_scorer.RougeScorer(list(METRICS[:3]), use_stemmer=True).score(reference, prediction)
    actual = score(prediction, reference, granularity="english")
    assert [actual[metric] for metric in METRICS[:3]] == [expected[metric].fmeasure for metric in METRICS[:3]]


def test_known_values_mean_max_and_combined() -> None:
    references = ("가 나 다 라", "가 라 나 마")
    by_hand = np.array([[3 / 4, 2 / 3, 3 / 4], [2 / 4, 0, 2 / 4]])
    combined = by_hand @ WEIGHTS
    mean = score("가 나 다 사", *references, granularity="eojeol")
    best = score("가 나 다 사", *references, granularity="eojeol", protocol="max")
    assert list(mean.values()) == pytest.approx([*by_hand.mean(axis=0), combined.mean()])
    assert list(best.values()) == pytest.approx([*by_hand.max(axis=0), combined.max()])


def test_max_takes_each_metric_by_itself_and_combined_of_one_reference() -> None:
    prediction, references = "가 나 다 라", ("라 다 나 가", "가 나 바 사 아 자")
    by_reference = [score(prediction, text, granularity="eojeol") for text in references]
    best = score(prediction, *references, granularity="eojeol", protocol="max")
    assert best == {metric: max(row[metric] for row in by_reference) for metric in METRICS}
    assert by_reference[0]["rouge1"] > by_reference[1]["rouge1"]
    assert by_reference[0]["rouge2"] < by_reference[1]["rouge2"]
    assert best["combined"] < np.dot(WEIGHTS, [best[metric] for metric in METRICS[:3]])


def test_dialogues_may_differ_in_their_number_of_references() -> None:
    references = [("가 나",), ("가", "가 나", "나 다"), ("라",)]
    together = reference_scores(["가 나"] * 3, references, granularity="eojeol", weights=WEIGHTS)
    for protocol in ("mean", "max"):
        rows = [score("가 나", *row, granularity="eojeol", protocol=protocol) for row in references]
        expected = np.array([list(row.values()) for row in rows])
        np.testing.assert_array_equal(together.reduce(protocol), expected)


def test_several_processes_give_the_same_result(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("yoyak.scoring.rouge.CHUNK", 4)
    generator = np.random.default_rng(5)
    texts = [" ".join(generator.choice(list("가나다라마"), size=8)) for _ in range(30)]
    references = [texts[i % 7 : i % 7 + 1 + i % 3] for i in range(30)]
    sequential, parallel = (
        rouge(
            texts,
            references,
            granularity="syllable",
            multi_reference="mean",
            weights=WEIGHTS,
            processes=processes,
        )
        for processes in (1, 2)
    )
    for metric in METRICS:
        np.testing.assert_array_equal(sequential[metric], parallel[metric])


def test_nothing_to_score_is_not_an_error() -> None:
    values = rouge([], [], granularity="eojeol", multi_reference="mean", weights=WEIGHTS)
    assert {metric: column.shape for metric, column in values.items()} == dict.fromkeys(METRICS, (0,))


@pytest.mark.parametrize("references", [["가"], [[]], [["가"], ["나"]]])
def test_mismatched_references_are_refused(references: list) -> None:
    with pytest.raises(ValueError, match="references"):
        rouge(["가"], references, granularity="eojeol", multi_reference="mean", weights=WEIGHTS)
