"""Running the graphs of an exported model: the encoder on a batch, then the decoder one token at a time.

The classes implement `decoding.onnx.search.Decoder` with onnxruntime and numpy alone. Those in this module are for
models of an unknown structure, which have one cache per text; all others are in `shared`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from yoyak.decoding.deadline import check_deadline
from yoyak.decoding.onnx.options import Floats, Ints

Array = npt.NDArray[Any]
PAST, PRESENT, SOURCE = "past_key_values", "present", "source"
CACHE_TYPES = {"tensor(float)": np.float32, "tensor(int8)": np.int8, "tensor(uint8)": np.uint8}
"""Types that the cross-attention cache may have."""
MAX_ENCODER_TOKENS = 512
"""Tokens that an encoder reads at once: more would take more memory, but no less time per token."""


def run_encoder(encoder: ort.InferenceSession, ids: Ints, mask: Ints) -> dict[str, Array]:
    """Return the cross-attention cache of a batch, encoded in chunks of at most `MAX_ENCODER_TOKENS` tokens."""
    rows, width = ids.shape
    lengths = mask.sum(axis=1)
    outputs = encoder.get_outputs()
    # A chunk is padded to its own longest row only, and fewer activations are in memory at once.
    cache = {
        out.name: np.zeros(
            [rows, *(width if isinstance(size, str) else size for size in out.shape[1:])], CACHE_TYPES[out.type]
        )
        for out in outputs
    }
    first = 0
    while first < rows:
        check_deadline()
        last = first + 1
        while last < rows and (last + 1 - first) * lengths[first : last + 1].max() <= MAX_ENCODER_TOKENS:
            last += 1
        longest = int(lengths[first:last].max())
        feeds = {
            "input_ids": to_ort_value(ids[first:last, :longest]),
            "attention_mask": to_ort_value(mask[first:last, :longest]),
        }
        values = encoder.run_with_ort_values(list(cache), feeds)
        for out, value in zip(outputs, values, strict=True):
            region = [slice(longest) if isinstance(size, str) else slice(None) for size in out.shape[1:]]
            cache[out.name][first:last, *region] = value.numpy()
        first = last
    return cache


class PerTextCacheDecoder:
    """A decoder graph with one cache per text; each step returns it longer by one token."""

    def __init__(self, session: ort.InferenceSession, reorder: ort.InferenceSession, rows: int) -> None:
        self.session = session
        self.reorder = reorder
        self.outputs = [out.name for out in session.get_outputs()]
        self.inputs = {value.name: value for value in session.get_inputs()}
        self.growing = [value.name for value in reorder.get_inputs() if value.name != SOURCE]
        """Input names of the self-attention cache, which grows with each step."""
        self.rows = rows
        self.past = {name: to_ort_value(empty_cache(self.inputs[name].shape, rows)) for name in self.growing}

    def _step(self, feeds: dict[str, Any]) -> Floats:
        """Run one step and return the logits of its last position."""
        values = {name: to_ort_value(array) for name, array in feeds.items() if name in self.inputs}
        results = self.session.run_with_ort_values(self.outputs, {**values, **self.past})
        for name, value in zip(self.outputs, results, strict=True):
            if name.startswith(PRESENT):
                self.past[name.replace(PRESENT, PAST)] = value
        logits: Floats = results[self.outputs.index("logits")].numpy()
        return logits[:, -1]

    def _reorder(self, source: Ints) -> None:
        """Give each row the cache of the row at its index in ``source``."""
        self.rows = len(source)
        feeds = {name: self.past[name] for name in self.growing}
        outputs = [name.replace(PAST, PRESENT) for name in self.growing]
        reordered = self.reorder.run_with_ort_values(outputs, {**feeds, SOURCE: to_ort_value(source)})
        self.past.update(zip(self.growing, reordered, strict=True))


class Seq2SeqDecoder(PerTextCacheDecoder):
    """A decoder with cross-attention and one cache per text."""

    def __init__(
        self,
        decoder: ort.InferenceSession,
        reorder: ort.InferenceSession,
        cross: dict[str, Array],
        mask: Ints,
        start: Ints,
    ) -> None:
        super().__init__(decoder, reorder, len(mask))
        self.mask, self.prompt = mask, start
        self.past |= {name: to_ort_value(array) for name, array in cross.items()}
        self.cross = list(cross)

    def keep(self, dialogues: Ints) -> None:
        self._reorder(_expand_rows(dialogues, self.rows // len(self.mask)))
        for name in self.cross:
            self.past[name] = to_ort_value(self.past[name].numpy()[dialogues])
        self.mask = self.mask[dialogues]

    def first(self) -> Floats:
        return self._step({"input_ids": self.prompt, "encoder_attention_mask": self.mask})

    def advance(self, tokens: Ints, source: Ints | None) -> Floats:
        # Texts only continue others of the same dialogue, which have the same cross-attention cache.
        if source is not None and not _is_identity(source, self.rows):
            self._reorder(source)
        return self._step({"input_ids": tokens[:, None], "encoder_attention_mask": self.mask})


class CausalDecoder(PerTextCacheDecoder):
    """A decoder-only model, which continues its prompt."""

    def __init__(self, decoder: ort.InferenceSession, reorder: ort.InferenceSession, ids: Ints, mask: Ints) -> None:
        super().__init__(decoder, reorder, len(ids))
        self.prompt, self.mask = ids, mask
        self.dialogues = len(ids)

    def first(self) -> Floats:
        positions = np.where(self.mask == 0, 1, self.mask.cumsum(axis=1) - 1)
        return self._step({"input_ids": self.prompt, "attention_mask": self.mask, "position_ids": positions})

    def keep(self, dialogues: Ints) -> None:
        self._reorder_rows(_expand_rows(dialogues, self.rows // self.dialogues))
        self.dialogues = len(dialogues)

    def _reorder_rows(self, source: Ints) -> None:
        self._reorder(source)
        self.mask = self.mask[source]

    def advance(self, tokens: Ints, source: Ints | None) -> Floats:
        if source is not None and not _is_identity(source, self.rows):
            self._reorder_rows(source)
        self.mask = np.concatenate([self.mask, np.ones_like(self.mask[:, :1])], axis=1)
        positions = self.mask.sum(axis=1, keepdims=True) - 1
        return self._step({"input_ids": tokens[:, None], "attention_mask": self.mask, "position_ids": positions})


def empty_reordering(reorder: ort.InferenceSession) -> dict[str, Array]:
    """Return inputs of the graph that reorders caches: one text without tokens, which stays where it is."""
    caches = {value.name: empty_cache(value.shape, 1) for value in reorder.get_inputs() if value.name != SOURCE}
    return {**caches, SOURCE: np.zeros(1, dtype=np.int64)}


def empty_cache(shape: list[Any], rows: int) -> Floats:
    """Return a cache without tokens."""
    _, heads, _, size = shape
    return np.zeros((rows, heads, 0, size), dtype=np.float32)


def _expand_rows(dialogues: Ints, texts: int) -> Ints:
    """Return the row indices of dialogues with ``texts`` rows each."""
    return (dialogues[:, None] * texts + np.arange(texts)).reshape(-1)


def _is_identity(source: Ints, rows: int) -> bool:
    return len(source) == rows and bool((source == np.arange(rows)).all())


def to_ort_value(array: Any) -> ort.OrtValue:
    return ort.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array))
