"""Text from data and branches does nothing in a report but be read."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from reporting.reporting_project import Page
from yoyak.revisions.markdown import render_markdown
from yoyak.revisions.markup import to_html, to_markdown
from yoyak.revisions.results import (
    Changes,
    CodeChange,
    ExampleChange,
    MetricChange,
    Note,
    ParamChange,
    Revision,
    ScoreChange,
    StaleStage,
)
from yoyak.revisions.text import render_text

HOSTILE = (
    "@everyone",
    "me@example.com @org/team",
    "fixes #12, owner/repo#7, GH-3, !9, fb07169aa",
    "https://evil.example/x www.evil.example ftp://evil.example <https://evil.example>",
    "[a](javascript:alert(1)) ![x](https://evil.example/x.png) [a]: https://evil.example",
    "<script>alert(1)</script><img src=x onerror=alert(1)> <!-- x --> </td></tr></table></details>",
    "a | b || c \\| d \\",
    "`code` ``` ~~~ ~~strike~~ **bold** __bold__ *i* _i_",
    "$x$ $$y$$ :tada: &amp; &lt;script&gt; &#64;everyone",
    "# heading",
    "- list\n\n<b>x</b>\n\n| a | b |\n|---|---|\n\n```\n@everyone\n```",
    "\u202eabc\u2066 \x1b[31mred\x07\x00",
)
PARSER = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
MENTION = re.compile(r"(?:^|[^\w`])@[A-Za-z0-9]|\w@\w|(?:^|\W|\w)#\d|\bGH-\d|://|\bwww\.|!\d", re.ASCII)


def parse(markdown: str) -> list[Token]:
    return PARSER.parse(markdown)


def walk(tokens: list[Token]) -> Iterator[Token]:
    for token in tokens:
        yield token
        yield from walk(token.children or [])


def report(text: str) -> Changes:
    return Changes(
        base=Revision(name=text, commit="0" * 40),
        head=Revision(name="work tree", commit=""),
        confidence=0.95,
        params=(ParamChange(file=text, key=text, old=text, new=[text], missing=""),),
        data=(),
        rows=(),
        code=(CodeChange(room=text, files=1, added=1, removed=1),),
        stale=(StaleStage(name=text, reasons=(text, text)),),
        outputs=(text,),
        metrics=(MetricChange(file=text, key=text, old=1.0, new=2.0),),
        scores=(ScoreChange(system=text, split=text, metric="combined", old=0.1, new=0.2),),
        speed=(),
        behaviour=(),
        examples=(
            ExampleChange(
                system=text, split="dev", fname=text, dialogue=text, references=(text, text), old=f"{text} 전",
                new=f"후 {text}", old_score=0.1, new_score=0.9,
            ),
        ),
        curves={},
        notes=(Note(section=text, text=text), Note(section="Data", text=text)),
    )  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_only_text(text: str) -> None:
    markdown = render_markdown(report(text), limit=60_000)
    page = Page(MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).render(markdown))
    plain = Page(
        MarkdownIt("commonmark", {"html": True}).enable("table").render(render_markdown(report("x"), limit=60_000))
    )
    # The same elements as around a harmless text: nothing was added, closed or turned into another one.
    allowed = {"ins", "del", "br"}
    assert [tag for tag, _ in page.tags if tag not in allowed] == [tag for tag, _ in plain.tags if tag not in allowed]
    assert page.unbalanced == []
    assert not {"a", "img", "script", "code"} & {tag for tag, _ in page.tags}
    shown = "\n".join(page.words)
    assert not MENTION.search(shown), MENTION.search(shown)
    assert not re.search("[\u202a-\u202e\u2066-\u2069\x00\x07\x1b]", markdown)
    assert "$" not in markdown


@given(st.text(max_size=80))
def test_any_text_stays_in_its_cell(text: str) -> None:
    tokens = list(walk(parse(f"| a | b |\n| --- | --- |\n| {to_markdown(text)} | end |\n")))
    assert [token.content for token in tokens if token.type == "text"][-1].endswith("end")
    assert sum(token.type == "td_open" for token in tokens) == 2
    assert not {"link_open", "image", "html_inline", "code_inline"} & {token.type for token in tokens}
    html = to_html(text)
    assert "\n" not in html and not {"<", ">"} & set(html.replace("<br>", ""))


@given(st.text(alphabet="가나 #Person1:.다", max_size=40))
def test_korean_dialogues_stay_readable(text: str) -> None:
    shown = Page(to_html(text)).words
    assert "".join(shown).replace("\u2060", "").split() == text.split()


def test_a_terminal_gets_no_control_characters() -> None:
    for text in HOSTILE:
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", render_text(report(text)))
