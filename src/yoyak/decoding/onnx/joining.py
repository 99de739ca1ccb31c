"""The caches of dialogues that are written together although they started at different times.

All texts of a dialogue share a cache as in `shared`, with the same columns, so that its tokens are the same. But each
dialogue has a length of its own, and others take the places of those that leave.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime as ort

from yoyak.decoding.onnx.columns import MULTIPLE, Columns
from yoyak.decoding.onnx.decoder import PAST, PRESENT, Array, to_ort_value
from yoyak.decoding.onnx.options import Floats, Ints
from yoyak.decoding.onnx.shared import BIAS, DISTANCES, LENGTH, WRITE_INDICES, move_columns

MASK = "encoder_attention_mask"


def can_join(decoder: ort.InferenceSession) -> bool:
    """Return whether a decoder takes texts of different lengths; earlier versions have exported one length for all."""
    shapes = {value.name: value.shape for value in decoder.get_inputs()}
    return len(shapes[LENGTH]) == 1 if LENGTH in shapes else DISTANCES in shapes


class JoiningDecoder:
    """A decoder with cross-attention that dialogues join and leave between any two steps.

    Caches are written in place: the same memory is bound as input and output.
    """

    def __init__(self, decoder: ort.InferenceSession, *, texts: int, room: int) -> None:
        """Have no dialogues yet: ``room`` of them may be there at once, each with so many texts."""
        self.session, self.texts, self.room = decoder, texts, room
        self.shapes = {value.name: value.shape for value in decoder.get_inputs()}
        self.lengths = np.zeros(0, dtype=np.int64)
        """Tokens of each dialogue's texts that are in the cache."""
        self.columns = Columns(0, texts)
        self.caches: dict[str, Array] = {}
        """Inputs that have a row for each dialogue: keys, values, their scales, and the mask of the input's tokens."""
        self.own = [name for name in self.shapes if name.startswith(PAST) and ".decoder." in name]
        """Names of the keys and values of the texts' tokens [dialogues, heads, columns, features]."""
        self.binding = decoder.io_binding()
        # Outputs are returned in the order in which they are bound: logits first.
        self.binding.bind_output("logits", "cpu")
        self.bound: dict[str, ort.OrtValue] = {}
        """Keeps alive what onnxruntime reads and writes: it holds no references itself."""

    def add(self, cross: dict[str, Array], mask: Ints) -> None:
        """Add dialogues after those that are there, whose texts have no tokens yet.

        Args:
            cross: Their caches for cross-attention, as `run_encoder` returns them.
            mask: Which of the tokens there are [dialogues, tokens].
        """
        before, (count, width) = len(self.lengths), mask.shape
        after = slice(before, before + count)
        given = {name: array for name, array in {MASK: mask, **cross}.items() if name in self.shapes}
        for name, array in given.items():
            cache = self.caches.get(name)
            if cache is None or any(np.array(array.shape[1:]) > cache.shape[1:]):
                self._enlarge(name, -(-width // MULTIPLE) * MULTIPLE, array.dtype)
            self.caches[name][(after, *map(slice, array.shape[1:]))] = array
        if MASK in given:
            self.caches[MASK][after, width:] = 0
        self.lengths = np.concatenate([self.lengths, np.zeros(count, dtype=np.int64)])
        self.columns.add(count)
        self._bind_caches()

    def keep(self, dialogues: Ints) -> None:
        """Keep only some of the dialogues: in their order, or with the last ones in the places of those that leave."""
        for cache in self.caches.values():
            for target, source in enumerate(dialogues.tolist()):
                if target != source:
                    cache[target] = cache[source]
        self.lengths = self.lengths[dialogues]
        self.columns.keep(dialogues)
        self._bind_caches()

    def step(self, tokens: Ints, parents: Ints) -> Floats:
        """Append a token to each text, and return the logits of the next [dialogues x texts, vocabulary].

        Args:
            tokens: Of each text [dialogues, texts].
            parents: Which text of its dialogue each continues [dialogues, texts].
        """
        self.columns.follow(parents)
        own = {name: self.caches[name] for name in self.own if name in self.caches}
        move_columns(own, self.columns.compact(self.lengths))
        if self.columns.reserve():
            # Hidden columns get weight 0 but are still multiplied, so they must not hold NaN.
            for name in self.own:
                self._enlarge(name, self.columns.capacity, np.dtype(np.float32))
            self._bind_caches()
        columns = self.columns.append(self.lengths)
        indices = np.empty((len(tokens), self.shapes[WRITE_INDICES][1], self.texts, 3), dtype=np.int64)
        indices[..., 0] = np.arange(len(tokens))[:, None, None]
        indices[..., 1] = np.arange(indices.shape[1])[:, None]
        indices[..., 2] = columns[:, None]
        feeds = {
            "input_ids": tokens.reshape(-1, 1),
            BIAS: self.columns.bias,
            WRITE_INDICES: indices,
            LENGTH: np.repeat(self.lengths, self.texts),
            DISTANCES: self.columns.distances(self.lengths),
        }
        self.lengths = self.lengths + 1
        self._bind({name: array for name, array in feeds.items() if name in self.shapes})
        self.binding.bind_output("logits", "cpu")
        self.session.run_with_iobinding(self.binding)
        logits: Floats = self.binding.get_outputs()[0].numpy()
        return logits[:, -1]

    def _enlarge(self, name: str, size: int, kind: np.dtype[Any]) -> None:
        """Give a cache room for so many tokens: along the axis besides the first one that has no fixed size."""
        # Pages that were never written take no memory.
        shape = [self.room, *(axis if isinstance(axis, int) else size for axis in self.shapes[name][1:])]
        larger, smaller = np.zeros(shape, kind), self.caches.get(name)
        if smaller is not None:
            count = len(self.lengths)
            larger[(slice(count), *map(slice, smaller.shape[1:]))] = smaller[:count]
        self.caches[name] = larger

    def _bind_caches(self) -> None:
        """Bind the rows of the dialogues that are there."""
        self._bind({name: cache[: len(self.lengths)] for name, cache in self.caches.items()})
        for name in self.own:
            if name in self.bound:
                self.binding.bind_ortvalue_output(name.replace(PAST, PRESENT), self.bound[name])

    def _bind(self, arrays: dict[str, Any]) -> None:
        for name, array in arrays.items():
            self.bound[name] = to_ort_value(array)
            self.binding.bind_ortvalue_input(name, self.bound[name])
