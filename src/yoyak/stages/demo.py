"""yoyak demo: a page where a person pastes a dialogue and reads its summary."""

from __future__ import annotations

import threading

from yoyak.errors import UserError


def run(model: str | None = None, host: str = "127.0.0.1", port: int = 7860, url: str | None = None) -> None:
    """Show the page until Ctrl-C, for a model that is served for it alone, or for the server at ``url``."""
    if model is not None and url is not None:
        raise UserError("--url names a server that has its model: give a model or --url, and not both.")
    from yoyak.demo import server as demo
    from yoyak.serving import launch, target

    port = launch.check_port(host, port)
    if url is not None:
        base = demo.check_url(url)
        with demo.page(host, port, url=base, about={"model": base}) as place:
            _say(place, base)
            threading.Event().wait()
    with target.found(model) as what:
        alone = "127.0.0.1"
        with launch.served(what, host=alone, port=launch.check_port(alone, 0)) as server:
            about = {
                "model": what.name,
                "variant": what.variant,
                "num_beams": what.generation.num_beams,
                "max_new_tokens": what.generation.max_new_tokens,
            }
            with demo.page(host, port, url=server.url, about=about) as place:
                _say(place, f"{what.name} ({what.variant})")
                server.wait()


def _say(place: str, model: str) -> None:
    print(f"{place} is the page of {model}. Ctrl-C ends it.", flush=True)
