"""Connecting to MLflow: one client per tracking URI, with one-sentence errors.

Call `connect` before anything else here. For SQLite it creates the tables under a file lock, because processes that
open a fresh file at the same time would race; a server is probed first, because MLflow's own retries take long.

Several hosts and users may share a store, so only SQLite relies on a lock: on a server, what is written twice at the
same time must come out right without one.
"""

from __future__ import annotations

import logging
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from yoyak.errors import UserError, first_line
from yoyak.files import atomic_path
from yoyak.process import without_garbage_collection, without_packages
from yoyak.project import STORE_LOCK, project_root
from yoyak.tracking.rest import is_server, open_session
from yoyak.tracking.uri import VARIABLE, redact_credentials, sqlite_file, tracking_uri

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Experiment

ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
"""Set unless the user has set them: by default MLflow waits minutes for an unreachable server, and clutters stderr,
for example with a progress bar for every local file copy."""

PROBE_SECONDS = 4.0
"""Timeout for a tracking server's first response; a starting stage tries twice."""

STORES = re.compile(r"(sqlite|https?|(postgresql|mysql|mssql)(\+\w+)?)://|databricks")
"""Prefixes of valid tracking URIs; MLflow 3.13 dropped support for plain folders."""

LIBRARIES = ("mlflow.", "sqlalchemy.", "alembic.", "sqlite3", "requests.", "urllib3.", "botocore.", "azure.", "google.")
"""Modules whose exceptions mean that the tracking store or its artifact storage failed or refused a request."""

_clients: dict[str, MlflowClient] = {}


def connect() -> MlflowClient:
    """Return the client for the effective tracking URI, whose store exists and responds.

    Raises UserError where it cannot be reached or was created by another version of MLflow.
    """
    uri = tracking_uri()
    if uri not in _clients:
        initialise()
    return _clients[uri]


def initialise() -> None:
    """Make sure that the store exists and responds. Safe to call from several processes at once."""
    uri = tracking_uri()
    if not STORES.match(uri) or not _is_address(uri):
        raise UserError(
            f"{VARIABLE} is '{redact_credentials(uri)}', which is not a tracking URI: use http://…, sqlite:///… "
            f"or the URI of a database."
        )
    configure()
    os.environ[VARIABLE] = uri
    logging.getLogger("alembic").setLevel(logging.WARNING)
    # MLflow logs the whole traceback of a database error that `translate_mlflow_errors` turns into one sentence.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
    if is_server(uri):
        _probe(uri)
    file = sqlite_file(uri)
    with store_lock() if file else nullcontext(), translate_mlflow_errors():
        from mlflow import MlflowClient

        if file:
            _create_database(file)
        client = MlflowClient(uri)
        client.search_experiments(max_results=1)
        client.search_registered_models(max_results=1)
    _clients[uri] = client


def _create_database(file: Path) -> None:
    """Create a SQLite store unless it exists, completely or not at all.

    MLflow creates its tables one by one, and cannot go on with what a process that was killed in between has left.
    """
    if file.exists() or not os.access(file.parent, os.W_OK):  # Who may not write is told so by what comes next.
        return
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    with atomic_path(file) as new:
        SqlAlchemyStore(f"sqlite:///{new}", str(file.parent / "mlruns")).engine.dispose()


def import_for_reading() -> None:
    """Import MLflow for who reads, or logs no tables, without pandas, which takes a quarter of the time."""
    configure()
    with without_packages("pandas"), without_garbage_collection():
        import mlflow  # noqa: F401


def configure() -> None:
    """Set `ENVIRONMENT` for this process and its children; MLflow reads it when it is imported."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)


def get_or_create_experiment(client: MlflowClient, name: str) -> Experiment:
    """Return the experiment with this name, creating it if necessary.

    With SQLite, artifacts go to ``mlruns/<name>`` beside the file, whatever the working directory.
    """
    with translate_mlflow_errors():
        experiment = client.get_experiment_by_name(name) or _create_experiment(client, name)
    if experiment.lifecycle_stage != "active":
        raise UserError(
            f"MLflow's experiment '{name}' was deleted: restore it with "
            f"`mlflow experiments restore --experiment-id {experiment.experiment_id}`, or set MLFLOW_EXPERIMENT_NAME."
        )
    if not can_write_artifacts(experiment.artifact_location):
        raise UserError(
            f"MLflow's experiment '{name}' keeps its files behind a tracking server: set {VARIABLE} to the server's "
            f"address, or MLFLOW_EXPERIMENT_NAME to another name."
        )
    return experiment


def _create_experiment(client: MlflowClient, name: str) -> Experiment:
    from mlflow.exceptions import MlflowException

    file = sqlite_file(tracking_uri())
    location = str(file.parent / "mlruns" / re.sub(r"[^\w-]", "_", name)) if file else None
    # Without this tag the UI opens in its view for agents instead of the one for training.
    kind = {"mlflow.experimentKind": "custom_model_development"}
    try:
        client.create_experiment(name, artifact_location=location, tags=kind)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":  # Another process may have been faster.
            raise
    experiment = client.get_experiment_by_name(name)
    assert experiment, "it exists now"
    return experiment


def can_write_artifacts(location: str) -> bool:
    """Return whether artifacts can be written to a location: a server's proxy address needs that server."""
    return tracking_uri().startswith("http") or not location.startswith("mlflow-artifacts:")


@contextmanager
def store_lock() -> Iterator[None]:
    """Keep this project's other processes, and with SQLite all that use the file, from writing; it is reentrant.

    Who may write the folder may take the lock. Who may not can only read the store, and does so without it.
    """
    from filelock import FileLock

    file = sqlite_file(tracking_uri())
    path = file.with_name(f"{file.name}.lock") if file else project_root() / STORE_LOCK
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path, is_singleton=True, mode=stat.S_IMODE(path.parent.stat().st_mode) & 0o666 | 0o600)
        lock.acquire()
    except OSError as error:
        if os.access(path.parent, os.W_OK):
            raise UserError(
                f"{path} cannot be locked ({first_line(error)}): whoever owns it has to let you write it."
            ) from error
        yield
        return
    try:
        yield
    finally:
        lock.release()


@contextmanager
def translate_mlflow_errors() -> Iterator[None]:
    """Turn exceptions of MLflow and its dependencies into a UserError of one sentence."""
    try:
        yield
    except UserError:
        raise
    except ModuleNotFoundError as error:
        uri = redact_credentials(tracking_uri())
        raise UserError(f"MLflow's store at {uri} needs the Python package '{error.name}': install it.") from error
    except Exception as error:
        if not type(error).__module__.startswith(LIBRARIES):
            raise
        raise UserError(_describe_error(error, redact_credentials(tracking_uri()))) from error


def _is_address(uri: str) -> bool:
    """Return whether a URI can be read as one; what cannot might be quoted by whoever tries, password and all."""
    try:
        address = urlsplit(uri)
        if is_server(uri):
            _ = address.port
    except ValueError:  # A bracket of an IPv6 address that is not closed, or a port that is not a number.
        return False
    return True


def _describe_error(error: Exception, uri: str) -> str:
    message = redact_credentials(" ".join(str(getattr(error, "message", "") or error).split()))
    if "out-of-date database schema" in message:
        return f"{uri} was written by another version of MLflow: back it up, then run `mlflow db upgrade {uri}`."
    if re.search("table .* already exists|duplicate column name", message):
        return (
            f"{uri} has only some of MLflow's tables, as where their creation was killed: move the file away, or bring "
            f"back a copy."
        )
    if "file is not a database" in message:
        return f"{uri} is not a SQLite database: move the file away, or set {VARIABLE}."
    if "readonly database" in message:
        return f"{uri} is read-only for you: ask its owner for permission to write, or set {VARIABLE}."
    status = getattr(error, "get_http_status_code", lambda: None)()
    if " 403" in message or status == 403:
        return (
            f"The tracking server at {uri} refused the request (403): allow this host name with the server's "
            f"--allowed-hosts, or check your permission."
        )
    if " 401" in message or status == 401:
        return (
            f"The tracking server at {uri} does not accept the credentials (401): set MLFLOW_TRACKING_USERNAME and "
            f"MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN."
        )
    return f"MLflow's store at {uri} could not complete the request: {message[:300].rstrip('.')}."


def is_reachable() -> bool:
    """Return within seconds whether a tracking server responds; True for a database, which is not probed."""
    uri = tracking_uri()
    if not is_server(uri):
        return True
    try:
        _probe(uri, attempts=1)
    except UserError:
        return False
    return True


def _probe(uri: str, attempts: int = 2) -> None:
    """Request a server's health page; any response counts. Raises UserError if there is none."""
    import requests

    for attempt in range(1, attempts + 1):
        try:
            with open_session() as session:
                session.get(f"{uri.rstrip('/')}/health", timeout=PROBE_SECONDS)
            return
        except requests.exceptions.SSLError as error:
            raise UserError(
                f"The certificate of the tracking server at {redact_credentials(uri)} is not trusted: set "
                f"MLFLOW_TRACKING_SERVER_CERT_PATH to its authority's file."
            ) from error
        except requests.exceptions.RequestException as error:
            if attempt == attempts:
                raise UserError(
                    f"The tracking server at {redact_credentials(uri)} does not answer: start it, or set {VARIABLE} "
                    f"(unset, runs go to mlflow.db in this project)."
                ) from error
