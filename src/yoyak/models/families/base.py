"""The interface of a family. Families are stateless, and import torch and transformers inside their methods."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from yoyak.files import write_json
from yoyak.params.members import Member, TrainedMember

if TYPE_CHECKING:
    import torch
    from transformers import GenerationConfig, PretrainedConfig, PreTrainedTokenizerBase

    from yoyak.models.families.reader import Reader
    from yoyak.models.spec import ModelSpec
    from yoyak.models.text import Encoded


Finding = tuple[str, Literal["ok", "warning", "error"], str]
"""What `yoyak check` found: the name of the check, the level, and a note."""


class Family(ABC):
    """A kind of member: its params, its saved spec, and the class that loads it to summarize."""

    name: ClassVar[str]
    """The value of ``family`` in params.yaml."""
    member_class: ClassVar[type[Member]]
    """The params class, whose ``family`` is the Literal of `name`."""
    summarizer: ClassVar[str]
    """``module:class`` whose ``load(folder, device)`` returns the `Summarizer` of a saved member."""

    saved_files: ClassVar[tuple[str, ...]] = ()
    """Patterns of files that a saved member must have besides yoyak.json."""
    requirements: ClassVar[tuple[str, ...]] = ()
    """Packages that its summarizer imports besides those of every model."""

    @abstractmethod
    def make_spec(self, name: str, member: Any) -> ModelSpec:
        """Return the spec that is saved with a `member_class`, enough to use it without params.yaml."""

    # What the stages do with a member that is not trained

    def collect(self, name: str, member: Any, folder: Path) -> None:
        """Write what a member starts from into ``folder``: its params, and copies of the files that they name."""
        write_json(folder / "params.json", member.model_dump(mode="json"))

    def assemble(
        self, name: str, member: Any, base: Path, examples: Iterable[tuple[str, str]], seed: int, out: Path
    ) -> None:
        """Write what a member is loaded from into the folder ``out``.

        Args:
            base: What `collect` wrote.
            examples: The dialogues and summaries of the training split, read when they are iterated over.
        """
        from yoyak.models.spec import save_spec

        save_spec(out, self.make_spec(name, member))

    def check(self, name: str, member: Any) -> Iterator[Finding]:
        """Yield what `yoyak check` finds about a member, in seconds; a UserError is an error that ends the checks."""
        yield from ()

    def version_tags(self, spec: ModelSpec) -> dict[str, str]:
        """Return tags of a registered version with what it needs to run that is not in its files."""
        return {}


class TrainedFamily(Family):
    """A family whose members have local weights: transformers models that are trained, saved and exported."""

    summarizer = "yoyak.decoding.torch:TorchSummarizer"
    saved_files = ("*.safetensors",)
    option_names: ClassVar[tuple[str, ...]] = ()
    """The `ModelSpec.options` that a bundle from elsewhere may have."""
    member_class: ClassVar[type[TrainedMember]]
    pads_left: ClassVar[bool]
    """Whether batched inputs are padded on the left."""

    def make_spec(self, name: str, member: Any) -> ModelSpec:
        """Return the spec of a trained member."""
        from yoyak.models.catalog import find_entry
        from yoyak.models.spec import ModelSpec
        from yoyak.params.generation import Generation

        entry = find_entry(member.checkpoint)
        prefix = entry.prefix if entry else ""
        return ModelSpec(
            member=name,
            family=self.name,
            prefix=prefix if member.prefix is None else member.prefix,
            max_input_tokens=member.max_input_tokens,
            truncate=member.truncate,
            windows=member.windows,
            preprocessing=member.preprocessing,
            generation=Generation(max_new_tokens=member.max_target_tokens, num_beams=1, num_return_sequences=1),
        )

    def apply_tokenizer(self, spec: ModelSpec, member: Any, tokenizer: PreTrainedTokenizerBase) -> ModelSpec:
        """Return the spec with what depends on the tokenizer, and set the EOS token that the member needs.

        Raises UserError if the member asks for something that the tokenizer does not have.
        """
        return spec

    def check_tokenizer(self, spec: ModelSpec, tokenizer: PreTrainedTokenizerBase) -> None:
        """Raise UserError if the tokenizer of a saved model is no longer the one that it was trained with."""

    # The model

    @abstractmethod
    def auto_class(self) -> Any:
        """Return the transformers class whose ``from_config`` and ``from_pretrained`` create the model."""

    @abstractmethod
    def matches(self, config: Mapping[str, Any]) -> bool:
        """Return whether a config.json describes a model of this family."""

    def check_config(self, where: str, member: Any, config: PretrainedConfig) -> None:
        """Raise UserError if the member asks for something that a model with this config does not do.

        ``where`` is the member's key in params.yaml.
        """

    def start_tokens(self, model_type: str, tokenizer: PreTrainedTokenizerBase) -> dict[str, int | None]:
        """Return the config values of a new model that set the first token of a summary."""
        return {}

    def save(self, model: Any, tokenizer: PreTrainedTokenizerBase, spec: ModelSpec, folder: Path) -> None:
        """Write a model to a folder in the Hub's layout: safetensors, tokenizer and yoyak.json."""
        from yoyak.models.spec import save_spec

        model.save_pretrained(folder, safe_serialization=True)
        tokenizer.save_pretrained(folder)
        save_spec(folder, spec)

    # Text and token ids

    @abstractmethod
    def encode_dialogues(
        self, tokenizer: PreTrainedTokenizerBase, dialogues: Sequence[str], spec: ModelSpec
    ) -> Encoded:
        """Return the input ids of each dialogue, cut at ``max_input_tokens``; UserError if none of it would fit."""

    def forced_start(self, generation: GenerationConfig) -> list[int]:
        """Return the tokens that generation forces at the start of every summary."""
        return []

    def encode_summaries(
        self,
        tokenizer: PreTrainedTokenizerBase,
        summaries: Sequence[str],
        limit: int,
        generation: GenerationConfig,
    ) -> list[list[int]]:
        """Return the target ids of each summary: at most ``limit`` tokens, from the forced start to the EOS token.

        Args:
            generation: The model's generation config. The tokens that it forces at the start are trained too.
        """
        from yoyak.models.text import encode_targets

        return encode_targets(tokenizer, summaries, limit, start=self.forced_start(generation))

    @abstractmethod
    def make_example(self, input_ids: list[int], target: list[int]) -> tuple[list[int], list[int]]:
        """Return ``input_ids`` and ``labels`` of a training example."""

    def pack(self, batch: Mapping[str, Any], row_tokens: float) -> dict[str, Any]:
        """Return a padded batch in rows of at most ``row_tokens`` of several examples, for `loss_inputs`.

        Called for members that have `TrainedMember.row_tokens`.
        """
        raise NotImplementedError(f"{self.name} does not pack examples")

    def loss_inputs(self, batch: Mapping[str, Any], parameters: Collection[str]) -> dict[str, Any]:
        """Return what the model is called with to compute the loss of a padded batch.

        Args:
            batch: ``input_ids``, ``attention_mask`` and ``labels`` [rows, tokens], padded where `pads_left` says.
            parameters: The names of the parameters of the model's ``forward``.
        """
        return dict(batch)

    def predicted_labels(self, labels: torch.Tensor) -> torch.Tensor:
        """Return the label that is predicted at each position [rows, tokens]."""
        return labels

    def finish_logits(self, model: Any, logits: torch.Tensor) -> torch.Tensor:
        """Return what the model makes of the logits of its output layer."""
        return logits

    # The window

    @abstractmethod
    def prompt_length(self, input_tokens: int) -> int:
        """Return how many positions come before the first token of the summary, in the sequence that contains it."""

    def first_counted(self, input_tokens: int) -> int:
        """Return the first position that counts for ``repetition_penalty`` and ``no_repeat_ngram_size``.

        All do where only the decoder's start token comes before the summary, as in transformers.
        """
        return 0

    def positions_needed(self, input_tokens: int, new_tokens: int) -> int:
        """Return how many positions are needed to read ``input_tokens`` and generate ``new_tokens``."""
        return max(input_tokens, self.prompt_length(input_tokens) + new_tokens)

    @abstractmethod
    def longest_input(self, positions: int, new_tokens: int) -> int:
        """Return the longest input, in tokens, that leaves room to generate ``new_tokens``."""

    # Generation

    def read_prompts(
        self, model: Any, ids: torch.Tensor, mask: torch.Tensor, config: GenerationConfig
    ) -> dict[str, Any]:
        """Return keyword arguments for the model's ``generate`` that save it from reading each prompt once per beam.

        ``ids`` and ``mask`` [dialogues, tokens] and ``config`` are those that ``generate`` is called with.
        """
        return {}

    @abstractmethod
    def open_reader(self, model: Any, ids: torch.Tensor, mask: torch.Tensor) -> Reader:
        """Start decoding a padded batch, for a search that requests the next token's logits step by step."""


def has_architecture(config: Mapping[str, Any], *endings: str) -> bool:
    """Return whether a config.json names a class that ends with one of ``endings``."""
    names = config.get("architectures")
    return isinstance(names, list) and any(str(name).endswith(endings) for name in names)
