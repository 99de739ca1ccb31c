"""yoyak sync: send what stages logged while their tracking server was unreachable."""

from __future__ import annotations

from yoyak.errors import UserError
from yoyak.tracking.sync import sync_runs


def run() -> None:
    """Send what is kept in this project to the tracking server, and say what became of each run."""
    results = sync_runs()
    if not results:
        print("nothing is left to be sent")
    for result in results:
        print(f"{result.name} ({result.run_id}): {result.problem or f'{result.sent} entries sent'}")
    left = sum(result.problem is not None for result in results)
    if left:
        raise UserError(f"{left} of {len(results)} runs could not be sent, see above.")
