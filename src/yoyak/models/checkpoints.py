"""Finding a checkpoint's files, and converting those that hold no safetensors, once per machine.

Many checkpoints on the Hub hold only ``pytorch_model.bin``, a pickle; a GGUF file holds the weights, config and
tokenizer of a model for llama.cpp. Both are converted in the user's cache folder, under the digest of what they hold.
"""

from __future__ import annotations

import hashlib
import json
import pickle
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from yoyak.errors import UserError, first_line
from yoyak.files import cache_folder, cached_folder
from yoyak.models import catalog
from yoyak.models.pinning import no_such_revision

SAFETENSORS = ("model.safetensors", "model.safetensors.index.json")
PICKLE = "pytorch_model.bin"
PICKLE_INDEX = "pytorch_model.bin.index.json"
CONFIGS = ("config.json", "generation_config.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where to load a checkpoint from: folders, or names on the Hub."""

    weights: str
    """Has the config and the weights, as safetensors."""
    tokenizer: str
    revision: str | None
    """Of names on the Hub; None for folders."""
    commit: str | None = None
    """The commit on the Hub that a converted folder comes from."""


def open_source(checkpoint: str, revision: str | None = None) -> Source:
    """Return where to load a checkpoint from, converted to safetensors if it has none.

    Args:
        checkpoint: A name in the catalog or on the Hub, or a folder.
        revision: Commit, tag or branch on the Hub; None is the one that the catalog has, else ``main``.

    Raises UserError if it is not found by its name, or holds anything but weights.
    """
    name = catalog.checkpoint(checkpoint)
    folder = Path(name) if Path(name).is_dir() else None
    if folder is not None and not (folder / CONFIGS[0]).is_file():
        converted = str(_convert_gguf(folder))
        return Source(weights=converted, tokenizer=converted, revision=None)
    revision = None if folder is not None else catalog.find_revision(checkpoint, revision) or "main"
    find_file = partial(_find_file, name, revision, None if folder is not None else _list_hub_files(name, revision))
    if not any(find_file(file) for file in SAFETENSORS):
        pickles = _find_pickles(name, find_file)
        if pickles:
            configs = [path for file in CONFIGS if (path := find_file(file))]
            weights = _convert_pickles(name, pickles, configs)
            commit = None if folder is not None else configs[0].parent.name
            return Source(weights=str(weights), tokenizer=name, revision=revision, commit=commit)
    return Source(weights=name, tokenizer=name, revision=revision)


def _list_hub_files(name: str, revision: str | None) -> frozenset[str] | None:
    """Return the files of a name on the Hub; None if it cannot be asked, and only this machine's cache counts."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, RevisionNotFoundError

    try:
        return frozenset(HfApi().list_repo_files(name, revision=revision))
    except RevisionNotFoundError as error:
        raise UserError(no_such_revision(name, str(revision))) from error
    except (HfHubHTTPError, OSError, ValueError):
        # Whatever is wrong with the name or the connection, loading says so in one place.
        return None


def _find_file(name: str, revision: str | None, hub_files: frozenset[str] | None, file: str) -> Path | None:
    """Return a file of a folder, or of a name on the Hub, from where it is downloaded; None if there is none."""
    if Path(name).is_dir():
        path = Path(name, file)
        return path if path.is_file() else None
    if hub_files is not None and file not in hub_files:
        return None
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError

    try:
        return Path(hf_hub_download(name, file, revision=revision, local_files_only=hub_files is None))
    except (EntryNotFoundError, HfHubHTTPError, OSError, ValueError):
        return None


def _find_pickles(name: str, find_file: Callable[[str], Path | None]) -> list[Path]:
    """Return the pickled weights of a checkpoint, in shards or in one file."""
    single = find_file(PICKLE)
    if single:
        return [single]
    index = find_file(PICKLE_INDEX)
    if index is None:
        return []
    shards = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    paths = [(shard, find_file(shard)) for shard in shards]
    for shard, path in paths:
        if path is None:
            raise UserError(f"The checkpoint '{name}' is not complete: {shard} is missing.")
    return [path for _, path in paths if path]


def _convert_pickles(name: str, pickles: Sequence[Path], configs: Sequence[Path]) -> Path:
    def convert(out: Path) -> None:
        from safetensors.torch import save_file

        print(f"{name} holds pickled weights: converting them to safetensors in {folder}", file=sys.stderr)
        out.mkdir()
        shards = len(pickles)
        weight_map: dict[str, str] = {}
        for number, path in enumerate(pickles, 1):
            file = SAFETENSORS[0] if shards == 1 else f"model-{number:05d}-of-{shards:05d}.safetensors"
            # Tensors that share memory, such as tied embeddings, cannot be saved as they are.
            tensors = {key: tensor.clone().contiguous() for key, tensor in _load_pickle(path).items()}
            save_file(tensors, out / file, metadata={"format": "pt"})
            weight_map |= dict.fromkeys(tensors, file)
        if shards > 1:
            (out / SAFETENSORS[1]).write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
        for path in configs:
            shutil.copyfile(path, out / path.name)

    folder = cache_folder() / "checkpoints" / _digest([*pickles, *configs])
    return cached_folder(folder, convert)


def _load_pickle(path: Path) -> dict[str, Any]:
    """Return the tensors of a pickle; anything else in it is not loaded."""
    import torch

    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        raise UserError(
            f"{path} holds something else than weights, or is damaged; nothing of it was run: {first_line(error)}"
        ) from error
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise UserError(f"{path} does not hold a model's weights by name.")
    return state


def _convert_gguf(source: Path) -> Path:
    """Return a folder with the model of a folder's only GGUF file, in the Hub's layout and dequantized to fp32."""
    file, *others = sorted(source.glob("*.gguf"))
    if others:
        names = ", ".join(path.name for path in (file, *others))
        raise UserError(f"The folder '{source}' has {len(others) + 1} models ({names}): keep the one to be used.")

    def convert(out: Path) -> None:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        print(f"{file} is a GGUF file: converting it to safetensors in {folder}", file=sys.stderr)
        out.mkdir()
        try:
            tokenizer = AutoTokenizer.from_pretrained(str(source), gguf_file=file.name)
            model = AutoModelForCausalLM.from_pretrained(str(source), gguf_file=file.name, dtype=torch.float32)
        except Exception as error:  # Damaged files and unknown architectures raise anything.
            raise UserError(f"{file} cannot be read: {first_line(error)}") from error
        tokenizer.save_pretrained(out)
        model.save_pretrained(out, safe_serialization=True)

    folder = cache_folder() / "checkpoints" / _digest([file])
    return cached_folder(folder, convert)


def weights_digest(source: Source) -> str | None:
    """Return a digest of a folder's weights; None for a name on the Hub."""
    folder = Path(source.weights)
    return _digest(sorted(folder.glob("*.safetensors"))) if folder.is_dir() else None


def settings_digest(source: Source) -> str | None:
    """Return a digest of a folder's config, generation config and tokenizer; None for a name on the Hub."""
    folders = [folder for name in dict.fromkeys((source.weights, source.tokenizer)) if (folder := Path(name)).is_dir()]
    kinds = ("*.json", "*.jinja", "*.model", "*.txt")
    paths = [path for folder in folders for kind in kinds for path in sorted(folder.glob(kind))]
    return _digest(paths) if paths else None


def _digest(paths: Sequence[Path]) -> str:
    """Return the sha256 of the files' names and contents."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            digest.update(f"{path.name}\n{hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return digest.hexdigest()
