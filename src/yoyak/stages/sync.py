"""yoyak sync: send what stages logged while their tracking server was unreachable."""

from __future__ import annotations

from yoyak.errors import UserError
from yoyak.tracking.sync import sync_runs


def run() -> None:
    """Send the runs that wait in this project to the tracking server, and print the result for each."""
    results = sync_runs()
    if not results:
        print("nothing to send")
    for result in results:
        print(f"{result.name} ({result.run_id}): {result.problem or f'{result.sent} entries sent'}")
    failed = sum(result.problem is not None for result in results)
    if failed:
        raise UserError(f"{failed} of {len(results)} runs could not be sent, see above.")
