"""yoyak register: bring the members and the best one into the MLflow Model Registry."""

from __future__ import annotations

from yoyak import params
from yoyak.params.stages import RegisterParams
from yoyak.registry import check


def run() -> None:
    """Register this commit's models."""
    p = params.load(RegisterParams)
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
