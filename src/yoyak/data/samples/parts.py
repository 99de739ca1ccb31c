"""Scenarios composed from parts, for pretraining: what somebody wants, and details that may come with it.

A frame is a purpose, such as renting something, with its openings and the verbs of a summary. A detail is something
that is asked and answered, such as a day, with the words that it becomes in a summary. A scenario is a frame with a few
of its details in any order, so that there are hundreds of thousands; none of them is one of the topic modules', which
the test set is made of.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass

from yoyak.data.samples.frames import TEXT
from yoyak.data.samples.scenario import Block, Scenario, parse_block


@dataclass(frozen=True, slots=True)
class Detail:
    """A detail: its lists of values, its place in a summary, and the blocks that say it."""

    lists: tuple[str, ...]
    phrase: str
    """In a summary; ``{_}`` is the value."""
    polite: tuple[str, ...]
    casual: tuple[str, ...]


def _detail(lists: str, phrase: str, polite: str, casual: str = "") -> Detail:
    return Detail(tuple(lists.split()), phrase, _lines(polite), _lines(casual))


def _lines(text: str) -> tuple[str, ...]:
    return tuple(line.strip() for line in text.strip().split("\n") if line.strip())


DETAILS = {
    "reason": _detail(
        "reason student_reason leave_reason",
        "{_} 때문에",
        """
        B: 무슨 일이 있으세요? / A: {~_} 그렇게 됐어요.
        B: 왜 그러시는지 여쭤봐도 될까요? / A: {~_} 어쩔 수가 없네요.
        A: 사실은 {~_} 연락드렸어요. / B: 아, 그러셨군요.
        """,
        """
        B: 왜? 무슨 일 있어? / A: {~_} 그래.
        A: 사실 {~_} 말이야. / B: 아, 그랬구나.
        """,
    ),
    "date": _detail(
        "date day day",
        "{_}에",
        """
        B: 날짜는 언제가 좋으세요? / A: {~_:으로} 해 주세요.
        B: 언제로 하시겠어요? / A: {~_:이} 좋겠어요.
        A: 혹시 {~_}에 될까요? / B: 네, 그날은 괜찮습니다.
        B: 무슨 날로 잡아 드릴까요? / A: 음, {~_}에 시간이 나요.
        """,
        """
        B: 언제가 좋아? / A: {~_} 어때?
        A: {~_}에 괜찮아? / B: 응, 그날은 한가해.
        B: 날짜는 정했어? / A: {~_:으로} 하려고.
        """,
    ),
    "time": _detail(
        "time evening early_time",
        "{_}에",
        """
        B: 몇 시가 편하세요? / A: {~_}쯤이 좋겠네요.
        A: 시간은 {~_} 어떨까요? / B: 네, 그때 가능합니다.
        B: 시간은 어떻게 할까요? / A: {~_:으로} 부탁드려요.
        """,
        """
        B: 몇 시에? / A: {~_} 어때?
        A: 시간은 {~_:이} 좋을 것 같아. / B: 그래, 알겠어.
        """,
    ),
    "place": _detail(
        "meet_place building indoor meet_stop",
        "{_}에서",
        """
        B: 장소는 어디가 좋으세요? / A: {~_}에서요.
        A: 어디로 가면 되나요? / B: {~_:으로} 오시면 됩니다.
        B: 그럼 {~_}에서 뵐까요? / A: 네, 거기 알아요.
        """,
        """
        B: 어디서? / A: {~_} 알지? 거기서.
        A: 장소는 {~_:으로} 하자. / B: 좋아, 거기 가까워.
        """,
    ),
    "count": _detail(
        "pieces",
        "{_}",
        """
        B: 몇 개나 필요하세요? / A: {~_:이요}.
        A: {~_} 부탁드릴게요. / B: 네, 그만큼 있습니다.
        B: 수량은 어떻게 되세요? / A: 이번에는 {~_}면 돼요.
        """,
        """
        B: 얼마나 필요해? / A: {~_}면 돼.
        A: {~_} 정도 있으면 좋겠어. / B: 응, 알았어.
        """,
    ),
    "sheets": _detail(
        "sheets",
        "{_}",
        """
        B: 몇 장 드릴까요? / A: {~_} 주세요.
        A: {~_} 부탁해요. / B: 네, 나란히 앉는 자리로 드릴게요.
        """,
    ),
    "people": _detail(
        "people group",
        "{_:이} 쓸",
        """
        B: 모두 몇 분이세요? / A: 저까지 {~_:이에요}.
        B: 인원은 어떻게 되나요? / A: {~_} 정도 될 것 같아요.
        """,
        """
        B: 몇 명이나 와? / A: {~_:이야}.
        """,
    ),
    "price": _detail(
        "price small_price course_price",
        "{_:을} 내고",
        """
        A: 얼마예요? / B: {~_:이에요}.
        B: 값은 {~_}입니다. / A: 네, 카드로 할게요.
        A: 비용이 얼마나 들까요? / B: 다 해서 {~_} 나옵니다.
        """,
        """
        A: 얼마면 돼? / B: {~_}만 줘.
        """,
    ),
    "color": _detail(
        "color",
        "{_}",
        """
        B: 색은 어떤 걸로 드릴까요? / A: {~_:으로} 주세요.
        A: {~_} 있어요? / B: 네, 마침 하나 남았습니다.
        """,
        """
        B: 무슨 색? / A: {~_:이} 좋아.
        """,
    ),
    "duration": _detail(
        "weeks nights months off_days",
        "{_} 동안",
        """
        B: 기간은 얼마나 되나요? / A: {~_} 정도요.
        B: 얼마나 오래 하실 건가요? / A: {~_} 동안 하려고요.
        """,
        """
        B: 얼마나 오래? / A: {~_} 정도.
        """,
    ),
    "whom": _detail(
        "relation",
        "{_}에게 줄",
        """
        B: 누가 쓰실 건가요? / A: {~_} 주려고요.
        A: {~_} 선물이에요. / B: 아, 좋아하시겠네요.
        """,
        """
        B: 누구 줄 건데? / A: {~_}.
        """,
    ),
    "named": _detail(
        "name",
        "{_} 이름으로",
        """
        B: 성함이 어떻게 되세요? / A: {~_:이라고} 합니다.
        B: 어느 분 이름으로 해 드릴까요? / A: {~_:이에요}.
        """,
    ),
    "with": _detail(
        "name relation",
        "{_:과} 함께",
        """
        B: 혼자 하시나요? / A: 아니요, {~_:이랑} 같이요.
        A: {~_}도 같이 갈 거예요. / B: 네, 좋습니다.
        """,
        """
        B: 누구랑? / A: {~_:이랑}.
        A: {~_}도 온대. / B: 정말? 잘됐다.
        """,
    ),
    "city": _detail(
        "city country trip_city",
        "{_:으로}",
        """
        B: 어디로 가는 건가요? / A: {~_:으로요}.
        B: 목적지가 어디세요? / A: {~_}예요.
        """,
        """
        B: 어디로? / A: {~_:으로}.
        """,
    ),
    "fault": _detail(
        "defect phone_trouble house_trouble",
        "{_} 때문에",
        """
        B: 어디가 이상한가요? / A: {~_} 쓸 수가 없어요.
        A: 이게 {~_} 그래요. / B: 네, 제가 한번 볼게요.
        """,
    ),
}
ORDER = (
    "reason",
    "fault",
    "date",
    "time",
    "place",
    "with",
    "named",
    "duration",
    "price",
    "city",
    "whom",
    "people",
    "color",
)
"""The order of details before what they belong to; a count follows it."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A purpose of a conversation."""

    key: str
    topic: str
    setting: str
    what: str
    """List of what it is about."""
    details: tuple[str, ...]
    asks: str
    """What A does, in a summary."""
    answers: str
    """What B does."""
    openings: tuple[Block, ...]
    closings: tuple[Block, ...]


def _parse(chunk: str) -> Frame:
    header, *lines = chunk.strip().split("\n")
    key, topic, setting, what, details, asks, answers = (part.strip() for part in header.split("|"))
    blocks = {mark: tuple(parse_block(line[2:]) for line in lines if line[0] == mark) for mark in "><"}
    return Frame(key, topic, setting, what, tuple(details.split()), asks, answers, blocks[">"], blocks["<"])


FRAMES = tuple(_parse(chunk) for chunk in TEXT.strip().removeprefix("= ").split("\n= "))


def draw_scenario(rng: random.Random) -> Scenario:
    """Return a frame with one to four of its details, as a scenario for `compose`."""
    frame = rng.choice(FRAMES)
    casual = frame.setting == "friends"
    usable = [name for name in frame.details if DETAILS[name].casual or not casual]
    chosen = rng.sample(usable, min(len(usable), rng.choice((1, 2, 2, 3, 3, 4))))
    slots = [("what", frame.what)]
    core = []
    for name in chosen:
        detail = DETAILS[name]
        slots.append((name, rng.choice(detail.lists)))
        core.append(parse_block(rng.choice(detail.casual if casual else detail.polite).replace("_", name)))
    fix = rng.choice([*(name for name in chosen if name not in ("reason", "fault")), ""])
    # Only the slot that may be corrected has a mention that can hold a correction.
    core = [_without_corrections(block, fix) for block in core]
    return Scenario(
        key=f"{frame.key}: {' '.join(sorted(chosen))}",
        topic=frame.topic,
        setting=frame.setting,
        slots=tuple(slots),
        openings=frame.openings,
        core=tuple(core),
        extras=(),
        closings=frame.closings,
        briefs=(),
        summaries=_summaries(frame, chosen),
        fix=fix,
        late_fix=rng.random() < 0.5,
        swap=True,
    )


def _without_corrections(block: Block, fix: str) -> Block:
    return tuple((role, text if fix and f"~{fix}" in text else text.replace("~", "")) for role, text in block)


def _summaries(frame: Frame, chosen: Sequence[str]) -> tuple[str, ...]:
    """Return three wordings: of what A does twice, with the details in two orders, and of what B does."""
    ordered = [name for name in ORDER if name in chosen]
    before = [name for name in ordered if name not in ("whom", "people", "color")]
    attached = [_phrase(name) for name in ordered if name not in before]
    count = next((_phrase(name) for name in ("count", "sheets") if name in chosen), "")

    def sentence(subject: str, details: Sequence[str], verb: str) -> str:
        if count:
            # 의자를 두 개 산다, 기차 표를 두 장 끊는다
            verb = re.sub(r"(:을}|표를) ", rf"\1 {count} ", verb, count=1)
        return " ".join([subject, *details, *attached, verb]) + "."

    others = [name for name in before if name not in ("reason", "fault")]
    causes = [name for name in before if name in ("reason", "fault")]
    phrases, reordered = (_phrases(names) for names in (before, [*others, *causes]))
    return (
        sentence("{A:은}", phrases, frame.asks),
        sentence("{A:은}", reordered, frame.asks),
        sentence("{B:은}", phrases if attached else [*phrases, "{A}의"], frame.answers),
    )


def _phrases(names: Sequence[str]) -> list[str]:
    """Return the phrases of details; a date before a time is 토요일 오후 3시에, not 토요일에 오후 3시에."""
    return [
        "{date}" if name == "date" and "time" in names[number + 1 : number + 2] else _phrase(name)
        for number, name in enumerate(names)
    ]


def _phrase(name: str) -> str:
    return DETAILS[name].phrase.replace("_", name)
