"""yoyak models show: everything about one version."""

from __future__ import annotations

from yoyak.stages.arguments import AsJson, VersionName
from yoyak.stages.models.output import print_json, version_uri
from yoyak.tracking.client import import_for_reading


def run(model: VersionName, /, *, json: AsJson = False) -> None:
    """Print where a version comes from, its scores, and who gave it its aliases."""
    import_for_reading()
    from yoyak.registry.queries import get_info

    info = get_info(version_uri(model))
    if json:
        print_json(info)
    else:
        from yoyak.registry.tables import format_version

        print(format_version(info))
