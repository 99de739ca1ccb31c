"""yoyak release: register the exported model, and serve it if it has passed the gate of the bench."""

from __future__ import annotations

from yoyak import params
from yoyak.params.stages import ReleaseParams
from yoyak.registry import check


def run() -> None:
    """Register what is in exports/ and move the alias ``serving``."""
    p = params.load(ReleaseParams)
    fingerprint = check.release_fingerprint()
    if check.is_released(fingerprint, p.registry_name):
        print("nothing changed: the registry has this release")
        return
    from yoyak.registration.release import release

    result = release(p, fingerprint)
    check.remember(check.RELEASE, fingerprint, p.registry_name)
    print("\n".join(result.describe()))
