"""yoyak serve: answer HTTP requests with a model, in one process that uses all cores unless --workers says more."""

from __future__ import annotations

import json
import shlex
from typing import Annotated

from cyclopts import Parameter

from yoyak.stages.arguments import AllowedHosts, Count, Host, Port, ServedModel


def run(
    model: ServedModel = None,
    /,
    *,
    host: Host = "127.0.0.1",
    port: Port = 5001,
    workers: Annotated[Count, Parameter(help="Processes that share the cores.")] = 1,
    allowed_hosts: AllowedHosts = None,
    log_to_stdout: Annotated[
        bool, Parameter(negative=(), help="Print the server's log, as containers do, and not write it to logs/.")
    ] = False,
) -> None:
    """Serve a model until Ctrl-C; ``port`` 0 is any free one."""
    from yoyak.serving import launch, target

    port = launch.check_port(host, port)
    with (
        target.open_target(model, package=False) as opened,
        launch.running_server(
            opened, host=host, port=port, workers=workers, allowed_hosts=allowed_hosts, log_to_stdout=log_to_stdout
        ) as server,
    ):
        processes = f"{workers} process{'es' if workers > 1 else ''} of {server.threads} thread"
        processes += "s" if server.threads > 1 else ""
        print(f"{opened.name} answers at {server.url} ({opened.variant}; {processes})")
        limits = opened.serving
        print(
            f"A request has at most {limits.max_rows} dialogues of {limits.max_chars} characters; {limits.queue_size} "
            f"may wait, {opened.batch_size} are summarized at once."
        )
        print(launch.exposure_warning(host, port), end="")
        print(f"Log: {server.log}. " if server.log else "", end="")
        print("Ctrl-C ends it. Try it in another terminal:\n")
        print(curl(server.url, target.EXAMPLE), flush=True)
        server.wait()


def curl(url: str, dialogue: str) -> str:
    """Return the command line that asks a server for a summary, for any POSIX shell."""
    body = shlex.quote(json.dumps({"inputs": [dialogue]}, ensure_ascii=False))
    return (
        f"curl -s {url}/invocations -H 'Content-Type: application/json' -d {body} "
        "| python3 -m json.tool --no-ensure-ascii"
    )
