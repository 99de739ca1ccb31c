"""Prompt files: what they may say, and what is wrong with one that cannot be used."""

from __future__ import annotations

from pathlib import Path

import pytest

from yoyak.errors import UserError
from yoyak.models.prompts import Example, Prompt, read_prompt

SHOWN = [Example("가: 안녕", "인사"), Example("나: 잘 가", "작별")]


def write(folder: Path, text: str) -> Path:
    path = folder / "prompt.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_examples_are_earlier_turns(tmp_path: Path) -> None:
    prompt = read_prompt(
        write(tmp_path, 'system: 요약한다.\nuser: "대화: {{ dialogue }}"\nassistant: "답: {{ summary }}"')
    )
    assert [tuple(message.values()) for message in prompt.render("{{ user }}", SHOWN)] == [
        ("system", "요약한다."),
        ("user", "대화: 가: 안녕"),
        ("assistant", "답: 인사"),
        ("user", "대화: 나: 잘 가"),
        ("assistant", "답: 작별"),
        ("user", "대화: {{ user }}"),
    ]


def test_a_prompt_may_show_the_examples_itself(tmp_path: Path) -> None:
    text = "user: '{% for example in examples %}{{ example.summary }} {% endfor %}{{ dialogue }}'"
    assert read_prompt(write(tmp_path, text)).render("다: 네", SHOWN) == [
        {"role": "user", "content": "인사 작별 다: 네"}
    ]


def test_the_digest_is_of_the_texts() -> None:
    assert Prompt("{{ dialogue }}").digest == Prompt("{{ dialogue }}").digest != Prompt("{{ dialogue }}.").digest


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("user: [a]", "must map user"),
        ("- user", "must map user"),
        ("user: 'a: b", "cannot be read as a prompt"),
        ("users: '{{ dialogue }}'", "no key 'users' .did you mean 'user'"),
        ("system: x", "user must show the dialogue"),
        ("user: '{{ dialog }}'", "user uses 'dialog' .did you mean 'dialogue'"),
        ("user: '{{ dialogue }'", "user, line 1"),
        ("user: '{{ dialogue }}'\nassistant: ok", "assistant must show the summary"),
        ("user: '{{ dialogue.x.y }}'", "cannot be filled in"),
        ("user: '{{ dialogue.__class__.__mro__ }}'", "cannot be filled in"),
    ],
)
def test_a_prompt_that_cannot_be_used_is_refused(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(UserError, match=rf"prompt\.yaml.*{sentence}"):
        read_prompt(write(tmp_path, text))


def test_the_projects_prompts_are_valid() -> None:
    files = sorted(Path(__file__).parents[2].glob("prompts/*.yaml"))
    assert files
    for file in files:
        assert read_prompt(file).render("가: 안녕", SHOWN)[-1]["content"].endswith("가: 안녕")
