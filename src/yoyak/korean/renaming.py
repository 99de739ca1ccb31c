"""Giving masks and names in a text other names, with the particles after them in the form that the new name takes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from yoyak.korean.josa import final_consonant, particle
from yoyak.korean.masks import MASK

_AFTER_CONSONANT = (
    *("으로", "은", "이", "을", "과", "아", "이랑", "이에요", "이야", "이라", "이나", "이네", "이고", "이죠", "이지"),
    *("이며", "이든", "이었", "이는", "이가", "이를", "이도", "이만", "이의", "이한테", "이에게", "이와", "이보다"),
)
"""Forms that `particle` knows, the 이는 and 이한테 of given names among them."""
_AFTER_VOWEL = {
    "로": "으로", "는": "은", "가": "이", "를": "을", "와": "과", "랑": "이랑", "예요": "이에요", "라": "이라",
    "나": "이나", "네": "이네", "고": "이고", "죠": "이죠", "지": "이지", "며": "이며", "든": "이든", "였": "이었",
}  # fmt: skip
"""By form after a vowel: the form after a consonant."""
_FORMS = {**_AFTER_VOWEL, **{form: form for form in _AFTER_CONSONANT}}
_PARTICLE = re.compile("|".join(sorted(_FORMS, key=len, reverse=True)))
_OPEN = ("이었", "이라")
"""Any syllable may follow these."""
_AFTER_PARTICLE = re.compile("(?:요|도|만|는|은|서|써|의|부터|까지)*")
_UNCHANGING = re.compile(
    "도|만|의|에|한테|께|부터|까지|보다|처럼|씨|님|군|양|들|입니|인|일|임|하고|마다|밖에|조차|마저|같|쪽|측|뿐|대로"
)
"""How what follows a name begins if its form does not depend on the name."""
_CALLED = re.compile(r"(?:^|[\s,.!?:])$")


@dataclass(frozen=True, slots=True)
class Renamed:
    """A text with other names."""

    text: str
    sure: bool
    """Whether each particle is in the form that its new name takes; False if some were unclear and left as they are."""


def rename(text: str, new_names: Mapping[str, str]) -> Renamed:
    """Return a text with masks or names replaced, all at once, so that two can be swapped.

    Renaming back gives the text itself, if its particles agree with the names and none is unclear.
    """
    if not new_names:
        return Renamed(text, True)
    names = "|".join(map(_pattern, sorted(new_names, key=len, reverse=True)))
    sure = True

    def replace(match: re.Match[str]) -> str:
        nonlocal sure
        old, following = match[1], match[2]
        new = new_names[old]
        changed = _agree(old, new, following, text[: match.start()], text[match.end() :])
        sure = sure and changed is not None
        return new + (following if changed is None else changed)

    return Renamed(re.sub(rf"({names})([가-힣]*)", replace, text), sure)


def _pattern(name: str) -> str:
    """Return a pattern for a whole name; a Latin one ends where its letters end, a Korean one may take a particle."""
    escaped = re.escape(name)
    return escaped if MASK.fullmatch(name) else rf"(?<!\w){escaped}(?![A-Za-z0-9])"


def _agree(old: str, new: str, following: str, before: str, after: str) -> str | None:
    """Return the syllables that follow a name as they are after the new one; None if that is unclear."""
    same_class = bool(final_consonant(old)) == bool(final_consonant(new))
    if not following or (following in ("야", "아") and same_class):
        return following
    if following == "아":
        return particle(new, "아")
    if following == "야":
        # 수아야 calls 수아, or says that somebody is 수아: 지훈아, or 지훈이야.
        calls = _CALLED.search(before) is not None and after.lstrip(" ").startswith((",", "!"))
        return particle(new, "아") if calls else None
    match = _PARTICLE.match(following)
    if match:
        form, rest = _FORMS[match.group()], following[match.end() :]
        if form in _OPEN or _AFTER_PARTICLE.fullmatch(rest):
            return particle(new, form) + rest
    if _UNCHANGING.match(following):
        return following
    # 보라색 is not what 보라 owns, but nothing else begins as a mask does.
    return following if same_class and MASK.fullmatch(old) else None
