"""Encoder-decoder models (BART, T5): they read ``prefix + dialogue`` and write the summary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from yoyak.models.families.base import TrainedFamily, has_architecture
from yoyak.models.families.reader import Reader
from yoyak.models.text import Encoded, encode_texts
from yoyak.params.members import TrainedMember

if TYPE_CHECKING:
    import torch
    from transformers import GenerationConfig, PreTrainedTokenizerBase

    from yoyak.models.spec import ModelSpec

STARTS_WITH_PADDING = ("t5", "mt5", "umt5")
"""Models whose decoder starts with the padding token, as in their papers; BART's starts with EOS."""


class Seq2SeqMember(TrainedMember):
    """An encoder-decoder model."""

    family: Literal["seq2seq"]


class Seq2Seq(TrainedFamily):
    """Encoder-decoder models."""

    name = "seq2seq"
    member_class = Seq2SeqMember
    pads_left = False

    def auto_class(self) -> Any:
        """Return AutoModelForSeq2SeqLM."""
        from transformers import AutoModelForSeq2SeqLM

        return AutoModelForSeq2SeqLM

    def matches(self, config: Mapping[str, Any]) -> bool:
        """Return whether a config.json is of an encoder-decoder model."""
        encodes = config.get("is_encoder_decoder")
        return encodes is True or (encodes is None and has_architecture(config, "ForConditionalGeneration"))

    def start_tokens(self, model_type: str, tokenizer: PreTrainedTokenizerBase) -> dict[str, int | None]:
        """Return the token that a new model's decoder starts with."""
        pads = model_type in STARTS_WITH_PADDING
        return {"decoder_start_token_id": tokenizer.pad_token_id if pads else tokenizer.eos_token_id}

    def encode_dialogues(
        self, tokenizer: PreTrainedTokenizerBase, dialogues: Sequence[str], spec: ModelSpec
    ) -> Encoded:
        """Return prefix and dialogue of each row, followed by the EOS token."""
        end = tokenizer.eos_token_id
        return encode_texts(
            tokenizer,
            dialogues,
            tail=[] if end is None else [end],
            spec=spec,
            add_special_tokens=True,
        )

    def forced_start(self, generation: GenerationConfig) -> list[int]:
        """Return the ``forced_bos_token_id`` of mBART and some BARTs."""
        return [] if generation.forced_bos_token_id is None else [generation.forced_bos_token_id]

    def make_example(self, input_ids: list[int], target: list[int]) -> tuple[list[int], list[int]]:
        """Return the dialogue as the encoder's input, and the summary as labels."""
        return input_ids, target

    def finish_logits(self, model: Any, logits: torch.Tensor) -> torch.Tensor:
        """Add the bias of BART and its kin."""
        bias = getattr(model, "final_logits_bias", None)
        return logits if bias is None else logits + bias.to(logits.device)

    def prompt_length(self, input_tokens: int) -> int:
        """Only the decoder's start token: the dialogue takes up positions of the encoder."""
        return 1

    def longest_input(self, positions: int, new_tokens: int) -> int:
        """Return all positions of the encoder."""
        return positions

    def open_reader(self, model: Any, ids: torch.Tensor, mask: torch.Tensor) -> Reader:
        """Start decoding a batch by running the encoder."""
        return Seq2SeqReader(model, ids, mask)


class Seq2SeqReader(Reader):
    """A decoder that attends to its encoder's output."""

    def __init__(self, model: Any, ids: torch.Tensor, mask: torch.Tensor) -> None:
        config = model.generation_config
        start = config.bos_token_id if config.decoder_start_token_id is None else config.decoder_start_token_id
        super().__init__(model, ids.new_full((len(ids), 1), start), mask)
        self.encoded = model.get_encoder()(input_ids=ids, attention_mask=mask, return_dict=True)

    def model_inputs(self, tokens: torch.Tensor) -> dict[str, Any]:
        """Return the encoder's output and the decoder's tokens."""
        return {"encoder_outputs": self.encoded, "decoder_input_ids": tokens}

    def select_dialogues(self, rows: torch.Tensor) -> None:
        """Repeat the encoder's output too."""
        super().select_dialogues(rows)
        self.encoded.last_hidden_state = self.encoded.last_hidden_state[rows]
