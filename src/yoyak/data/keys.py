"""Keys by which dialogues are compared: equal for those that differ only in whitespace and letter case."""

from __future__ import annotations

import hashlib


def dialogue_key(dialogue: str) -> str:
    """Return a key that is equal for dialogues that differ only in whitespace and letter case."""
    return "".join(dialogue.casefold().split())


def hash_dialogue(dialogue: str) -> str:
    """Return a short key that is equal for dialogues that differ only in whitespace and letter case."""
    return hashlib.blake2b(dialogue_key(dialogue).encode(), digest_size=8).hexdigest()


def hash_text(text: str) -> int:
    """Return a digest of 64 bits."""
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")
