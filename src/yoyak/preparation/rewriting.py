"""Rewriting texts with encoder-decoder checkpoints; batches are kept, and a run that was killed goes on from there."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from yoyak.errors import UserError, first_line
from yoyak.params.augmentation import Rewriter, Rewriting

if TYPE_CHECKING:
    from yoyak.models.checkpoints import Source

TABLE = "CREATE TABLE IF NOT EXISTS rewritten (key TEXT PRIMARY KEY, text TEXT)"
TOO_LONG: None = None


def check_models(method: str, settings: Rewriting) -> None:
    """Raise UserError if a checkpoint cannot be found, is not an encoder-decoder or has too few positions."""
    for step in settings.steps:
        _open(method, step, settings)


def _open(method: str, step: Rewriter, settings: Rewriting) -> Source:
    """Return where a checkpoint is."""
    from yoyak.models.checkpoints import open_source
    from yoyak.models.libraries import import_transformers
    from yoyak.models.window import find_positions

    import_transformers()
    from transformers import AutoConfig

    where = f"augmentation.{method}: checkpoint '{step.checkpoint}'"
    try:
        source = open_source(step.checkpoint, step.revision)
    except UserError as error:
        raise UserError(f"augmentation.{method}: {error}") from error
    try:
        config = AutoConfig.from_pretrained(source.weights, revision=source.revision, trust_remote_code=False)
    except Exception as error:  # Missing and damaged files raise anything.
        raise UserError(f"{where} has no usable config.json, or was not found: {first_line(error)}") from error
    if not config.is_encoder_decoder:
        raise UserError(f"{where} is {config.model_type}, a decoder-only model: an encoder-decoder rewrites turns.")
    positions = find_positions(config.to_dict())
    for key in ("max_input_tokens", "max_new_tokens"):
        if positions is not None and getattr(settings, key) > positions:
            raise UserError(f"{where} has {positions} positions, but {key} is {getattr(settings, key)}: lower it.")
    return source


def rewrite_texts(cache: Path, method: str, settings: Rewriting, texts: Sequence[str]) -> Mapping[str, str | None]:
    """Return what the models of a method make of each text; None for texts that are too long for one of them.

    Args:
        cache: SQLite file of everything that was rewritten, by a digest of checkpoint, settings and text.
        method: Name in ``augmentation``, for error messages.

    Raises UserError if a checkpoint cannot be loaded or does not fit.
    """
    current: dict[str, str | None] = {text: text for text in texts}
    with _open_cache(cache) as file:
        for number in range(1, len(settings.steps) + 1):
            wanted = sorted({text for text in current.values() if text})
            rewritten = _run_step(file, method, number, settings, wanted)
            current = {text: rewritten[latest] if latest else latest for text, latest in current.items()}
    return current


@contextmanager
def _open_cache(path: Path) -> Iterator[sqlite3.Connection]:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with closing(sqlite3.connect(path, timeout=60, isolation_level=None)) as file:
            file.execute(TABLE)
            yield file
    except sqlite3.Error as error:
        raise UserError(f"{path} cannot be used ({first_line(error)}): move it away to start a new one.") from error


def _run_step(
    file: sqlite3.Connection, method: str, number: int, settings: Rewriting, texts: Sequence[str]
) -> dict[str, str | None]:
    """Return what one model makes of each text, from the cache where it has it."""
    from yoyak.models.checkpoints import settings_digest, weights_digest

    step = settings.steps[number - 1]
    source = _open(method, step, settings)
    identity = {
        "weights": weights_digest(source) or f"{source.weights}@{source.revision}",
        "settings": settings_digest(source),
        "step": step.model_dump(mode="json", exclude={"checkpoint", "revision"}),
        "limits": [settings.max_input_tokens, settings.max_new_tokens, settings.num_beams],
    }
    keys = {text: _make_key(identity, text) for text in texts}
    known = {text: row for text, key in keys.items() if (row := _find(file, key)) is not None}
    if len(known) < len(keys):
        model = _Model(f"augmentation.{method}: checkpoint '{step.checkpoint}'", step, settings, source)
        # Sorted by length for little padding, and into the same batches whatever is known already: how a batch is
        # padded may decide between two texts that are as likely.
        lengths = {text: len(ids) for text, ids in zip(texts, model.encode(texts), strict=True)}
        for text in texts:
            if lengths[text] > settings.max_input_tokens:
                known[text] = (TOO_LONG,)
        ordered = sorted(
            (text for text in texts if known.get(text) != (TOO_LONG,)), key=lambda text: (-lengths[text], text)
        )
        starts = range(0, len(ordered), settings.batch_size)
        with tqdm(total=len(ordered), desc=f"{method}, model {number} of {len(settings.steps)}", unit="turn") as bar:
            for batch in (ordered[start : start + settings.batch_size] for start in starts):
                if any(text not in known for text in batch):
                    written = model.rewrite(batch)
                    new = [
                        (keys[text], result) for text, result in zip(batch, written, strict=True) if text not in known
                    ]
                    with _transaction(file):
                        file.executemany("INSERT OR IGNORE INTO rewritten VALUES (?, ?)", new)
                    known |= {text: (result,) for text, result in zip(batch, written, strict=True) if text not in known}
                bar.update(len(batch))
    return {text: known[text][0] for text in texts}


def _make_key(identity: Mapping[str, Any], text: str) -> str:
    return hashlib.sha256(json.dumps([identity, text], sort_keys=True).encode()).hexdigest()


def _find(file: sqlite3.Connection, key: str) -> tuple[str | None] | None:
    row: tuple[str | None] | None = file.execute("SELECT text FROM rewritten WHERE key = ?", (key,)).fetchone()
    return row


@contextmanager
def _transaction(file: sqlite3.Connection) -> Iterator[None]:
    file.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        file.execute("ROLLBACK")
        raise
    file.execute("COMMIT")


class _Model:
    """A checkpoint with its tokenizer, ready to rewrite."""

    def __init__(self, where: str, step: Rewriter, settings: Rewriting, source: Source) -> None:
        from transformers import AutoModelForSeq2SeqLM

        from yoyak.models.precision import find_device
        from yoyak.models.tokenizers import load_tokenizer

        self.where, self.step, self.settings = where, step, settings
        self.tokenizer: Any = load_tokenizer(source.tokenizer, revision=source.revision)
        try:
            self.model: Any = AutoModelForSeq2SeqLM.from_pretrained(
                source.weights, revision=source.revision, use_safetensors=True, trust_remote_code=False
            )
        except Exception as error:
            raise UserError(f"{where} has no weights that match its config: {first_line(error)}") from error
        self.model.to(find_device()).eval()
        if step.source_language is not None:
            self._find_language("source_language", step.source_language)
            self.tokenizer.src_lang = step.source_language
        self.start = (
            None if step.target_language is None else self._find_language("target_language", step.target_language)
        )

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the ids of each text after the prefix."""
        rows: list[list[int]] = self.tokenizer([self.step.prefix + text for text in texts], verbose=False)["input_ids"]
        return rows

    def rewrite(self, texts: Sequence[str]) -> list[str]:
        """Return the text that the model prefers for each of a batch."""
        import torch

        from yoyak.models.text import decode

        encoded = self.tokenizer.pad({"input_ids": self.encode(texts)}, return_tensors="pt").to(self.model.device)
        forced = {} if self.start is None else {"forced_bos_token_id": self.start}
        with torch.inference_mode():
            output = self.model.generate(
                input_ids=encoded["input_ids"],
                attention_mask=encoded["attention_mask"],
                do_sample=False,
                num_beams=self.settings.num_beams,
                max_new_tokens=self.settings.max_new_tokens,
                **forced,
            )
        return decode(self.tokenizer, output.tolist())

    def _find_language(self, key: str, code: str) -> int:
        """Return the token of a language."""
        token = self.tokenizer.convert_tokens_to_ids(code)
        if token is None or token == self.tokenizer.unk_token_id:
            raise UserError(f"{self.where}: its tokenizer has no token '{code}', which {key} names.")
        return int(token)
