"""Conversation around the facts of a scenario, by setting: small talk, interruptions, corrections and goodbyes.

In `phone`, `desk`, `street` and `emergency`, role B helps role A; in `school` and `interview`, B decides; in `call`,
`work` and `friends`, they are equals. A key `x_list` is a value that is irrelevant to the summary.
"""

from __future__ import annotations

from yoyak.data.samples.scenario import Block, parse_block

NAMED_CALLS = {
    "friends": ("{x_name:아}, ", "야, {x_name:아}. "),
    "work": ("저, {x_name} 씨. ", "{x_name} 씨, "),
}
"""How the first speaker may address the other by name."""


def _blocks(text: str) -> tuple[Block, ...]:
    return tuple(parse_block(line) for line in text.strip().split("\n"))


_SERVICE = """
A: 아까 {x_time}쯤에도 왔었는데 사람이 많더라고요. / B: 네, 그 시간이 제일 바빠요.
A: 그나저나 오늘 날씨가 참 좋네요. / B: 그러게요. {x_day}까지는 계속 맑대요.
B: 혹시 다른 곳에서 소개받고 오셨어요? / A: 네, {x_relation} 친구분이 여기가 친절하다고 하셔서요.
B: 잠시만 기다려 주세요. 컴퓨터가 좀 느리네요. / A: 괜찮아요. 저도 {x_time}까지는 시간 있어요.
A: 여기 음악이 좋네요. / B: 감사합니다. {x_day}마다 직원들이 돌아가면서 골라요.
A: 오다 보니까 앞에 공사를 하던데요. / B: 네, {x_date}까지 한다고 들었어요.
B: 요즘 감기가 유행이라는데 조심하세요. / A: 그러게요. 저도 {x_day}에 목이 좀 칼칼했어요.
A: 직원이 새로 오셨나 봐요. / B: 네, {x_date}부터 같이 일하게 됐어요.
"""
_PHONE = """
A: 아까 {x_time}쯤에도 걸었는데 안 받으시더라고요. / B: 죄송합니다. 오늘 전화가 유난히 많네요.
A: 목소리가 조금 작게 들려요. / B: 아, 이제 잘 들리시나요?
B: 잠시만요, 화면을 좀 열어 보겠습니다. / A: 네, 천천히 하세요. {x_time}까지는 한가해요.
A: 거기 {x_day}에도 문 여시죠? / B: 네, 공휴일만 쉽니다.
B: 혹시 전에도 저희를 이용하신 적이 있으세요? / A: 네, 작년 {x_date}에 한 번요.
A: 거기도 지금 비 오나요? / B: 네, {x_time}부터 조금씩 내리네요.
B: 옆이 조금 시끄러우신 것 같아요. / A: 죄송해요. 아이가 {x_pet} 인형을 가지고 놀고 있어서요.
"""
_WORK = """
A: 참, 점심은 드셨어요? / B: 네, {x_menu} 먹었어요. 요 앞에 새로 생긴 집이에요.
B: 요즘 많이 바쁘시죠? / A: 네, 어제도 {x_late}까지 일했어요.
A: 커피 한 잔 드릴까요? / B: 괜찮아요. {x_time}에 벌써 두 잔 마셨어요.
B: {x_day}에 회식 있는 거 들으셨어요? / A: 네, {x_menu} 먹으러 간다던데요.
A: 사무실이 좀 춥지 않아요? / B: 그러게요. {x_time}쯤 되면 따뜻해져요.
B: 어제 축구 보셨어요? / A: {x_late}까지 보느라 오늘 너무 피곤해요.
A: {x_name} 씨가 {x_city:으로} 발령 났다면서요? / B: 네, {x_date}부터 거기로 출근한대요.
B: 오늘 입으신 {x_clothes} 새로 사셨어요? / A: 네, {x_percent} 할인하길래 샀어요.
"""
_FRIENDS = """
A: 참, 너 {x_day}에 뭐 했어? / B: 그냥 집에서 {x_menu} 해 먹었지.
B: 나 어제 드라마 보다가 {x_late}에 잤어. / A: 어쩐지 피곤해 보이더라.
A: 너 그 {x_clothes} 새로 샀어? / B: 응, {x_price}짜리인데 세일할 때 샀어.
B: 아까 {x_time}에 {x_name:이를} 만났는데 안부 전해 달래. / A: 정말? 못 본 지 오래됐네.
A: 아, 배고프다. {x_menu} 먹고 싶네. / B: 나도. 아침을 안 먹었더니 죽겠다.
B: 우리 집 {x_pet:이} 요즘 말을 너무 안 들어. / A: 하하, 그래도 귀엽잖아.
A: {x_name:이는} 요즘 뭐 한대? / B: {x_city:으로} 이사 갔대. 벌써 {x_weeks} 됐어.
B: 너 {x_subject} 시험은 잘 봤어? / A: 말도 마. {x_late}까지 공부했는데 망했어.
"""
_CALL = """
A: 목소리가 조금 작게 들려요. / B: 아, 이제 잘 들리시나요?
A: 거기도 지금 비 오나요? / B: 네, {x_time}부터 조금씩 내리네요.
B: 지금 통화 괜찮으시죠? / A: 네, {x_time}까지는 괜찮아요.
B: 밖이신가 봐요. 차 소리가 나네요. / A: 네, {x_menu} 먹고 나오는 길이에요.
B: 며칠 전에도 전화했는데 안 받으시더라고요. / A: 아, {x_day}에는 전화기를 두고 나갔어요.
"""
_EMERGENCY = """
B: 목소리가 잘 안 들리네요. / A: 옆으로 차가 많이 지나가서 그래요.
A: {x_time}에 약속이 있는데 큰일이네요. / B: 네, 최대한 서두르겠습니다.
A: {x_city}에 가는 길이었거든요. / B: 저런, 많이 놀라셨겠어요.
B: 거기 비도 오나요? / A: 네, {x_time}부터 계속 와요.
"""
_SCHOOL = """
B: 요즘 학교생활은 어때요? / A: 재미있어요. {x_day}에는 축제도 있었어요.
A: 지난주 {x_subject} 강의 정말 좋았어요. / B: 고마워요. 준비를 좀 많이 했죠.
B: 얼굴이 피곤해 보이네요. / A: 네, 어제 {x_late}까지 책을 읽었거든요.
A: 책이 정말 많으시네요. / B: 하하, {x_book:은} 저쪽 방에 더 있어요.
B: 밥은 먹고 다녀요? / A: 네, 아까 {x_menu} 먹었어요.
"""
_INTERVIEW = """
B: 오는 길은 안 힘들었어요? / A: 네, {x_time}에 미리 와 있었습니다.
B: 물 한 잔 드릴까요? / A: 감사합니다. 조금 떨리네요.
B: 쉬는 날에는 뭘 하세요? / A: {x_sport:을} 하거나 {x_book:을} 읽습니다.
B: 고향이 어디예요? / A: {x_city}에서 나고 자랐습니다.
"""
_STREET = """
A: 이 동네는 참 조용하네요. / B: 네, {x_day}에는 장이 서서 좀 시끄러워요.
B: 날이 꽤 덥죠? / A: 네, {x_time}부터 걸었더니 땀이 나네요.
B: 어디서 오셨어요? / A: {x_city}에서 왔어요. 여기는 처음이에요.
A: 근처에 {x_menu} 잘하는 집도 있나요? / B: 저 모퉁이에 {x_restaurant:이} 맛있어요.
B: 사진 찍으러 오셨나 봐요. / A: 네, {x_relation} 생일이라 같이 나왔어요.
"""
_BUSY_CALL = """
C: 엄마, {x_clothes} 어디 있어? / A: 잠깐만, 엄마 통화 중이야. 아, 죄송합니다. / B: 괜찮습니다.
C: 여보, {x_grocery} 다 떨어졌어. / A: 알았어요, 금방 끊을게요. 죄송해요, 계속하세요. / B: 네, 괜찮습니다.
"""
_BUSY_DESK = """
C: 말씀 중에 죄송한데 화장실이 어디예요? / B: 저쪽 복도 끝에서 오른쪽이에요.
C: 저기요, 여기 몇 시까지 해요? / B: {x_evening}까지 합니다. 잠시만 기다려 주세요.
"""
_BUSY_EMERGENCY = """
C: 아빠, 우리 언제 집에 가? / A: 조금만 기다려. 네, 말씀하세요. / B: 아이도 있으시군요. 안전한 데로 옮기세요.
"""
_BUSY_SCHOOL = """
C: 말씀 중에 죄송한데 {x_subject} 숙제는 어디에 내요? / B: 저 책상 위에 두고 가세요.
C: 저, 열쇠 좀 빌려주시겠어요? / B: 문 옆에 걸려 있어요. {x_evening}까지 갖다 놔요.
"""
_BUSY_INTERVIEW = """
C: 실례합니다. 다음 분 서류 가져왔습니다. / B: 거기 두고 가세요.
"""
_BUSY_STREET = """
C: 저기요, 지금 몇 시예요? / B: {x_time} 조금 넘었어요. / C: 감사합니다.
C: 저도 여쭤볼게요. 이 근처에 화장실 있나요? / B: 저기 건물 1층에 있어요.
"""
_BUSY_WORK = """
C: 실례합니다. 복사 용지 어디 있는지 아세요? / B: 두 번째 서랍에 있어요. / C: 아, 감사합니다.
C: 두 분 {x_menu} 드시러 안 가세요? / B: 먼저 가세요. 이야기 끝나면 갈게요.
"""
_BUSY_FRIENDS = """
C: 너희 여기서 뭐 해? / B: 잠깐 할 얘기가 있어서. 너는 어디 가? / C: 나는 {x_relation:이랑} {x_menu} 먹으러 가.
C: 얘들아, {x_name:이 못} 봤어? / A: 아까 {x_time}쯤 매점에 있던데. / C: 고마워!
"""

SMALL_TALK = {
    "phone": _blocks(_PHONE),
    "call": _blocks(_CALL),
    "emergency": _blocks(_EMERGENCY),
    "desk": _blocks(_SERVICE),
    "street": _blocks(_STREET),
    "school": _blocks(_SCHOOL),
    "interview": _blocks(_INTERVIEW),
    "work": _blocks(_WORK),
    "friends": _blocks(_FRIENDS),
}
INTERRUPTIONS = {
    "phone": _blocks(_BUSY_CALL),
    "call": _blocks(_BUSY_CALL),
    "emergency": _blocks(_BUSY_EMERGENCY),
    "desk": _blocks(_BUSY_DESK),
    "street": _blocks(_BUSY_STREET),
    "school": _blocks(_BUSY_SCHOOL),
    "interview": _blocks(_BUSY_INTERVIEW),
    "work": _blocks(_BUSY_WORK),
    "friends": _blocks(_BUSY_FRIENDS),
}
"""A third person interrupts with something unrelated."""

_POLITE_FIXES = """
A: 아, 죄송한데 아까 말한 {old} 말고 {new:으로} 바꿔 주세요. / B: 네, {new:으로} 고쳐 놓겠습니다.
B: 그럼 {old}, 맞으시죠? / A: 아니요, 다시 보니까 {new:이} 좋겠어요. / B: 네, {new:으로} 적어 두겠습니다.
A: 잠깐만요, 다시 생각해 보니 {old:은} 안 되겠어요. {new:으로} 할게요. / B: 네, 그렇게 하겠습니다.
"""
_WORK_FIXES = """
A: 아, 다시 보니 {old:은} 안 되겠네요. {new:으로} 하시죠. / B: 네, {new:으로} 알고 있겠습니다.
B: 그런데 {old}보다는 {new:이} 낫지 않을까요? / A: 그게 좋겠네요. {new:으로} 하죠.
"""
_CASUAL_FIXES = """
A: 아, 아까 말한 {old} 말고 {new:으로} 하자. / B: 그래, {new} 좋아.
B: 근데 {old:은} 좀 그렇지 않아? {new:은} 어때? / A: 음, 그럼 {new:으로} 하자.
"""
FIXES = {"work": _blocks(_WORK_FIXES), "friends": _blocks(_CASUAL_FIXES)}
"""Exchanges that correct {old} to {new}, for settings that do not use `POLITE_FIXES`."""
POLITE_FIXES = _blocks(_POLITE_FIXES)

INLINE_FIXES = {"friends": ("{old}, 아니 {new}", "{old}, 아니다 {new}", "{old} 아니고 {new}", "{old} 말고 {new}")}
"""Corrections within a turn, for settings that do not use `POLITE_INLINE_FIXES`."""
POLITE_INLINE_FIXES = ("{old}, 아니 {new}", "{old}, 아 아니요, {new}", "{old}, 아니 {old} 말고 {new}")

_THANKS = """
A: [감사합니다|고맙습니다]. / B: 네, 좋은 하루 보내세요.
B: 더 궁금한 점 있으세요? / A: 아니요, 그거면 됐어요.
"""
_SEE_YOU = """
A: 그럼 [수고하세요|이따 뵐게요]. / B: 네, 수고하세요.
B: 또 필요한 거 있으면 말씀하세요. / A: 네, 그럴게요.
"""
_BYE = """
A: 그럼 나 먼저 간다. / B: 응, [잘 가|연락할게].
B: 나 이제 가 봐야겠다. / A: 그래, [또 얘기하자|조심히 가].
"""
FAREWELLS = {
    "phone": _blocks(_THANKS),
    "desk": _blocks(_THANKS),
    "work": _blocks(_SEE_YOU),
    "friends": _blocks(_BYE),
}
"""Goodbyes after the closing; other settings end with the closing."""
