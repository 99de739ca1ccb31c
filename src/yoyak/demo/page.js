"use strict";

const TEXTS = {
  ko: {
    other: "English",
    title: "대화를 붙여 넣으면 요약합니다",
    dialogue: "대화",
    how: "한 줄에 한 발화씩, #Person1#: 처럼 누가 말했는지 적습니다.",
    samples: "예제 대화",
    options: "생성 옵션",
    beams: "클수록 느리고 꼼꼼합니다",
    tokens: "요약의 최대 길이(토큰)",
    own: "기본값",
    submit: "요약하기",
    busy: "요약하는 중…",
    summary: "요약",
    empty: "여기에 요약이 나옵니다.",
    nothing: "요약할 대화를 먼저 붙여 넣으십시오.",
    number: "{name}에는 1 이상의 정수를 적으십시오.",
    head: "대화가 모델이 읽을 수 있는 길이보다 길어서, 뒷부분은 읽지 않고 요약했습니다.",
    tail: "대화가 모델이 읽을 수 있는 길이보다 길어서, 앞부분은 읽지 않고 요약했습니다.",
    both: "대화가 모델이 읽을 수 있는 길이보다 길어서, 가운데 부분은 읽지 않고 요약했습니다.",
    windows: "대화가 모델이 한 번에 읽을 수 있는 길이보다 길어서, 나누어 요약한 뒤 합쳤습니다.",
    cut: "대화가 모델이 읽을 수 있는 길이보다 길어서, 일부는 읽지 않고 요약했습니다.",
    blank: "모델이 빈 요약을 썼습니다.",
    took: "{seconds}초",
    refused: "요약하지 못했습니다: {message}",
    gone: "이 페이지의 서버가 답하지 않습니다. `yoyak demo`가 실행 중인지 확인하십시오.",
  },
  en: {
    other: "한국어",
    title: "Paste a dialogue and read its summary",
    dialogue: "Dialogue",
    how: "One turn per line, each with its speaker, such as #Person1#:",
    samples: "Sample dialogues",
    options: "Options",
    beams: "higher is slower but more thorough",
    tokens: "longest summary, in tokens",
    own: "default",
    submit: "Summarize",
    busy: "Summarizing…",
    summary: "Summary",
    empty: "The summary appears here.",
    nothing: "Paste a dialogue to summarize first.",
    number: "{name} takes a whole number of 1 or more.",
    head: "The dialogue is longer than the model can read: its end was left out.",
    tail: "The dialogue is longer than the model can read: its beginning was left out.",
    both: "The dialogue is longer than the model can read: its middle was left out.",
    windows: "The dialogue is longer than the model can read at once: its parts were summarized and merged.",
    cut: "The dialogue is longer than the model can read: a part of it was left out.",
    blank: "The model wrote an empty summary.",
    took: "{seconds} s",
    refused: "No summary: {message}",
    gone: "This page's server does not answer: see whether `yoyak demo` is running.",
  },
};

const SAMPLES = [
  {
    name: "호텔 예약",
    lang: "ko",
    text: `#Person1#: 거기 빈방 있나요?
#Person2#: 네, 여행 오시나요?
#Person1#: 네, 가족들하고요.
#Person2#: 언제 도착하세요?
#Person1#: 12월 10일에 가요.
#Person2#: 며칠 머무르실 건가요?
#Person1#: 하룻밤 있을 거예요.
#Person2#: 원하시는 방이 있으세요?
#Person1#: 침대방이면 좋겠어요.
#Person2#: 네, 잡아 드렸습니다.
#Person1#: 네, 감사합니다.`,
  },
  {
    name: "카드 분실",
    lang: "ko",
    text: `#Person1#: 큰일 났어요. 카드가 없어졌어요!
#Person2#: 진정하세요. 바로 막아 드리겠습니다. 어디서 없어졌는지 기억나세요?
#Person1#: 마트에서 마지막으로 썼어요.
#Person2#: 몇 시쯤이었나요?
#Person1#: 오늘 오전 9시쯤이었을 거예요. 새 카드는 언제 받을 수 있어요?
#Person2#: 목요일까지 집으로 보내 드립니다.
#Person1#: 누가 벌써 쓰지는 않았죠?
#Person2#: 네, 그 뒤로 쓴 기록은 없습니다.`,
  },
  {
    name: "소풍 연기",
    lang: "ko",
    text: `#Person1#: 우리 소풍 가기로 한 거 어떡하지?
#Person2#: 왜, 무슨 일 있어?
#Person1#: 태풍이 온다고 해서 못 갈 것 같아.
#Person2#: 아, 나도 방금 뉴스 봤어. 지난번에도 일요일에 가려다가 못 갔잖아.
#Person1#: 그러니까. 우리는 참 운이 없어.
#Person2#: 그럼 언제 갈까?
#Person1#: 금요일은 괜찮대. 그때 가자.
#Person2#: 할 수 없지. 그때 꼭 가자.`,
  },
  {
    name: "A table for four",
    lang: "en",
    text: `#Person1#: Hello, do you have a table for four on Saturday at seven?
#Person2#: Let me see. Seven is full, but half past seven is free.
#Person1#: That works. One of us needs a high chair.
#Person2#: No problem. What name shall I put it under?
#Person1#: Miller, please.
#Person2#: Done. See you on Saturday, Mr. Miller.`,
  },
];

const OPTIONS = ["num_beams", "max_new_tokens"];
const part = (id) => document.getElementById(id);
let language = (navigator.language || "ko").toLowerCase().startsWith("ko") ? "ko" : "en";
let model = {}; // What GET /model says: model, variant, num_beams, max_new_tokens.
let failure = null; // The current error: a key of TEXTS and its values.
let seconds = null;
let busy = false;
let reading = null; // A key of TEXTS: how a dialogue was read that is too long.

function say(key, values = {}) {
  return Object.entries(values).reduce((text, [name, value]) => text.replace(`{${name}}`, () => value), TEXTS[language][key]);
}

function write() {
  document.documentElement.lang = language;
  for (const element of document.querySelectorAll("[data-text]")) {
    element.textContent = say(element.dataset.text);
  }
  part("language").textContent = say("other");
  part("language").lang = language === "ko" ? "en" : "ko";
  part("submit").textContent = say(busy ? "busy" : "submit");
  part("submit").disabled = part("dialogue").readOnly = busy;
  for (const button of part("samples").children) {
    button.disabled = busy;
  }
  part("model").textContent = [model.model, model.variant].filter(Boolean).join(" · ");
  for (const name of OPTIONS) {
    part(name).placeholder = model[name] ? `${model[name]} (${say("own")})` : say("own");
  }
  part("truncated").textContent = reading ? say(reading) : "";
  part("truncated").hidden = !reading;
  part("took").textContent = seconds === null ? "" : say("took", { seconds: seconds.toFixed(2) });
  part("error").textContent = failure ? say(...failure) : "";
  part("error").hidden = !failure;
}

function fail(key, values) {
  failure = [key, values];
  write();
  part("error").scrollIntoView({ block: "nearest" });
}

function offerSamples() {
  for (const sample of SAMPLES) {
    const button = document.createElement("button");
    button.type = "button";
    button.lang = sample.lang;
    button.textContent = sample.name;
    button.addEventListener("click", () => {
      part("dialogue").value = sample.text;
      part("dialogue").lang = sample.lang;
      clear();
    });
    part("samples").append(button);
  }
}

function clear() {
  failure = seconds = reading = null;
  for (const id of ["summary", "took"]) {
    part(id).hidden = true;
  }
  part("empty").hidden = false;
  write();
}

function show(answer) {
  part("summary").textContent = answer.summary || say("blank");
  reading = answer.truncated && (answer.read === "windows" || !TEXTS[language][answer.read]) ? "cut" : answer.read;
  if (!TEXTS[language][reading]) {
    reading = null; // All of it was read at once.
  }
  part("summary").hidden = part("took").hidden = false;
  part("empty").hidden = true;
  write();
  part("answer").scrollIntoView({ block: "nearest" });
}

async function summarize() {
  const body = { dialogue: part("dialogue").value };
  if (!body.dialogue.trim()) {
    part("dialogue").focus();
    return fail("nothing");
  }
  for (const name of OPTIONS) {
    const input = part(name);
    if (!input.validity.valid) {
      input.focus();
      return fail("number", { name });
    }
    if (input.value) {
      body[name] = Number(input.value);
    }
  }
  clear();
  busy = true;
  write();
  const began = performance.now();
  const [ok, answer] = await ask(body);
  busy = false;
  seconds = (performance.now() - began) / 1000;
  if (ok) {
    show(answer);
  } else if (answer) {
    fail("refused", { message: answer.message });
  } else {
    fail("gone");
  }
}

// Returns whether there is a summary, and the answer; none where the server is gone.
async function ask(body) {
  try {
    const reply = await fetch("summarize", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
    });
    return [reply.ok, await reply.json()];
  } catch {
    return [false, null];
  }
}

part("form").addEventListener("submit", (event) => {
  event.preventDefault();
  if (!busy) {
    summarize();
  }
});
part("dialogue").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    part("form").requestSubmit();
  }
});
part("language").addEventListener("click", () => {
  language = language === "ko" ? "en" : "ko";
  write();
});
offerSamples();
write();
fetch("model")
  .then((reply) => reply.json())
  .then((info) => {
    model = info;
    write();
  })
  .catch(() => fail("gone"));
