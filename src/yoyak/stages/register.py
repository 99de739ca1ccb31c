"""yoyak register: bring the members and the best one, or the model of a bundle, into the MLflow Model Registry."""

from __future__ import annotations

import re
from pathlib import Path

from yoyak import params
from yoyak.errors import UserError
from yoyak.registry import check


def run(undo: bool = False, bundle: str | None = None, name: str | None = None) -> None:
    """Register this commit's models or a bundle's, or take back the last move of the champion alias."""
    if undo and bundle:
        raise UserError("--undo takes back a move of the champion alias and a bundle adds a version: give one of them.")
    if name and not bundle:
        raise UserError("--name is for a bundle: this commit's models have their names from params.yaml.")
    if bundle:
        register_bundle(bundle, name)
        return
    p = params.read("ensemble", "generation", "members", "registry", "scoring", "seed")
    if undo:
        from yoyak.registry import promotion

        back = promotion.undo_promotion(p.registry.name)
        print(f"{back.name} version {back.version} is champion again")
        return
    mark = check.fingerprint()
    if check.was_last(mark) and check.quick_check(mark, p.registry.name):
        print("nothing changed: the registry has this result")
        return
    from yoyak.registration.members import register

    found = register(p, mark)
    for row in found["registered"]:
        aliases = f" ({', '.join(row['aliases'])})" if row["aliases"] else ""
        print(f"{row['name']} version {row['version']}{aliases}{' restored' if row['restored'] else ''}")
    print(found["decision"])


def register_bundle(bundle: str, name: str | None) -> None:
    """Register the model of a ZIP that `yoyak bundle` wrote, here or anywhere."""
    if not Path(bundle).is_file():
        raise UserError(f"{bundle} is no file: give the ZIP that `yoyak bundle` wrote.")
    if name is not None and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise UserError(f"--name '{name}' cannot name a model: use letters, digits, ., - and _.")
    # A bundle is registered anywhere: outside of a project, names are the usual ones.
    known = name is not None or not Path(params.PARAMS_FILE).exists()
    settings = params.Registry() if known else params.read("registry").registry
    from yoyak.registration.bundle import register_bundle as register

    done = register(Path(bundle), registry_name=settings.name, name=name)
    print(f"{done.version.name} version {done.version.version}{'' if done.new else ' has this bundle already'}")
