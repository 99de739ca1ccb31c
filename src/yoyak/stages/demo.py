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
    """Serve the page until Ctrl-C, with a model server of its own or with the server at ``url``."""
    if model is not None and url is not None:
        raise UserError("give a model or --url, not both: the server at --url has its own model.")
    from yoyak.serving import launch

    port = launch.check_port(host, port)
    if url is None:
        show_model(model, host, port)
    else:
        show_server(url, host, port)


def show_model(model: str | None, host: str, port: int) -> None:
    """Start a model server that only this machine can reach, and the page for it."""
    from yoyak.demo.app import ModelInfo
    from yoyak.demo.server import running_page
    from yoyak.serving import launch, target

    model_port = launch.check_port(LOCAL, 0)
    with target.open_target(model) as opened, launch.running_server(opened, host=LOCAL, port=model_port) as server:
        info = ModelInfo(
            model=opened.name,
            variant=opened.variant,
            num_beams=opened.generation.num_beams,
            max_new_tokens=opened.generation.max_new_tokens,
        )
        with running_page(host, port, model_url=server.url, model=info) as page_url:
            _announce(page_url, f"{opened.name} ({opened.variant})", launch.exposure_warning(host, port))
            server.wait()


def show_server(url: str, host: str, port: int) -> None:
    """Show the page for a server that is already running."""
    from yoyak.demo.app import ModelInfo
    from yoyak.demo.server import check_url, running_page
    from yoyak.serving import launch

    model_url = check_url(url)
    with running_page(host, port, model_url=model_url, model=ModelInfo(model=model_url)) as page_url:
        _announce(page_url, model_url, launch.exposure_warning(host, port))
        threading.Event().wait()


def _announce(page_url: str, model: str, warning: str) -> None:
    print(f"{warning}{page_url} is the page of {model}. Ctrl-C ends it.", flush=True)
