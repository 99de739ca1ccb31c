"""A real server of a tiny model behind a proxy that fails, and members that ask it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from endpoint_proxy import KEY, Proxy, running_proxy
from live_server import Live, live, tiny_export  # noqa: F401
from yoyak.decoding.endpoint.summarizer import EndpointSummarizer
from yoyak.decoding.loading import load_member
from yoyak.models.families import get_family
from yoyak.params import parse_member

DIALOGUES = [f"#Person1#: {number}번 버스를 타세요.\n#Person2#: 네, 고마워요." for number in range(10, 22)]
TRAIN = [(f"#Person1#: {number}번 {thing}\n#Person2#: 네.", f"{thing} {number}") for number in range(6)
         for thing in ("버스", "회의", "피자")]  # fmt: skip
Load = Callable[..., EndpointSummarizer]


@pytest.fixture(scope="session")
def served(live: Live) -> Iterator[Proxy]:  # noqa: F811
    with running_proxy(live.url) as proxy:
        yield proxy


@pytest.fixture
def proxy(served: Proxy, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    monkeypatch.setenv("TEST_API_KEY", KEY)
    served.reset()
    yield served
    served.released.set()


@pytest.fixture
def load(proxy: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    """A function that does what `base` and `train` do with a member, in a project of its own, and loads it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").touch()
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts/plain.yaml").write_text('user: "{{ dialogue }}"\n', encoding="utf-8")

    def load(name: str = "solar", **changes: Any) -> EndpointSummarizer:
        member = parse_member({**values(proxy), **changes})
        family, base, out = get_family(member.family), tmp_path / f"base-{name}", tmp_path / f"model-{name}"
        for folder in (base, out):
            folder.mkdir(exist_ok=True)
        family.collect(name, member, base)
        family.assemble(name, member, base, TRAIN, 20, out)
        summarizer = load_member(out)
        assert isinstance(summarizer, EndpointSummarizer)
        return summarizer

    return load


def values(proxy: Proxy) -> dict[str, Any]:
    """The params of a member that asks the proxy."""
    return {
        "family": "api",
        "base_url": proxy.url,
        "model": "yoyak",
        "api_key_env": "TEST_API_KEY",
        "prompt": "prompts/plain.yaml",
        "backoff_seconds": 0.01,
        "timeout_seconds": 20,
    }
