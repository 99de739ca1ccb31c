"""Every room takes the same masks as one piece: one with an underscore is a mask for all of them or for none."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Literal

import pytest

from yoyak.data.augmenting.views import make_views
from yoyak.data.cleaning import clean_dialogue
from yoyak.data.records import Dialogue
from yoyak.decoding.candidates import Candidate
from yoyak.ensemble import features
from yoyak.ensemble.pool import make_row
from yoyak.ensemble.units import join, split
from yoyak.korean.josa import particle
from yoyak.korean.masks import distinct_masks, find_masks
from yoyak.models.tokenizers import train_tokenizer
from yoyak.params import Tokenizer
from yoyak.reporting.examples import SPEAKER
from yoyak.scoring.tokenize import tokenizer

DIALOGSUM = Path(__file__).parents[2].parent / "shared" / "data" / "dialogsum" / "dialogsum.dev.jsonl"
MASKS = ["#Person1#", "#Person_1#", "#Card_Number#", "#A_b_C12#"]
KOREAN = ["morpheme", "eojeol", "syllable"]


@pytest.mark.parametrize("mask", MASKS)
def test_scoring_and_units_keep_it_whole(mask: str) -> None:
    text = f"{mask}에게 전화했다. {mask}"
    assert find_masks(text) == [mask, mask]
    for granularity in KOREAN:
        tokens = tokenizer(granularity).tokenize(text)
        assert [re.sub("에게$", "", token) for token in tokens if "#" in token] == [mask, mask]
        [units] = split([text], granularity)
        assert join(units) == text
        assert [re.sub("에게$", "", unit.text.strip()) for unit in units if "#" in unit.text] == [mask, mask]


@pytest.mark.parametrize("mask", MASKS)
def test_english_words_and_the_reranker_keep_it_whole(mask: str) -> None:
    [units] = split([f"{mask} called {mask}."], "english")
    assert [unit.text.strip() for unit in units] == [mask, "called", mask, "."]
    row = make_row(
        Dialogue(fname="a", dialogue=f"{mask}: 네."),
        {"x": [Candidate(f"{mask}에게 전화했다.", -0.1), Candidate("#Other_Name#에게 전화했다.", -0.2)]},
    )
    values = features.describe([row], ["x"], "syllable").values
    kept, made_up = (features.FEATURES.index(name) for name in ("masks_kept", "masks_made_up"))
    assert values[:, kept].tolist() == [1, 0]
    assert values[:, made_up].tolist() == [0, 1]


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_tokenizers_keep_it_whole(kind: Literal["bpe", "unigram"]) -> None:
    texts = [f"{mask}: 안녕하세요\n{mask}은 전화한다." for mask in MASKS] * 20
    trained = train_tokenizer(texts, distinct_masks(texts), Tokenizer(type=kind, vocab_size=500))
    for mask in MASKS:
        assert trained.tokenize(f"{mask}은").count(mask) == 1


@pytest.mark.parametrize("mask", MASKS)
def test_it_labels_a_turn(mask: str) -> None:
    cleaned, changes = clean_dialogue(f"{mask}:\n안녕하세요\n{mask}:")
    assert cleaned == f"{mask}: 안녕하세요"
    assert changes == {"joined_labels": 1, "empty_turns": 1}
    label = SPEAKER.match(f"{mask}: 안녕하세요")
    assert label
    assert label[1] == mask


@pytest.mark.parametrize("mask", MASKS)
def test_views_leave_it_alone(mask: str) -> None:
    views = make_views(f"{mask}: 어제 {mask}에 전화했어요...\n나: 네, 그래요!!", 4, 1)
    assert views
    for view in views:
        assert find_masks(view) == [mask, mask]


@pytest.mark.parametrize(
    ("mask", "expected"),
    [("#Person_1#", "은"), ("#Person_2#", "는"), ("#Card_Number#", "는"), ("#Home_Email#", "은"), ("#Card_SSN#", "은")],
)
def test_particles_follow_its_last_word_or_number(mask: str, expected: str) -> None:
    assert particle(mask, "은") == expected


@pytest.mark.skipif(not DIALOGSUM.is_file(), reason="../shared/data/dialogsum is absent")
def test_every_mask_of_dialogsum_is_one_token() -> None:
    rows = [json.loads(line) for line in DIALOGSUM.read_text(encoding="utf-8").splitlines()]
    text = " ".join(row["dialogue"].replace("\n", " ") for row in rows[:100])
    masks = find_masks(text)
    assert masks == re.findall(r"#\w+#", text)
    assert [token for token in tokenizer("syllable").tokenize(text) if "#" in token] == masks
