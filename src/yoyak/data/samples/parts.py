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

_FRAMES = """
= rent | 대여 | desk | thing | date time duration people price reason named | {what:을} 빌린다 | {what:을} 빌려준다
> A: 안녕하세요. {what:을} 빌릴 수 있을까요? / B: 네, 찾아보겠습니다.
> B: 어서 오세요. / A: {what} 좀 빌리려고 왔어요.
< B: 네, 준비해 두겠습니다. / A: 고맙습니다.
< A: 잘 쓰고 돌려드릴게요. / B: 네, 조심해서 쓰세요.

= giveback | 대여 | desk | thing | price named | {what:을} 반납한다 | {what:을} 돌려받는다
> A: 지난번에 빌린 {what} 가져왔어요. / B: 네, 이리 주세요.
> B: 무엇을 도와드릴까요? / A: {what:을} 돌려드리러 왔어요.
< B: 네, 다 됐습니다. / A: 잘 썼어요.
< A: 늦어서 죄송해요. / B: 괜찮습니다.

= order | 주문 | phone | thing | date time count price color named | {what:을} 주문한다 | {what} 주문을 받는다
> B: 네, 주문 도와드리겠습니다. / A: {what:을} 주문하려고요.
> A: 여보세요, {what} 파시죠? / B: 네, 있습니다.
< B: 네, 주문 넣어 드렸습니다. / A: 네, 기다릴게요.
< A: 늦지 않게 부탁해요. / B: 네, 알겠습니다.

= buy | 쇼핑 | desk | thing | price color count whom place | {what:을} 산다 | {what:을} 판다
> A: {what} 보러 왔는데요. / B: 네, 이쪽입니다.
> B: 찾으시는 게 있으세요? / A: {what:이} 필요해서요.
< A: 그럼 그걸로 주세요. / B: 네, 포장해 드릴게요.
< B: 잘 고르셨어요. / A: 네, 마음에 들어요.

= sell | 중고 거래 | call | thing | date time place reason | {what:을} 팔기로 한다 | {what:을} 사기로 한다
> B: 여보세요, 올리신 {what} 아직 있나요? / A: 네, 있어요.
> A: 여보세요. / B: {what} 파신다는 글을 보고 전화드렸어요.
< B: 그럼 그때 뵐게요. / A: 네, 가지고 나갈게요.
< A: 늦으면 연락 주세요. / B: 네, 그럴게요.

= exchange | 쇼핑 | desk | thing | fault color date price | {what:을} 교환한다 | {what:을} 바꿔 준다
> A: 산 지 얼마 안 된 {what:을} 바꾸고 싶어요. / B: 네, 영수증 있으세요?
> B: 무슨 일로 오셨어요? / A: 이 {what} 다른 걸로 바꿀 수 있나요?
< B: 새것으로 드릴게요. / A: 감사합니다.
< A: 이번 건 괜찮네요. / B: 다행입니다.

= refund | 쇼핑 | desk | thing | fault price date named | {what:을} 환불받는다 | {what} 값을 돌려준다
> A: {what:을} 환불받으러 왔는데요. / B: 네, 보여 주시겠어요?
> B: 네, 고객 센터입니다. / A: 얼마 전에 산 {what:을} 돌려보내고 싶어요.
< B: 며칠 안에 들어갈 겁니다. / A: 네, 알겠어요.
< A: 처리해 주셔서 고마워요. / B: 불편을 드려 죄송합니다.

= repair | 수리 | desk | thing | fault date time price named | {what:을} 수리 맡긴다 | {what:을} 고쳐 주기로 한다
> A: 이 {what} 고칠 수 있을까요? / B: 네, 한번 볼게요.
> B: 어서 오세요. / A: {what:이} 고장 나서 왔어요.
< B: 다 되면 연락드리겠습니다. / A: 네, 부탁드려요.
< A: 그때 찾으러 올게요. / B: 네, 조심히 가세요.

= visit_repair | 수리 | phone | thing | fault date time | {what} 방문 수리를 신청한다 | {what:을} 고치러 가기로 한다
> B: 수리 접수 센터입니다. / A: {what:이} 말을 안 들어서요.
> A: 여보세요, {what} 고치러 와 주실 수 있나요? / B: 네, 가능합니다.
< B: 기사님이 찾아뵐 거예요. / A: 네, 집에 있을게요.
< A: 빨리 와 주시면 좋겠어요. / B: 네, 서두르겠습니다.

= install | 설치 | phone | thing | date time place price | {what} 설치를 예약한다 | {what:을} 설치해 주기로 한다
> A: 주문한 {what:을} 언제 달아 주시나요? / B: 날짜를 정해 드릴게요.
> B: 설치 예약 센터입니다. / A: {what:을} 설치해 주세요.
< B: 네, 예약됐습니다. / A: 감사합니다.
< A: 자리는 비워 둘게요. / B: 네, 그래 주시면 좋죠.

= lost | 분실 | desk | thing | named reason | 잃어버린 {what:을} 찾는다 | 잃어버린 {what:을} 찾아 준다
> A: {what:을} 잃어버렸는데 혹시 들어왔나요? / B: 잠시만요, 찾아볼게요.
> B: 분실물 센터입니다. / A: {what:을} 두고 온 것 같아요.
< B: 네, 여기 있네요. / A: 정말 다행이에요.
< A: 찾아 주셔서 고맙습니다. / B: 다음부터 조심하세요.

= keep | 보관 | desk | thing | duration price named | {what:을} 맡긴다 | {what:을} 맡아 준다
> A: {what:을} 좀 맡길 수 있나요? / B: 네, 됩니다.
> B: 무엇을 도와드릴까요? / A: {what} 맡기고 싶어서요.
< B: 표를 잃어버리지 마세요. / A: 네, 이따 올게요.
< A: 금방 찾으러 올게요. / B: 네, 다녀오세요.

= post | 택배 | desk | thing | city price whom | {what:을} 부친다 | {what:을} 접수한다
> A: {what:을} 보내려고 하는데요. / B: 네, 여기 올려 주세요.
> B: 다음 손님이요. / A: {what} 부치러 왔어요.
< B: 여기 영수증입니다. / A: 네, 수고하세요.
< A: 깨지지 않게 해 주세요. / B: 네, 스티커 붙이겠습니다.

= enrol | 신청 | desk | course | date time duration price | {what} 수업을 신청한다 | {what} 수업 신청을 받는다
> A: {what} 수업을 들어 보고 싶어요. / B: 네, 처음이세요?
> B: 어서 오세요. / A: {what} 배울 수 있나요?
< B: 등록해 드렸습니다. / A: 열심히 할게요.
< A: 그럼 그때부터 나올게요. / B: 네, 기다리겠습니다.

= quit | 신청 | phone | course | reason date price named | {what} 수업을 그만둔다 | {what} 수업 취소를 처리한다
> A: 듣고 있는 {what} 수업 때문에 전화했어요. / B: 네, 말씀하세요.
> B: 네, 문화 센터입니다. / A: {what} 수업을 더는 못 갈 것 같아요.
< B: 네, 처리해 드릴게요. / A: 감사합니다.
< A: 나중에 다시 할게요. / B: 네, 언제든 오세요.

= reserve | 예약 | phone | venue | date time people named price | {what:을} 예약한다 | {what:을} 예약해 준다
> A: 여보세요, {what} 예약하려고요. / B: 네, 말씀하세요.
> B: 네, 예약 담당입니다. / A: {what} 비어 있나요?
< B: 네, 잡아 두었습니다. / A: 그때 뵐게요.
< A: 잘 부탁드려요. / B: 네, 감사합니다.

= cancel | 예약 | phone | venue | reason date time named | {what} 예약을 취소한다 | {what} 예약 취소를 받아들인다
> A: {what} 예약한 걸 취소하려고요. / B: 네, 확인해 볼게요.
> B: 네, 예약 담당입니다. / A: 잡아 둔 {what} 못 쓰게 됐어요.
< B: 네, 취소됐습니다. / A: 죄송합니다.
< A: 다음에 다시 할게요. / B: 네, 알겠습니다.

= delay | 예약 | phone | venue | reason date time | {what} 예약을 옮긴다 | {what} 예약을 옮겨 준다
> A: {what} 예약을 다른 날로 옮길 수 있나요? / B: 네, 가능합니다.
> B: 네, 말씀하세요. / A: {what} 날짜를 바꿔야 할 것 같아요.
< B: 네, 바꿔 드렸습니다. / A: 고맙습니다.
< A: 이번에는 꼭 갈게요. / B: 네, 기다리겠습니다.

= ticket | 예매 | desk | show | date time sheets price with | {what} 표를 산다 | {what} 표를 판다
> A: {what} 표 있어요? / B: 네, 있습니다.
> B: 어떤 걸 보시겠어요? / A: {what} 보려고요.
< B: 여기 표 있습니다. / A: 감사합니다.
< A: 늦게 들어가도 되나요? / B: 시작 전에 와 주세요.

= outing | 약속 | friends | activity | date time place with reason | {what:을} 하러 가기로 한다 | {what:을} 하기로 한다
> A: 우리 {what} 하러 갈래? / B: 좋아, 나도 하고 싶었어.
> B: 이번에 뭐 할 거야? / A: {what} 어때?
< B: 그럼 그때 보자. / A: 응, 늦지 마.
< A: 진짜 기대된다. / B: 나도.

= lend | 부탁 | friends | thing | date place reason | {what:을} 빌려 달라고 한다 | {what:을} 빌려주기로 한다
> A: 너 {what} 있지? 좀 빌려줄 수 있어? / B: 응, 있어.
> A: 부탁 하나만 해도 돼? / B: 뭔데? / A: {what} 좀 빌려줘.
< B: 그래, 가져다줄게. / A: 고마워.
< A: 깨끗이 쓰고 줄게. / B: 응, 천천히 줘.

= gift | 선물 | friends | thing | whom price date color place | {what:을} 선물하기로 한다 | {what:을} 고르도록 돕는다
> A: 선물로 {what} 어떨까? / B: 그거 괜찮다.
> A: 선물을 뭘 사야 할지 모르겠어. / B: {what:은} 어때? / A: 오, 좋은데.
< B: 분명 좋아할 거야. / A: 그랬으면 좋겠다.
< A: 같이 골라 줘서 고마워. / B: 아니야.

= found_new | 자랑 | friends | thing | price color | {what:을} 샀다고 말한다 | {what:을} 산 이야기를 듣는다
> A: 나 {what} 샀다. / B: 진짜? 보여 줘.
> B: 그거 {what} 아니야? 못 보던 건데. / A: 응, 새로 샀어.
< B: 예쁘다. 잘 샀네. / A: 그렇지?
< A: 너도 하나 사. / B: 생각해 볼게.

= postpone | 약속 | friends | activity | reason date time | {what} 약속을 미룬다 | {what} 약속을 미루는 데 동의한다
> A: 우리 {what} 하기로 한 거 말이야. / B: 응, 왜?
> A: 미안한데 {what} 약속 못 지킬 것 같아. / B: 그래?
< B: 괜찮아, 그때 보자. / A: 고마워.
< A: 다음엔 내가 밥 살게. / B: 약속이다.

= meeting | 회의 | work | agenda | date time place with duration | {what} 회의를 잡는다 | {what} 회의에 참석하기로 한다
> A: {what} 건으로 회의를 해야겠어요. / B: 네, 언제 할까요?
> B: {what:은} 어떻게 할까요? / A: 모여서 이야기합시다.
< B: 네, 다른 분들께도 알릴게요. / A: 부탁드려요.
< A: 자료는 제가 준비할게요. / B: 네, 알겠습니다.

= handover | 업무 | work | document | date time reason with | {what:을} 보내 달라고 한다 | {what:을} 보내기로 한다
> A: 저, {what} 아직 못 받았는데요. / B: 아, 죄송합니다.
> A: {what} 좀 보내 주시겠어요? / B: 네, 정리하고 있어요.
< B: 네, 맞춰서 드릴게요. / A: 감사합니다.
< A: 급하니까 꼭 부탁해요. / B: 네, 알겠습니다.

= extend | 업무 | work | document | reason date time | {what} 기한을 늦춰 달라고 한다 | {what} 기한을 늦춰 준다
> A: {what} 말인데요, 조금 늦어질 것 같아요. / B: 무슨 일 있어요?
> B: {what} 다 됐나요? / A: 아직 조금 남았어요.
< B: 알겠어요. 그때까지는 꼭 줘요. / A: 네, 감사합니다.
< A: 죄송합니다. / B: 괜찮아요.

= supply | 업무 | work | thing | count reason color | {what:을} 사 달라고 요청한다 | {what:을} 신청해 주기로 한다
> A: 사무실에 {what:이} 필요해요. / B: 네, 신청할게요.
> B: 더 필요한 거 있으세요? / A: {what} 좀 부탁드려요.
< B: 오면 자리로 가져다드릴게요. / A: 고맙습니다.
< A: 급하지는 않아요. / B: 네, 알겠습니다.

= exam | 병원 | phone | exam | reason date time price named | {what:을} 예약한다 | {what} 예약을 받는다
> A: {what:을} 받고 싶은데요. / B: 네, 처음이신가요?
> B: 네, 병원입니다. / A: {what} 예약 되나요?
< B: 전날 저녁부터 드시지 마세요. / A: 네, 알겠습니다.
< A: 그날 갈게요. / B: 네, 예약됐습니다.

= ask_way | 길 안내 | street | venue | time with | {what:을} 가는 길을 묻는다 | {what:을} 가는 길을 알려 준다
> A: 실례지만 {what} 가려면 어떻게 해요? / B: 아, 조금 걸어야 해요.
> A: 저기요, {what} 이쪽으로 가면 있나요? / B: 네, 맞아요.
< A: 감사합니다. / B: 네, 조심히 가세요.
< B: 금방 보일 거예요. / A: 네, 고맙습니다.

= report | 신고 | phone | thing | fault named | {what} 문제를 신고한다 | {what} 신고를 받는다
> B: 네, 민원실입니다. / A: {what} 때문에 신고하려고요.
> A: 여보세요, {what:이} 위험해 보여요. / B: 네, 말씀하세요.
< B: 바로 나가 보겠습니다. / A: 네, 부탁드려요.
< A: 다칠까 봐 걱정돼요. / B: 알려 주셔서 감사합니다.

= open_up | 신청 | desk | account | price duration named reason | {what:을} 새로 만든다 | {what:을} 만들어 준다
> A: {what} 하나 만들려고 왔어요. / B: 네, 신분증 주세요.
> B: 어떤 업무 보러 오셨어요? / A: {what} 새로 하고 싶어요.
< B: 다 됐습니다. / A: 고맙습니다.
< A: 생각보다 금방 되네요. / B: 네, 감사합니다.

= transfer | 여행 | desk | transport | city date time sheets price | {what} 표를 끊는다 | {what} 표를 끊어 준다
> A: {what} 표 한번 알아봐 주세요. / B: 네, 어디 가세요?
> B: 다음 분이요. / A: {what} 타려고 하는데요.
< B: 여기 있습니다. / A: 네, 감사합니다.
< A: 자리는 창가로 주세요. / B: 네, 그렇게 했습니다.

= apply_leave | 휴가 | work | leave | reason date duration | {what:을} 신청한다 | {what:을} 허락한다
> A: 드릴 말씀이 있는데요, {what:을} 쓰고 싶어요. / B: 네, 말해 보세요.
> B: 무슨 일이에요? / A: {what} 좀 내려고요.
< B: 그렇게 해요. / A: 감사합니다.
< A: 일은 미리 해 둘게요. / B: 그래요, 걱정 말아요.
"""


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


FRAMES = tuple(_parse(chunk) for chunk in _FRAMES.strip().removeprefix("= ").split("\n= "))


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
