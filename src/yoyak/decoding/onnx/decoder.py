"""The graphs of an exported model in the middle of a batch: they read the dialogues, and write a token at a time.

What is here is a `decoding.search.Decoder`, with onnxruntime and numpy alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from yoyak.decoding.onnx.options import NEVER, Floats, Ints

Array = npt.NDArray[Any]
PAST, PRESENT, SOURCE = "past_key_values", "present", "source"
BIAS, PLACES, LENGTH = "own_bias", "own_places", "past_length"
ROOM = 16
"""Tokens that a cache gets room for at once: they are attended to, at a weight of 0, before they are written."""
TYPES = {"tensor(float)": np.float32, "tensor(int8)": np.int8, "tensor(uint8)": np.uint8}
"""What the cross-attention cache is made of."""
CHUNK = 512
"""Tokens that an encoder reads at once: more take no less time each, and more memory."""


def read(encoder: ort.InferenceSession, ids: Ints, mask: Ints) -> dict[str, Array]:
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
    return cache


class Copied:
    """A decoder graph with a cache for each text, which each step returns longer by one token."""

    def __init__(self, session: ort.InferenceSession, reorder: ort.InferenceSession, rows: int) -> None:
        self.session = session
        self.reorder = reorder
        self.outputs = [out.name for out in session.get_outputs()]
        self.inputs = {one.name: one for one in session.get_inputs()}
        self.own = [one.name for one in reorder.get_inputs() if one.name != SOURCE]
        """Names of the cache that grows with each step, as the decoder reads them."""
        self.rows = rows
        self.past = {name: _value(_empty(self.inputs[name].shape, rows)) for name in self.own}

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


class Seq2Seq(Copied):
    """A decoder that attends to what an encoder has read."""

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
        self.past |= {name: _value(array) for name, array in cross.items()}
        self.cross = list(cross)

    def keep(self, dialogues: Ints) -> None:
        self._reorder(_rows_of(dialogues, self.rows // len(self.mask)))
        for name in self.cross:
            self.past[name] = _value(self.past[name].numpy()[dialogues])
        self.mask = self.mask[dialogues]

    def first(self) -> Floats:
        return self._step({"input_ids": self.prompt, "encoder_attention_mask": self.mask})

    def advance(self, tokens: Ints, source: Ints | None) -> Floats:
        # Texts change places with those of the same dialogue only, and these read the same cross-attention cache.
        if source is not None and not _same(source, self.rows):
            self._reorder(source)
        return self._step({"input_ids": tokens[:, None], "encoder_attention_mask": self.mask})


class SharedSeq2Seq:
    """A decoder that attends to what an encoder has read, with one cache for all texts of a dialogue.

    The cache is written where it is: the same memory is bound as input and output. It has room for some more tokens
    than there are, so that it is copied once in `ROOM` steps, and not in each.
    """

    def __init__(self, decoder: ort.InferenceSession, cross: dict[str, Array], mask: Ints, start: Ints) -> None:
        self.session, self.mask, self.prompt = decoder, mask, start
        self.shapes = {one.name: one.shape for one in decoder.get_inputs()}
        self.cross = cross
        own = [name for name in self.shapes if name.startswith(PAST) and name not in cross]
        self.own = {name: _empty(self.shapes[name], len(mask)) for name in own}
        """Keys and values of what was written [dialogues, heads, columns, features]."""
        self.path = np.zeros((len(mask), 1, 0), dtype=np.int64)
        """Columns that each text has written [dialogues, texts, tokens]."""
        self.columns = 0
        """How many are written."""
        self.room = 0
        """How many there are."""
        self.binding = decoder.io_binding()
        # What is bound first is the first of the binding's outputs.
        self.binding.bind_output("logits", "cpu")
        self.bound: dict[str, ort.OrtValue] = {}
        """What onnxruntime reads and writes: it does not keep it alive itself."""
        self._bind({"encoder_attention_mask": mask, **self.cross})

    def keep(self, dialogues: Ints) -> None:
        self.path, self.mask = self.path[dialogues], self.mask[dialogues]
        self.cross = {name: array[dialogues] for name, array in self.cross.items()}
        self._bind({"encoder_attention_mask": self.mask, **self.cross})
        self._move({name: array[dialogues] for name, array in self.own.items()})

    def first(self) -> Floats:
        return self._step(self.prompt, None)

    def advance(self, tokens: Ints, source: Ints | None) -> Floats:
        return self._step(tokens[:, None], source)

    def _step(self, tokens: Ints, source: Ints | None) -> Floats:
        dialogues, before, written = self.path.shape
        texts = len(tokens) // dialogues
        if source is not None:
            local = source.reshape(dialogues, texts) - np.arange(dialogues)[:, None] * before
            self.path = np.take_along_axis(self.path, local[:, :, None], 1)
        new = self.columns + np.arange(texts)
        self.path = np.concatenate([self.path, np.broadcast_to(new[:, None], (dialogues, texts, 1))], axis=2)
        self.columns += texts
        if self.columns > self.room:
            self._grow(texts)
        bias = np.full((dialogues, 1, texts, self.room), NEVER, dtype=np.float32)
        np.put_along_axis(bias[:, 0], self.path, np.float32(0), 2)
        heads = self.shapes[PLACES][1]
        places = np.stack(np.meshgrid(np.arange(dialogues), np.arange(heads), new, indexing="ij"), axis=-1)
        self._bind({"input_ids": tokens, BIAS: bias, PLACES: places, LENGTH: np.array(written, dtype=np.int64)})
        self.binding.bind_output("logits", "cpu")
        self.session.run_with_iobinding(self.binding)
        logits: Floats = self.binding.get_outputs()[0].numpy()
        return logits[:, -1]

    def _grow(self, texts: int) -> None:
        """Make room for the columns of some more steps."""
        written, self.room = self.columns - texts, self.columns + (ROOM - 1) * texts
        for name, array in self.own.items():
            dialogues, heads, _, size = array.shape
            # What is behind a bias is multiplied by 0: it has to be a number.
            larger = np.zeros((dialogues, heads, self.room, size), dtype=np.float32)
            larger[:, :, :written] = array[:, :, :written]
            self._move({name: larger})

    def _move(self, own: dict[str, Floats]) -> None:
        """Let parts of the own cache be elsewhere in memory."""
        self.own |= own
        self._bind(own)
        for name in own:
            self.binding.bind_ortvalue_output(name.replace(PAST, PRESENT), self.bound[name])

    def _bind(self, arrays: dict[str, Any]) -> None:
        for name, array in arrays.items():
            if name in self.shapes:
                self.bound[name] = _value(array)
                self.binding.bind_ortvalue_input(name, self.bound[name])


class Causal(Copied):
    """A decoder-only model that goes on with what it was given."""

    def __init__(self, decoder: ort.InferenceSession, reorder: ort.InferenceSession, ids: Ints, mask: Ints) -> None:
        super().__init__(decoder, reorder, len(ids))
        self.prompt, self.mask = ids, mask
        self.dialogues = len(ids)

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


Decoding = Seq2Seq | SharedSeq2Seq | Causal


def _empty(shape: list[Any], rows: int) -> Floats:
    """Return a cache of nothing."""
    _, heads, _, size = shape
    return np.zeros((rows, heads, 0, size), dtype=np.float32)


def _rows_of(dialogues: Ints, texts: int) -> Ints:
    """Return the rows of dialogues that have so many texts each."""
    return (dialogues[:, None] * texts + np.arange(texts)).reshape(-1)


def _same(source: Ints, rows: int) -> bool:
    return len(source) == rows and bool((source == np.arange(rows)).all())


def _value(array: Any) -> ort.OrtValue:
    return ort.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array))
