"""yoyak demo: a page where a person pastes a dialogue and reads its summary."""

from __future__ import annotations

import threading
from typing import Annotated

from cyclopts import Parameter

from yoyak.errors import UserError
from yoyak.stages.arguments import Host, Port, ServedModel

LOCAL = "127.0.0.1"


def run(
    model: ServedModel = None,
    /,
    *,
    host: Host = LOCAL,
    port: Port = 7860,
    url: Annotated[
        str | None, Parameter(help="A running server, such as that of `yoyak serve`, instead of a model.")
    ] = None,
) -> None:
    """Show the page until Ctrl-C, for a model that is served for it alone, or for the server at ``url``."""
    if model is not None and url is not None:
        raise UserError("--url names a server that has its model: give a model or --url, and not both.")
    from yoyak.serving import launch

    port = launch.check_port(host, port)
    if url is None:
        show_model(model, host, port)
    else:
        show_server(url, host, port)


def show_model(model: str | None, host: str, port: int) -> None:
    """Start a server for the model, on this machine alone, and the page for that."""
    from yoyak.demo.server import page
    from yoyak.serving import launch, target

    free = launch.check_port(LOCAL, 0)
    with target.open_target(model) as what, launch.running_server(what, host=LOCAL, port=free) as server:
        about = {
            "model": what.name,
            "variant": what.variant,
            "num_beams": what.generation.num_beams,
            "max_new_tokens": what.generation.max_new_tokens,
        }
        with page(host, port, url=server.url, about=about) as place:
            _say(place, f"{what.name} ({what.variant})", launch.exposure_warning(host, port))
            server.wait()


def show_server(url: str, host: str, port: int) -> None:
    """Show the page for a server that runs already."""
    from yoyak.demo.server import check_url, page
    from yoyak.serving import launch

    base = check_url(url)
    with page(host, port, url=base, about={"model": base}) as place:
        _say(place, base, launch.exposure_warning(host, port))
        threading.Event().wait()


def _say(place: str, model: str, warning: str) -> None:
    print(f"{warning}{place} is the page of {model}. Ctrl-C ends it.", flush=True)
