"""yoyak register: register the members and the best one in the MLflow Model Registry."""

from __future__ import annotations

import sys

from yoyak import params, project
from yoyak.failures import describe_failures, find_failures
from yoyak.params.stages import RegisterParams, without_failed
from yoyak.registry import check


def run() -> None:
    """Register this commit's models."""
    p = params.load(RegisterParams)
    failures = find_failures({member: project.predictions_folder(member) for member in p.members})
    failures |= find_failures({name: project.ensemble_folder(name) for name in p.ensemble.every})
    if failures:
        print(f"registered without these: {describe_failures(failures)}", file=sys.stderr)
        p = without_failed(p, failures)
        if p.registry.ensemble in failures:
            p = p.model_copy(update={"registry": p.registry.model_copy(update={"ensemble": None})})
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
