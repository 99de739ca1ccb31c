"""params.yaml as frozen, typed, documented objects.

`read("scoring", "seed")` gives a stage the sections it names and no others, so that what a stage may read is what
dvc.yaml says it depends on. Unknown keys are errors that name the nearest key.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Annotated, Any, Literal, cast, get_args

from pydantic import Field, ValidationError, model_validator
from pydantic_core import to_jsonable_python

from yoyak import overrides
from yoyak.errors import UserError, nearest
from yoyak.params_base import Fraction, Granularity, Name, Section, Share
from yoyak.params_ensemble import Ensemble, OfCandidates, OfModels
from yoyak.params_export import Bench, Export, Gate, Serving

PARAMS_FILE = "params.yaml"
SHOWN = 60
"""Characters of a wrong value that an error shows."""

RESERVED = ("first", "last", "longest", "longest3", "lead3", "oracle", "best_baseline")
"""Names that the evaluation has for its baselines."""


class Columns(Section):
    """Which column of a data file holds what."""

    id: str | None = "fname"
    """Identifier of a dialogue; null numbers the rows instead."""
    dialogue: str = "dialogue"
    summary: str | list[str] = "summary"
    """Reference summary, or the columns of several: a file uses those of them that it has."""
    topic: str | None = "topic"
    """Subject of the dialogue; null, or a column that a file lacks, leaves it empty."""
    slice: str | None = None
    """Marker of parts that are scored by themselves, such as seen and unseen scenarios."""


class Split(Section):
    """How a split that has no file is cut from the training file."""

    dev: Fraction = 0.1
    test: Fraction = 0.1


class Data(Section):
    """The data files and how to read them."""

    folder: str = "data"
    """Folder that holds the files; DVC watches it."""
    files: dict[Name, str] = {"train": "train.csv", "dev": "dev.csv", "test": "test.csv"}
    """File of each split, relative to the folder. ``train`` is needed; ``dev`` and ``test`` are cut from it where
    they are missing; any further name is a test set of its own."""
    format: Literal["auto", "csv", "jsonl"] = "auto"
    encoding: str = "utf-8"
    columns: Columns = Columns()
    split: Split = Split()
    max_chars: Annotated[int, Field(gt=0)] = 20_000
    """A dialogue with more characters is cut at a turn's end, and counted."""

    @model_validator(mode="after")
    def _needs_train(self) -> Data:
        if "train" not in self.files:
            raise ValueError("data.files needs an entry named train")
        return self


class Tokenizer(Section):
    """A tokenizer that `prepare` trains on the training split; masks such as #Person1# are single tokens."""

    type: Literal["bpe", "unigram"]
    """``bpe`` is byte-level BPE as in BART and GPT-2; ``unigram`` is SentencePiece's model as in T5."""
    vocab_size: Annotated[int, Field(ge=300)]


class Generation(Section):
    """How members write: names and meanings are those of transformers' GenerationConfig."""

    max_new_tokens: Annotated[int, Field(gt=0)] = 64
    min_new_tokens: Annotated[int, Field(ge=0)] = 0
    num_beams: Annotated[int, Field(gt=0)] = 4
    num_return_sequences: Annotated[int, Field(gt=0)] = 4
    """Candidates kept for each dialogue, best first."""
    length_penalty: float = 1.0
    no_repeat_ngram_size: Annotated[int, Field(ge=0)] = 0
    repetition_penalty: Annotated[float, Field(gt=0)] = 1.0
    batch_size: Annotated[int, Field(gt=0)] = 32
    """Dialogues decoded at once."""

    @model_validator(mode="after")
    def _beams_hold_candidates(self) -> Generation:
        if self.num_return_sequences > self.num_beams:
            raise ValueError("num_return_sequences must be at most num_beams")
        return self


class Member(Section):
    """One trained model of the ensemble. Training values have the names of transformers' TrainingArguments."""

    family: Literal["seq2seq", "causal"]
    checkpoint: str | None = None
    """A name of the catalog, a name on the Hugging Face Hub, or a local folder; null builds from ``config``."""
    revision: str | None = None
    """Commit, tag or branch of a checkpoint on the Hub."""
    config: dict[str, Any] = {}
    """With no checkpoint: the model's own configuration (``model_type`` and sizes), trained from scratch.
    With a checkpoint: values of its configuration to change."""
    tokenizer: Name | None = None
    """Name in ``tokenizers``; null takes the checkpoint's own."""
    prefix: str = ""
    """Text put before the dialogue, such as T5's ``summarize: ``."""
    separator: str = "\n요약: "
    """Decoder-only models: text between the dialogue and its summary."""
    max_input_tokens: Annotated[int, Field(gt=0)] = 512
    max_target_tokens: Annotated[int, Field(gt=1)] = 96
    """Tokens of a summary, its end mark included."""
    learning_rate: Annotated[float, Field(gt=0)]
    batch_size: Annotated[int, Field(gt=0)] = 16
    gradient_accumulation_steps: Annotated[int, Field(gt=0)] = 1
    num_epochs: Annotated[float, Field(gt=0)] = 10
    warmup_ratio: Annotated[float, Field(ge=0, le=1)] = 0.05
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    lr_scheduler_type: Literal["linear", "cosine", "constant_with_warmup"] = "linear"
    max_grad_norm: Annotated[float, Field(gt=0)] = 1.0
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Arithmetic of training: auto is bf16 where CUDA has it, else fp32. Weights are kept and saved in fp32."""
    evaluations: Annotated[int, Field(gt=0)] = 8
    """How often in a training the dev set is scored and a checkpoint written."""
    evaluation_dialogues: Annotated[int, Field(gt=0)] = 100
    """Dev dialogues that are summarized (greedily) at each evaluation."""
    early_stopping_patience: Annotated[int, Field(gt=0)] = 3
    """Evaluations without a better combined ROUGE after which training stops."""
    evaluation_granularity: Granularity = "morpheme"
    """Unit of the ROUGE that chooses the best checkpoint."""

    @model_validator(mode="after")
    def _has_a_source(self) -> Member:
        if self.checkpoint is None and "model_type" not in self.config:
            raise ValueError("a member needs a checkpoint, or a config with model_type")
        if self.checkpoint is None and self.tokenizer is None:
            raise ValueError("a member that is built from config needs a tokenizer")
        return self


class Scoring(Section):
    """How summaries are scored."""

    granularities: list[Granularity] = ["morpheme", "eojeol", "syllable"]
    """Units of ROUGE; the first is the one that models are chosen by."""
    multi_reference: Literal["mean", "max"] = "mean"
    """Protocol that models are chosen by; both are reported."""
    weights: tuple[Share, Share, Share] = (0.33, 0.33, 0.34)
    """Shares of ROUGE-1, ROUGE-2 and ROUGE-L in the combined score."""
    bootstrap_samples: Annotated[int, Field(ge=100)] = 2000
    confidence: Annotated[float, Field(gt=0, lt=1)] = 0.95
    processes: Annotated[int, Field(gt=0)] = 1
    """Processes that score big files; the result does not depend on it."""
    samples: Annotated[int, Field(ge=0)] = 20
    """Test dialogues logged with every member's prediction as a table in MLflow."""

    @model_validator(mode="after")
    def _adds_up(self) -> Scoring:
        if abs(sum(self.weights) - 1) > 0.011:
            raise ValueError(f"weights must add up to 1, not {sum(self.weights):g}")
        if not self.granularities or len(set(self.granularities)) < len(self.granularities):
            raise ValueError("granularities must name at least one, and none twice")
        return self


class Registry(Section):
    """The names in the MLflow Model Registry and what a challenger must show."""

    name: Name = "yoyak"
    """Registered model of the best member; each member's own is ``<name>-<member>``."""
    significance: Annotated[float, Field(gt=0, lt=1)] = 0.05
    """A challenger becomes champion when its dev gain has a paired p-value under this."""
    ensemble: Name | None = None
    """The strategy of ``ensemble`` that is registered as a model too, as a version of ``name`` with that alias."""


class Report(Section):
    """What the report shows."""

    dialogues: Annotated[int, Field(ge=0)] = 20
    """Test dialogues shown with every member's summary."""
    title: str = "Yoyak"


class Params(Section):
    """The whole of params.yaml."""

    seed: Annotated[int, Field(ge=0, lt=2**32)] = 20
    data: Data = Data()
    tokenizers: dict[Name, Tokenizer] = {}
    members: dict[Name, Member]
    generation: Generation = Generation()
    ensemble: Ensemble = Ensemble()
    scoring: Scoring = Scoring()
    registry: Registry = Registry()
    export: Export = Export()
    bench: Bench = Bench()
    gate: Gate = Gate()
    serving: Serving = Serving()
    report: Report = Report()

    @model_validator(mode="after")
    def _members_fit(self) -> Params:
        if not self.members:
            raise ValueError("members is empty: name at least one")
        for name, member in self.members.items():
            if name in RESERVED:
                raise ValueError(f"members.{name}: the evaluation has that name for a baseline, choose another")
            if member.tokenizer is not None and member.tokenizer not in self.tokenizers:
                hint = nearest(member.tokenizer, self.tokenizers)
                raise ValueError(f"members.{name}.tokenizer: no tokenizer is named '{member.tokenizer}'{hint}")
        return self

    @model_validator(mode="after")
    def _ensembles_fit(self) -> Params:
        for name, strategy in self.ensemble.every.items():
            if name in RESERVED or name in self.members:
                raise ValueError(f"ensemble: '{name}' is the name of a member or a baseline, choose another")
            weights = getattr(strategy, "weights", None)
            for member in (*(strategy.members or ()), *(weights if isinstance(weights, dict) else ())):
                if member not in self.members:
                    hint = nearest(member, self.members)
                    raise ValueError(f"ensemble: {name} names '{member}', which is no member{hint}")
        wanted = self.registry.ensemble
        if wanted is not None and wanted not in self.ensemble.every:
            raise ValueError(f"registry.ensemble: there is no '{wanted}'{nearest(wanted, self.ensemble.every)}")
        return self


def load(path: str | os.PathLike[str] = PARAMS_FILE, env: Mapping[str, str] | None = None) -> Params:
    """Return the effective params of a file: its values, the environment's overrides, the defaults.

    Raises UserError in one sentence for a file that is missing or no YAML, a key that is unknown (with the nearest
    one) and a value that does not fit.
    """
    tree, sources = overrides.effective(path, os.environ if env is None else env, Params)
    return validate(tree, str(path), sources)


def read(*sections: str, path: str | os.PathLike[str] = PARAMS_FILE) -> Params:
    """Return the params with nothing but the named sections in them, such as ``"seed"`` or ``"members.bart"``.

    Reading any other raises AttributeError: a stage that read it would not be run again when it changes.
    Raises UserError where the environment overrides one of them under DVC, whose lock file would then record a
    value that was not used; and where ``members.x`` names no member.
    """
    tree, sources = overrides.effective(path, os.environ, Params)
    if "DVC_STAGE" in os.environ:
        for key, variable in sources.items():
            if any(key[: section.count(".") + 1] == tuple(section.split(".")) for section in sections):
                raise UserError(
                    f"{variable} would change {'.'.join(key)} behind DVC's back: unset it, and use "
                    f"`dvc exp run -S {'.'.join(key)}=…` or edit {path}."
                )
    whole = validate(tree, str(path), sources)
    kept: dict[str, Any] = {}
    for section in sections:
        name, dot, inner = section.partition(".")
        if not dot:
            kept[name] = getattr(whole, name)
        elif isinstance(getattr(whole, name), dict):
            kept[name] = {inner: _entry(getattr(whole, name), name, inner, path)}
        else:
            field, dot, entry = inner.partition(".")
            value = getattr(getattr(whole, name), field)
            shown = {entry: _entry(value, f"{name}.{field}", entry, path)} if dot else value
            vars(kept.setdefault(name, SimpleNamespace()))[field] = shown
    return cast(Params, SimpleNamespace(**kept))


def _entry(values: Mapping[str, Any], where: str, name: str, path: str | os.PathLike[str]) -> Any:
    if name not in values:
        raise UserError(f"{path}: {where} has no '{name}'{nearest(name, values)}.")
    return values[name]


def dump(settings: Params | Mapping[str, Any]) -> dict[str, Any]:
    """Return params, or the sections of them that `read` gave, as plain values."""
    return to_jsonable_python(settings, fallback=vars)


def validate(tree: dict[str, Any], where: str, sources: Mapping[tuple[str, ...], str] | None = None) -> Params:
    """Return the tree of a params file as typed objects; UserError in one sentence for the first thing wrong.

    ``sources`` names the environment's variable behind each key that one overrides.
    """
    try:
        return Params.model_validate(tree)
    except ValidationError as error:
        raise UserError(_sentence(error, where, sources or {})) from error


def _sentence(error: ValidationError, where: str, sources: Mapping[tuple[str, ...], str]) -> str:
    """Turn one of pydantic's complaints into a sentence: of an unknown key first, it is often a missing one's cause."""
    complaints = error.errors(include_url=False)
    first = next((found for found in complaints if found["type"] == "extra_forbidden"), complaints[0])
    if isinstance(first["input"], dict):
        # Of what may be a word or a mapping, a mapping was meant.
        first = next((found for found in complaints if any("dict[" in str(part) for part in found["loc"])), first)
    location = [str(part) for part in first["loc"] if "[" not in str(part) or part == "[key]"]
    if location[:1] == ["ensemble"] and location[1:2] in (["strategies"], ["models"]):
        # Behind a strategy's name pydantic puts the type that it has been taken for, which is no key.
        del location[3:4]
    if first["type"].startswith("union_tag"):
        kinds = first["ctx"].get("expected_tags") or ", ".join(_kinds(location[1]))
        return f"{where}: {'.'.join(location)}.type must be one of {kinds}."
    if first["type"] == "extra_forbidden":
        parent = ".".join(location[:-1]) or "the top level"
        known = overrides.keys_below(Params, location[:-1])
        return f"{where}: {parent} has no key '{location[-1]}'{nearest(location[-1], known)}."
    if location[-1:] == ["[key]"]:
        name = first["input"]
        return f"{where}: {'.'.join(location[:-2])} cannot hold the name {name!r}: use letters, digits, - and _."
    key = ".".join(location)
    where = sources.get(tuple(location), where)
    message = first["msg"].removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    shown = "null" if first["input"] is None else repr(first["input"])
    shown = shown if len(shown) <= SHOWN else f"{shown[:SHOWN]}…"
    given = "" if first["type"] in ("missing", "value_error") else f", not {shown}"
    return f"{where}: {key + ': ' if key else ''}{message}{given}."


def _kinds(section: str) -> list[str]:
    """Return the types of the strategies that a section of ensemble holds."""
    union = get_args(OfCandidates if section == "strategies" else OfModels)[0]
    return [repr(get_args(kind.model_fields["type"].annotation)[0]) for kind in get_args(union)]
