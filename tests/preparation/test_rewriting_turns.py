"""Turns rewritten by tiny checkpoints in the Hub's layout: filters, the cache, going on after a kill, and errors."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM

from yoyak.data.augmenting.rewriting import NOT_KEPT, check_turn
from yoyak.data.augmenting.run import augment_train
from yoyak.data.records import Dialogue
from yoyak.errors import UserError
from yoyak.models.tokenizers import train_tokenizer
from yoyak.params import Tokenizer
from yoyak.params.augmentation import Augmentation, Paraphrase
from yoyak.preparation.rewriting import check_models, rewrite_texts

TURNS = [f"{place}에서 {time}시에 만나요" for place in ("학교", "공원", "역", "집") for time in (1, 2, 3)]
SIZES = {"d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2,
         "decoder_attention_heads": 2, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16,
         "max_position_embeddings": 64}  # fmt: skip


def save_checkpoint(folder: Path, seed: int, **options: Any) -> str:
    tokenizer = train_tokenizer(TURNS * 20, ["<xx>"], Tokenizer(type="bpe", vocab_size=320))
    tokens = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 2}
    config = AutoConfig.for_model(
        "bart", vocab_size=len(tokenizer), forced_eos_token_id=2, **tokens, **SIZES, **options
    )
    torch.manual_seed(seed)
    AutoModelForSeq2SeqLM.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_checkpoint(tmp_path_factory.mktemp("paraphraser"), 0)


@pytest.fixture(scope="module")
def translator(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_checkpoint(tmp_path_factory.mktemp("translator"), 1)


def settings_of(checkpoint: str, **values: Any) -> Paraphrase:
    defaults = {"share": 1, "num_beams": 2, "max_input_tokens": 64, "max_new_tokens": 6, "batch_size": 2}
    return Paraphrase.model_validate({**defaults, "model": {"checkpoint": checkpoint}, **values})


def kept(cache: Path) -> dict[str, str]:
    with sqlite3.connect(cache) as file:
        return dict(file.execute("SELECT key, text FROM rewritten"))


def test_texts_are_rewritten_once_and_the_same_each_time(checkpoint: str, tmp_path: Path) -> None:
    settings = settings_of(checkpoint)
    first = rewrite_texts(tmp_path / "cache.db", "paraphrase", settings, TURNS)
    before = kept(tmp_path / "cache.db")
    assert list(first) == TURNS
    assert len(before) == len(TURNS)
    assert rewrite_texts(tmp_path / "cache.db", "paraphrase", settings, TURNS[::-1]) == first
    assert rewrite_texts(tmp_path / "other.db", "paraphrase", settings, TURNS[::-1]) == first
    assert kept(tmp_path / "cache.db") == before == kept(tmp_path / "other.db")
    rewrite_texts(tmp_path / "cache.db", "paraphrase", settings_of(checkpoint, num_beams=1), TURNS[:2])
    assert len(kept(tmp_path / "cache.db")) == len(before) + 2


def test_another_generation_config_rewrites_again(tmp_path: Path) -> None:
    folder, cache = tmp_path / "model", tmp_path / "cache.db"
    settings = settings_of(save_checkpoint(folder, 0))
    rewrite_texts(cache, "paraphrase", settings, TURNS[:2])
    config = json.loads((folder / "generation_config.json").read_text())
    (folder / "generation_config.json").write_text(json.dumps({**config, "no_repeat_ngram_size": 1}))
    changed = rewrite_texts(cache, "paraphrase", settings, TURNS[:2])
    assert changed == rewrite_texts(tmp_path / "other.db", "paraphrase", settings, TURNS[:2])
    assert len(kept(cache)) == 4


@pytest.mark.parametrize("key", ["max_input_tokens", "max_new_tokens"])
def test_more_tokens_than_positions_are_refused_before_anything_is_rewritten(checkpoint: str, key: str) -> None:
    with pytest.raises(UserError, match=rf"has 64 positions, but {key} is 65: lower it\."):
        check_models("paraphrase", settings_of(checkpoint, **{key: 65}))


def test_a_run_that_was_killed_goes_on_with_what_it_has(checkpoint: str, tmp_path: Path) -> None:
    settings, cache = settings_of(checkpoint), tmp_path / "killed.db"
    code = (
        "import sys, time; from pathlib import Path; from yoyak.params.augmentation import Paraphrase\n"
        "from yoyak.preparation import rewriting\n"
        "rewrite = rewriting._Model.rewrite\n"
        "rewriting._Model.rewrite = lambda self, texts: (time.sleep(0.3), rewrite(self, texts))[1]\n"
        "settings = Paraphrase.model_validate_json(sys.argv[2])\n"
        "rewriting.rewrite_texts(Path(sys.argv[1]), 'paraphrase', settings, sys.argv[3:])\n"
    )
    command = [sys.executable, "-c", code, str(cache), settings.model_dump_json(), *TURNS]
    process = subprocess.Popen(command, env=dict(os.environ), stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not (cache.exists() and cache.stat().st_size and len(_count(cache)) >= 4):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = kept(cache)
    assert 4 <= len(done) < len(TURNS)
    resumed = rewrite_texts(cache, "paraphrase", settings, TURNS)
    assert done.items() <= kept(cache).items()
    assert resumed == rewrite_texts(tmp_path / "whole.db", "paraphrase", settings, TURNS)


def _count(cache: Path) -> list[str]:
    try:
        return list(kept(cache))
    except sqlite3.Error:
        return []


def test_back_translation_reads_what_the_first_model_wrote(checkpoint: str, translator: str, tmp_path: Path) -> None:
    there = rewrite_texts(tmp_path / "a.db", "paraphrase", settings_of(translator), TURNS[:3])
    both = Augmentation.model_validate({
        "back_translation": {
            "forward": {"checkpoint": translator}, "backward": {"checkpoint": checkpoint},
            **settings_of(checkpoint).model_dump(exclude={"model"}),
        }
    }).back_translation  # fmt: skip
    back = rewrite_texts(tmp_path / "a.db", "back_translation", both, TURNS[:3])
    texts = [text or "" for text in there.values()]
    again = rewrite_texts(tmp_path / "b.db", "paraphrase", settings_of(checkpoint), [text for text in texts if text])
    assert list(back.values()) == [again.get(text, text) for text in texts]


def test_long_turns_are_left_as_they_are(checkpoint: str, tmp_path: Path) -> None:
    settings = settings_of(checkpoint, max_input_tokens=30)
    rewritten = rewrite_texts(tmp_path / "cache.db", "paraphrase", settings, ["만나요", "학교에서 " * 20])
    assert rewritten["학교에서 " * 20] is None
    assert rewritten["만나요"] is not None


def test_languages_are_tokens_of_the_tokenizer(checkpoint: str, tmp_path: Path) -> None:
    model = {"checkpoint": checkpoint, "target_language": "<xx>"}
    rewrite_texts(tmp_path / "a.db", "paraphrase", settings_of(checkpoint, model=model), TURNS[:1])
    with pytest.raises(UserError, match="no token 'ko_KR', which source_language names"):
        rewrite_texts(
            tmp_path / "a.db", "paraphrase", settings_of(checkpoint, model={**model, "source_language": "ko_KR"}), TURNS
        )


def test_checkpoints_that_do_not_fit_are_named(checkpoint: str, tmp_path: Path) -> None:
    decoder = AutoConfig.for_model("gpt2", vocab_size=320, n_embd=8, n_layer=1, n_head=1)
    AutoModelForCausalLM.from_config(decoder).save_pretrained(tmp_path / "gpt2")
    for name, problem in (("gpt2", "decoder-only model"), ("nothing", "not a local folder")):
        with pytest.raises(UserError, match=rf"^augmentation\.paraphrase: .*{name}' is .*{problem}"):
            check_models("paraphrase", settings_of(str(tmp_path / name)))
    (tmp_path / "damaged.db").write_text("no database" * 100)
    with pytest.raises(UserError, match=r"damaged\.db cannot be used"):
        rewrite_texts(tmp_path / "damaged.db", "paraphrase", settings_of(checkpoint), TURNS)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("그럼 내일 3시에 지훈 씨와 #Person2#에게 갑니다.", ""),
        ("내일 3시에 지훈 씨하고 #Person2#에게 갈게요.", "too similar"),
        ("", "empty"),
        ("좋아요", "too different"),
        ("그럼 내일 4시에 지훈 씨와 #Person2#에게 갑니다.", "other masks, numbers or names"),
        ("그럼 내일 3시에 수아 씨와 #Person2#에게 갑니다.", "other masks, numbers or names"),
        ("그럼 내일 3시에 지훈 씨와 #Person1#에게 갑니다.", "other masks, numbers or names"),
        ("그럼 내일 3시에 지훈 씨와 # Person2#에게 갑니다.", "other masks, numbers or names"),
    ],
)
def test_a_rewritten_turn_must_say_the_same_in_other_words(text: str, reason: str) -> None:
    settings = Paraphrase(max_similarity=0.9)
    assert check_turn("내일 3시에 지훈 씨하고 #Person2#에게 갈게요.", text, settings) == reason


def test_only_turns_that_pass_are_exchanged() -> None:
    row = Dialogue(
        fname="a",
        dialogue="#Person1#: 오늘 3시에 뭐 해요?\n#Person2#: 집에서 책을 읽어요.",
        summaries=("둘이 말한다.",),
    )
    answers = {"오늘 3시에 뭐 해요?": "오늘 4시에 뭐 하세요?", "집에서 책을 읽어요.": "저는 집에서\n독서를 해요."}
    settings = Augmentation.model_validate({"paraphrase": {"share": 1, "rate": 1, "model": {"checkpoint": "a"}}})
    added, report = augment_train(
        {"train": [row]}, settings, rewrite=lambda _, __, texts: {t: answers[t] for t in texts}
    )
    assert [each.dialogue for each in added] == ["#Person1#: 오늘 3시에 뭐 해요?\n#Person2#: 저는 집에서 독서를 해요."]
    assert report["methods"]["paraphrase"] == {
        "drawn": 1, "added": 1, "filtered": {}, "turns_left_as_they_were": {"other masks, numbers or names": 1},
    }  # fmt: skip
    added, report = augment_train({"train": [row]}, settings, rewrite=lambda _, __, texts: {t: t for t in texts})
    assert report["methods"]["paraphrase"]["filtered"] == {NOT_KEPT: 1}


def test_a_share_without_a_model_is_refused() -> None:
    for method, needed in (("paraphrase", "a model"), ("back_translation", "two models")):
        with pytest.raises(ValueError, match=f"a share above 0 needs {needed}"):
            Augmentation.model_validate({method: {"share": 0.5}})
