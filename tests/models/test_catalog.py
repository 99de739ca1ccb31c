"""Models are found by name however the name is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from trained_members import parse_trained
from yoyak.errors import UserError
from yoyak.models import catalog
from yoyak.models.families import get_family

MEMBER = {"family": "seq2seq", "learning_rate": 1e-4}


@pytest.mark.parametrize("name", ["solar-10.7b", "solar_10.7b", "SOLAR 10.7B", "solar-10-7b"])
def test_one_model_whatever_the_punctuation(name: str) -> None:
    assert catalog.checkpoint(name) == "upstage/SOLAR-10.7B-v1.0"


def test_names_do_not_clash() -> None:
    names = list(catalog.entries())
    assert names
    assert [catalog.find(name) for name in names] == names


def test_entries_are_complete() -> None:
    for entry in catalog.entries().values():
        assert entry.family in ("seq2seq", "causal")
        assert entry.checkpoint.count("/") == 1
        if entry.training:
            values = {"family": entry.family, "checkpoint": entry.checkpoint, **entry.training.model_dump()}
            assert parse_trained(values).batch_size == entry.training.batch_size


@pytest.mark.parametrize("name", ["upstage/SOLAR-10.7B-v1.0", "SOLAR-10.7B-v1.0", "solar_10_7B"])
def test_the_hubs_name_is_found_too(name: str) -> None:
    assert catalog.find(name) == "solar-10.7b"
    assert catalog.find("digit82/kobart-summarization") == "kobart-digit82"
    assert catalog.find("kobart-summarization") == "kobart-summarization"


@pytest.mark.parametrize(
    "name",
    [
        "BART base", "BART large", "gogamza/kobart-base-v2", "gogamza/kobart-summarization", "T5 small", "T5 base",
        "T5 large", "mT5 small", "mT5 base", "Flan-T5 base", "Flan-T5 large", "pko-T5 base", "pko-T5 large", "KE-T5",
        "GPT-2", "GPT-2 small", "GPT-2 medium", "GPT-2 large", "KoGPT2", "Llama-3.2-Korean-Bllossom-3B", "Qwen3-4B",
        "Polyglot-Ko-1.3B", "Polyglot-Ko-12.8B", "KuLLM-v2", "KuLLM", "SmolLM2-135M-Instruct",
    ],
)  # fmt: skip
def test_names_are_found_as_people_write_them(name: str) -> None:
    assert catalog.find(name) is not None


def test_an_alias_is_of_the_model_that_it_names() -> None:
    expected = {"KE-T5": "KETI-AIR/ke-t5-base", "GPT-2 small": "openai-community/gpt2"}
    assert {name: catalog.checkpoint(name) for name in expected} == expected
    assert catalog.find("kullm") == catalog.find("KuLLM-v2")


def test_the_batch_follows_the_memory_and_the_rows_of_an_update_stay() -> None:
    for entry in catalog.entries().values():
        assert catalog.recommend(entry, 16) == entry.training
        previous = 0
        for memory in (1, 4, 8, 12, 16, 24, 40, 80):
            training = catalog.recommend(entry, memory)
            if training is None:
                assert not previous
                continue
            assert entry.training is not None
            assert training.batch_size >= previous
            rows = training.batch_size * training.gradient_accumulation_steps
            assert rows == entry.training.batch_size * entry.training.gradient_accumulation_steps
            previous = training.batch_size
    assert catalog.recommend(catalog.entries()["kobart"], 1) is None


def test_the_catalogs_prefix_is_used_unless_params_have_one() -> None:
    family = get_family("seq2seq")

    def prefix(**values: Any) -> str:
        return family.make_spec("m", parse_trained({**MEMBER, **values})).prefix

    assert prefix(checkpoint="T5 base") == prefix(checkpoint="google-t5/t5-base") == "summarize: "
    assert prefix(checkpoint="T5 base", prefix="") == ""
    assert prefix(checkpoint="t5-base", prefix="요약: ") == "요약: "
    assert prefix(checkpoint="kobart") == prefix(checkpoint="someone/t5-base-of-theirs") == ""


def test_hub_names_and_folders_pass(tmp_path: Path) -> None:
    assert catalog.checkpoint("someone/some-model") == "someone/some-model"
    (tmp_path / "config.json").write_text("{}")
    assert catalog.checkpoint(str(tmp_path)) == str(tmp_path)


def test_a_folder_without_a_model_is_not_guessed_at(tmp_path: Path) -> None:
    # transformers would take the name for a hint: 'empty' holds 'mpt'.
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"config\.json"):
        catalog.checkpoint(str(tmp_path / "empty"))


def test_an_unknown_name_is_reported_with_the_nearest() -> None:
    with pytest.raises(UserError, match=r"'kobart', '[^']+' or '[^']+'\?"):
        catalog.checkpoint("kobert")
