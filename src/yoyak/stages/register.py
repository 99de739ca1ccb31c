"""yoyak register: register the members and the best one in the MLflow Model Registry."""

from __future__ import annotations

from yoyak import params
from yoyak.params.stages import RegisterParams
from yoyak.registry import check


def run() -> None:
    """Register this commit's models."""
    p = params.load(RegisterParams)
    fingerprint = check.registration_fingerprint()
    if check.was_registered_last(fingerprint) and check.is_registered(fingerprint, p.registry.name):
        print("nothing changed: the registry has this result")
        return
    from yoyak.registration.register import register

    result = register(p, fingerprint)
    check.remember(check.FINGERPRINT, fingerprint, p.registry.name)
    for model in result.registered:
        aliases = f" ({', '.join(model.aliases)})" if model.aliases else ""
        print(f"{model.name} version {model.version}{aliases}{' restored' if model.restored else ''}")
    print(result.decision)
