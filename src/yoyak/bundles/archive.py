"""A model as one ZIP file: written from MLflow, and read without trusting whoever sent it.

    model.safetensors   or the shards of a large one, and their index
    config.json, generation_config.json, tokenizer/
    yoyak.json          how the model is used (`models.spec.ModelSpec`)
    config.yaml         the params of the training
    metadata.json       run, model and version in MLflow, metrics, and what the model was trained from

A ZIP from elsewhere may lack the last three, and may have its tokenizer beside the weights, or all in one folder.
"""

from __future__ import annotations

import hashlib
import io
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yoyak.bundles.config_keys import keep_known_keys
from yoyak.bundles.json_files import read_json_object
from yoyak.bundles.metadata import Lineage, Metadata, finite_numbers, read_metadata
from yoyak.bundles.model_spec import read_spec
from yoyak.bundles.training_params import MAX_BYTES, read_params, unflatten
from yoyak.bundles.zip_reading import Archive, open_archive
from yoyak.errors import UserError
from yoyak.files import atomic_path, cache_folder, cached_folder
from yoyak.models.families import family_of
from yoyak.models.spec import ADAPTER_FILE, ENSEMBLE_FILE, SPEC_FILE, ModelSpec, load_spec, save_spec
from yoyak.registry.resolve import LocatedModel, fetch_model, locate

if TYPE_CHECKING:
    from mlflow import MlflowClient

PARAMS, METADATA = "config.yaml", "metadata.json"
CONFIGS = ("config.json", "generation_config.json", "tokenizer_config.json")
WEIGHTS = ("*.safetensors", "*.safetensors.index.json")
TOKENIZER = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "vocab*.json",
    "vocab*.txt",
    "merges.txt",
    "*.model",
    "*.spm",
)
"""Files that transformers saves tokenizers as."""
MODEL, TOKENIZER_FOLDER = "model", "tokenizer"

MAX_CONFIG_BYTES, MAX_FILE_BYTES = 4 << 20, 256 << 20
"""Of a configuration, and of any other file except weights."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """An unpacked bundle."""

    path: Path
    sha256: str
    """Of the bytes that were unpacked."""
    folder: Path
    """The Hugging Face folder, with yoyak.json."""
    params: Mapping[str, Any]
    metadata: Metadata

    @property
    def spec(self) -> ModelSpec:
        """How the model is used."""
        return load_spec(self.folder)


def write_bundle(uri: str, out: Path) -> Metadata:
    """Write a model in MLflow as a ZIP and return its metadata; the same model gives the same file, byte for byte.

    Raises UserError where there is no such model, or it cannot be bundled.
    """
    if Path(uri).exists():
        raise UserError(f"{uri} is a file or folder without a training run: name a model in MLflow.")
    model = locate(uri)
    folder = fetch_model(model)
    if (folder / ENSEMBLE_FILE).is_file():
        raise UserError(f"{uri} is an ensemble, and a bundle holds one model: bundle each of its members.")
    if (folder / ADAPTER_FILE).is_file():
        raise UserError(f"{uri} is an adapter without its checkpoint: train it with adapter.merge: true to bundle it.")
    spec = load_spec(folder)
    family_of(spec, f"{uri} ({spec.member})")
    params, metadata = _describe_model(model, spec.member)
    entries = {path.name: _entry_name(path.name) for path in sorted(folder.iterdir()) if path.is_file()}
    _check_complete(uri, set(entries))
    with atomic_path(out) as work, zipfile.ZipFile(work, "w") as file:
        for name, entry_name in entries.items():
            if entry_name is None:
                continue
            packed = zipfile.ZIP_STORED if name.endswith(".safetensors") else zipfile.ZIP_DEFLATED
            with (
                (folder / name).open("rb") as source,
                file.open(_zip_info(entry_name, packed), "w", force_zip64=True) as out_entry,
            ):
                shutil.copyfileobj(source, out_entry, 1 << 20)
        file.writestr(_zip_info(PARAMS), _yaml(params))
        file.writestr(_zip_info(METADATA), metadata.model_dump_json(indent=2, exclude_none=True) + "\n")
    return metadata


def open_bundle(path: Path) -> Bundle:
    """Return a bundle, unpacked into the user's cache folder the first time.

    Nothing in it is trusted: only a model's data files, by the names above, are unpacked. Raises UserError for a ZIP
    that is damaged, hostile or not a model.
    """
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    folder = _cached(sha256)
    if not folder.is_dir():
        with _private_copy(path) as (copy, sha256):
            folder = cached_folder(_cached(sha256), lambda work: _unpack(copy, work, path))
    return Bundle(
        path=path,
        sha256=sha256,
        folder=folder / MODEL,
        params=read_params(folder / PARAMS, f"{path}: {PARAMS}"),
        metadata=read_metadata(folder / METADATA, f"{path}: {METADATA}"),
    )


def _cached(sha256: str) -> Path:
    return cache_folder() / "bundles" / sha256


@contextmanager
def _private_copy(path: Path) -> Iterator[tuple[Path, str]]:
    """Yield a copy of a ZIP that nobody else writes to, and its sha256.

    Between hashing and unpacking a ZIP, which takes minutes for a large model, somebody could exchange its bytes: the
    cache would have one model under the digest of another.
    """
    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    _check_space(path, path.stat().st_size, folder)
    digest = hashlib.sha256()
    with tempfile.TemporaryDirectory(prefix=".bundle-", dir=folder) as temporary:
        copy = Path(temporary, "bundle.zip")
        with path.open("rb") as source, copy.open("xb") as out:
            while chunk := source.read(1 << 20):
                digest.update(chunk)
                out.write(chunk)
        yield copy, digest.hexdigest()


def _check_space(path: Path, wanted: int, folder: Path) -> None:
    free = shutil.disk_usage(folder).free
    if wanted > free:
        raise UserError(f"{path} needs {wanted >> 20} MiB of disk, {folder} has {free >> 20} MiB free.")


def _unpack(copy: Path, work: Path, path: Path) -> None:
    """Unpack the model's files into ``work / MODEL`` and its params and metadata beside it, and check all of them.

    ``path`` is what the ZIP is called in errors.
    """
    with open_archive(copy, path) as archive:
        chosen = _select_entries(archive)
        _check_complete(str(path), {Path(target).name for target in chosen})
        wanted = sum(archive.entries[name].file_size for name in chosen.values())
        _check_space(path, wanted, work.parent.parent)
        # Small files first, so that what they say is known before gigabytes are written.
        for target, name in sorted(chosen.items(), key=lambda pair: archive.entries[pair[1]].file_size):
            archive.extract(name, work / target, **_limit(target))
    model = work / MODEL
    # The spec first: what it is derived from, such as the checkpoint's name, is not all on the lists.
    spec = read_spec(model, read_params(work / PARAMS, f"{path}: {PARAMS}"), str(path))
    for file in sorted(model.glob("*.json")):
        keep_known_keys(file, f"{path}: {file.name}")
        if file.name.endswith(".index.json"):
            _check_index(file, f"{path}: {file.name}")
    read_metadata(work / METADATA, f"{path}: {METADATA}")
    save_spec(model, spec)


def _select_entries(archive: Archive) -> dict[str, str]:
    """Return the entries to unpack, by their path in the cache; all others stay in the ZIP."""
    configs = [name for name in archive.entries if name.count("/") < 2 and name.split("/")[-1] == "config.json"]
    configs = [name for name in configs if not name.startswith(f"{TOKENIZER_FOLDER}/")]
    if not configs:
        raise UserError(f"{archive.path} does not hold a model: it has no config.json.")
    inside = min(configs, key=len).removesuffix("config.json")
    chosen: dict[str, str] = {}
    for name in archive.entries:
        inner = name.removeprefix(inside)
        base = inner.removeprefix(f"{TOKENIZER_FOLDER}/")
        if not name.startswith(inside) or "/" in base or base.startswith("."):
            continue
        if inner in (PARAMS, METADATA):
            target = inner
        elif inner in (_entry_name(base), base) and _entry_name(base):
            target = f"{MODEL}/{base}"
        else:
            continue
        if target.casefold() in (existing.casefold() for existing in chosen):
            raise UserError(f"{archive.path} holds '{base}' twice, in the model's folder and in {TOKENIZER_FOLDER}/.")
        chosen[target] = name
    return chosen


def _entry_name(name: str) -> str | None:
    """Return the name in a bundle of a file of a model's folder; None for a file that is left out."""
    if any(fnmatchcase(name, pattern) for pattern in TOKENIZER):
        return f"{TOKENIZER_FOLDER}/{name}"
    is_known = name in (*CONFIGS, SPEC_FILE) or any(fnmatchcase(name, pattern) for pattern in WEIGHTS)
    return name if is_known else None


def _limit(target: str) -> dict[str, int]:
    """Return the maximum size of a file in bytes: for weights it is the ZIP's own limit."""
    name = Path(target).name
    if name == PARAMS:
        return {"limit": MAX_BYTES}
    if name in (*CONFIGS, SPEC_FILE, METADATA) or name.endswith(".index.json"):
        return {"limit": MAX_CONFIG_BYTES}
    return {} if name.endswith(".safetensors") else {"limit": MAX_FILE_BYTES}


def _check_complete(where: str, names: set[str]) -> None:
    if not any(name.endswith(".safetensors") for name in names):
        raise UserError(f"{where} has no weights: it has no model.safetensors.")
    if not any(name in ("tokenizer.json", "merges.txt") or name.startswith("vocab") for name in names) and not any(
        name.endswith((".model", ".spm")) for name in names
    ):
        raise UserError(f"{where} has no tokenizer: it has no tokenizer.json.")


def _check_index(path: Path, where: str) -> None:
    """Refuse an index that names missing shards: transformers would open whatever path it names."""
    shards = read_json_object(path, where).get("weight_map")
    if not isinstance(shards, dict):
        raise UserError(f"{where} has no weight_map: create the bundle again.")
    existing = {weights.name for weights in path.parent.glob("*.safetensors")}
    for shard in shards.values():
        if not isinstance(shard, str) or shard not in existing:
            raise UserError(f"{where} names {ascii(shard)[:80]}, which the bundle does not hold: create it again.")


def _describe_model(model: LocatedModel, member: str) -> tuple[dict[str, Any], Metadata]:
    """Return the training params and metadata of a model, as far as MLflow has them."""
    from yoyak.tracking.client import connect, translate_mlflow_errors

    client = connect()
    with translate_mlflow_errors():
        run = _find_run(client, model.run_id)
        logged = client.get_logged_model(model.model_id) if model.model_id else None
    tags = dict(run.data.tags) if run else {}
    params = (run.data.params if run else {}) or (logged.params if logged else {}) or {}
    metrics = finite_numbers(run.data.metrics) if run else {}
    if model.version is not None:
        metrics |= finite_numbers({key: value for key, value in model.version.tags.items() if key.startswith("score.")})
    metadata = Metadata(
        member=member,
        run_id=model.run_id,
        model_id=model.model_id,
        name=model.version.name if model.version else None,
        version=model.version.version if model.version else None,
        metrics=metrics,
        lineage=Lineage.from_tags(model.run_id or "", tags),
    )
    return unflatten(params), metadata


def _find_run(client: MlflowClient, run_id: str | None) -> Any:
    """Return a run, or None if it was deleted."""
    from mlflow.exceptions import MlflowException

    try:
        return client.get_run(run_id) if run_id else None
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None


def _zip_info(name: str, packed: int = zipfile.ZIP_DEFLATED) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.compress_type = packed
    info.external_attr = 0o100644 << 16
    return info


def _yaml(value: Mapping[str, Any]) -> str:
    from ruamel.yaml import YAML

    out = io.StringIO()
    YAML().dump(dict(value), out)
    return out.getvalue()
