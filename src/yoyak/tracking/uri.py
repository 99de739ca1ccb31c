"""Where MLflow stores runs and models: MLFLOW_TRACKING_URI, or else mlflow.db in the project's folder.

Standard library only, because `yoyak.registry.check` runs before anything heavy is imported. The default is what
`mlflow ui` uses without flags in the project's folder.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from yoyak.project import project_root

VARIABLE = "MLFLOW_TRACKING_URI"

_URI = re.compile(r"\b([a-z][\w+.-]*)://(\S*)", re.IGNORECASE)
_HOST = re.compile(r"(?:[\w.-]*|\[[\da-f:.]*\])(?::\d+)?", re.IGNORECASE)
_SECRET = re.compile(r"([?&](?:password|passwd|pwd|token|secret|sig|X-Amz-\w+)=)[^&\s'\"]+", re.IGNORECASE)
"""What a URI may say after its path: a password, or the signature of an address in an object store."""


def tracking_uri() -> str:
    """Return the tracking URI in effect."""
    return os.environ.get(VARIABLE) or f"sqlite:///{project_root() / 'mlflow.db'}"


def sqlite_file(uri: str) -> Path | None:
    """Return the file behind a ``sqlite:///`` URI, or None for any other store and for one in memory."""
    prefix = "sqlite:///"
    name = uri.removeprefix(prefix).partition("?")[0]
    if not uri.startswith(prefix) or name in ("", ":memory:"):
        return None
    return Path(name).absolute()


def redact_credentials(text: str) -> str:
    """Return a URI, or a text with URIs, without user names, passwords and signatures.

    In doubt more is left out: a password may hold what ends it by the rules of URIs, such as ``/`` and ``@``.
    """
    return _SECRET.sub(r"\1…", _URI.sub(_without_user, text))


def _without_user(found: re.Match[str]) -> str:
    scheme, rest = found.groups()
    authority = re.split("[/?#]", rest, maxsplit=1)[0]
    if scheme.lower() in ("sqlite", "file") or (scheme.lower().startswith("http") and _HOST.fullmatch(authority)):
        return found[0]
    return f"{scheme}://{rest.rpartition('@')[2]}"
