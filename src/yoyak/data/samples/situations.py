"""Scenarios for pretraining that hardly repeat: any of some hundred verbs, done to anything, spoken of in any way.

Where `parts` has purposes that were written by hand, these have nothing but a verb, what it is done to, and a way to
speak of it: to ask for it, offer it, propose it, have done it, not have done it … So a model has to take the verb and
all details from the dialogue. Nobody needs these dialogues to make sense.
"""

from __future__ import annotations

import random
import re
from functools import cache

from yoyak.data.samples import acts
from yoyak.data.samples.details import DETAILS
from yoyak.data.samples.parts import Frame, add_details
from yoyak.data.samples.scenario import Block, Scenario, parse_block
from yoyak.korean.kiwi import join

_VERB = re.compile(r"\{v:([^}]*)\}")
_ADNOMINAL = ("ᆫ", "는", "ᆯ", "려는")
_P_FRIENDS = 0.4
_P_INSTEAD = 0.15
_ASIDES = 4
"""Asides that a scenario may have; `compose` takes none or one of them, or all for a long dialogue."""
_SETTINGS = ("desk", "phone", "work", "call", "street")
# Details that only make sense for what `parts` says them of.
_GENERAL = tuple(name for name in DETAILS if name not in ("fault", "sheets"))


def _acts(text: str) -> tuple[tuple[str, str, tuple[str, ...]], ...]:
    """Return what A does, what B does, and the openings of each act."""
    parsed = []
    for chunk in text.strip().removeprefix("= ").split("\n= "):
        header, *lines = chunk.strip().split("\n")
        asks, answers = (part.strip() for part in header.split("|"))
        parsed.append((asks, answers, tuple(line[2:] for line in lines)))
    return tuple(parsed)


def _lines(text: str) -> tuple[str, ...]:
    return tuple(text.strip().split("\n"))


_ACTS = {False: _acts(acts.WANTS), True: _acts(acts.WANTS_OF_FRIENDS)}
_INSTEAD = {False: _lines(acts.INSTEAD), True: _lines(acts.INSTEAD_OF_FRIENDS)}
_CLOSINGS = {False: _lines(acts.CLOSINGS), True: _lines(acts.CLOSINGS_OF_FRIENDS)}
_OWN_ASIDES = {False: _lines(acts.ASIDES), True: _lines(acts.ASIDES_OF_FRIENDS)}
_VERBS = {name: tuple(verbs.split()) for name, verbs in acts.VERBS.items()}


def draw_situation(rng: random.Random) -> Scenario:
    """Return a situation with one to four details, as a scenario for `compose`."""
    what = rng.choice(tuple(_VERBS))
    verb = rng.choice(_VERBS[what])
    casual = rng.random() < _P_FRIENDS
    asks, answers, openings = rng.choice(_ACTS[casual])
    slots: tuple[tuple[str, str], ...] = (("what", what),)
    core: tuple[Block, ...] = ()
    # An opening that has been turned down has to be one of something that has not been done yet.
    if rng.random() < _P_INSTEAD and not re.search("었|못|말라|그만|는 방법", asks):
        slots = (*slots, ("other", what))
        core = (_block(rng.choice(_INSTEAD[casual]), verb),)
        asks, answers = (text.replace("{what:을}", "{what} 대신 {other:을}") for text in (asks, answers))
    return add_details(
        Frame(
            key=f"{verb} {what}",
            topic="",
            setting="friends" if casual else rng.choice(_SETTINGS),
            slots=slots,
            details=_GENERAL,
            asks=_conjugate(asks, verb),
            answers=_conjugate(answers, verb),
            openings=(_block(rng.choice(openings), verb),),
            core=core,
            extras=tuple(parse_block(line) for line in rng.sample(_OWN_ASIDES[casual], _ASIDES)),
            closings=(parse_block(rng.choice(_CLOSINGS[casual])),),
        ),
        rng,
    )


def _block(text: str, verb: str) -> Block:
    return parse_block(_conjugate(text, verb))


def _conjugate(text: str, verb: str) -> str:
    return _VERB.sub(lambda match: _inflect(verb, match[1]), text)


@cache
def _inflect(verb: str, ending: str) -> str:
    """Return a verb with an ending of Kiwi's."""
    past, ending = (["었"], ending[1:]) if ending.startswith("었") else ([], ending)
    tag = "ETM" if ending in _ADNOMINAL else "EC"
    return join([(verb, "VV"), *((form, "EP") for form in past), *((form, tag) for form in [ending] if form)])
