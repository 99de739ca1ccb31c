"""Start `mlflow server` in its container: secrets come from files, and accounts and buckets are made first.

The passwords stay out of command lines and URLs, which end up in process lists and logs. A password whose file has
changed is changed here, so that a restart is all it takes.
"""

from __future__ import annotations

import configparser
import os
from pathlib import Path

SECRETS = Path("/run/secrets")
AUTH_FILE, PASSWORDS_FILE = Path("/tmp/auth.ini"), Path("/tmp/pgpass")
ACCOUNTS = {"admin": "mlflow_admin_password", "trainer": "mlflow_trainer_password", "serve": "mlflow_serve_password"}
"""The accounts of the stack and the files of their passwords. Whoever has an account may read everything, and
may change what they created themselves; admin may do anything."""


def secret(name: str) -> str:
    """Return a secret; it has to be there and not be empty."""
    value = (SECRETS / name).read_text(encoding="utf-8").strip()
    if not value:
        raise SystemExit(f"The secret {name} is empty: `make up` makes those of docker/secrets that do not exist.")
    return value


def write_private(path: Path, text: str) -> None:
    """Write a file that nobody else may read."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)


def set_environment() -> str:
    """Set the variables that the server and its libraries read, and return the URI of the accounts' database."""
    database = f"{os.environ['DATABASE_USER']}@{os.environ['DATABASE_HOST']}"
    password = secret("mlflow_db_password").replace("\\", "\\\\").replace(":", "\\:")
    write_private(PASSWORDS_FILE, f"{os.environ['DATABASE_HOST']}:*:*:{os.environ['DATABASE_USER']}:{password}\n")
    os.environ |= {
        "PGPASSFILE": str(PASSWORDS_FILE),
        "AWS_ACCESS_KEY_ID": secret("s3_access_key"),
        "AWS_SECRET_ACCESS_KEY": secret("s3_secret_key"),
        "MLFLOW_FLASK_SERVER_SECRET_KEY": secret("mlflow_cookie_key"),
        "MLFLOW_AUTH_CONFIG_PATH": str(AUTH_FILE),
        "MLFLOW_BACKEND_STORE_URI": f"postgresql+psycopg2://{database}/mlflow",
    }
    accounts = f"postgresql+psycopg2://{database}/mlflow_auth"
    auth = configparser.ConfigParser(interpolation=None)
    auth["mlflow"] = {
        "default_permission": "READ",
        "database_uri": accounts,
        "admin_username": "admin",
        "admin_password": secret(ACCOUNTS["admin"]),
        "authorization_function": "mlflow.server.auth:authenticate_request_basic_auth",
        # Otherwise each request costs a tenth of a second for the hash of its password.
        "auth_cache_ttl_seconds": "60",
    }
    write_private(AUTH_FILE, "")
    with AUTH_FILE.open("w", encoding="utf-8") as file:
        auth.write(file)
    return accounts


def make_buckets(names: list[str]) -> None:
    """Create the buckets that do not exist."""
    import boto3

    client = boto3.client("s3", endpoint_url=os.environ["MLFLOW_S3_ENDPOINT_URL"])
    existing = {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}
    for name in names:
        if name not in existing:
            client.create_bucket(Bucket=name)


def are_accounts_made() -> bool:
    """Return whether all accounts exist with the passwords of the files: MLflow's own code takes seconds to import."""
    import psycopg2
    from werkzeug.security import check_password_hash

    connection = psycopg2.connect(
        host=os.environ["DATABASE_HOST"], user=os.environ["DATABASE_USER"], dbname="mlflow_auth"
    )
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT username, password_hash FROM users")
            hashes = dict(cursor.fetchall())
    except psycopg2.errors.UndefinedTable:
        return False
    finally:
        connection.close()
    return all(name in hashes and check_password_hash(hashes[name], secret(file)) for name, file in ACCOUNTS.items())


def make_accounts(database: str) -> None:
    """Create the accounts that do not exist, and give the others the passwords of the files."""
    from mlflow.server.auth.sqlalchemy_store import SqlAlchemyStore

    store = SqlAlchemyStore()
    store.init_db(database)
    for name, file in ACCOUNTS.items():
        if not store.has_user(name):
            store.create_user(name, secret(file), is_admin=name == "admin")
        elif not store.authenticate_user(name, secret(file)):
            store.update_user(name, password=secret(file))


def main() -> None:
    """Prepare what the server needs and become the server."""
    os.umask(0o077)
    accounts = set_environment()
    make_buckets(os.environ["BUCKETS"].split())
    if not are_accounts_made():
        make_accounts(accounts)
    workers = os.environ.get("MLFLOW_WORKERS", "2")
    command = ["mlflow", "server", "--app-name", "basic-auth", "--workers", workers, "--host", "0.0.0.0"]
    os.execvp(command[0], [*command, "--port", "5000"])


if __name__ == "__main__":
    main()
