"""yoyak demo: a page where a person pastes a dialogue and reads its summary."""

from __future__ import annotations

import threading
from typing import Annotated

from cyclopts import Parameter

from yoyak.errors import UserError
from yoyak.stages.arguments import AllowedHosts, Host, Port, ServedModel


def run(
    model: ServedModel = None,
    /,
    *,
    host: Host = "127.0.0.1",
    port: Port = 7860,
    url: Annotated[
        str | None, Parameter(help="A running server, such as that of `yoyak serve`, instead of a model.")
    ] = None,
    allowed_hosts: AllowedHosts = None,
) -> None:
    """Serve the page until Ctrl-C, on a model's own server or for the server at ``url``."""
    if model is not None and url is not None:
        raise UserError("give a model or --url, not both: the server at --url has its own model.")
    from yoyak.serving import launch

    port = launch.check_port(host, port)
    if url is None:
        show_model(model, host, port, allowed_hosts)
    else:
        show_server(url, host, port, allowed_hosts)


def show_model(model: str | None, host: str, port: int, allowed_hosts: str | None) -> None:
    """Start a model's server that has the page as well."""
    from yoyak.demo.app import ModelInfo
    from yoyak.demo.server import has_page
    from yoyak.serving import launch, target

    with target.open_target(model, package=False) as opened:
        info = ModelInfo(
            model=opened.name,
            variant=opened.variant,
            num_beams=opened.generation.num_beams,
            max_new_tokens=opened.generation.max_new_tokens,
        )
        with launch.running_server(
            opened, host=host, port=port, allowed_hosts=allowed_hosts, page=info.model_dump()
        ) as server:
            if not has_page(server.url):
                raise UserError(
                    f"{opened.name} was registered with code that has no page: start it with `yoyak serve`, and give "
                    "`yoyak demo` the server's --url."
                )
            _announce(server.url, f"{opened.name} ({opened.variant})", launch.exposure_warning(host, port))
            server.wait()


def show_server(url: str, host: str, port: int, allowed_hosts: str | None) -> None:
    """Show the page for a server that is already running."""
    from yoyak.demo.app import ModelInfo
    from yoyak.demo.server import check_url, running_page
    from yoyak.serving import launch

    model_url = check_url(url)
    info = ModelInfo(model=model_url)
    with running_page(host, port, model_url=model_url, model=info, allowed_hosts=allowed_hosts) as page_url:
        _announce(page_url, model_url, launch.exposure_warning(host, port))
        threading.Event().wait()


def _announce(page_url: str, model: str, warning: str) -> None:
    print(f"{warning}{page_url} is the page of {model}. Ctrl-C ends it.", flush=True)
