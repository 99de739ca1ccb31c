"""Whoever uses a part of the package from Python imports it first, before the parts that the commands begin with.

`make lint` finds circles between rooms, but not the one that goes through entry points: params load the families of
models, whose modules read params.
"""

import os
import pkgutil
import subprocess
import sys

import yoyak.models
import yoyak.params

# The libraries are imported once; each module of Yoyak then in a process of its own, which has none of the others.
IMPORT_EACH = """
import os, sys, traceback
import datasets, mlflow.pyfunc, numpy, optuna, pydantic, torch, transformers
assert not any(name.partition(".")[0] == "yoyak" for name in sys.modules)
for name in sys.argv[1:]:
    child = os.fork()
    if child == 0:
        try:
            __import__(name)
        except BaseException:
            print(f"--- {name}", traceback.format_exc(), sep="\\n", flush=True)
            os._exit(1)
        os._exit(0)
    os.waitpid(child, 0)
"""


def test_each_module_can_be_imported_before_the_others() -> None:
    names = [
        module.name
        for room in (yoyak.models, yoyak.params)
        for module in pkgutil.walk_packages(room.__path__, f"{room.__name__}.")
    ]
    assert {"yoyak.models.spec", "yoyak.params.members"} <= {*names}
    command = [sys.executable, "-c", IMPORT_EACH, *names]
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stderr
    assert not done.stdout, done.stdout
