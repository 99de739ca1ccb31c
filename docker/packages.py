"""The packages of an image: `names` prints those that pyproject.toml asks for, `check` compares an environment.

    python packages.py names pyproject.toml stack > packages.txt
    python packages.py check requirements.lock --besides torch

`check` fails unless every package of the environment that runs it has the version of the lock. Those that `--besides`
names, and what only they need, may be missing from it: the libraries of CUDA are, since the lock is of a processor's.
"""

from __future__ import annotations

import argparse
import re
import sys
import tomllib
from importlib.metadata import distributions
from pathlib import Path

_PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;]+)", re.MULTILINE)
_NAME = re.compile(r"[A-Za-z0-9._-]+")


def normalize(name: str) -> str:
    """Return a package's name as the registry compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def asked_for(pyproject: Path, extras: list[str]) -> list[str]:
    """Return the requirements of a project with some of its extras."""
    project = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]
    return [*project["dependencies"], *(line for extra in extras for line in project["optional-dependencies"][extra])]


def locked(lock: Path) -> dict[str, str]:
    """Return the version of each package in a lock file."""
    return {normalize(name): version for name, version in _PIN.findall(lock.read_text(encoding="utf-8"))}


def unlocked(lock: Path, besides: set[str]) -> list[str]:
    """Return what is installed here and does not have the version of the lock."""
    pins = locked(lock)
    installed = {normalize(one.metadata["Name"]): one for one in distributions()}
    exempt, waiting = set(besides), list(besides)
    while waiting:
        one = installed.get(waiting.pop())
        for requirement in (one.requires or []) if one else []:
            match = _NAME.match(requirement)
            name = normalize(match[0]) if match else ""
            if name in installed and name not in pins and name not in exempt:
                exempt.add(name)
                waiting.append(name)
    versions = {name: one.version.partition("+")[0] for name, one in installed.items()}
    return [
        f"{name} {version} (the lock has {pins.get(name, 'none')})"
        for name, version in sorted(versions.items())
        if pins.get(name) != version and (name in pins or name not in exempt)
    ]


def main() -> int:
    """Run a command of this file."""
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers(dest="command", required=True)
    names = commands.add_parser("names")
    names.add_argument("pyproject", type=Path)
    names.add_argument("extras", nargs="*")
    check = commands.add_parser("check")
    check.add_argument("lock", type=Path)
    check.add_argument("--besides", nargs="*", default=[])
    arguments = parser.parse_args()
    if arguments.command == "names":
        print("\n".join(asked_for(arguments.pyproject, arguments.extras)))
        return 0
    wrong = unlocked(arguments.lock, {normalize(name) for name in arguments.besides})
    if wrong:
        print("These packages do not have the version of the lock:", *wrong, sep="\n  ", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
