"""Batched generation with onnxruntime, tokenizers and numpy alone: from dialogues to n-best summaries with scores.

    summarizer = OnnxSummarizer.load("exports/bart")
    summarizer.summarize(["#Person1#: …"]).texts

It loads a folder that `yoyak export` wrote and implements `decoding.summarizer.Summarizer`.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from tokenizers import Tokenizer

from yoyak.cpu import cores, has_vnni
from yoyak.decoding.batches import Generated, summarize_in_batches
from yoyak.decoding.candidates import Candidate
from yoyak.decoding.memory import Footprint
from yoyak.decoding.onnx.decoder import (
    CACHE_TYPES,
    PAST,
    CausalDecoder,
    Seq2SeqDecoder,
    empty_reordering,
    run_encoder,
)
from yoyak.decoding.onnx.joining import can_join
from yoyak.decoding.onnx.options import Ints, Sampling, Search
from yoyak.decoding.onnx.pages import large_pages
from yoyak.decoding.onnx.run import Run
from yoyak.decoding.onnx.search import search
from yoyak.decoding.onnx.shared import BIAS, SharedCausalDecoder, SharedSeq2SeqDecoder, smallest_feeds
from yoyak.decoding.onnx.states import Written
from yoyak.decoding.reading import Window, count_searches, make_window, summarize_all
from yoyak.decoding.summarizer import Summaries
from yoyak.errors import UserError, first_line
from yoyak.models.families import family_of
from yoyak.models.spec import ONNX_FILE, ModelSpec, load_spec
from yoyak.models.steps import TOPIC
from yoyak.models.text import Encoded, decode
from yoyak.models.window import new_token_limit
from yoyak.params import Generation

TOKENIZER = "tokenizer.json"
OnnxDecoder = SharedSeq2SeqDecoder | SharedCausalDecoder | Seq2SeqDecoder | CausalDecoder


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxManifest:
    """What the runtime needs to know about an exported model besides its graphs: the content of `ONNX_FILE`."""

    precision: str
    model_type: str
    eos_token_id: int
    pad_token_id: int
    decoder_start_token_id: int | None = None
    forced_bos_token_id: int | None = None
    forced_eos_token_id: int | None = None
    positions: int | None = None
    """Number of tokens that the model has positions for; null means no limit."""
    cpu: str | None = None
    per_channel: bool | None = None
    activations: str | None = None


class RuntimeTokenizer:
    """A tokenizer.json with the subset of a transformers tokenizer's interface that `models.text` needs."""

    def __init__(self, path: Path, end: int) -> None:
        self.backend = Tokenizer.from_file(str(path))
        self.backend.no_padding()
        self.backend.no_truncation()
        self.eos_token_id = end
        self.added_tokens_decoder = self.backend.get_added_tokens_decoder()

    def __call__(self, texts: str | list[str], add_special_tokens: bool = True, **_: Any) -> dict[str, Any]:
        if isinstance(texts, str):
            return {"input_ids": self.backend.encode(texts, add_special_tokens=add_special_tokens).ids}
        rows = self.backend.encode_batch(texts, add_special_tokens=add_special_tokens)
        return {"input_ids": [row.ids for row in rows]}

    def batch_decode(self, rows: Sequence[Sequence[int]], skip_special_tokens: bool = True, **_: Any) -> list[str]:
        """Return the text of each row."""
        return self.backend.decode_batch([list(row) for row in rows], skip_special_tokens=skip_special_tokens)


class OnnxSummarizer:
    """An exported model with its tokenizer, ready to summarize on the CPU."""

    def __init__(self, folder: Path, manifest: OnnxManifest, spec: ModelSpec, threads: int | None = None) -> None:
        self.manifest = manifest
        self.spec = spec
        self.family = family_of(spec)
        self.tokenizer = RuntimeTokenizer(folder / TOKENIZER, manifest.eos_token_id)
        # The decoder runs often and briefly, so its threads spin between runs. Spinning threads of the other graphs
        # would only take cores from it.
        encoder = folder / "encoder.onnx"
        with large_pages():
            self.encoder = _create_session(encoder, threads, spin=False) if encoder.is_file() else None
            self.decoder = _create_session(folder / "decoder.onnx", threads, spin=True)
        self.shared = BIAS in {value.name for value in self.decoder.get_inputs()}
        """Whether all texts of a dialogue share one cache; otherwise `reorder` reorders the caches with the beams."""
        self.reorder = None if self.shared else _create_session(folder / "reorder.onnx", threads, spin=False)

    @classmethod
    def load(cls, folder: str | Path, device: str | None = None, threads: int | None = None) -> OnnxSummarizer:
        """Load what `yoyak export` wrote, with ``threads`` threads (by default one for each available core).

        Raises UserError if the folder does not hold an exported model, or if ``device`` is not the CPU.
        """
        folder = Path(folder)
        if device not in (None, "cpu"):
            raise UserError(f"An exported model runs on the CPU, not on '{device}': leave the device out.")
        if not (folder / ONNX_FILE).is_file():
            raise UserError(f"{folder} is not an exported model: it has no {ONNX_FILE}; write one with `yoyak export`.")
        try:
            manifest = OnnxManifest(**json.loads((folder / ONNX_FILE).read_text(encoding="utf-8")))
            return cls(folder, manifest, load_spec(folder), threads)
        except UserError:
            raise
        except Exception as error:  # onnxruntime and tokenizers have no common error class.
            raise UserError(f"{folder} is damaged ({first_line(error)}): run `yoyak export` again.") from error

    @property
    def generation(self) -> Generation:
        """The default generation settings."""
        return self.spec.generation

    @property
    def new_token_limit(self) -> int | None:
        """How many tokens it can generate after its longest input; None means no limit."""
        return new_token_limit(self.spec, self.manifest.positions)

    @functools.cached_property
    def footprint(self) -> Footprint:
        """How much memory a search takes, from the shapes of the graphs' inputs and outputs."""
        cross = {out.name: out for out in self.encoder.get_outputs()} if self.encoder else {}
        caches = {
            value.name: (int(value.shape[1]), int(value.shape[3]))
            for value in self.decoder.get_inputs()
            if value.name.startswith(PAST) and value.name not in cross
        }
        read = [
            math.prod(int(size) for size in out.shape[1:] if not isinstance(size, str))
            * np.dtype(CACHE_TYPES[out.type]).itemsize
            for out in cross.values()
        ]
        logits = next(out for out in self.decoder.get_outputs() if out.name == "logits")
        return Footprint(
            token_bytes=sum(4 * heads * size for heads, size in caches.values()),
            read_bytes=sum(read),
            vocabulary=int(logits.shape[-1]),
            heads=max(heads for heads, _ in caches.values()),
            width=max(heads * size for heads, size in caches.values()),
            shares_cache=self.shared,
            shares_input=True,
        )

    def bytes_per_dialogue(self, settings: Generation) -> int:
        """Return what a search takes for one dialogue that fills the window, at most."""
        return self.footprint.bytes_per_dialogue(
            read=self.spec.max_input_tokens, new=settings.max_new_tokens, beams=settings.num_beams
        )

    def release_memory(self) -> None:
        """Free what the sessions' arena keeps of earlier searches."""
        options = ort.RunOptions()
        options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
        # It happens at the end of a run, so there has to be one: the smallest.
        if self.encoder is not None:
            ids = np.full((1, 1), self.manifest.eos_token_id, dtype=np.int64)
            self.encoder.run(None, {"input_ids": ids, "attention_mask": np.ones_like(ids)}, options)
        elif self.reorder is not None:
            self.reorder.run(None, empty_reordering(self.reorder), options)
        else:
            self.decoder.run(["logits"], smallest_feeds(self.decoder), options)

    def summarize(
        self,
        dialogues: Sequence[str],
        *,
        generation: Generation | None = None,
        progress: bool = False,
        sampling: Sampling | None = None,
    ) -> Summaries:
        """Return the candidates of each dialogue, best first, in the order of the dialogues.

        Raises UserError if the model has no positions for that many tokens.
        """

        def search_texts(texts: Sequence[str], settings: Generation) -> Summaries:
            search_settings = self.search(settings, sampling)
            inputs = self.encode(texts)
            self.check_window(inputs.input_ids, settings.max_new_tokens)

            def generate(rows: list[int]) -> list[Generated]:
                written = self.write([inputs.input_ids[row] for row in rows], search_settings, rows)
                return [self._decode(of_row) for of_row in written]

            return summarize_in_batches(
                inputs,
                generate,
                batch_size=settings.batch_size,
                truncate=self.spec.truncate,
                ran_out_of_memory=_ran_out_of_memory,
                progress=progress,
            )

        settings = generation or self.generation
        return summarize_all(
            dialogues, settings, search_texts, window=self.window, preprocessing=self.spec.preprocessing
        )

    @property
    def is_joinable(self) -> bool:
        """Whether dialogues may join those that it is summarizing: not without an encoder, nor where read in parts."""
        return self.encoder is not None and self.shared and can_join(self.decoder) and self.window is None

    def open_run(self, settings: Generation, room: int) -> Run:
        """Return a run with room for that many dialogues, to summarize them as `summarize` does."""
        return Run(self, settings, room=room)

    @property
    def reads_topics(self) -> bool:
        """Whether it was trained to read a dialogue with its topic."""
        return TOPIC in self.spec.preprocessing

    def count_searches(self, dialogues: Sequence[str]) -> list[int]:
        """Return how many texts are searched for each dialogue: more than one for what is read in parts."""
        return count_searches(dialogues, self.window, self.spec.preprocessing)

    @functools.cached_property
    def window(self) -> Window | None:
        """How it reads a dialogue in parts; None if it truncates."""
        return make_window(self.family, self.tokenizer, self.spec)  # type: ignore[arg-type]

    def encode(self, dialogues: Sequence[str]) -> Encoded:
        """Return the input ids of each dialogue, and which of them were cut."""
        return self.family.encode_dialogues(self.tokenizer, dialogues, self.spec)  # type: ignore[arg-type]

    def _decode(self, written: Sequence[Written]) -> Generated:
        texts = decode(self.tokenizer, [result.tokens for result in written])  # type: ignore[arg-type]
        return Generated(
            candidates=[Candidate(text, round(result.score, 6)) for text, result in zip(texts, written, strict=True)],
            tokens=sum(len(result.tokens) for result in written),
        )

    def search(self, settings: Generation, sampling: Sampling | None = None) -> Search:
        """Return the search options that correspond to what `TorchSummarizer` passes to ``generate``."""
        return Search(
            **settings.search,
            early_stopping=settings.num_beams > 1,
            prompt_counts=self.family.first_counted(1) == 0,
            eos_token_id=self.manifest.eos_token_id,
            pad_token_id=self.manifest.pad_token_id,
            forced_bos_token_id=self.manifest.forced_bos_token_id,
            forced_eos_token_id=self.manifest.forced_eos_token_id,
            sampling=sampling,
        )

    def write(
        self, inputs: Sequence[list[int]], settings: Search, rows: Sequence[int] | None = None
    ) -> list[list[Written]]:
        """Return the generated texts for each row of input ids, best first; ``rows`` seeds their sampling."""
        decoder = self.start_decoder(inputs)
        return search(decoder, decoder.prompt, settings, rows)

    def start_decoder(self, inputs: Sequence[list[int]]) -> OnnxDecoder:
        """Return a decoder for a batch, with the inputs encoded."""
        ids, mask = self.pad(inputs)
        if self.encoder is None:
            if self.reorder is None:
                return SharedCausalDecoder(self.decoder, ids, mask)
            return CausalDecoder(self.decoder, self.reorder, ids, mask)
        start = np.full((len(ids), 1), self.manifest.decoder_start_token_id, dtype=np.int64)
        cross = run_encoder(self.encoder, ids, mask)
        if self.reorder is None:
            return SharedSeq2SeqDecoder(self.decoder, cross, mask, start)
        return Seq2SeqDecoder(self.decoder, self.reorder, cross, mask, start)

    def pad(self, inputs: Sequence[list[int]]) -> tuple[Ints, Ints]:
        """Return ids and attention mask, padded to the longest row."""
        width = max(map(len, inputs))
        ids = np.full((len(inputs), width), self.manifest.pad_token_id, dtype=np.int64)
        mask = np.zeros_like(ids)
        for row, tokens in enumerate(inputs):
            start = width - len(tokens) if self.family.pads_left else 0
            ids[row, start : start + len(tokens)] = tokens
            mask[row, start : start + len(tokens)] = 1
        return ids, mask

    def check_window(self, inputs: Sequence[list[int]], new_tokens: int) -> None:
        needed = self.family.positions_needed(max(map(len, inputs), default=0), new_tokens)
        if self.manifest.positions is not None and needed > self.manifest.positions:
            raise UserError(
                f"{self.spec.member} needs {needed} positions but has {self.manifest.positions}: lower max_new_tokens."
            )


def _create_session(path: Path, threads: int | None, *, spin: bool) -> ort.InferenceSession:
    _share_arena()
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads or cores()
    options.inter_op_num_threads = 1
    # Every step has different shapes, so memory patterns are never reused.
    options.enable_mem_pattern = False
    options.add_session_config_entry("session.use_env_allocators", "1")
    # An INT8 model may have been made for another processor. Without VNNI, sums of products of uint8 and int8 overflow
    # on x86; onnxruntime then has to multiply uint8 by uint8, which with VNNI would take twice as long.
    options.add_session_config_entry("session.x64quantprecision", "0" if has_vnni() else "1")
    options.add_session_config_entry("session.intra_op.allow_spinning", "1" if spin else "0")
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


@functools.cache
def _share_arena() -> None:
    """Let all sessions of the process share one memory arena: they never run at the same time."""
    memory = ort.OrtMemoryInfo("Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT)
    ort.create_and_register_allocator(memory, ort.OrtArenaCfg(0, -1, -1, -1))


def _ran_out_of_memory(error: Exception) -> bool:
    """Return whether an error means that memory ran out; onnxruntime has no error class for it."""
    return isinstance(error, MemoryError) or "allocate memory" in str(error) or "bad_alloc" in str(error)
