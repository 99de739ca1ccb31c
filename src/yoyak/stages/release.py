"""yoyak release: register the exported model, and serve it if it has passed the gate of the bench."""

from __future__ import annotations

from yoyak import params
from yoyak.params.stages import ReleaseParams
from yoyak.registry import check


def run() -> None:
    """Register what is in exports/ and move the alias ``serving``."""
    p = params.load(ReleaseParams)
    name = p.registry_name
    mark = check.release_fingerprint()
    if check.quick_release_check(mark, name):
        print("nothing changed: the registry has this release")
        return
    from yoyak.registration.exported import release

    done = release(p, mark)
    print(
        f"{name} version {done.exported.version} is {done.exported.tags['variant']} of {done.exported.tags['member']}"
    )
    for sentence in done.sentences:
        print(sentence)
    moved = "" if done.before and done.before.version == done.after.version else _from(done.before)
    print(f"served is {name} version {done.after.version} ({done.after.tags.get('variant', 'fp32')}){moved}")


def _from(before: object) -> str:
    version = getattr(before, "version", None)
    return f", before it version {version}" if version else ""
