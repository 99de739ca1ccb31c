"""The graphs of an exported model in the middle of a batch: they read the dialogues, and write a token at a time.

What is here is a `decoding.search.Decoder`, with onnxruntime and numpy alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime as ort

from yoyak.decoding.search import NEVER, Floats, Ints

PAST, PRESENT, SOURCE = "past_key_values", "present", "source"
BIAS, LENGTH = "own_bias", "past_length"
TYPES = {"tensor(float)": np.float32, "tensor(int8)": np.int8, "tensor(uint8)": np.uint8}
"""What the cross-attention cache is made of."""
CHUNK = 512
"""Tokens that an encoder reads at once: more take no less time each, and more memory."""


def read(encoder: ort.InferenceSession, ids: Ints, mask: Ints) -> dict[str, ort.OrtValue]:
    """Return the cross-attention cache of a batch, which the encoder reads in pieces of at most `CHUNK` tokens."""
    rows, width = ids.shape
    lengths = mask.sum(axis=1)
    outputs = encoder.get_outputs()
    # Neither the padding behind a piece's longest row is read, nor does memory hold what lies between all layers.
    cache = {
        out.name: np.zeros([rows, *(width if isinstance(one, str) else one for one in out.shape[1:])], TYPES[out.type])
        for out in outputs
    }
    first = 0
    while first < rows:
        last = first + 1
        while last < rows and (last + 1 - first) * lengths[first : last + 1].max() <= CHUNK:
            last += 1
        longest = int(lengths[first:last].max())
        feeds = {"input_ids": _value(ids[first:last, :longest]), "attention_mask": _value(mask[first:last, :longest])}
        found = encoder.run_with_ort_values(list(cache), feeds)
        for out, value in zip(outputs, found, strict=True):
            place = [slice(longest) if isinstance(size, str) else slice(None) for size in out.shape[1:]]
            cache[out.name][first:last, *place] = value.numpy()
        first = last
    return {name: _value(array) for name, array in cache.items()}


class Cached:
    """A decoder graph with its cache, which stays with onnxruntime between the steps."""

    def __init__(self, session: ort.InferenceSession, reorder: ort.InferenceSession) -> None:
        self.session = session
        self.reorder = reorder
        self.outputs = [out.name for out in session.get_outputs()]
        self.inputs = {one.name: one for one in session.get_inputs()}
        self.own = [one.name for one in reorder.get_inputs() if one.name != SOURCE]
        """Names of the cache that grows with each step, as the decoder reads them."""
        self.past: dict[str, ort.OrtValue] = {}
        self.rows = 0

    def _empty(self, rows: int) -> None:
        """Begin with a cache of nothing."""
        self.rows = rows
        for name in self.own:
            _, heads, _, size = self.inputs[name].shape
            self.past[name] = _value(np.zeros((rows, heads, 0, size), dtype=np.float32))

    def _step(self, feeds: dict[str, Any]) -> Floats:
        """Run one step and return the logits of its last position."""
        values = {name: _value(array) for name, array in feeds.items() if name in self.inputs}
        found = self.session.run_with_ort_values(self.outputs, {**values, **self.past})
        for name, value in zip(self.outputs, found, strict=True):
            if name.startswith(PRESENT):
                self.past[name.replace(PRESENT, PAST)] = value
        logits: Floats = found[self.outputs.index("logits")].numpy()
        return logits[:, -1]

    def _reorder(self, source: Ints) -> None:
        """Let each row go on with the cache of another."""
        self.rows = len(source)
        feeds = {name: self.past[name] for name in self.own}
        outputs = [name.replace(PAST, PRESENT) for name in self.own]
        found = self.reorder.run_with_ort_values(outputs, {**feeds, SOURCE: _value(source)})
        self.past.update(zip(self.own, found, strict=True))


class Seq2Seq(Cached):
    """A decoder that attends to what an encoder has read."""

    def __init__(
        self,
        decoder: ort.InferenceSession,
        reorder: ort.InferenceSession,
        cross: dict[str, ort.OrtValue],
        mask: Ints,
        start: Ints,
    ) -> None:
        super().__init__(decoder, reorder)
        self.mask, self.prompt = mask, start
        self._empty(len(mask))
        self.past.update(cross)
        self.cross = list(cross)
        self.path = np.zeros((len(mask), 1, 0), dtype=np.int64) if BIAS in self.inputs else None
        """Columns of the cache that each text has written [dialogues, texts, tokens], where its texts share one."""
        self.columns = 0

    def keep(self, dialogues: Ints) -> None:
        if self.path is None:
            self._reorder(_rows_of(dialogues, self.rows // len(self.mask)))
        else:
            self._reorder(dialogues)
            self.path = self.path[dialogues]
        for name in self.cross:
            self.past[name] = _value(self.past[name].numpy()[dialogues])
        self.mask = self.mask[dialogues]

    def first(self) -> Floats:
        return self._step(self._feeds(self.prompt, None))

    def advance(self, tokens: Ints, source: Ints | None) -> Floats:
        # Texts change places with those of the same dialogue only, and these read the same cross-attention cache.
        if self.path is None and source is not None and not _same(source, self.rows):
            self._reorder(source)
        return self._step(self._feeds(tokens[:, None], source))

    def _feeds(self, tokens: Ints, source: Ints | None) -> dict[str, Any]:
        feeds: dict[str, Any] = {"input_ids": tokens, "encoder_attention_mask": self.mask}
        if self.path is None:
            return feeds
        dialogues, before, written = self.path.shape
        texts = len(tokens) // dialogues
        if source is not None:
            local = source.reshape(dialogues, texts) - np.arange(dialogues)[:, None] * before
            self.path = np.take_along_axis(self.path, local[:, :, None], 1)
        new = np.broadcast_to(self.columns + np.arange(texts)[:, None], (dialogues, texts, 1))
        self.path = np.concatenate([self.path, new], axis=2)
        self.columns += texts
        bias = np.full((dialogues, 1, texts, self.columns), NEVER, dtype=np.float32)
        np.put_along_axis(bias[:, 0], self.path, np.float32(0), 2)
        return {**feeds, BIAS: bias, LENGTH: np.array(written, dtype=np.int64)}


class Causal(Cached):
    """A decoder-only model that goes on with what it was given."""

    def __init__(self, decoder: ort.InferenceSession, reorder: ort.InferenceSession, ids: Ints, mask: Ints) -> None:
        super().__init__(decoder, reorder)
        self.prompt, self.mask = ids, mask
        self.dialogues = len(ids)
        self._empty(len(ids))

    def first(self) -> Floats:
        positions = np.where(self.mask == 0, 1, self.mask.cumsum(axis=1) - 1)
        return self._step({"input_ids": self.prompt, "attention_mask": self.mask, "position_ids": positions})

    def keep(self, dialogues: Ints) -> None:
        self._take(_rows_of(dialogues, self.rows // self.dialogues))
        self.dialogues = len(dialogues)

    def _take(self, source: Ints) -> None:
        self._reorder(source)
        self.mask = self.mask[source]

    def advance(self, tokens: Ints, source: Ints | None) -> Floats:
        if source is not None and not _same(source, self.rows):
            self._take(source)
        self.mask = np.concatenate([self.mask, np.ones_like(self.mask[:, :1])], axis=1)
        positions = self.mask.sum(axis=1, keepdims=True) - 1
        return self._step({"input_ids": tokens[:, None], "attention_mask": self.mask, "position_ids": positions})


def _rows_of(dialogues: Ints, texts: int) -> Ints:
    """Return the rows of dialogues that have so many texts each."""
    return (dialogues[:, None] * texts + np.arange(texts)).reshape(-1)


def _same(source: Ints, rows: int) -> bool:
    return len(source) == rows and bool((source == np.arange(rows)).all())


def _value(array: Any) -> ort.OrtValue:
    return ort.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array))
