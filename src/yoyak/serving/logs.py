"""The log of a server: one JSON object a line, so that a tool can read it and no client can forge a line of it."""

from __future__ import annotations

import json
import logging
import sys
import time

NAMES = ("uvicorn.error", "uvicorn.asgi", "mlflow", "yoyak")
"""The loggers whose lines are JSON."""
FIELDS = ("request_id", "method", "path", "status", "ms", "bytes", "dialogues", "truncated")
"""What a line may say beside its message."""


class JsonFormatter(logging.Formatter):
    """Formats a record as a JSON object."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line."""
        seconds, milliseconds = time.gmtime(record.created), int(record.msecs)
        line: dict[str, object] = {
            "time": f"{time.strftime('%Y-%m-%dT%H:%M:%S', seconds)}.{milliseconds:03d}Z",
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {name: record.__dict__[name] for name in FIELDS if record.__dict__.get(name) not in (None, "")}
        if record.exc_info and record.exc_info[0] is not None:
            line["exception"] = self.formatException(record.exc_info)
        text = json.dumps(line, ensure_ascii=False, default=str)
        # JSON allows other ends of lines, marks that turn the direction of text, and codes that terminals obey.
        return "".join(one if one.isprintable() else json.dumps(one)[1:-1] for one in text)


def log_in_json() -> None:
    """Let this process, a server, log in JSON from now on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    for name in NAMES:
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
    logging.getLogger("yoyak").setLevel(logging.INFO)
    # Requests have lines of their own, with their ids.
    logging.getLogger("uvicorn.access").handlers = []
    logging.getLogger("uvicorn.access").propagate = False
