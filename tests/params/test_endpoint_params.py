"""Params of members behind an endpoint: a key never gets in, and no error shows one."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from yoyak.errors import UserError
from yoyak.params import Params, load

KEY = "sk-proj-0a1B2c3D4e5F6g7H8i9J0k"
MEMBER = {
    "family": "api",
    "base_url": "https://api.example.com/v1/",
    "model": "solar-pro2",
    "api_key_env": "UPSTAGE_API_KEY",
    "prompt": "prompts/ko.yaml",
}


def load_member(folder: Path, **changes: Any) -> Any:
    path = folder / "params.yaml"
    with path.open("w", encoding="utf-8") as out:
        YAML().dump({"members": {"solar": {**MEMBER, **changes}}}, out)
    return load(Params, path, env={}).members["solar"]


def test_the_defaults(tmp_path: Path) -> None:
    member = load_member(tmp_path)
    assert (member.base_url, member.temperature, member.sample_size) == ("https://api.example.com/v1", 0.0, None)
    assert load_member(tmp_path, max_samples=50).sample_size == 50


@pytest.mark.parametrize(
    "changes",
    [
        {"api_key_env": KEY},
        {"api_key_env": [KEY]},
        {"api_key_env": "up_0a1B2c3D4e5F6g7H8i9J0k"},
        {"api_key_env": "AKIAIOSFODNN7EXAMPLE"},
        {"api_key": KEY},
        {"extra_body": {"user": KEY}},
        {"extra_body": {"nested": [{"api_key": "short"}]}},
        {"extra_body": {"headers": {"Authorization": f"Bearer {KEY}"}}},
        {"base_url": f"https://user:{KEY}@api.example.com/v1"},
        {"base_url": f"https://api.example.com/v1?key={KEY}"},
        {"base_url": f"https://api.example.com/{KEY}/v1"},
        {"model": KEY},
    ],
)
def test_a_key_is_refused_and_shown_nowhere(tmp_path: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"members\.solar") as caught:
        load_member(tmp_path, **changes)
    # What the command line prints, and what it writes to the log.
    told = str(caught.value) + "".join(traceback.format_exception(caught.value))
    assert not [secret for secret in (KEY, "0a1B2c3D4e5F6g7H8i9J0k", "AKIAIOSFODNN7EXAMPLE") if secret in told]


@pytest.mark.parametrize("url", ["api.example.com/v1", "ftp://example.com", "https://", 5])
def test_an_address_must_be_one(tmp_path: Path, url: object) -> None:
    with pytest.raises(UserError, match=r"members\.solar.*must be an address"):
        load_member(tmp_path, base_url=url)


def test_a_budget_needs_prices(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="a budget needs the price"):
        load_member(tmp_path, budget=1)
    assert load_member(tmp_path, budget=1, price={"input": 0.1, "output": 0.2}).budget == 1
