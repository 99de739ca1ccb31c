"""The frames of `parts`: purposes of a conversation, in the notation of the topic modules.

A header is ``key | topic | setting | list of what it is about | details | what A does | what B does``.
"""

TEXT = """
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
