"""Open vocabularies for pretraining: far more values than the lists of `slots`, so that a model learns to copy them.

Numbers are drawn, names are put together from syllables, and things from an attribute and a noun.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence

from yoyak.data.samples.slots import SLOTS, Value

DRAWN = 6
"""Values drawn for a slot; one of them is said, and one may be the mistake that is corrected."""
_KNOWN = 0.3
"""Probability of the values of the list itself, where it has some."""

_THINGS = (
    "의자 책상 침대 소파 옷장 책장 선반 거울 커튼 카펫 이불 베개 담요 매트 방석 전등 스탠드 시계 달력 액자 꽃병 화분 "
    "촛대 우산 양산 지팡이 모자 장갑 목도리 양말 구두 운동화 슬리퍼 장화 부츠 샌들 허리띠 넥타이 셔츠 바지 치마 코트 "
    "점퍼 조끼 스웨터 한복 교복 수영복 잠옷 앞치마 비옷 가방 배낭 지갑 여행_가방 손가방 서류_가방 도시락통 물병 "
    "보온병 컵 접시 냄비 프라이팬 주전자 국자 도마 칼 가위 수저 쟁반 밥솥 오븐 토스터 믹서기 냉장고 세탁기 건조기 "
    "청소기 식기세척기 선풍기 에어컨 난로 온풍기 가습기 제습기 공기_청정기 다리미 재봉틀 텔레비전 라디오 스피커 "
    "이어폰 헤드폰 마이크 카메라 렌즈 삼각대 프로젝터 스크린 노트북 모니터 키보드 마우스 프린터 복사기 스캐너 태블릿 "
    "휴대폰 충전기 보조_배터리 공유기 계산기 전자사전 손전등 건전지 멀티탭 망치 드릴 톱 사다리 페인트 붓 못 나사 "
    "공구함 자물쇠 열쇠 호미 삽 물뿌리개 화로 텐트 침낭 돗자리 버너 아이스박스 낚싯대 등산화 스틱 자전거 킥보드 "
    "유모차 카시트 헬멧 자동차 타이어 축구공 농구공 야구공 배트 글러브 라켓 셔틀콕 줄넘기 아령 요가_매트 스케이트 "
    "스키 썰매 수경 튜브 구명조끼 기타 피아노 바이올린 첼로 플루트 드럼 하모니카 악보 물감 스케치북 이젤 색연필 볼펜 "
    "만년필 공책 봉투 편지지 우표 테이프 풀 자 지우개 필통 책갈피 소설책 시집 사전 지도 잡지 만화책 문제집 동화책 "
    "앨범 퍼즐 인형 블록 보드게임 카드 연 팽이 장난감 비누 샴푸 수건 칫솔 치약 면도기 빗 드라이기 화장품 향수 로션 "
    "마스크 체온계 혈압계 반창고 찜질팩 비타민 꿀 쌀 김치 된장 고추장 참기름 식용유 국수 라면 만두 떡 빵 케이크 쿠키 "
    "초콜릿 사탕 젤리 과자 잼 치즈 우유 요구르트 주스 커피 홍차 녹차 생수 사과 배 포도 귤 딸기 수박 참외 복숭아 자두 "
    "감 밤 호두 땅콩 고구마 감자 옥수수 양파 마늘 배추 무 오이 호박 버섯 두부 달걀 닭고기 소고기 돼지고기 갈비 "
    "고등어 오징어 새우 미역 김 멸치 피자 치킨 도시락 샌드위치 샐러드 죽 반지 목걸이 귀걸이 팔찌 브로치 목발 휠체어 "
    "보청기 안경 선글라스 돋보기 어항 새장 사료 목줄 꽃다발 화환 트로피 현수막 풍선 폭죽 초대장 명함 도장 금고 "
    "서랍장 화이트보드 칠판 게시판 음향_장비 조명 무대_의상 가발"
)
_ATTRIBUTES = (
    "접이식 나무 유리 가죽 소형 대형 중고 새 휴대용 어린이 성인용 여성용 남성용 겨울 여름 방수 무선 유선 전동 수동 "
    "고급 저렴한 가벼운 튼튼한 얇은 두꺼운 둥근 네모난 긴 짧은 낡은 최신 수제 국산 수입 유기농 냉동 말린 매운 달콤한 "
    "무늬_있는 줄무늬 체크무늬 꽃무늬 은색 금색 투명한 한정판 사은품 맞춤 업무용 가정용 캠핑용 학생용 아기 강아지 "
    "고양이 여행용 욕실 주방 거실 현관 차량용"
)
_SYLLABLES = (
    "가 강 건 경 고 규 근 기 나 남 노 다 단 도 동 두 라 란 래 로 루 리 린 마 명 모 무 미 민 범 보 빈 사 상 새 서 석 "
    "선 설 성 세 소 솔 송 수 숙 순 승 시 신 아 안 애 여 연 영 예 오 온 완 용 우 운 원 유 윤 율 은 의 이 인 일 자 재 "
    "정 제 조 주 준 지 진 찬 창 채 철 초 태 하 한 해 향 현 형 혜 호 화 환 효 후 훈 휘 희"
)
_CITIES = (
    "서울 인천 부산 대구 대전 광주 울산 세종 수원 성남 용인 고양 부천 안산 안양 남양주 화성 평택 의정부 파주 김포 "
    "이천 여주 양평 가평 포천 춘천 원주 강릉 동해 속초 삼척 태백 홍천 평창 정선 청주 충주 제천 단양 보은 천안 공주 "
    "보령 아산 서산 논산 당진 부여 태안 전주 군산 익산 정읍 남원 김제 무주 고창 목포 여수 순천 나주 광양 담양 보성 "
    "해남 완도 진도 포항 경주 김천 안동 구미 영주 영천 상주 문경 울릉도 창원 진주 통영 사천 김해 밀양 거제 양산 남해 "
    "하동 합천 제주 서귀포 일본 중국 대만 태국 베트남 필리핀 인도 몽골 호주 뉴질랜드 미국 캐나다 멕시코 브라질 영국 "
    "프랑스 독일 이탈리아 스페인 스위스 그리스 튀르키예 이집트 런던 파리 로마 베를린 마드리드 도쿄 오사카 방콕 "
    "하노이 싱가포르 뉴욕 시드니"
)
_COLORS = (
    "빨간색 주황색 노란색 연두색 초록색 하늘색 파란색 남색 보라색 분홍색 자주색 갈색 밤색 회색 은색 금색 검은색 흰색 "
    "상아색 베이지색 카키색 살구색 청록색 하늘빛 쑥색 진회색 연보라색 와인색 겨자색 민트색"
)
_RELATIONS = (
    "엄마 아빠 어머니 아버지 할머니 할아버지 동생 언니 누나 오빠 형 이모 고모 삼촌 외삼촌 사촌 조카 아내 남편 아들 "
    "딸 손자 손녀 친구 후배 선배 동료 선생님 이웃 시어머니 장모님 며느리 사위 룸메이트"
)
_PLACES = (
    "도서관 박물관 미술관 영화관 공원 호수_공원 놀이공원 동물원 식물원 수족관 체육관 수영장 운동장 볼링장 노래방 "
    "찜질방 카페 서점 빵집 꽃집 식당 시장 백화점 마트 편의점 약국 병원 치과 한의원 은행 우체국 구청 주민_센터 경찰서 "
    "소방서 학교 유치원 학원 기숙사 교회 성당 절 역 버스_터미널 공항 항구 선착장 주차장 주유소 정류장 지하상가 육교 "
    "다리 분수대 광장 전망대 등대 해수욕장 계곡 캠핑장 스키장 골프장 농장 과수원 온천 호텔 민박집 펜션 게스트하우스 "
    "회의실 강당 옥상 로비 휴게실 세미나실 스튜디오 연습실 공방 작업실 창고 문화_센터 복지관 보건소 시청 법원 대사관 "
    "전시장 공연장 야구장 축구장"
)
_COURSES = (
    "요가 수영 필라테스 탁구 배드민턴 테니스 복싱 스쿼시 골프 검도 태권도 유도 발레 댄스 기타 피아노 드럼 바이올린 "
    "우쿨렐레 노래 그림 수채화 서예 도예 뜨개질 자수 재봉 목공 가죽_공예 꽃꽂이 베이킹 요리 커피 사진 영상_편집 코딩 "
    "컴퓨터 영어_회화 중국어 일본어 프랑스어 스페인어 한자 글쓰기 독서_토론 주산 바둑 체스 마술 명상 스피치 회계 "
    "부동산 제빵 원예 낚시 승마 양궁 클라이밍 서핑"
)
_VENUES = (
    "회의실 연습실 강당 체육관 축구장 테니스장 수영장 캠핑장 펜션 호텔_방 게스트하우스_침대방 온돌방 가족실 파티룸 "
    "스터디룸 노래방 볼링장 스튜디오 전시장 공연장 식당_룸 창가_자리 단체석 미용실 마사지 네일_관리 피부_관리 "
    "치과_진료 정밀_검진 사진_촬영 렌터카 버스_대절 이삿짐_차 요트 놀이방 찜질방 자동차_점검 상담 세차 전망_좋은_방 "
    "옥상_정원 바비큐장 셔틀버스"
)
_ACTIVITIES = (
    "등산 소풍 캠핑 낚시 산책 조깅 자전거_여행 볼링 탁구 배드민턴 수영 스키 썰매 스케이트 서핑 보드게임 방_탈출 노래 "
    "쇼핑 요리 봉사_활동 꽃구경 단풍_구경 야구_관람 축구_관람 영화_관람 연극_관람 전시_관람 사진_촬영 맛집_탐방 "
    "시험공부 운동 춤_연습 김장 벼룩시장_구경 별_구경 딸기_따기 도자기_체험"
)
_EXAMS = (
    "건강_검진 위내시경 대장_내시경 혈액_검사 초음파_검사 심전도_검사 골밀도_검사 청력_검사 시력_검사 알레르기_검사 "
    "폐_기능_검사 소변_검사 엑스레이_촬영 치아_교정 스케일링 사랑니_발치 충치_치료 물리_치료 도수_치료 침_치료 "
    "독감_예방_접종 간염_예방_접종 백내장_수술 무릎_수술 피부_치료 상담_치료 재활_치료"
)
_AGENDAS = (
    "신제품_출시 하반기_예산 채용_계획 고객_불만_처리 홍보_전략 사무실_이전 워크숍_준비 해외_진출 가격_인상 "
    "품질_개선 배송_지연 계약_갱신 교육_일정 조직_개편 재고_정리 디자인_변경 보안_점검 연말_행사 협력_업체_선정 "
    "설문_결과 매장_확장 웹사이트_개편 앱_출시 원가_절감 환경_캠페인 신입_교육"
)
_DOCUMENTS = (
    "매출_보고서 예산안 설문_결과 계약서_초안 회의록 시장_조사_자료 제품_사진 일정표 견적서 발표_자료 제안서 기획안 "
    "사업_계획서 출장_보고서 참석자_명단 연락처_목록 재고_목록 번역본 설계도 시안 홍보물 안내문 이력서 평가표 영수증 "
    "세금_계산서 교육_자료 사용_설명서 시험지 과제 논문_초고"
)
_LEAVES = "연차 반차 병가 휴가 육아_휴직 출산_휴가 무급_휴가 여름휴가 조퇴 외출 재택근무 단축_근무"
_ACCOUNTS = (
    "입출금_통장 정기_예금 정기_적금 자유_적금 청약_통장 모임_통장 체크카드 신용_카드 마이너스_통장 외화_통장 "
    "연금_통장 어린이_통장 회원_카드 도서관_카드 주차증 여권 면허증 학생증 교통_카드 휴대폰_요금제 인터넷 보험"
)
_TRANSPORTS = "기차 고속버스 시외버스 비행기 여객선 고속열차 관광버스 공항버스 심야버스 유람선 케이블카 관광_열차"
_SHOWS = (
    "봄 여름 가을 겨울 바다 별 달 숲 강 비 눈 바람 기차 편지 약속 여행 노래 정원 도시 새벽 밤 아침 꿈 그림자 고백 "
    "비밀 마지막 첫 우리 푸른 하얀 붉은"
)
_CAUSES = (
    "감기가 심하게 들어서=심한 감기|허리를 삐끗해서=허리 부상|아버지가 입원하셔서=아버지의 입원|"
    "시험 날짜가 바뀌어서=바뀐 시험 날짜|비행기가 취소돼서=비행기 취소|차가 고장 나서=차 고장|"
    "집에 손님이 오셔서=집에 온 손님|야근을 하게 돼서=야근|동창회가 있어서=동창회|이를 뽑아서=발치|"
    "강아지가 아파서=아픈 강아지|아이 학교 행사가 있어서=아이의 학교 행사|갑자기 회의가 잡혀서=갑작스러운 회의|"
    "장마가 시작돼서=장마|눈이 많이 와서=폭설|돈이 모자라서=모자란 돈|친구가 결혼을 해서=친구의 결혼|"
    "장례식에 가야 해서=장례식|면접을 보게 돼서=면접|잠을 못 자서=수면 부족|휴대폰을 잃어버려서=잃어버린 휴대폰|"
    "다른 약속이 먼저 있어서=다른 약속|운전면허 시험을 봐야 해서=운전면허 시험|집수리를 해야 해서=집수리|"
    "발목을 접질려서=발목 부상|체해서=체기|봉사 활동을 가게 돼서=봉사 활동|할아버지 생신이라서=할아버지의 생신|"
    "공연 연습이 길어져서=길어진 공연 연습|교통사고가 나서=교통사고|열쇠를 두고 나와서=두고 온 열쇠|정전이 돼서=정전|"
    "물이 안 나와서=단수|눈병이 나서=눈병|예비군 훈련이 있어서=예비군 훈련|유학을 가게 돼서=유학"
)
_FAULTS = (
    "바퀴가 안 굴러가서=구르지 않는 바퀴|손잡이가 떨어져서=떨어진 손잡이|뚜껑이 안 닫혀서=닫히지 않는 뚜껑|"
    "물이 줄줄 새서=누수|색이 벌써 빠져서=빠진 색|박음질이 뜯어져서=뜯어진 박음질|너무 뜨거워져서=과열|"
    "타는 냄새가 나서=타는 냄새|저절로 꺼져서=저절로 꺼지는 전원|얼룩이 묻어 있어서=얼룩|지퍼가 고장 나서=지퍼 고장|"
    "다리가 흔들려서=흔들리는 다리|유리가 깨져 있어서=깨진 유리|글씨가 번져서=번진 글씨|소리가 끊겨서=끊기는 소리|"
    "줄이 끊어져서=끊어진 줄|날짜가 지나 있어서=지난 유통 기한|곰팡이가 피어서=곰팡이|녹이 슬어서=녹|"
    "불빛이 깜박거려서=깜박이는 불빛|충전이 안 돼서=충전 불량|화면이 안 나와서=나오지 않는 화면|"
    "버튼이 눌린 채로 있어서=눌린 버튼"
)
_ONES = ("한", "두", "세", "네", "다섯", "여섯", "일곱", "여덟", "아홉", "열")
_TENS = ("열", "스물", "서른", "마흔")
_DAYS = ("하루", "이틀", "사흘", "나흘", "닷새", "엿새", "일주일", "열흘", "보름")
_PARTS_OF_DAY = {"새벽": range(1, 7), "아침": range(6, 10), "오전": range(8, 12), "낮": (12, 1, 2), "오후": range(1, 7),
                 "저녁": range(5, 10), "밤": range(8, 13)}  # fmt: skip


def _words(text: str) -> tuple[str, ...]:
    """Return the words of a list, in which an underscore is a space within a word."""
    return tuple(word.replace("_", " ") for word in text.split())


def _pairs(text: str) -> tuple[Value, ...]:
    return tuple(Value(*pair.strip().split("=")) for pair in text.split("|"))


_Draw = Callable[[random.Random], "str | Value"]


def _one_of(text: str) -> _Draw:
    words = _words(text)
    return lambda rng: rng.choice(words)


def _pair_of(*lists: str) -> _Draw:
    pairs = tuple(pair for text in lists for pair in _pairs(text))
    return lambda rng: rng.choice(pairs)


def _native(unit: str, most: int) -> _Draw:
    """Return what draws a number in native words, such as 스물두 명."""

    def draw(rng: random.Random) -> str:
        number = rng.randint(2, most)
        tens, ones = divmod(number, 10)
        if number == 20:
            return f"스무 {unit}"
        return f"{_TENS[tens - 1] if tens else ''}{_ONES[ones - 1] if ones else ''} {unit}"

    return draw


def _money(*steps: int, prefix: str = "") -> _Draw:
    """Return what draws an amount of won that is a multiple of one of the steps, 1 to 99 times it."""

    def draw(rng: random.Random) -> str:
        amount = rng.choice(steps) * rng.randint(1, 99)
        large, small = divmod(amount, 10_000)
        thousands, rest = divmod(small, 1000)
        text = " ".join(
            [f"{large}만" if large else "", f"{thousands}천" if thousands else "", f"{rest}" if rest else ""]
        )
        return f"{prefix}{' '.join(text.split())} 원"

    return draw


def _clock(*parts: str) -> _Draw:
    def draw(rng: random.Random) -> str:
        part = rng.choice(parts)
        minutes = rng.choice(("", "", " 반", f" {rng.randint(1, 11) * 5}분"))
        return f"{part} {rng.choice(_PARTS_OF_DAY[part])}시{minutes}"

    return draw


def _date(rng: random.Random) -> str:
    return f"{rng.randint(1, 12)}월 {rng.randint(1, 28)}일"


def _day(rng: random.Random) -> str:
    return f"{rng.choice(('', '', '다음 주 ', '이번 주 '))}{rng.choice('월화수목금토일')}요일"


def _name(rng: random.Random) -> str:
    syllables = _SYLLABLES.split()
    return rng.choice(syllables) + rng.choice(syllables)


def _brand(*endings: str) -> _Draw:
    return lambda rng: f"{_name(rng)}{rng.choice(endings)}"


def _thing(rng: random.Random) -> str:
    noun = rng.choice(_words(_THINGS))
    kind = rng.random()
    if kind < 0.5:
        return noun
    return f"{rng.choice(_words(_ATTRIBUTES)) if kind < 0.85 else _name(rng)} {noun}"


def _show(rng: random.Random) -> str:
    first, second = rng.sample(_words(_SHOWS), 2)
    return f"'{first} {second}'"


def _period(rng: random.Random) -> str:
    count = rng.randint(2, 11)
    return rng.choice((f"{count}주", f"{count}개월", f"{count}일", f"{count}박", "한 달", "두 달", *_DAYS))


_DRAWS: dict[str, _Draw] = {
    "thing": _thing,
    **dict.fromkeys(("device", "clothes", "gift", "parcel", "luggage", "car_part", "grocery", "book"), _thing),
    "course": _one_of(_COURSES),
    "sport": _one_of(_COURSES),
    "venue": _one_of(_VENUES),
    "activity": _one_of(_ACTIVITIES),
    "outing": _one_of(_ACTIVITIES),
    "exam": _one_of(_EXAMS),
    "checkup": _one_of(_EXAMS),
    "agenda": _one_of(_AGENDAS),
    "document": _one_of(_DOCUMENTS),
    "leave": _one_of(_LEAVES),
    "account": _one_of(_ACCOUNTS),
    "transport": _one_of(_TRANSPORTS),
    "show": _show,
    **dict.fromkeys(("reason", "student_reason", "leave_reason", "lateness"), _pair_of(_CAUSES)),
    **dict.fromkeys(("defect", "phone_trouble", "house_trouble"), _pair_of(_FAULTS)),
    **dict.fromkeys(("city", "trip_city", "country"), _one_of(_CITIES)),
    "color": _one_of(_COLORS),
    "relation": _one_of(_RELATIONS),
    **dict.fromkeys(("meet_place", "building", "indoor", "meet_stop", "party_place", "drop_place"), _one_of(_PLACES)),
    **dict.fromkeys(("landmark", "lost_at", "part_time"), _one_of(_PLACES)),
    "name": _name,
    "restaurant": _brand("식당", "반점", "갈비", "횟집", "분식", "칼국수", "카페", "파스타"),
    "station": _brand("역"),
    "mountain": _brand("산"),
    **dict.fromkeys(("people", "group"), _native("명", 49)),
    "pieces": _native("개", 30),
    "sheets": _native("장", 30),
    "book_count": _native("권", 20),
    "stops": _native("정거장", 15),
    **dict.fromkeys(("price", "course_price", "move_price", "amount", "rent"), _money(5000, 10_000, 10_000)),
    **dict.fromkeys(("small_price", "wage"), _money(500, 1000)),
    "fee": _money(1000, 5000, prefix="월 "),
    "percent": lambda rng: f"{rng.randint(1, 19) * 5}%",
    "minutes": lambda rng: f"{rng.randint(1, 11) * 5}분",
    "gigabytes": lambda rng: f"{rng.randint(1, 60) * 5}기가",
    **dict.fromkeys(("weeks", "nights", "months", "off_days", "repair_time"), _period),
    **dict.fromkeys(("time",), _clock("오전", "오후", "낮")),
    "evening": _clock("저녁", "밤"),
    "early_time": _clock("새벽", "아침"),
    "late": _clock("밤", "새벽"),
    "date": _date,
    **dict.fromkeys(("day", "weekday"), _day),
    "line": lambda rng: f"{rng.randint(1, 9)}호선",
    "bus": lambda rng: f"{rng.randint(2, 999)}번 버스",
}
"""What draws a value of a list; other lists are closed."""


class OpenVocabulary(Mapping[str, Sequence[Value]]):
    """Values by the name of their list, drawn anew each time they are asked for."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng

    def __getitem__(self, name: str) -> Sequence[Value]:
        draw = _DRAWS.get(name)
        if draw is None or (name in SLOTS and self._rng.random() < _KNOWN):
            return SLOTS[name]
        return [value if isinstance(value, Value) else Value(value, value) for value in self._draw(draw)]

    def __iter__(self) -> Iterator[str]:
        return iter({**SLOTS, **_DRAWS})

    def __len__(self) -> int:
        return len({**SLOTS, **_DRAWS})

    def _draw(self, draw: _Draw) -> list[str | Value]:
        return list(dict.fromkeys(draw(self._rng) for _ in range(DRAWN)))
