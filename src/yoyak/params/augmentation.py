"""The section ``augmentation`` of params.yaml: rows that are added to the training set."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from yoyak.params.base import Section, Seed, Share

PositiveShare = Annotated[float, Field(gt=0, le=1)]


class Method(Section):
    """A way to make new rows from those of train."""

    share: Share = 0.0
    """Share of the training rows that get a changed copy; 0 turns the method off."""


class Edits(Method):
    """Changes at many places of a dialogue."""

    rate: PositiveShare = 0.1
    """Share of the places that are changed, at least one in each copy."""


class Rewriter(Section):
    """An encoder-decoder model that rewrites a turn."""

    checkpoint: str
    """A name in the catalog or on the Hugging Face Hub, or a folder under pretrained/."""
    revision: str | None = None
    """Commit, tag or branch of a checkpoint on the Hub."""
    prefix: str = ""
    """Text put before the turn, such as ``paraphrase: ``."""
    source_language: str | None = None
    """For a multilingual tokenizer, such as those of mBART and NLLB: the code of the language it reads."""
    target_language: str | None = None
    """The code of the language it writes."""


class Rewriting(Method):
    """Turns rewritten by models, and kept where they say the same in other words."""

    rate: PositiveShare = 0.5
    """Share of the turns that are rewritten."""
    min_similarity: Share = 0.3
    """A turn is left as it is if its rewritten text shares less with it: the share of characters in the longest common
    subsequence, as of rapidfuzz's Indel."""
    max_similarity: Share = 0.95
    """A turn is left as it is if its rewritten text shares more with it."""
    num_beams: Annotated[int, Field(gt=0)] = 4
    max_input_tokens: Annotated[int, Field(gt=0)] = 128
    """A longer turn is left as it is."""
    max_new_tokens: Annotated[int, Field(gt=0)] = 128
    batch_size: Annotated[int, Field(gt=0)] = 16

    @property
    def steps(self) -> tuple[Rewriter, ...]:
        """The models, each of which reads what the one before it has written."""
        raise NotImplementedError


class Paraphrase(Rewriting):
    """Turns paraphrased by one model."""

    model: Rewriter | None = None

    @property
    def steps(self) -> tuple[Rewriter, ...]:
        """The model."""
        return (self.model,) if self.model else ()

    @model_validator(mode="after")
    def _has_a_model(self) -> Paraphrase:
        if self.share and not self.steps:
            raise ValueError("a share above 0 needs a model, such as model: {checkpoint: pretrained/paraphraser}")
        return self


class BackTranslation(Rewriting):
    """Turns translated into another language and back."""

    forward: Rewriter | None = None
    backward: Rewriter | None = None

    @property
    def steps(self) -> tuple[Rewriter, ...]:
        """The two models."""
        return (self.forward, self.backward) if self.forward and self.backward else ()

    @model_validator(mode="after")
    def _has_models(self) -> BackTranslation:
        if self.share and not self.steps:
            raise ValueError("a share above 0 needs two models, forward and backward")
        return self


class PseudoLabels(Section):
    """Summaries that a model or an ensemble wrote, of unlabelled dialogues and of those of train."""

    dialogues: str | None = None
    """File of the dialogues, relative to data.folder, with the columns of data.columns; null turns the method off."""
    summaries: str | None = None
    """File of their summaries, relative to data.folder, a CSV ``fname,summary`` as `yoyak summarize` writes."""
    train_summaries: str | None = None
    """File of summaries of train's own dialogues, as ``summaries``: each dialogue becomes a second row with that
    summary. null adds none."""
    max_length_share: PositiveShare = 0.6
    """A summary with more characters than this share of its dialogue's is filtered out."""

    @model_validator(mode="after")
    def _has_both(self) -> PseudoLabels:
        if (self.dialogues is None) != (self.summaries is None):
            raise ValueError("dialogues and summaries need each other: name both files, or none")
        return self


class Augmentation(Section):
    """Rows that `prepare` adds to train; dev, test and gate stay as they are.

    Each method draws the rows that it copies by itself, so that a row may get a copy from several.
    """

    seed: Seed = 0
    """Of all draws; the top-level ``seed``, that of training, does not affect them."""
    aeda: Edits = Edits()
    """Punctuation marks inserted between words (AEDA, Karimi et al. 2021)."""
    spacing: Edits = Edits()
    """Spaces left out between words, and put into long Korean words."""
    typos: Edits = Edits()
    """Mistyped jamo in Korean words, swapped letters in English ones."""
    fillers: Edits = Edits()
    """Fillers such as 음 or um before a turn or a clause."""
    turn_drop: Edits = Edits()
    """Turns left out that share nothing with the summary."""
    renaming: Method = Method()
    """Other numbers of masks and other names of speakers, in dialogue and summaries alike."""
    endings: Edits = Edits()
    """해요 for 합니다 at the end of sentences, and the other way round."""
    particles: Edits = Edits()
    """Korean particles of subjects, topics and objects dropped, and those of objects added."""
    paraphrase: Paraphrase = Paraphrase()
    back_translation: BackTranslation = BackTranslation()
    pseudo_labels: PseudoLabels = PseudoLabels()

    @property
    def methods(self) -> dict[str, Method]:
        """The methods that copy rows of train and are on, by name."""
        values = {name: getattr(self, name) for name in type(self).model_fields}
        return {name: value for name, value in values.items() if isinstance(value, Method) and value.share > 0}

    @property
    def is_on(self) -> bool:
        """Whether any row may be added."""
        labels = self.pseudo_labels
        return bool(self.methods) or labels.dialogues is not None or labels.train_summaries is not None
