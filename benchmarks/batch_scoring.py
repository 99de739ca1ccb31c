"""How fast `yoyak summarize --engine` is: both engines over the same rows in one run, in turns.

    python benchmarks/batch_scoring.py --rows 100000 --rounds 2

The model is a tiny exported BART with random weights, so cheap that what the engines themselves take shows: with a real
model their difference is a smaller part of the time. Time and memory are those of whole commands, from the start of
Python to the last part; memory is the sum over all processes of a command, sampled twice a second. Spark needs PySpark
and Java (docs/scale.md); without them only the local engine is timed.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import pyarrow as pa
import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from onnx_models import save_model
from yoyak.data.samples import stream_samples
from yoyak.export.folder import export_model
from yoyak.params import Serving
from yoyak.params.deploy import Export
from yoyak.serving.saving import save_exported

WORKERS = 2
SAMPLE_SECONDS = 0.5


@dataclass(frozen=True)
class Timing:
    """One command."""

    seconds: float
    cpu_seconds: float
    """Of all of its processes: what is left of a comparison where the machine has other work."""
    peaks_mb: tuple[float, float]
    """The most memory that its processes had together in the first and in the second half of the time; pages that they
    share count for each."""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=2)
    arguments = parser.parse_args()
    engines = ["local", "spark"] if importlib.util.find_spec("pyspark") and shutil.which("java") else ["local"]
    with tempfile.TemporaryDirectory(prefix="yoyak-") as temporary:
        folder = Path(temporary)
        make_model(folder)
        make_rows(folder / "dialogues.parquet", arguments.rows)
        timings: dict[str, list[Timing]] = {engine: [] for engine in engines}
        for number in range(arguments.rounds):
            # In the other order every second time: a machine that gets slower is not one engine's fault.
            for engine in engines if number % 2 == 0 else reversed(engines):
                shutil.rmtree(folder / engine, ignore_errors=True)
                timings[engine].append(measure(folder, engine))
                print(f"round {number + 1}, {engine}: {timings[engine][-1]}", file=sys.stderr)
        print_timings(timings, arguments.rows)
        if len(engines) == 2:
            same = all(
                path.read_bytes() == (folder / "spark" / path.name).read_bytes() for path in parts(folder, "local")
            )
            print(f"the parts of both engines are {'the same, byte for byte' if same else 'NOT the same'}")
        measure_restart(folder, arguments.rows)


def make_model(folder: Path) -> None:
    """Export a tiny model as MLflow has it."""
    export_model(save_model("bart", folder / "torch"), folder / "onnx", Export(precision="fp32"))
    save_exported(folder / "model", folder / "onnx", serving=Serving(batch_size=32), example="#Person1#: 네.")


def make_rows(path: Path, count: int) -> None:
    """Write rows with the dialogues of 2,000 samples, in row groups of 10,000."""
    dialogues = [sample.dialogue for sample in stream_samples(2000, seed=20, split="train")]
    rows = {"fname": [f"row_{n}" for n in range(count)], "dialogue": [dialogues[n % 2000] for n in range(count)]}
    pq.write_table(pa.table(rows), path, row_group_size=10_000)


def command(engine: str, output: str) -> list[str]:
    distribution = ["--workers", str(WORKERS)] if engine == "local" else ["--master", f"local[{WORKERS}]"]
    names = ["--model", "model", "--input", "dialogues.parquet", "--output", output, "--engine", engine]
    return [sys.executable, "-m", "yoyak", "summarize", *names, *distribution]


def parts(folder: Path, output: str) -> list[Path]:
    return sorted((folder / output).glob("part-*.parquet"))


def measure(folder: Path, engine: str) -> Timing:
    """Run a command to its end."""
    started = time.monotonic()
    samples: list[tuple[float, float]] = []
    cpu: dict[int, float] = {}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command(engine, engine), cwd=folder, stdout=log, stderr=log)
        while process.poll() is None:
            samples.append((time.monotonic() - started, sample(process.pid, cpu)))
            with suppress(subprocess.TimeoutExpired):
                process.wait(SAMPLE_SECONDS)
    seconds = time.monotonic() - started
    if process.returncode:
        raise SystemExit((folder / "log").read_text())
    halves = [[mb for at, mb in samples if (at > seconds / 2) == second] for second in (False, True)]
    return Timing(seconds, sum(cpu.values()), (max(halves[0]), max(halves[1])))


def sample(pid: int, cpu: dict[int, float]) -> float:
    """Return the memory of a process and its children in MB, and note the CPU time of each."""
    total = 0
    with suppress(psutil.NoSuchProcess):
        for process in (psutil.Process(pid), *psutil.Process(pid).children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                total += process.memory_info().rss
                cpu[process.pid] = sum(process.cpu_times()[:2])
    return total / 1e6


def print_timings(timings: dict[str, list[Timing]], rows: int) -> None:
    print(f"{rows} rows, {WORKERS} processes, seconds of each round")
    print("| engine | seconds | CPU seconds | rows/s, all rounds | peak memory, MB, 1st and 2nd half |")
    print("| --- | --- | --- | --- | --- |")
    for engine, of_engine in timings.items():
        seconds = sum(timing.seconds for timing in of_engine)
        each = ", ".join(f"{timing.seconds:.1f}" for timing in of_engine)
        cpu = ", ".join(f"{timing.cpu_seconds:.1f}" for timing in of_engine)
        peaks = [max(timing.peaks_mb[half] for timing in of_engine) for half in (0, 1)]
        print(f"| {engine} | {each} | {cpu} | {rows * len(of_engine) / seconds:.0f} | {peaks[0]:.0f}, {peaks[1]:.0f} |")
    if len(timings) == 2:
        local, spark = (sum(timing.seconds for timing in timings[engine]) for engine in ("local", "spark"))
        print(f"time of spark / time of local: {spark / local:.3f}")
        local, spark = (sum(timing.cpu_seconds for timing in timings[engine]) for engine in ("local", "spark"))
        print(f"CPU time of spark / CPU time of local: {spark / local:.3f}")


def measure_restart(folder: Path, rows: int) -> None:
    """Kill a run about half way, run the same command again, and count the rows."""
    planned = len(parts(folder, "local"))
    process = subprocess.Popen(
        command("local", "killed"), cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    while len(parts(folder, "killed")) < planned // 2:
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    time.sleep(2)
    kept = len(parts(folder, "killed"))
    started = time.monotonic()
    subprocess.run(command("local", "killed"), cwd=folder, check=True, capture_output=True)
    seconds = time.monotonic() - started
    ids = pq.read_table(folder / "killed", columns=["id"])["id"].to_pylist()
    print(
        f"killed with {kept} of {planned} parts done; the same command again: {seconds:.1f} s, then {len(ids)} rows, "
        f"{len(set(ids))} of them different, of {rows}"
    )


if __name__ == "__main__":
    main()
