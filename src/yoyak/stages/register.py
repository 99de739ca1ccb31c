"""yoyak register: bring the members and the best one into the MLflow Model Registry."""

from __future__ import annotations

from yoyak import params, registry_check


def run(undo: bool = False) -> None:
    """Register this commit's models, or take back the last move of the champion alias."""
    p = params.read("generation", "members", "registry", "scoring", "seed")
    if undo:
        from yoyak import registry

        back = registry.undo_promotion(p.registry.name)
        print(f"{back.name} version {back.version} is champion again")
        return
    mark = registry_check.fingerprint()
    if registry_check.quick_check(mark, p.registry.name):
        print("nothing changed: the registry has this result")
        return
    from yoyak.registration import register

    found = register(p, mark)
    for row in found["registered"]:
        aliases = f" ({', '.join(row['aliases'])})" if row["aliases"] else ""
        print(f"{row['name']} version {row['version']}{aliases}{' restored' if row['restored'] else ''}")
    print(found["decision"])
