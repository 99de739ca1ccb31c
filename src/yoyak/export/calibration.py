"""Constant scales of activations: what they are while the model in fp32 summarizes a few dialogues.

Each product's input is observed in the real search, one dialogue at a time, so that neither padding nor texts that have
ended are among it. Of the bounds that are tried, those are taken with which the products' results come closest to
those in fp32; where all lose too much, the activation keeps a scale for each row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, numpy_helper
from tqdm import tqdm

from yoyak.data.records import Dialogue
from yoyak.decoding.onnx.runtime import OnnxSummarizer
from yoyak.decoding.summarizer import texts_to_read
from yoyak.export.edit import Graphs, initializers
from yoyak.export.products import Array, ConstantScale, Floats, find_groups, round_symmetrically

MAX_ROWS = 384
"""Rows of an activation on which scales are compared: a random sample of all."""
MAX_COLUMNS = 2048
"""Results per row that are compared."""
SHARES = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3)
"""Shares of the range of an activation that are tried; what lies outside is clipped."""
BALANCE = 0.7
"""How much of the differences between features moves into the weights."""
TINY = np.float32(np.finfo(np.float32).tiny * 256)
MAX_RATIO = 2.0
"""How many times the lowest error a cheaper way to scale may have."""
MAX_ERROR = 0.005
"""The error, relative to the result, up to which a way is good enough in any case."""


@dataclass(slots=True)
class Observed:
    """What was seen of an activation."""

    rows: Floats
    """The sample [rows, features]."""
    low: Floats
    high: Floats
    """Bounds of each feature, 0 among them."""
    seen: int = 0

    def add(self, array: Floats, random: np.random.Generator) -> None:
        """Add the rows of an activation; the sample is a random one of all."""
        new = array.reshape(-1, array.shape[-1])
        self.low, self.high = np.minimum(self.low, new.min(axis=0)), np.maximum(self.high, new.max(axis=0))
        places = self.seen + np.arange(len(new))
        places = np.where(places < MAX_ROWS, places, random.integers(0, places + 1))
        kept = places < MAX_ROWS
        self.rows[places[kept]] = new[kept]
        self.seen += len(new)

    @classmethod
    def of_features(cls, count: int) -> Observed:
        """Return that nothing was seen of an activation with this many features."""
        return cls(np.zeros((MAX_ROWS, count), np.float32), np.zeros(count, np.float32), np.zeros(count, np.float32))

    @property
    def sample(self) -> Floats:
        """The rows that were kept."""
        return self.rows[: self.seen]


class ObservedSession:
    """A session that also hands over some values of its graph, which it hides from who runs it."""

    def __init__(
        self, session: ort.InferenceSession, names: Sequence[str], observe: Callable[[str, Floats], None]
    ) -> None:
        self.session, self.names, self.observe = session, list(names), observe

    def __getattr__(self, name: str) -> Any:
        return getattr(self.session, name)

    def get_outputs(self) -> list[Any]:
        """Return the outputs without those that are observed."""
        return [out for out in self.session.get_outputs() if out.name not in self.names]

    def run_with_ort_values(self, outputs: Sequence[str], feeds: Mapping[str, Any]) -> list[ort.OrtValue]:
        """Run the graph and return the outputs that are asked for."""
        values = self.session.run_with_ort_values([*outputs, *self.names], feeds)
        self._hand_over(values[len(outputs) :])
        return list(values[: len(outputs)])

    def run_with_iobinding(self, binding: ort.IOBinding) -> None:
        """Run the graph; the values that are observed become the binding's last outputs."""
        for name in self.names:
            binding.bind_output(name, "cpu")
        self.session.run_with_iobinding(binding)
        values = binding.get_outputs()
        self._hand_over(values[len(values) - len(self.names) :])

    def _hand_over(self, values: Sequence[ort.OrtValue]) -> None:
        for name, value in zip(self.names, values, strict=True):
            self.observe(name, value.numpy())


def expose_activations(graphs: Graphs) -> Graphs:
    """Return copies of graphs that also output what their products with constants read."""
    copies = {}
    for name, model in graphs.items():
        copy = onnx.ModelProto()
        copy.CopyFrom(model)
        copy.graph.output.extend(
            onnx.helper.make_tensor_value_info(group.value, TensorProto.FLOAT, None) for group in find_groups(model)
        )
        copies[name] = copy
    return copies


def spread(dialogues: Sequence[Dialogue], count: int) -> list[Dialogue]:
    """Return ``count`` dialogues at even intervals, or all if there are no more."""
    count = min(count, len(dialogues))
    return [dialogues[index * len(dialogues) // count] for index in range(count)]


def calibrate(graphs: Graphs, exposed: Path, dialogues: Sequence[Dialogue]) -> dict[str, dict[str, ConstantScale]]:
    """Return the constant scales of the activations of each graph, by name.

    Args:
        graphs: The graphs in fp32.
        exposed: An exported model with the graphs of `expose_activations`.
        dialogues: What is summarized.
    """
    observed = _observe(graphs, exposed, dialogues)
    return {name: dict(_choose_scales(model, observed[name])) for name, model in graphs.items()}


def _observe(graphs: Graphs, exposed: Path, dialogues: Sequence[Dialogue]) -> dict[str, dict[str, Observed]]:
    """Summarize the dialogues, each by itself, and return what the products of each graph read."""
    random = np.random.default_rng(0)
    summarizer = OnnxSummarizer.load(exposed)
    observed: dict[str, dict[str, Observed]] = {}
    for graph, model in graphs.items():
        constants = initializers(model)
        values = {
            group.value: Observed.of_features(constants[group.products[0].input[1]].dims[0])
            for group in find_groups(model)
        }
        observed[graph] = values

        def observe(name: str, array: Floats, values: dict[str, Observed] = values) -> None:
            values[name].add(array, random)

        setattr(summarizer, graph, ObservedSession(getattr(summarizer, graph), list(values), observe))
    settings = summarizer.generation.model_copy(update={"batch_size": 1})
    for text in tqdm(texts_to_read(summarizer, dialogues), desc="calibrating", unit="dialogue"):
        summarizer.summarize([text], generation=settings)
    return observed


def _choose_scales(model: onnx.ModelProto, observed: Mapping[str, Observed]) -> Iterator[tuple[str, ConstantScale]]:
    constants = initializers(model)
    random = np.random.default_rng(0)
    for group in find_groups(model):
        weight = np.concatenate([numpy_helper.to_array(constants[node.input[1]]) for node in group.products], axis=1)
        if weight.shape[1] > MAX_COLUMNS:
            weight = weight[:, np.sort(random.choice(weight.shape[1], MAX_COLUMNS, replace=False))]
        scale = choose_scale(observed[group.value], weight)
        if scale is not None:
            yield group.value, scale


def choose_scale(observed: Observed, weight: Array) -> ConstantScale | None:
    """Return the constant scale of an activation; None if it should have a scale for each row.

    A constant scale costs least, one with divided features a little more, and a scale for each row most: the first of
    these is chosen whose error is not far from the lowest.
    """
    rows = observed.sample
    expected = rows @ weight
    sizes = np.maximum(np.linalg.norm(expected, axis=1), TINY)

    def error(activations: Floats, factors: Floats) -> float:
        """Return the error relative to the result, as the root mean square over rows."""
        return float(np.sqrt(np.mean((np.linalg.norm(activations @ factors - expected, axis=1) / sizes) ** 2)))

    def try_shares(divisors: Floats | None) -> tuple[float, ConstantScale]:
        """Return the lowest error of a constant scale, and that scale."""
        divided, low, high, factors = rows, observed.low, observed.high, weight
        if divisors is not None:
            divided, low, high, factors = (rows / divisors, low / divisors, high / divisors, weight * divisors[:, None])
        factors = _round_weight(factors)
        scales = [
            ConstantScale(low=float(low.min()) * share, high=float(high.max()) * share, divisors=divisors)
            for share in SHARES
        ]
        return min(((error(scale.round(divided), factors), scale) for scale in scales), key=lambda pair: pair[0])

    largest = np.maximum(np.abs(rows).max(axis=1, keepdims=True), TINY)
    of_rows = error(np.rint(rows / largest * 127) * (largest / 127), _round_weight(weight))
    constant = [try_shares(divisors) for divisors in (None, balance(observed, weight))]
    accepted = max(MAX_ERROR, MAX_RATIO * min(of_rows, *(lost for lost, _ in constant)))
    return next((scale for lost, scale in constant if lost <= accepted), None)


def balance(observed: Observed, weight: Array) -> Floats:
    """Return divisors of the features that move the large ones of an activation into the weights, as SmoothQuant does.

    Few features of an activation are much larger than the others, and one scale for all leaves these few levels. A
    weight has a scale for each of its outputs, not features, so it can take most of that, but not all.
    """
    activations = np.maximum(np.maximum(-observed.low, observed.high), TINY)
    weights = np.maximum(np.abs(weight).max(axis=1), TINY)
    logs = BALANCE * np.log(activations) - (1 - BALANCE) * np.log(weights)
    return np.exp(logs - np.median(logs)).astype(np.float32)


def _round_weight(weight: Array) -> Floats:
    rounded = round_symmetrically(weight, 1)
    product: Floats = rounded.values * rounded.scale
    return product
