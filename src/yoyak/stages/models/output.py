"""What the verbs of `yoyak models` have in common: naming a version, and printing JSON."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from yoyak import params


def registry_name() -> str:
    """Return the registered model of this project; outside of a project, the default."""
    return params.load_or_default().registry.name


def version_uri(model: str) -> str:
    """Return the URI of a version as it was named on the command line."""
    from yoyak.registry.queries import complete_uri

    return complete_uri(model, registry_name())


def print_json(value: Any) -> None:
    """Print dataclasses, alone or in a list, as JSON."""
    plain = [asdict(entry) for entry in value] if isinstance(value, list) else asdict(value)
    print(json.dumps(plain, ensure_ascii=False, indent=2))
