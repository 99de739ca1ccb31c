"""The details of `parts`: what is asked and answered in a conversation, with the words that it becomes in a summary."""

from __future__ import annotations

from dataclasses import dataclass


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
        B: 목적지가 어디세요? / A: {~_:이에요}.
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
    "since": _detail(
        "date day since",
        "{_}부터",
        """
        B: 언제부터 그러셨어요? / A: {~_}부터예요.
        B: 시작은 언제로 할까요? / A: {~_}부터로 해 주세요.
        A: {~_}부터 하려고요. / B: 네, 그렇게 알고 있을게요.
        """,
        """
        B: 언제부터? / A: {~_}부터.
        A: {~_}부터야. / B: 아, 그렇구나.
        """,
    ),
    "until": _detail(
        "date day time evening late",
        "{_}까지",
        """
        B: 언제까지 해야 하나요? / A: {~_}까지요.
        A: {~_}까지는 끝내야 해요. / B: 네, 맞춰 보겠습니다.
        B: 마감이 언제예요? / A: {~_}까지입니다.
        """,
        """
        B: 언제까지? / A: {~_}까지.
        A: 늦어도 {~_}까지는 해야 돼. / B: 응, 서두르자.
        """,
    ),
    "every": _detail(
        "weekday day",
        "{_}마다",
        """
        B: 무슨 요일이 좋으세요? / A: {~_}마다 할게요.
        A: 일주일에 언제 있나요? / B: {~_}마다 있어요.
        """,
        """
        B: 무슨 요일에 해? / A: {~_}마다 해.
        """,
    ),
    "minutes": _detail(
        "minutes repair_time",
        "{_} 동안",
        """
        A: 오래 걸리나요? / B: 길어야 {~_:이에요}.
        B: 시간이 좀 걸립니다. {~_} 기다리셔야 해요. / A: 네, 괜찮아요.
        """,
        """
        A: 얼마나 걸려? / B: 한 {~_} 걸릴걸.
        """,
    ),
    "percent": _detail(
        "percent",
        "{_} 할인받아",
        """
        A: 할인도 되나요? / B: 네, {~_} 깎아 드려요.
        B: 지금은 {~_} 할인해 드립니다. / A: 잘됐네요.
        """,
        """
        A: 지금 {~_} 할인이래. / B: 진짜? 싸다.
        """,
    ),
    "purpose": _detail(
        "purpose loan_purpose",
        "{_:을} 위해",
        """
        B: 어디에 쓰실 건가요? / A: {_} 그래요.
        A: {_} 알아보고 있어요. / B: 아, 그러시군요.
        """,
        """
        B: 갑자기 왜? / A: {_} 그래.
        """,
    ),
    "weather": _detail(
        "weather lateness",
        "{_} 때문에",
        """
        A: {_} 걱정이에요. / B: 그러게 말이에요.
        B: 무슨 일이에요? / A: {_} 그래요.
        """,
        """
        A: {_} 큰일이야. / B: 그럼 어쩔 수 없지.
        A: {_} 어떡하지? / B: 음, 글쎄.
        """,
    ),
    "symptom": _detail(
        "symptom pet_symptom house_trouble taste size_trouble",
        "{_} 때문에",
        """
        B: 어떤 점이 불편하세요? / A: {_} 힘들어요.
        A: {_} 왔어요. / B: 아이고, 그러셨군요.
        B: 왜 그러시죠? / A: {_} 그렇습니다.
        """,
        """
        B: 어디 안 좋아? / A: {_} 그래.
        """,
    ),
    "means": _detail(
        "transport airport_ride",
        "{_:으로}",
        """
        B: 뭘 타고 가시나요? / A: {~_:으로} 가려고요.
        A: 뭘 타는 게 좋을까요? / B: 저라면 {~_:을} 타겠어요.
        """,
        """
        B: 뭐 타고? / A: {~_} 타면 돼.
        """,
    ),
    "to": _detail(
        "drop_place building landmark",
        "{_}에",
        """
        B: 어디에 두면 될까요? / A: {~_}에 부탁드려요.
        A: 어디로 가져가면 되나요? / B: {~_}에 가져오세요.
        """,
        """
        B: 어디에 둘까? / A: {~_}에 놔 줘.
        """,
    ),
    "origin": _detail(
        "country city",
        "{_}에서 온",
        """
        B: 말씨를 보니 이 동네 분이 아니시네요. / A: 네, {~_}에서 올라왔습니다.
        A: {~_} 사람이라 여기는 낯설어요. / B: 먼 데서 오셨네요.
        """,
        """
        A: 나 {~_}에서 방금 왔어. / B: 피곤하겠다.
        """,
    ),
    "worked": _detail(
        "part_time lost_at",
        "{_}에서 일한",
        """
        B: 전에는 어떤 일을 하셨어요? / A: {~_}에서 일했습니다.
        A: 작년까지 {~_}에서 일을 했지요. / B: 그러시군요.
        """,
    ),
    "inside": _detail(
        "luggage parcel gift",
        "{_:이} 든",
        """
        B: 내용물을 알려 주시겠어요? / A: {~_:을} 넣어 두었어요.
        A: 속에 {~_} 있으니 조심해 주세요. / B: 네, 조심할게요.
        """,
        """
        B: 이거 왜 이렇게 무거워? / A: {~_} 들어서 그래.
        """,
    ),
    "study": _detail(
        "subject paper_topic",
        "{_} 수업에 쓸",
        """
        B: 어디에 필요하세요? / A: {~_} 수업에 쓰려고요.
        A: {~_} 수업 때문에 그래요. / B: 아, 네.
        """,
        """
        B: 그걸로 뭐 하게? / A: {~_} 수업에 쓸 거야.
        """,
    ),
    "eat": _detail(
        "menu home_dish stew",
        "{_:을} 먹으려고",
        """
        B: 뭐 드시고 싶으세요? / A: {~_:이} 먹고 싶어요.
        A: 오늘은 {~_:이} 당기네요. / B: 좋지요, 저도 좋아해요.
        """,
        """
        B: 뭐 먹을 거야? / A: {~_} 먹으려고.
        """,
    ),
    "cook": _detail(
        "home_dish stew cake",
        "{_:을} 만들려고",
        """
        B: 뭘 만드시려고요? / A: {~_:을} 만들 거예요.
        """,
        """
        B: 그걸로 뭐 하려고? / A: {~_} 할 거야.
        A: 저녁에 {~_} 해 먹자. / B: 맛있겠다.
        """,
    ),
    "fee": _detail(
        "fee wage rent salary",
        "{_}에",
        """
        A: 얼마로 되나요? / B: {~_}입니다. / A: 네, 좋습니다.
        B: {~_:을} 받고 있어요. / A: 괜찮네요.
        """,
        """
        A: 얼마래? / B: {~_:이래}.
        """,
    ),
    "body": _detail(
        "body",
        "{_:을} 다쳐",
        """
        B: 어디를 다치셨어요? / A: {~_:을} 다쳤어요.
        """,
        """
        A: 나 {~_} 다쳤어. / B: 어머, 괜찮아?
        """,
    ),
    "job": _detail(
        "job",
        "{_}인",
        """
        B: 무슨 일을 하세요? / A: {~_:이에요}.
        A: 저는 {~_}입니다. / B: 반갑습니다.
        """,
    ),
    "size": _detail(
        "car room home_type room_count",
        "{_}에",
        """
        B: 어떤 걸 원하세요? / A: {~_:이} 좋겠어요.
        A: {~_:으로} 될까요? / B: 네, 있습니다.
        """,
    ),
    "volumes": _detail(
        "book_count stops pieces",
        "{_}",
        """
        B: 얼마나 필요하세요? / A: {~_} 정도요.
        A: {~_:으로} 해 주세요. / B: 네, {_} 맞으시죠?
        """,
        """
        B: 얼마나? / A: {~_}.
        """,
    ),
}
LEADING = ("origin", "worked", "job")
"""Details of who asks, before the subject of a summary."""
ORDER = (
    "symptom",
    "weather",
    "reason",
    "fault",
    "body",
    "purpose",
    "since",
    "date",
    "time",
    "every",
    "until",
    "place",
    "with",
    "named",
    "duration",
    "minutes",
    "percent",
    "price",
    "fee",
    "eat",
    "cook",
    "means",
    "city",
    "to",
    "size",
    "study",
    "whom",
    "people",
    "inside",
    "color",
)
"""The order of details before what they belong to; a count follows it."""
ATTACHED = ("study", "whom", "people", "inside", "color")
COUNTS = ("count", "sheets", "volumes")
CAUSES = ("symptom", "weather", "reason", "fault")
ALTERNATIVES = (CAUSES, COUNTS, ("duration", "minutes"), ("price", "fee"))
"""Only one of each may be in a scenario."""
