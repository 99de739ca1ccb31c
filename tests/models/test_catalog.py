"""Models are found by name however the name is written."""

from __future__ import annotations

from pathlib import Path

import pytest

from yoyak.errors import UserError
from yoyak.models import catalog


@pytest.mark.parametrize("name", ["solar-10.7b", "solar_10.7b", "SOLAR 10.7B", "solar-10-7b"])
def test_one_model_whatever_the_punctuation(name: str) -> None:
    assert catalog.checkpoint(name) == "upstage/SOLAR-10.7B-v1.0"


def test_names_do_not_clash() -> None:
    names = list(catalog.entries())
    assert names
    assert [catalog.find(name) for name in names] == names


def test_entries_are_complete() -> None:
    for entry in catalog.entries().values():
        assert set(entry) == {"checkpoint", "family"}
        assert entry["family"] in ("seq2seq", "causal")
        assert entry["checkpoint"].count("/") == 1


def test_hub_names_and_folders_pass(tmp_path: Path) -> None:
    assert catalog.checkpoint("someone/some-model") == "someone/some-model"
    (tmp_path / "config.json").write_text("{}")
    assert catalog.checkpoint(str(tmp_path)) == str(tmp_path)


def test_a_folder_without_a_model_is_not_guessed_at(tmp_path: Path) -> None:
    # transformers would take the name for a hint: 'empty' holds 'mpt'.
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"it has no config\.json"):
        catalog.checkpoint(str(tmp_path / "empty"))


def test_an_unknown_name_is_reported_with_the_nearest() -> None:
    with pytest.raises(UserError, match=r"did you mean 'kobart'\?"):
        catalog.checkpoint("kobert")
