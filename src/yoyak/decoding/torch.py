"""Batched generation with torch: dialogues in, n-best summaries with scores out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from tqdm import tqdm
from transformers import GenerationConfig

from yoyak.decoding.candidates import Candidate
from yoyak.models.load import find_device, load_trained
from yoyak.models.spec import ModelSpec, load_spec
from yoyak.models.text import decode, encode_inputs
from yoyak.models.tokenizers import load_tokenizer
from yoyak.params import Generation

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class Summarizer:
    """A model with its tokenizer, ready to summarize."""

    def __init__(self, model: Any, tokenizer: PreTrainedTokenizerBase, spec: ModelSpec) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.spec = spec
        self.truncated = 0
        """Dialogues of the last call that were cut at the model's window."""
        self.cut: list[bool] = []
        """Which of them those were."""

    @classmethod
    def load(cls, folder: str | Path, device: str | None = None) -> Summarizer:
        """Load what `yoyak train` saved, onto the best device there is unless one is named.

        Raises UserError where the folder holds no such model.
        """
        folder = Path(folder)
        spec = load_spec(folder)
        model = load_trained(folder, spec.family)
        model.to(torch.device(device) if device else find_device())
        return cls(model.eval(), load_tokenizer(folder), spec)

    @property
    def generation(self) -> Generation:
        """How the model writes unless a call says otherwise."""
        return self.spec.generation

    @torch.inference_mode()
    def summarize(
        self,
        dialogues: Sequence[str],
        *,
        generation: Generation | None = None,
        progress: bool = False,
    ) -> list[list[Candidate]]:
        """Return the candidates of each dialogue, best first, in the order of the dialogues.

        Dialogues of like length share a batch, so that little of it is padding; a batch is halved when the
        device's memory, or the machine's, does not hold it.
        """
        settings = generation or self.generation
        inputs = self.encode(dialogues)
        order = sorted(range(len(inputs)), key=lambda row: -len(inputs[row]))
        found: list[list[Candidate]] = [[] for _ in inputs]
        size = settings.batch_size
        done = 0
        with tqdm(total=len(inputs), desc="summarizing", unit="dialogue", disable=not progress) as bar:
            while done < len(order):
                rows = order[done : done + size]
                try:
                    candidates = self._batch(rows, [inputs[row] for row in rows], settings)
                except RuntimeError as error:
                    if len(rows) == 1 or not _out_of_memory(error):
                        raise
                    torch.cuda.empty_cache()
                    size = max(1, len(rows) // 2)
                    continue
                for row, best in zip(rows, candidates, strict=True):
                    found[row] = best
                done += len(rows)
                bar.update(len(rows))
        return found

    def encode(self, dialogues: Sequence[str]) -> list[list[int]]:
        """Return the input ids of each dialogue, and note how many were cut."""
        inputs, self.cut = encode_inputs(self.tokenizer, dialogues, self.spec)
        self.truncated = sum(self.cut)
        return inputs

    def _search(self, rows: Sequence[int], settings: Generation, start: int) -> dict[str, Any]:
        """Return what `generate` is told of the search: a hook for those that search otherwise.

        Args:
            rows: Places of the batch's dialogues among those that were encoded.
            start: Tokens that stand before the first written one.
        """
        return {"generation_config": self._config(settings)}

    def _batch(self, rows: Sequence[int], inputs: list[list[int]], settings: Generation) -> list[list[Candidate]]:
        ids, mask = self.pad(inputs)
        output: Any = self.model.generate(
            input_ids=ids,
            attention_mask=mask,
            # Else what a checkpoint brings along would take the place of every value that is a default of the library.
            use_model_defaults=False,
            **self._search(rows, settings, 1 if self.spec.family == "seq2seq" else ids.shape[1]),
            return_dict_in_generate=True,
            output_scores=True,
        )
        written = output.sequences if self.spec.family == "seq2seq" else output.sequences[:, ids.shape[1] :]
        if settings.num_beams > 1:
            scores = output.sequences_scores
        else:
            steps = self.model.compute_transition_scores(output.sequences, output.scores, normalize_logits=True)
            real = written[:, -steps.shape[1] :].ne(self._pad_id)
            real[:, 0] = True
            scores = steps.masked_fill(~real, 0.0).sum(1) / real.sum(1).pow(settings.length_penalty)
        texts = decode(self.tokenizer, written.tolist())
        flat = [Candidate(text, round(score, 6)) for text, score in zip(texts, scores.tolist(), strict=True)]
        kept = settings.num_return_sequences
        return [flat[start : start + kept] for start in range(0, len(flat), kept)]

    @property
    def _pad_id(self) -> int:
        return int(self.tokenizer.pad_token_id)

    def pad(self, inputs: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
        """Pad to the longest row, on the left for decoder-only models: what they write follows the last token."""
        width = max(map(len, inputs))
        ids = torch.full((len(inputs), width), self._pad_id)
        mask = torch.zeros_like(ids)
        for row, tokens in enumerate(inputs):
            place = slice(width - len(tokens), width) if self.spec.family == "causal" else slice(0, len(tokens))
            ids[row, place] = torch.tensor(tokens)
            mask[row, place] = 1
        return ids.to(self.model.device), mask.to(self.model.device)

    def _config(self, settings: Generation) -> GenerationConfig:
        own = self.model.generation_config
        return GenerationConfig(
            **settings.model_dump(exclude={"batch_size"}),
            do_sample=False,
            early_stopping=settings.num_beams > 1,
            bos_token_id=own.bos_token_id,
            eos_token_id=self.tokenizer.eos_token_id,
            pad_token_id=self._pad_id,
            decoder_start_token_id=own.decoder_start_token_id,
            forced_bos_token_id=own.forced_bos_token_id,
            forced_eos_token_id=own.forced_eos_token_id,
        )


def _out_of_memory(error: RuntimeError) -> bool:
    """Return whether memory was the reason; for that of the CPU, torch has no class of its own."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)
