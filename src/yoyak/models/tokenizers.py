"""Tokenizers: trained on the training split, or loaded with a checkpoint; masks are always single tokens."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE, Unigram
from tokenizers.trainers import BpeTrainer
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from yoyak.errors import UserError, first_line
from yoyak.korean.masks import MASK
from yoyak.models.libraries import import_transformers
from yoyak.params import Tokenizer as TokenizerParams

PAD, BOS, EOS, UNK = "<pad>", "<s>", "</s>", "<unk>"
SPECIAL = [PAD, BOS, EOS, UNK]
BYTES = 256


def train_tokenizer(texts: Iterable[str], masks: Sequence[str], params: TokenizerParams) -> PreTrainedTokenizerFast:
    """Train a tokenizer that round-trips every text exactly, unseen characters and spaces included.

    Args:
        texts: Training texts, which are gone through several times and never held together.
        masks: Masks such as ``#Person1#``; each becomes a single token without surrounding spaces.
        params: Type and vocabulary size, which includes special tokens and masks.

    Raises UserError if the vocabulary is too small for every character of the texts.

    Byte-level BPE covers unseen characters by itself; the unigram model does so by falling back to bytes.
    """
    pieces = _Pieces(texts, masks)
    size = params.vocab_size - len(masks)
    smallest = len(SPECIAL) + BYTES
    if params.type == "unigram":
        smallest += len({letter for piece in pieces for letter in piece})
    if size < smallest:
        raise UserError(
            f"a {params.type} tokenizer of these texts needs a vocab_size of {smallest + len(masks)} or more."
        )
    backend = _train_bpe(pieces, size) if params.type == "bpe" else _train_unigram(pieces, size)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token=PAD,
        bos_token=BOS,
        eos_token=EOS,
        unk_token=UNK,
        clean_up_tokenization_spaces=False,
    )
    add_masks(tokenizer, masks)
    return tokenizer


def _split_at(text: str, masks: Sequence[str]) -> list[str]:
    for mask in masks:
        text = text.replace(mask, "\0")
    return [piece for piece in text.split("\0") if piece]


@dataclass(frozen=True, slots=True)
class _Pieces:
    """The texts between masks, so that the vocabulary is not spent on parts of masks."""

    texts: Iterable[str]
    masks: Sequence[str]

    def __iter__(self) -> Iterator[str]:
        for text in self.texts:
            yield from _split_at(text, self.masks)


def _train_bpe(pieces: Iterable[str], size: int) -> Tokenizer:
    backend = Tokenizer(BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = BpeTrainer(vocab_size=size, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False)
    backend.train_from_iterator(pieces, trainer)
    return backend


def _train_unigram(pieces: Iterable[str], size: int) -> Tokenizer:
    # The trainer of `tokenizers` is not deterministic; SentencePiece gives the same scores for the same texts.
    import sentencepiece

    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(pieces),
        model_writer=model,
        model_type="unigram",
        vocab_size=size,
        hard_vocab_limit=False,
        character_coverage=1.0,
        byte_fallback=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        add_dummy_prefix=False,
        split_by_unicode_script=False,
        split_by_number=False,
        max_sentence_length=max(len(piece.encode()) for piece in pieces) + 1,
        num_threads=1,
        pad_id=SPECIAL.index(PAD),
        bos_id=SPECIAL.index(BOS),
        eos_id=SPECIAL.index(EOS),
        unk_id=SPECIAL.index(UNK),
        pad_piece=PAD,
        bos_piece=BOS,
        eos_piece=EOS,
        unk_piece=UNK,
        minloglevel=2,
    )
    trained = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    scores = {trained.id_to_piece(index): trained.get_score(index) for index in range(len(trained))}
    floor = min(scores.values()) - 10.0
    vocabulary = [(piece, floor if trained.is_byte(index) else scores[piece]) for index, piece in enumerate(scores)]
    backend = Tokenizer(Unigram(vocabulary, unk_id=SPECIAL.index(UNK), byte_fallback=True))
    backend.add_special_tokens(SPECIAL)
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never")
    backend.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    return backend


def add_masks(tokenizer: PreTrainedTokenizerBase, masks: Sequence[str]) -> int:
    """Add every mask as a regular token without surrounding spaces, and return how many were new.

    They are not special tokens, since decoding skips those.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:
        _preserve_spacing(backend)
    return tokenizer.add_tokens([AddedToken(mask, normalized=False) for mask in masks])


def new_tokens(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Return the ids of the masks that were added to a tokenizer: no checkpoint has trained their embeddings."""
    return [index for index, token in tokenizer.added_tokens_decoder.items() if MASK.fullmatch(token.content)]


def _preserve_spacing(backend: Tokenizer) -> None:
    """Make a tokenizer mark spaces only where the text has one, and at its beginning.

    Those of T5, KoBART and Llama restart after every added token: they insert a space after it, and some lose the one
    before it. `#Person1#은 #Person2#에게` would be decoded as `#Person1# 은#Person2# 에게`.
    """
    state = json.loads(backend.to_str())
    normalizers = _steps(state["normalizer"], "normalizers")
    steps = _steps(state["pre_tokenizer"], "pretokenizers")
    kinds = [step["type"] for step in steps]
    if [step["type"] for step in normalizers] == ["Prepend", "Replace"] and not kinds:
        backend.normalizer = None
        backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    elif kinds in (["Metaspace"], ["WhitespaceSplit", "Metaspace"]) and steps[-1]["prepend_scheme"] == "always":
        kept = [step for step in normalizers if step["type"] != "Strip"]
        if len(kinds) == 2 or len(kept) < len(normalizers):
            kept.append({"type": "Replace", "pattern": {"Regex": r"\s+"}, "content": " "})
        state["normalizer"] = {"type": "Sequence", "normalizers": kept} if kept else None
        backend.normalizer = Tokenizer.from_str(json.dumps(state)).normalizer
        backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=steps[-1]["split"])


def _steps(state: dict[str, Any] | None, name: str) -> list[dict[str, Any]]:
    """Return the steps of a tokenizer component, whether it is a sequence, a single step or absent."""
    return [] if state is None else state.get(name, [state])


def load_tokenizer(
    source: str | Path, masks: Sequence[str] = (), revision: str | None = None
) -> PreTrainedTokenizerBase:
    """Load a tokenizer from a folder or the Hub, add the masks, and make sure that it has a padding token.

    Raises UserError if there is none or it has no EOS token.
    """
    if isinstance(source, Path) and not source.is_dir():
        raise UserError(f"{source} is missing: `dvc repro` creates it, or `dvc pull` fetches it.")
    import_transformers()
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(str(source), revision=revision, trust_remote_code=False)
    except Exception as error:  # Missing or damaged files raise anything, including bare Exceptions from Rust.
        raise UserError(
            f"No tokenizer could be loaded from '{source}' ({first_line(error)}): check that its files "
            f"are present and complete."
        ) from error
    add_masks(tokenizer, masks)
    if tokenizer.eos_token_id is None:
        raise UserError(f"The tokenizer of '{source}' has no end-of-sequence token, so a summary could never end.")
    if tokenizer.pad_token_id is None:
        # The EOS token would do for attention, which ignores padding, but some code takes padding for the end.
        added = [token.content for token in tokenizer.added_tokens_decoder.values() if token.special]
        padding = next((token for token in added if "pad" in token.lower()), PAD)
        tokenizer.add_special_tokens({"pad_token": padding})
    return tokenizer
