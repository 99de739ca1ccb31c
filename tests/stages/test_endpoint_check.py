"""yoyak check of members behind an endpoint, and what `base` keeps of them: no token is spent."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from decoding.endpoint.conftest import values
from endpoint_proxy import KEY, Proxy, running_proxy
from live_server import Live, live, tiny_export  # noqa: F401
from yoyak.errors import UserError
from yoyak.stages import base, check


@pytest.fixture(scope="module")
def served(live: Live) -> Iterator[Proxy]:  # noqa: F811
    with running_proxy(live.url) as proxy:
        yield proxy


@pytest.fixture
def proxy(served: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Proxy:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TEST_API_KEY", KEY)
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts/plain.yaml").write_text('user: "{{ dialogue }}"\n', encoding="utf-8")
    served.reset()
    return served


def use(proxy: Proxy, **changes: Any) -> None:
    with Path("params.yaml").open("w", encoding="utf-8") as out:
        YAML().dump({"members": {"solar": {**values(proxy), **changes}}}, out)


def test_a_member_that_can_be_asked(proxy: Proxy, capsys: pytest.CaptureFixture[str]) -> None:
    use(proxy, price={"input": 1, "output": 1}, budget=2)
    check.run("solar", json=True)
    [report] = json.loads(capsys.readouterr().out)
    assert [(row["check"], row["level"]) for row in report["findings"]] == [
        ("prompt", "ok"),
        ("key", "ok"),
        ("endpoint", "ok"),
        ("budget", "ok"),
    ]
    assert not proxy.asked
    check.run("solar")
    table = capsys.readouterr().out
    assert "endpoint" in table.splitlines()[0]
    assert KEY not in table


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"model": "yoyac"}, r"has no model 'yoyac' .did you mean 'yoyak'\?."),
        ({"api_key_env": "NO_SUCH_KEY"}, "variable NO_SUCH_KEY is not set"),
        ({"api_key_env": None}, "wants a key .401.: name its variable in api_key_env"),
        ({"prompt": "prompts/plane.yaml"}, r"no file 'prompts/plane.yaml' .did you mean 'prompts/plain.yaml'\?."),
        ({"prompt": "../plain.yaml"}, r"DVC would not notice when it changes: put it below prompts/"),
        ({"base_url": "http://127.0.0.1:PORT/v1"}, "does not answer"),
    ],
)
def test_what_cannot_work_is_said_at_once(
    proxy: Proxy, changes: dict[str, Any], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if "base_url" in changes:
        changes = {"base_url": f"http://127.0.0.1:{closed_port()}/v1"}
    use(proxy, **changes)
    with pytest.raises(UserError, match="1 of 1 members cannot be used here: solar"):
        check.run("solar")
    assert re.search(sentence, capsys.readouterr().out)
    assert not proxy.asked


def test_an_endpoint_that_lists_no_models_may_be_right(proxy: Proxy, capsys: pytest.CaptureFixture[str]) -> None:
    use(proxy, base_url=proxy.url.removesuffix("/v1"))
    check.run("solar")
    assert "does not list its models" in capsys.readouterr().out


def test_a_member_whose_summaries_are_here_need_not_be_asked(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    use(proxy)
    base.run("solar")
    monkeypatch.delenv("TEST_API_KEY")
    with pytest.raises(UserError):
        check.run("solar")
    Path("predictions/solar").mkdir(parents=True)
    check.run("solar")
    use(proxy, temperature=0.5)
    with pytest.raises(UserError):
        check.run("solar")


def test_base_keeps_the_prompt(proxy: Proxy) -> None:
    use(proxy)
    base.run("solar")
    kept = Path("bases/solar/prompt.yaml").read_bytes()
    assert kept == Path("prompts/plain.yaml").read_bytes()
    Path("prompts/plain.yaml").write_text('user: "{{ dialogue }}!"\n', encoding="utf-8")
    base.run("solar")
    assert Path("bases/solar/prompt.yaml").read_bytes() != kept
    use(proxy, prompt="prompts/none.yaml")
    with pytest.raises(UserError, match="there is no file"):
        base.run("solar")
