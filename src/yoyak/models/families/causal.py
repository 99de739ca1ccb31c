"""Decoder-only models (GPT-2, Llama): they continue ``prefix + dialogue + separator`` with the summary."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, model_validator

from yoyak.errors import UserError
from yoyak.models import chat
from yoyak.models.catalog import find_entry
from yoyak.models.families.base import TrainedFamily, has_architecture
from yoyak.models.families.packing import pack, supports_packing
from yoyak.models.families.reader import Reader
from yoyak.models.text import IGNORED, Encoded, encode_texts
from yoyak.params.members import TrainedMember

if TYPE_CHECKING:
    import torch
    from transformers import GenerationConfig, PretrainedConfig, PreTrainedTokenizerBase

    from yoyak.models.spec import ModelSpec


SEPARATOR = "\n요약: "
"""After the dialogue, unless params.yaml says otherwise."""
INSTRUCTION = "다음 대화를 요약하세요.\n\n"
"""Before the dialogue in the user's message, unless params.yaml says otherwise."""
CHAT_TEMPLATE = "chat_template_sha256"
"""The option of a spec whose prefix and separator were rendered from a chat template."""
BOS = "bos"
"""The option of a spec whose tokenizer puts a BOS token before every text."""


class CausalMember(TrainedMember):
    """A decoder-only model."""

    family: Literal["causal"]
    separator: str | None = None
    """Text after the dialogue; null is what the catalog says, else ``\\n요약: ``, or nothing with ``chat``."""
    chat: bool | None = None
    """Prompt with the tokenizer's chat template: prefix, dialogue and separator are the user's message. The default
    prefix is then ``다음 대화를 요약하세요.``; null is what the catalog says, else false."""
    system: str | None = None
    """The system message, with ``chat``; null is the template's own, if it has one."""
    chat_template_variables: dict[str, Any] = Field(default={"enable_thinking": False})
    """Passed to the chat template. Without ``enable_thinking: false`` Qwen3 would think aloud before each summary."""

    packing: bool = False
    """Compute several examples of a batch in one row, in which they do not see each other, in place of padding each to
    the longest. Loss, gradients and updates are the same."""

    @property
    def row_tokens(self) -> int | None:
        """Return the length of the longest example, which is that of rows that examples are packed into."""
        return self.max_input_tokens + self.max_target_tokens if self.packing else None

    @model_validator(mode="after")
    def _can_be_packed(self) -> CausalMember:
        if self.packing and self.torch_compile:
            raise ValueError("packing does not go with torch_compile: leave one of them out")
        return self

    @model_validator(mode="after")
    def _has_a_chat(self) -> CausalMember:
        # Params that were written out hold the default.
        given = self.chat_template_variables != type(self).model_fields["chat_template_variables"].default
        for key, set_here in (("system", self.system is not None), ("chat_template_variables", given)):
            if set_here and not uses_chat(self):
                raise ValueError(f"{key} is part of a chat: write chat: true, or leave out {key}")
        return self


class Causal(TrainedFamily):
    """Decoder-only models."""

    name = "causal"
    member_class = CausalMember
    option_names = (BOS, CHAT_TEMPLATE)
    # Generated tokens follow the last token of the input.
    pads_left = True

    def make_spec(self, name: str, member: Any) -> ModelSpec:
        """Return the spec of a member, with its separator."""
        spec, entry = super().make_spec(name, member), find_entry(member.checkpoint)
        prefix, separator = (INSTRUCTION, "") if uses_chat(member) else (spec.prefix, SEPARATOR)
        if entry and entry.separator is not None:
            separator = entry.separator
        return replace(
            spec,
            prefix=prefix if member.prefix is None else member.prefix,
            separator=separator if member.separator is None else member.separator,
        )

    def apply_tokenizer(self, spec: ModelSpec, member: Any, tokenizer: PreTrainedTokenizerBase) -> ModelSpec:
        """Return the spec with the rendered chat template around the dialogue; what ends a reply becomes the EOS token.

        The tokenizer's own can be another one: that of some instruction-tuned models, or of their GGUF files, ends a
        document, and a reply would never end with it.
        """
        if not uses_chat(member):
            return replace(spec, options={BOS: True}) if starting_tokens(tokenizer) else spec
        message = (tokenizer, spec.prefix, spec.separator, member.system, member.chat_template_variables)
        try:
            prefix, separator = chat.render_prompt(*message)
            end = chat.end_of_reply(*message)
        except UserError as error:
            raise UserError(f"members.{spec.member}: {error}") from error
        if end is not None:
            tokenizer.eos_token = end
        digest = chat.template_digest(tokenizer)
        return replace(spec, prefix=prefix, separator=separator, options={CHAT_TEMPLATE: digest})

    def check_tokenizer(self, spec: ModelSpec, tokenizer: PreTrainedTokenizerBase) -> None:
        """Raise UserError if the chat template has changed."""
        if spec.options.get(CHAT_TEMPLATE, digest := chat.template_digest(tokenizer)) != digest:
            raise UserError(
                f"{spec.member}: its chat template is not the one that it was trained with: restore the model's files."
            )

    def auto_class(self) -> Any:
        """Return AutoModelForCausalLM."""
        from transformers import AutoModelForCausalLM

        return AutoModelForCausalLM

    def check_config(self, where: str, member: Any, config: PretrainedConfig) -> None:
        """Raise UserError if examples are to be packed, and the model would let them see each other."""
        if member.packing and not supports_packing(config):
            raise UserError(
                f"{where}.packing does not support {config.model_type}, which does not keep the examples of a row "
                "apart: leave it out."
            )

    def matches(self, config: Mapping[str, Any]) -> bool:
        """Return whether a config.json is of a decoder-only model."""
        encodes = config.get("is_encoder_decoder")
        return encodes is False or (encodes is None and has_architecture(config, "ForCausalLM", "LMHeadModel"))

    def encode_dialogues(
        self, tokenizer: PreTrainedTokenizerBase, dialogues: Sequence[str], spec: ModelSpec
    ) -> Encoded:
        """Return prefix, dialogue and separator of each row, after the BOS token if it was trained with one."""
        if CHAT_TEMPLATE in spec.options:
            dialogues = [chat.escape_special_tokens(tokenizer, dialogue) for dialogue in dialogues]
        return encode_texts(
            tokenizer,
            dialogues,
            head=starting_tokens(tokenizer) if BOS in spec.options else (),
            tail=tokenizer(spec.separator, add_special_tokens=False)["input_ids"],
            spec=spec,
            add_special_tokens=False,
        )

    def make_example(self, input_ids: list[int], target: list[int]) -> tuple[list[int], list[int]]:
        """Return the prompt and summary as one sequence; the prompt does not contribute to the loss."""
        return input_ids + target, [IGNORED] * len(input_ids) + target

    def pack(self, batch: Mapping[str, Any], row_tokens: float) -> dict[str, Any]:
        """Return a padded batch with several examples to a row, and positions that start over with each."""
        return pack(batch, row_tokens)

    def loss_inputs(self, batch: Mapping[str, Any], parameters: Collection[str]) -> dict[str, Any]:
        """Return a batch with positions that do not count padding, and logits for the end of the rows alone.

        The summaries stand at the end of the rows. The logits of what precedes them would be most of the memory, and
        in a small model most of the time, but contribute nothing to the loss.
        """
        inputs = dict(batch)
        if "attention_mask" not in batch:
            # Packed: with a cache, transformers would not look for positions that start over.
            inputs["use_cache"] = False
        elif "position_ids" in parameters:
            inputs["position_ids"] = position_ids(batch["attention_mask"])
        if "logits_to_keep" in parameters:
            labels = batch["labels"]
            # The first target is predicted one position before it.
            first = int((labels != IGNORED).any(0).int().argmax()) - 1
            inputs["labels"] = labels[:, max(first, 0) :]
            inputs["logits_to_keep"] = inputs["labels"].shape[1]
        return inputs

    def predicted_labels(self, labels: torch.Tensor) -> torch.Tensor:
        """Return the next label of each position."""
        from torch.nn.functional import pad

        return pad(labels[:, 1:], (0, 1), value=IGNORED)

    def finish_logits(self, model: Any, logits: torch.Tensor) -> torch.Tensor:
        """Scale the logits as Cohere and Granite do, and cap them as Gemma does."""
        config = model.config
        logits = logits * (getattr(config, "logit_scale", None) or 1)
        logits = logits / (getattr(config, "logits_scaling", None) or 1)
        cap = getattr(config, "final_logit_softcapping", None)
        return (logits / cap).tanh() * cap if cap else logits

    def prompt_length(self, input_tokens: int) -> int:
        """The summary follows the dialogue."""
        return input_tokens

    def first_counted(self, input_tokens: int) -> int:
        """A summary may quote its dialogue."""
        return input_tokens

    def longest_input(self, positions: int, new_tokens: int) -> int:
        """Return the positions that the summary leaves."""
        return positions - new_tokens

    def read_prompts(
        self, model: Any, ids: torch.Tensor, mask: torch.Tensor, config: GenerationConfig
    ) -> dict[str, Any]:
        """Return the cache of all tokens but the last, from which ``generate`` gets its first logits."""
        from yoyak.models.families.prompt_cache import share_prompts

        if ids.shape[1] == 1:
            return {}
        reader = CausalReader(model, ids[:, :-1], mask[:, :-1])
        reader.read()
        cache = share_prompts(reader.cache, config.num_beams, config.max_new_tokens)
        return {} if cache is None else {"past_key_values": cache}

    def open_reader(self, model: Any, ids: torch.Tensor, mask: torch.Tensor) -> Reader:
        """Start decoding a batch padded on the left."""
        return CausalReader(model, ids, mask)


def uses_chat(member: CausalMember) -> bool:
    """Return whether a member is prompted with a chat template."""
    entry = find_entry(member.checkpoint)
    return bool(entry and entry.chat) if member.chat is None else member.chat


def starting_tokens(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Return what the tokenizer puts before a text: the BOS token for that of Llama, nothing for that of GPT-2."""
    ids, text = tokenizer("a")["input_ids"], tokenizer("a", add_special_tokens=False)["input_ids"]
    before = next((index for index in range(len(ids)) if ids[index : index + len(text)] == text), 0)
    return list(ids[:before])


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
