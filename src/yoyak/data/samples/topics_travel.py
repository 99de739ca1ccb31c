"""Scenarios about travelling and finding the way."""

SCENARIOS = """
= hotel_book | 여행 | phone | room=room nights=nights date=date | fix=nights+ swap
> B: 푸른바다호텔입니다. / A: 안녕하세요. 휴가 때 묵을 곳을 찾고 있어요.
> A: 거기 빈방 있나요? / B: 네, 여행 오시나요? / A: 네, 가족들하고요.
- B: 언제 도착하세요? / A: {date}에 가요.
- B: 며칠 머무르실 건가요? / A: {~nights} 있을 거예요.
- B: 원하시는 방이 있으세요? / A: {room:이면} 좋겠어요.
+ A: 아침밥도 나오나요? / B: 네, {x_time}까지 드실 수 있어요.
+ B: 카드 번호를 불러 주세요. / A: #CardNumber#예요.
+ A: 공항까지 차가 다니나요? / B: 네, {x_minutes}마다 있습니다.
< B: 네, 잡아 드렸습니다. / A: 네, 감사합니다.
< B: 그날 뵙겠습니다. / A: 네, 잘 부탁드려요.
^ A: {date}에 {nights} 묵을 {room} 있나요? / B: 네, 하나 남았는데 그걸로 잡아 드릴게요.
. {A:은} 호텔에 전화해 {date}부터 {nights} 동안 묵을 {room:을} 예약한다.
. {A:은} {date}부터 {nights} 동안 머물 {room:을} 호텔에 전화로 예약한다.
. 호텔의 {B:은} {A:이} {date}부터 {nights} 동안 묵을 {room:을} 예약해 준다.

= ticket_change | 여행 | phone | country=country date=date time=time | fix=date+
> A: 표 날짜를 바꾸고 싶어요. / B: 네, 어떤 표를 가지고 계세요?
> B: 예매 센터입니다. 무엇을 도와드릴까요? / A: 사 놓은 표 때문에 전화했어요.
- A: {country} 가는 비행기 표예요. / B: 네, 찾았습니다.
- B: 언제로 바꿔 드릴까요? / A: {~date:으로} 바꿔 주세요.
- B: 몇 시 출발이 좋으세요? / A: {time} 게 제일 편해요.
+ B: 여권 번호를 말씀해 주시겠어요? / A: #PassportNumber#예요.
+ A: 돈을 더 내야 하나요? / B: {x_small_price}만 더 내시면 됩니다.
+ A: 창가 자리로 될까요? / B: 네, 한 자리 남았네요.
< B: 네, 새 표를 메일로 보내 드렸습니다. / A: 네, 빠르시네요.
< B: 다 바꿔 드렸습니다. / A: 네, 고맙습니다.
^ A: {country} 가는 비행기 표를 {date} {time:으로} 옮길 수 있어요? / B: 네, 자리가 있으니 바로 옮겨 드릴게요.
. {A:은} 예매 센터에 전화해 {country}행 비행기 표를 {date} {time} 편으로 변경한다.
. {A:은} {country:으로} 가는 비행기 표를 {date} {time} 편으로 변경해 달라고 한다.
. 예매 센터의 {B:은} {A}의 {country}행 비행기 표를 {date} {time} 편으로 변경해 준다.

= trip_plan | 여행 | friends | city=trip_city nights=nights sight=sight transport=transport | fix=city+
> A: 방학인데 어디 놀러 갈까? / B: 좋아, 나도 바람 좀 쐬고 싶었어.
> B: 이번 휴가 때 계획 있어? / A: 아직 없어. 같이 여행 갈래?
- B: 어디가 좋을까? / A: {~city} 어때? 먹을 것도 많고.
- A: 며칠이나 있을까? / B: {nights:이} 딱 좋겠다.
- B: 가서 뭐 하고 싶어? / A: 나는 {sight:을} 꼭 보고 싶어.
- A: 갈 때는 뭐 타고 가지? / B: {transport:이} 편하지.
+ B: 돈은 얼마나 들까? / A: 한 사람에 {x_price}이면 될 거야.
+ A: 숙소는 내가 알아볼게. / B: 그럼 맛집은 내가 찾을게.
+ C: 나는 작년 {x_date}에 갔는데 정말 좋았어. / B: 그래? 사진 좀 보여 줘.
< B: 벌써 설렌다. / A: 나도. 빨리 갔으면 좋겠다.
< A: 좋아, 그럼 표부터 사자. / B: 응, 오늘 밤에 하자.
. {A:과} {B:은} {transport:으로} {city}에 가서 {nights} 동안 {sight:을} 구경하기로 한다.
. {A:과} {B:은} {nights} 동안 {transport:으로} {city:을} 여행하며 {sight:을} 구경하기로 한다.
. {A:은} {B:과} {transport:으로} {city}에 가 {nights} 동안 {sight:을} 구경할 계획을 세운다.

= lost_luggage | 여행 | desk | color=color city=country item=luggage | unseen fix=color
> A: 제 짐이 안 나왔어요. / B: 죄송합니다. 어느 비행기를 타셨어요?
> B: 수하물 안내소입니다. / A: 아무리 기다려도 가방이 없어요.
- A: {city}에서 왔어요. / B: 네, 조금 전에 내린 비행기군요.
- B: 가방이 무슨 색이에요? / A: {~color:이에요}.
- B: 안에 뭐가 들었나요? / A: {item:이} 들어 있어요. 꼭 찾아야 해요.
+ B: 머무시는 곳을 적어 주세요. / A: #Address#예요.
+ B: 여권 번호도 부탁드려요. / A: #PassportNumber#예요.
< B: 찾는 대로 보내 드리겠습니다. / A: 네, 부탁드려요.
< B: 오늘 안에 연락드릴게요. / A: 네, 기다릴게요.
. {A:은} {city}에서 오면서 잃어버린 {item:이} 든 {color} 가방을 찾아 달라고 한다.
. {A:은} {city}발 비행기에서 {item:이} 든 {color} 가방이 안 나와 찾아 달라고 한다.
. {B:은} {city}에서 온 {A:이} 잃어버린 {item:이} 든 {color} 가방을 찾아 주기로 한다.

= walk_way | 길 안내 | street | place=building mark=landmark turn=turn minutes=minutes | fix=turn
> A: 저기요, 길 좀 여쭤볼게요. / B: 네, 어디를 찾으세요?
> A: 실례합니다. 이 동네 사세요? / B: 네, 그런데요. 뭘 도와드릴까요?
- A: {place}에 가려면 어떻게 가요? / B: 이 길로 쭉 가시면 {mark:이} 보여요.
- A: 그다음에는요? / B: 거기서 {~turn}으로 꺾으세요.
- A: 걸어서 얼마나 걸려요? / B: {minutes}이면 충분해요.
+ A: 택시를 타는 게 나을까요? / B: 아니요, 길이 막혀서 걷는 게 빨라요.
+ B: 혹시 여행 오셨어요? / A: 네, {x_city}에서 왔어요.
+ A: 지금 문을 열었을까요? / B: 네, {x_time}부터 열어요.
< A: 친절하게 알려 주셔서 감사합니다. / B: 아니에요. 잘 찾아가세요.
< A: 이제 알겠어요. 고맙습니다. / B: 네, 조심히 가세요.
^ A: 실례지만 {place} 가는 길 좀 알려 주세요. / B: {mark} 앞에서 {turn:으로} 꺾어서 {minutes}만 걸으세요.
. {B:은} {A}에게 {mark}에서 {turn}으로 돌아 {minutes} 걸으면 {place:이} 나온다고 알려 준다.
. {A:이} {place} 가는 길을 묻자 {B:은} {mark}에서 {turn}으로 돌아 {minutes} 걸으라고 알려 준다.
. {B:은} {place:을} 찾는 {A}에게 {mark}에서 {turn}으로 돌아 {minutes} 걸으라고 알려 준다.

= subway_way | 길 안내 | street | place=building line=line station=station | fix=station
> A: 말씀 좀 묻겠습니다. 지하철을 어떻게 타야 하죠? / B: 어디 가시는데요?
> B: 뭐 찾으시는 거 있으세요? / A: 네, 노선도가 너무 복잡해서요.
- A: {place}에 가는 길이에요. / B: 아, 거기요? 그럼 {line:을} 타세요.
- A: 어디서 내리면 돼요? / B: {~station}에서 내리시면 바로 앞이에요.
+ A: 표는 얼마예요? / B: 어른은 {x_small_price} 안쪽이에요.
+ A: 막차가 몇 시예요? / B: {x_late}까지 있어요.
+ B: 에스컬레이터가 고장이니 계단으로 가세요. / A: 네, 그럴게요.
< A: 생각보다 쉽네요. 감사합니다. / B: 네, 안녕히 가세요.
< A: 덕분에 살았어요. / B: 별말씀을요.
^ A: {place}에 가려면 지하철 몇 호선을 타요? / B: {line:을} 타고 {station}에서 내리시면 바로 보여요.
. {B:은} {place:을} 찾는 {A}에게 {line:을} 타고 {station}에서 내리라고 안내한다.
. {A:이} {place} 가는 길을 묻자 {B:은} {line:을} 타고 {station}에서 내리라고 안내한다.
. {B:은} {A}에게 {place}에 가려면 지하철 {line:을} 타고 {station}에서 내리라고 안내한다.

= bus_way | 길 안내 | street | place=meet_stop bus=bus stops=stops | fix=bus
> A: 아저씨, 여기 버스 정류장 맞아요? / B: 네, 맞아요. 어디 가요?
> B: 학생, 길을 잃었어요? / A: 네, 버스를 잘못 탄 것 같아요.
- A: {place}에 가야 하는데요. / B: 그러면 {~bus:을} 타야 해요.
- A: 몇 번째에서 내려요? / B: {stops} 지나서 내리면 돼요.
+ A: 버스가 자주 와요? / B: {x_minutes}에 한 대씩 와요.
+ A: 현금도 되나요? / B: 아니요, 교통 카드만 돼요.
+ B: 거기서 친구라도 만나요? / A: 네, {x_time}에 보기로 했어요.
< A: 고맙습니다. 저기 오네요. / B: 그래요, 얼른 타요.
< A: 감사합니다. / B: 모르면 기사님께 물어봐요.
^ A: 여기서 {place}에 가는 버스 있어요? / B: {bus:을} 타고 {stops} 가면 바로 앞이에요.
. {B:은} {A}에게 {place}에 가려면 {bus:으로} {stops:을} 가라고 알려 준다.
. {A:이} {place} 가는 길을 묻자 {B:은} {bus:으로} {stops:을} 가라고 알려 준다.
. {B:은} {place}에 가려는 {A}에게 {bus:을} 타고 {stops:을} 가라고 알려 준다.

= airport_way | 길 안내 | street | transport=airport_ride minutes=minutes time=time | unseen fix=time
> A: 공항에 어떻게 가면 제일 좋을까요? / B: 짐이 많으세요?
> B: 관광 안내소입니다. / A: 오늘 비행기를 타야 하는데 길을 몰라요.
- A: 제일 편한 방법이 뭐예요? / B: {transport:이} 제일 편해요.
- A: 가는 데 얼마나 걸려요? / B: {minutes} 정도예요.
- A: 다음 차는 언제 있어요? / B: {~time}에 있어요.
+ A: 표는 어디서 사요? / B: 저기 기계에서 사세요.
+ B: 어느 나라로 가세요? / A: {x_country}에 가요.
< A: 네, 그걸 탈게요. 감사합니다. / B: 네, 즐거운 여행 하세요.
< A: 아직 여유가 있네요. / B: 네, 천천히 가세요.
. {B:은} {A}에게 {time}에 {transport:을} 타면 {minutes} 만에 공항에 간다고 안내한다.
. {A:이} 공항 가는 길을 묻자 {B:은} {minutes} 걸리는 {transport:을} {time}에 타라고 안내한다.
. {B:은} 공항에 가려는 {A}에게 {minutes} 걸리는 {transport:을} {time}에 타라고 안내한다.
"""
