"""Requests to a tracking server without importing MLflow, which alone takes more than a second.

Credentials and TLS settings are read from where MLflow's own client reads them.
"""

from __future__ import annotations

import configparser
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import requests


def is_server(uri: str) -> bool:
    """Return whether a tracking URI is that of a server, and not of a database."""
    return uri.startswith(("http://", "https://"))


def open_session() -> requests.Session:
    """Return a session with the credentials and TLS settings of MLflow's environment variables."""
    import requests

    session = requests.Session()
    insecure = os.environ.get("MLFLOW_TRACKING_INSECURE_TLS", "").lower() in ("true", "1")
    session.verify = False if insecure else os.environ.get("MLFLOW_TRACKING_SERVER_CERT_PATH") or True
    session.cert = os.environ.get("MLFLOW_TRACKING_CLIENT_CERT_PATH") or None
    file = configparser.ConfigParser(interpolation=None)
    file.read(os.path.expanduser("~/.mlflow/credentials"))  # noqa: PTH111 - a user without a home is no error
    saved: Mapping[str, str] = file["mlflow"] if file.has_section("mlflow") else {}
    user, password = (
        os.environ.get(name) or saved.get(name.lower())
        for name in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD")
    )
    token = os.environ.get("MLFLOW_TRACKING_TOKEN")
    if user and password:
        session.auth = (user, password)
    elif token:
        session.headers["Authorization"] = f"Bearer {token}"
    return session
