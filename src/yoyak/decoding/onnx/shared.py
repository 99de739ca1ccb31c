"""Decoders with one cache for all texts of a dialogue, which implement `decoding.onnx.search.Decoder`.

The cache is written in place: the same memory is bound as input and output. Each step writes one column for each text;
a bias says which `columns` belong to which text.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import onnxruntime as ort

from yoyak.decoding.onnx.columns import Columns
from yoyak.decoding.onnx.decoder import PAST, PRESENT, Array, empty_cache, to_ort_value
from yoyak.decoding.onnx.options import NEVER, Floats, Ints

BIAS, WRITE_INDICES, LENGTH, DISTANCES = "own_bias", "own_indices", "past_length", "own_distances"
ROWS = "own_rows"


class SharedCacheDecoder:
    """What decoders with and without an encoder have in common."""

    def __init__(self, session: ort.InferenceSession, dialogues: int, read: dict[str, Array]) -> None:
        self.session, self.read = session, read
        """What is read of each dialogue in every step, by the name of the input."""
        self.shapes = {value.name: value.shape for value in session.get_inputs()}
        names = [name for name in self.shapes if name.startswith(PAST) and name not in read]
        self.self_cache = {name: empty_cache(self.shapes[name], dialogues) for name in names}
        """Keys and values [dialogues, heads, columns, features]."""
        self.columns = Columns(dialogues, texts=1)
        self.steps = 0
        """Tokens of each text that are in the cache, without a prompt that was read at once."""
        self.binding = session.io_binding()
        # Outputs are returned in the order in which they are bound: logits first.
        self.binding.bind_output("logits", "cpu")
        self.bound: dict[str, ort.OrtValue] = {}
        """Keeps alive what onnxruntime reads and writes: it holds no references itself."""
        self._bind(read)

    def keep(self, dialogues: Ints) -> None:
        self.columns.keep(dialogues)
        self.read = {name: array[dialogues] for name, array in self.read.items()}
        self._bind(self.read)
        self._replace_cache({name: array[dialogues] for name, array in self.self_cache.items()})

    def _continue_texts(self, source: Ints | None, texts: int, lengths: Ints) -> Ints:
        """Let each text have the columns of the one that it continues; return the column of each text's next token.

        ``lengths`` is how many tokens the texts of each dialogue have.
        """
        dialogues, _, before, _ = self.columns.bias.shape
        if source is not None:
            self.columns.follow(source.reshape(dialogues, texts) - np.arange(dialogues)[:, None] * before)
        move_columns(self.self_cache, self.columns.compact(np.full(dialogues, self.steps)))
        if self.columns.reserve():
            self._enlarge_cache()
        self.steps += 1
        return self.columns.append(lengths)

    def _run(self, columns: Ints, feeds: dict[str, Any]) -> Floats:
        """Run one step that writes these columns [dialogues, texts], and return the logits of its last position."""
        dialogues, heads = len(columns), self.shapes[WRITE_INDICES][1]
        indices = np.empty((dialogues, heads, columns.shape[1], 3), dtype=np.int64)
        indices[..., 0] = np.arange(dialogues)[:, None, None]
        indices[..., 1] = np.arange(heads)[:, None]
        indices[..., 2] = columns[:, None]
        self._bind({WRITE_INDICES: indices, **feeds})
        self.binding.bind_output("logits", "cpu")
        self.session.run_with_iobinding(self.binding)
        logits: Floats = self.binding.get_outputs()[0].numpy()
        return logits[:, -1]

    def _enlarge_cache(self) -> None:
        """Give the cache room for as many columns as there may be."""
        for name, array in self.self_cache.items():
            dialogues, heads, before, size = array.shape
            # Hidden columns get weight 0 but are still multiplied, so they must not hold NaN.
            larger = np.zeros((dialogues, heads, self.columns.capacity, size), dtype=np.float32)
            larger[:, :, :before] = array
            self._replace_cache({name: larger})

    def _replace_cache(self, arrays: dict[str, Floats]) -> None:
        """Replace parts of the self-attention cache, and bind the new arrays."""
        self.self_cache |= arrays
        self._bind(arrays)
        for name in arrays:
            self.binding.bind_ortvalue_output(name.replace(PAST, PRESENT), self.bound[name])

    def _bind(self, arrays: dict[str, Any]) -> None:
        for name, array in arrays.items():
            if name in self.shapes:
                self.bound[name] = to_ort_value(array)
                self.binding.bind_ortvalue_input(name, self.bound[name])


class SharedSeq2SeqDecoder(SharedCacheDecoder):
    """A decoder with cross-attention, which begins with a start token."""

    def __init__(self, decoder: ort.InferenceSession, cross: dict[str, Array], mask: Ints, start: Ints) -> None:
        super().__init__(decoder, len(mask), {"encoder_attention_mask": mask, **cross})
        self.prompt = start

    def first(self) -> Floats:
        return self.advance(self.prompt[:, 0], None)

    def advance(self, tokens: Ints, source: Ints | None) -> Floats:
        dialogues = len(self.columns.written)
        lengths = np.full(dialogues, self.steps)
        # A single one for all in models that earlier versions have exported.
        length = np.full(len(tokens) if self.shapes.get(LENGTH) else (), self.steps, dtype=np.int64)
        columns = self._continue_texts(source, len(tokens) // dialogues, lengths)
        feeds = {
            "input_ids": tokens[:, None],
            BIAS: self.columns.bias,
            LENGTH: length,
            DISTANCES: self.columns.distances(lengths),
        }
        return self._run(columns, feeds)


class SharedCausalDecoder(SharedCacheDecoder):
    """A decoder-only model; all texts of a dialogue share the cache of its prompt, which is read once."""

    def __init__(self, decoder: ort.InferenceSession, ids: Ints, mask: Ints) -> None:
        super().__init__(decoder, len(ids), {})
        self.prompt = ids
        self.lengths = mask.sum(axis=1)
        """Number of tokens of each text."""

    def first(self) -> Floats:
        # Prompts are padded on the left for the search, and on the right for the cache: the columns of a dialogue do
        # not depend on the others. A single column would be multiplied by another kernel than several.
        dialogues, width = len(self.prompt), max(2, self.prompt.shape[1])
        tokens = np.zeros((dialogues, width), dtype=np.int64)
        for row, (ids, length) in enumerate(zip(self.prompt, self.lengths, strict=True)):
            tokens[row, :length] = ids[-length:]
        positions = np.broadcast_to(np.arange(width), tokens.shape)
        self.columns.enlarge(width)
        self._enlarge_cache()
        bias = np.where(np.arange(self.columns.capacity) <= np.arange(width)[:, None], np.float32(0), NEVER)
        feeds = {
            "input_ids": tokens,
            "position_ids": np.minimum(positions, self.lengths[:, None] - 1),
            BIAS: np.broadcast_to(bias, (dialogues, 1, *bias.shape)),
            ROWS: (np.arange(dialogues) * width + self.lengths - 1)[:, None],
        }
        logits = self._run(positions, feeds)
        self.columns.written = self.lengths.copy()
        read = np.arange(self.columns.capacity) < self.lengths[:, None]
        self.columns.bias[:, 0, 0] = np.where(read, np.float32(0), NEVER)
        return logits

    def keep(self, dialogues: Ints) -> None:
        super().keep(dialogues)
        self.lengths = self.lengths[dialogues]

    def advance(self, tokens: Ints, source: Ints | None) -> Floats:
        dialogues = len(self.lengths)
        texts = len(tokens) // dialogues
        columns = self._continue_texts(source, texts, self.lengths)
        feeds = {
            "input_ids": tokens.reshape(dialogues, texts),
            "position_ids": np.repeat(self.lengths[:, None], texts, axis=1),
            BIAS: self.columns.bias,
            ROWS: np.arange(len(tokens))[:, None],
        }
        self.lengths = self.lengths + 1
        return self._run(columns, feeds)


def move_columns(cache: dict[str, Array], moves: Iterable[tuple[int, int, Ints]]) -> None:
    """Move columns [dialogues, heads, columns, features] as `Columns.compact` has moved them."""
    for row, first, moved in moves:
        for array in cache.values():
            array[row, :, first : first + len(moved)] = array[row][:, moved]


def smallest_feeds(session: ort.InferenceSession) -> dict[str, Array]:
    """Return inputs of a decoder-only model for one dialogue of one token."""
    shapes = {value.name: value.shape for value in session.get_inputs()}
    caches = {
        name: np.zeros((1, shape[1], 1, shape[3]), dtype=np.float32)
        for name, shape in shapes.items()
        if name.startswith(PAST)
    }
    zeros = dict.fromkeys(("input_ids", "position_ids", ROWS), np.zeros((1, 1), dtype=np.int64))
    indices = np.zeros((1, shapes[WRITE_INDICES][1], 1, 3), dtype=np.int64)
    indices[..., 1] = np.arange(indices.shape[1])[:, None]
    return {**caches, **zeros, WRITE_INDICES: indices, BIAS: np.zeros((1, 1, 1, 1), dtype=np.float32)}
