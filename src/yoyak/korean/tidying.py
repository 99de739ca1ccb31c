"""Changes of a dialogue before a model reads it: symbols, hesitations, and masks as plain words.

Each function is pure and idempotent, and leaves speakers' labels and masks alone unless that is its purpose.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from yoyak.korean.masks import MASK

_LABEL = re.compile(rf"(?:(?i:{MASK.pattern})|(?=[^\s:：]*[^\W\d])[^\s:：]{{1,40}})\s?[:：]\s*")
_PICTURES = re.compile("[\u2190-\u21ff\u2460-\u27bf\u2b00-\u2bff\ufe0f\U0001f000-\U0001faff]|\u200d")
"""Arrows, enclosed numbers, shapes, symbols and emoji, with what joins and varies them."""
_LAUGHTER = re.compile(r"[ㅋㅎㅠㅜ]{2,}|\^[_.]?\^|(?<!\d)[:;]-?[)(D](?=\s|$)")
_RUN = re.compile(r"([!?~,])\1+|(\.){2,}|(…)+\.*")
_WAVE = re.compile(r"~+(?=[\s.,!?]|$)")

_HESITATIONS = (
    "음++|어++|아++|흠++|에++|저기|저|그|뭐|글쎄|있잖아요?|뭐랄까|um++|uh++|uhm|hm++|mm++|er++|erm|ah|oh|well|you know"
)
"""Possessive, since a run of one syllable could else be divided in exponentially many ways."""
_HESITATION = re.compile(rf"(?:^|(?<=[.!?…] ))(?:(?:{_HESITATIONS})\s?(?:[,…~]|\.{{2,}})+\s*)+", re.IGNORECASE)
"""At the beginning of a sentence, and set off by a comma or dots: 그 사람 is no hesitation."""
_ONLY_HESITATION = re.compile(rf"(?:(?:{_HESITATIONS})[\s.,…~]*)+", re.IGNORECASE)


def clean_symbols(dialogue: str) -> str:
    """Return a dialogue without emoji, laughter in single letters and pictures, and with single punctuation marks.

    ``#Person1#: 진짜요?? ㅋㅋㅋ 좋아요~ 😀`` becomes ``#Person1#: 진짜요? 좋아요``. A turn of nothing else stays.
    """
    return _repeat(dialogue, lambda text: _map_turns(text, _clean_words))


def drop_fillers(dialogue: str) -> str:
    """Return a dialogue without hesitations such as ``음…`` and ``저기,``, and without turns of nothing else.

    ``네`` and ``아니요`` stay, since they answer.
    """
    return _repeat(dialogue, _drop_fillers)


def plain_masks(text: str) -> str:
    """Return a dialogue or a summary with masks as words: ``#Person1#`` becomes ``Person1``."""
    return MASK.sub(lambda match: match[0].strip("#"), text)


def add_topic(dialogue: str, topic: str) -> str:
    """Return a dialogue with its topic as the first line; as it is if there is none."""
    if not topic:
        return dialogue
    return f"{'주제' if re.search('[가-힣]', dialogue) else 'Topic'}: {topic}\n{dialogue}"


def _drop_fillers(dialogue: str) -> str:
    def change(words: str) -> str:
        return "" if _ONLY_HESITATION.fullmatch(words) else _HESITATION.sub("", words) or words

    lines = [_split_label(line) for line in dialogue.split("\n")]
    kept = [label + words for label, words in ((label, change(words)) for label, words in lines) if words]
    return "\n".join(kept) or dialogue


def _clean_words(words: str) -> str:
    for pattern in (_PICTURES, _LAUGHTER):
        words = pattern.sub(" ", words)
    words = _RUN.sub(lambda match: match[1] or ("…" if match[2] or match[3] else ""), words)
    # With single spaces, of which a long run would be looked at again from each of its spaces.
    words = " ".join(_WAVE.sub("", words).split())
    return re.sub(r" (?=[.,!?…](?: |$))", "", words)


def _repeat(text: str, change: Callable[[str], str]) -> str:
    """Return a text after as many changes as it takes until there is nothing left to change."""
    # What is removed may bring two marks together: 네. ㅋㅋ. is 네.. and then 네….
    while (changed := change(text)) != text:
        text = changed
    return text


def _map_turns(dialogue: str, change: Callable[[str], str]) -> str:
    lines = []
    for line in dialogue.split("\n"):
        label, words = _split_label(line)
        lines.append(label + (change(words) or words))
    return "\n".join(lines)


def _split_label(line: str) -> tuple[str, str]:
    """Return the speaker's label, possibly empty, and the words."""
    match = _LABEL.match(line)
    end = match.end() if match else 0
    return line[:end], line[end:]
