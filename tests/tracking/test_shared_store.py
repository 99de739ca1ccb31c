"""A store that several users of one machine share."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to act as other users"),
]

AS_USERS = """
import os, sys
from yoyak.errors import UserError
from yoyak.tracking import client, runs
from yoyak.tracking.client import connect, store_lock

def run():
    with runs.stage_run("train", member="bart", params={"seed": 1}, inputs={}) as run:
        run.log_metrics({"loss": 1.0})

# Python itself may lie where other users cannot read: all that is needed is imported before.
os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{os.environ['WARM']}/mlflow.db"
os.chdir(os.environ["WARM"])
run()
connect().search_registered_models()

def as_user(uid, gid, folder, store, action):
    sys.stdout.flush()
    child = os.fork()
    if not child:
        try:
            os.umask(0o002)
            os.setgroups([]), os.setgid(gid), os.setuid(uid)
            os.chdir(folder)
            os.environ |= {"MLFLOW_TRACKING_URI": store, "HOME": folder}
            client._clients.clear()
            action()
            print("done")
        except UserError as error:
            print("UserError:", error)
        except BaseException as error:
            print(type(error).__name__, error)
        finally:
            sys.stdout.flush()
            os._exit(0)
    os.waitpid(child, 0)

"""


@pytest.fixture
def folder():
    """A folder that other users can reach; pytest's own they cannot."""
    with tempfile.TemporaryDirectory(prefix="yoyak-shared-", dir="/tmp") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def act(folder: Path, script: str) -> list[str]:
    """Run a script that may act as other users; return the lines it prints."""
    done = subprocess.run(
        [sys.executable, "-c", AS_USERS + script],
        cwd=folder,
        env={**os.environ, "WARM": str(folder / "warm"), "SHARED": str(folder / "shared")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_users_share_a_file_or_a_server_and_none_locks_another_out(folder):
    for name in ("warm", "shared", "one", "other"):
        (folder / name).mkdir()
    os.chown(folder / "shared", 0, 30001)
    (folder / "shared").chmod(0o2775)
    os.chown(folder / "one", 20001, 50001)
    os.chown(folder / "other", 20002, 50002)
    script = """
shared = os.environ["SHARED"]
store, server = f"sqlite:///{shared}/mlflow.db", "http://mlflow.example:5000"

def read():
    found = connect().search_runs([connect().get_experiment_by_name("yoyak").experiment_id])
    print(len(found), "runs")

def lock():
    with store_lock():
        print("locked")

as_user(20001, 30001, shared, store, run)
# SQLite makes its file writable for its owner only.
os.chmod(f"{shared}/mlflow.db", 0o664)
as_user(20002, 30001, shared, store, run)
as_user(20003, 30002, shared, store, read)
as_user(20003, 30002, shared, store, run)
as_user(20001, 50001, f"{shared}/../one", server, lock)
as_user(20002, 50002, f"{shared}/../other", server, lock)
"""
    owner, group, *reader, refused, one, done, other, _ = act(folder, script)
    assert (owner, group) == ("done", "done")
    assert reader == ["3 runs", "done"]
    assert refused.startswith("UserError:")
    assert "read-only" in refused
    assert (one, done, other) == ("locked", "done", "locked")
