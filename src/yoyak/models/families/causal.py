"""Decoder-only models (GPT-2, Llama): they continue ``prefix + dialogue + separator`` with the summary."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from yoyak.models.families.base import TrainedFamily, has_architecture
from yoyak.models.families.reader import Reader
from yoyak.models.text import IGNORED, Encoded, encode_texts
from yoyak.params.members import TrainedMember

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

    from yoyak.models.spec import ModelSpec


class CausalMember(TrainedMember):
    """A decoder-only model."""

    family: Literal["causal"]
    separator: str = "\n요약: "
    """Text between the dialogue and its summary."""


class Causal(TrainedFamily):
    """Decoder-only models."""

    name = "causal"
    member_class = CausalMember
    # Generated tokens follow the last token of the input.
    pads_left = True

    def make_spec(self, name: str, member: Any) -> ModelSpec:
        """Return the spec of a member, with its separator."""
        return replace(super().make_spec(name, member), separator=member.separator)

    def auto_class(self) -> Any:
        """Return AutoModelForCausalLM."""
        from transformers import AutoModelForCausalLM

        return AutoModelForCausalLM

    def matches(self, config: Mapping[str, Any]) -> bool:
        """Return whether a config.json is of a decoder-only model."""
        encodes = config.get("is_encoder_decoder")
        return encodes is False or (encodes is None and has_architecture(config, "ForCausalLM", "LMHeadModel"))

    def encode_dialogues(
        self, tokenizer: PreTrainedTokenizerBase, dialogues: Sequence[str], spec: ModelSpec
    ) -> Encoded:
        """Return prefix, dialogue and separator of each row."""
        return encode_texts(
            tokenizer,
            [spec.prefix + dialogue for dialogue in dialogues],
            tail=tokenizer(spec.separator, add_special_tokens=False)["input_ids"],
            spec=spec,
            add_special_tokens=False,
        )

    def make_example(self, input_ids: list[int], target: list[int]) -> tuple[list[int], list[int]]:
        """Return the prompt and summary as one sequence; the prompt does not contribute to the loss."""
        return input_ids + target, [IGNORED] * len(input_ids) + target

    def loss_inputs(self, batch: Mapping[str, Any], parameters: Collection[str]) -> dict[str, Any]:
        """Return a batch with positions that do not count padding, and logits for the end of the rows alone.

        The summaries stand at the end of the rows. The logits of what precedes them would be most of the memory, and
        in a small model most of the time, but contribute nothing to the loss.
        """
        inputs = dict(batch)
        if "position_ids" in parameters:
            inputs["position_ids"] = position_ids(batch["attention_mask"])
        if "logits_to_keep" in parameters:
            labels = batch["labels"]
            # The first target is predicted one position before it.
            first = int((labels != IGNORED).any(0).int().argmax()) - 1
            inputs["labels"] = labels[:, max(first, 0) :]
            inputs["logits_to_keep"] = inputs["labels"].shape[1]
        return inputs

    def prompt_length(self, input_tokens: int) -> int:
        """The summary follows the dialogue."""
        return input_tokens

    def longest_input(self, positions: int, new_tokens: int) -> int:
        """Return the positions that the summary leaves."""
        return positions - new_tokens

    def open_reader(self, model: Any, ids: torch.Tensor, mask: torch.Tensor) -> Reader:
        """Start decoding a batch padded on the left."""
        return CausalReader(model, ids, mask)


def position_ids(mask: torch.Tensor) -> torch.Tensor:
    """Return the positions of tokens [rows, tokens] that are padded on the left, which does not count."""
    return (mask.cumsum(1) - 1).masked_fill(mask == 0, 1)


class CausalReader(Reader):
    """A decoder that has the dialogue in its own context."""

    def model_inputs(self, tokens: torch.Tensor) -> dict[str, Any]:
        """Return the tokens, with positions that do not count padding."""
        inputs: dict[str, Any] = {"input_ids": tokens}
        if "position_ids" in self.parameters:
            inputs["position_ids"] = position_ids(self.mask)[:, -tokens.shape[1] :]
        return inputs

    def extend_mask(self, tokens: torch.Tensor) -> None:
        """Include the tokens in the attention mask."""
        import torch

        self.mask = torch.cat([self.mask, self.mask.new_ones(tokens.shape)], 1)
