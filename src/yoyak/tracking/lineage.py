"""A run's lineage (commit, inputs, versions, device, seed) and the receipt of a training run.

Neither MLflow nor anything heavy is imported: torch reports the device only if it has already been imported.
"""

from __future__ import annotations

import ast
import getpass
import hashlib
import json
import os
import platform
import re
import socket
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

from yoyak.errors import UserError
from yoyak.files import write_json
from yoyak.project import DVC_LOCK, project_root
from yoyak.tracking.git import GitError, run_git

PACKAGES = (
    "accelerate",
    "bitsandbytes",
    "datasets",
    "kiwipiepy",
    "kiwipiepy_model",
    "numpy",
    "onnx",
    "onnxruntime",
    "optimum",
    "peft",
    "rapidfuzz",
    "rouge-score",
    "safetensors",
    "scikit-learn",
    "sentencepiece",
    "tokenizers",
    "torch",
    "transformers",
    "yoyak",
)
"""Packages that affect a result: arithmetic, tokenization, scores that select a checkpoint, ensembles, exports."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """Written beside a training stage's output, so that `register` can find the run or rebuild it."""

    run_id: str
    member: str
    inputs: dict[str, str]
    """DVC's md5 of each input of the run, by path."""
    experiment: str
    """MLflow experiment of the run."""
    started: int = 0
    """Start of the run in milliseconds since 1970; 0 if unknown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Git:
    """The checked-out commit; empty outside a repository."""

    commit: str
    dirty: bool
    """Whether tracked files differ from the commit, except those that the pipeline writes, or code has been added."""


def write_receipt(path: str | os.PathLike[str], receipt: Receipt) -> None:
    """Write a receipt as JSON."""
    write_json(path, asdict(receipt))


def read_receipt(path: str | os.PathLike[str]) -> Receipt:
    """Read a receipt; UserError if the file is missing or not a receipt."""
    try:
        return Receipt(**json.loads(Path(path).read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise UserError(
            f"{path} is missing: `dvc repro` trains the member, or restores the file from the cache."
        ) from None
    except (ValueError, TypeError, RecursionError) as error:
        raise UserError(f"{path} is not the receipt of a training run: {' '.join(str(error).split())}.") from error


def digest(path: str | os.PathLike[str]) -> str:
    """Return DVC's md5 of a file or a folder; a folder's ends in ``.dir``.

    A folder's md5 is that of the JSON list of its files' md5s and relative paths, ordered by path.
    """
    path = Path(path)
    if not path.exists():
        raise UserError(f"{path} is missing: `dvc repro` creates it, or `dvc pull` fetches it.")
    if path.is_file():
        return _md5(path)
    files = sorted((file.relative_to(path).as_posix(), file) for file in path.rglob("*") if file.is_file())
    listing = json.dumps([{"md5": _md5(file), "relpath": name} for name, file in files])
    return hashlib.md5(listing.encode()).hexdigest() + ".dir"


def digests(paths: Iterable[str | os.PathLike[str]]) -> dict[str, str]:
    """Return DVC's md5 of each path."""
    return {Path(path).as_posix(): digest(path) for path in paths}


def source_digest(root: Path, paths: Iterable[Path]) -> str:
    """Return the sha256 of what Python files below ``root`` do: comments, docstrings and layout do not count."""
    digest = hashlib.sha256()
    for path in paths:
        status = (root / path).stat()
        statements = _dump_statements(root / path, status.st_mtime_ns, status.st_size)
        digest.update(f"{path.as_posix()}\n{statements}\n".encode())
    return digest.hexdigest()


@lru_cache(maxsize=1024)
def _dump_statements(file: Path, modified_ns: int, size: int) -> str:
    """Return the syntax tree of a file without docstrings. A study's worker asks for each of its trials."""
    tree = ast.parse(file.read_bytes())
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [line for line in node.body if not _is_docstring(line)]
    return ast.dump(tree)


def _is_docstring(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def git(root: Path | None = None) -> Git:
    """Return the state of the git repository that the project is in."""
    root = root or project_root()
    commit = _git(root, "rev-parse", "HEAD")
    if not commit:
        return Git(commit="", dirty=False)
    outputs = (f":(exclude,top,literal){path}" for path in _outputs(root))
    changed = _git(root, "status", "--porcelain", "--untracked-files=no", "--", ":/", *outputs)
    # A new module is code that the commit does not have; other new files are not part of the project.
    added = _git(root, "ls-files", "--others", "--exclude-standard", "--", "src", "cases")
    return Git(commit=commit, dirty=bool(changed or added))


def read_lock(root: Path | None = None) -> dict[str, Any]:
    """Return the stages of dvc.lock by name, as DVC writes them; none where there is no such file."""
    lock = (root or project_root()) / DVC_LOCK
    return parse_lock(lock.read_text(encoding="utf-8")) if lock.is_file() else {}


def parse_lock(text: str) -> dict[str, Any]:
    """Return the stages in the text of a dvc.lock. The result is shared: do not change it."""
    return dict(_parse(text).get("stages", {}))


@lru_cache(maxsize=8)
def _parse(text: str) -> dict[str, Any]:
    import yaml

    # Every stage reads these files; libyaml takes a tenth of the time.
    return yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader)) or {}


def experiment_name() -> str:
    """Return what the working tree is if it is not simply a commit: a DVC experiment, or a commit with changes."""
    experiment = os.environ.get("DVC_EXP_NAME")
    if experiment:
        return f"the experiment {experiment}"
    state = git()
    return f"uncommitted changes of {state.commit[:7]}" if state.dirty else ""


def pipeline_key(commit: str, root: Path | None = None) -> str:
    """Return the md5 that identifies a pipeline's runs: of its params, data version, commit and DVC experiment."""
    root = root or project_root()
    params, data = root / "params.yaml", root / "data.dvc"
    version = re.search(r"^\s*(?:- )?md5: (\S+)", data.read_text(encoding="utf-8"), re.M) if data.is_file() else None
    parts = [
        _md5(params) if params.is_file() else "",
        version[1] if version else "",
        commit,
        os.environ.get("DVC_EXP_NAME", ""),
    ]
    return hashlib.md5("\n".join(parts).encode()).hexdigest()


def device() -> str:
    """Return torch's device (``cuda: <name>``, ``mps`` or ``cpu``); ``cpu`` if torch has not been imported."""
    torch: Any = sys.modules.get("torch")
    if torch is None:
        return "cpu"
    if torch.cuda.is_available():
        return f"cuda: {torch.cuda.get_device_name()}"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def versions() -> dict[str, str]:
    """Return the versions of Python and of `PACKAGES`."""
    installed = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            installed[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return installed


def current_user() -> str:
    """Return the current user, as ``user@host``."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):
        user = "unknown"
    return f"{user}@{socket.gethostname()}"


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


def _git(root: Path, *arguments: str) -> str:
    """Return what git prints; nothing where it fails, since a project need not be in a repository."""
    try:
        return run_git(root, *arguments, timeout=30).strip()
    except GitError:
        return ""


def _outputs(root: Path) -> list[str]:
    """Return what the pipelines write (their dvc.lock and the outputs in it), relative to the repository's root."""
    top, root = Path(_git(root, "rev-parse", "--show-toplevel")).resolve(), root.resolve()
    paths = [path for lock in (root / DVC_LOCK, *root.glob(f"*/{DVC_LOCK}")) for path in (lock, *_locked_outputs(lock))]
    # Links stay as they are: DVC may link an output into its cache.
    names = [Path(os.path.relpath(path, top)) for path in paths]
    return [name.as_posix() for name in names if name.parts[0] != os.pardir]


def _locked_outputs(lock: Path) -> list[Path]:
    """Return the outputs of the stages in a dvc.lock; their paths are relative to the ``wdir`` of the stage."""
    stages, pipeline = read_lock(lock.parent), lock.with_suffix(".yaml")
    declared = _parse(pipeline.read_text(encoding="utf-8")).get("stages", {}) if pipeline.is_file() else {}
    outputs = []
    for name, stage in stages.items():
        entry = declared.get(name.partition("@")[0]) or {}
        folder = lock.parent / entry.get("do", entry).get("wdir", ".")
        outputs += [folder / output["path"] for output in stage.get("outs", ())]
    return outputs
