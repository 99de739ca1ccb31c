"""Time the pipeline as a person waits for it, and its peak memory.

    python benchmarks/pipeline.py            # in a clone, with the environment active; about ten minutes

It works in a fresh clone in a temporary folder, so that nothing is cached: `dvc repro` cold, again with nothing to
do, and after a change of a scoring param. Prints a Markdown table.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import subprocess
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def timed(folder: Path, *command: str) -> float:
    """Run a command that must succeed and return its seconds."""
    environment = {**os.environ, "PYTHONPATH": str(folder / "src")}
    environment.pop("MLFLOW_TRACKING_URI", None)
    started = time.perf_counter()
    subprocess.run(command, cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "yoyak"
        subprocess.run(["git", "clone", "--quiet", ROOT, folder], check=True)
        rows = [("`dvc repro --pull`, cold", timed(folder, "dvc", "repro", "--pull"))]
        rows.append(("`dvc repro`, nothing to do", timed(folder, "dvc", "repro")))
        params = folder / "params.yaml"
        params.write_text(params.read_text().replace("bootstrap_samples: 2000", "bootstrap_samples: 2100"))
        rows.append(("`dvc repro`, scoring param changed", timed(folder, "dvc", "repro")))
        rows.append(("`yoyak --help`", timed(folder, "yoyak", "--help")))
        trained = {path.stem: json.loads(path.read_text()) for path in sorted((folder / "training").glob("*.json"))}
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}\n")
    print("| command | seconds |\n| --- | --- |")
    for name, seconds in rows:
        print(f"| {name} | {seconds:.1f} |")
    print("\n| training | seconds | samples/s | peak memory, MB |\n| --- | --- | --- | --- |")
    for name, figures in trained.items():
        print(f"| {name} | {figures['seconds']} | {figures['samples_per_second']} | {figures['peak_memory_mb']} |")
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(f"\nPeak memory of any stage: {peak:.0f} MB.")


if __name__ == "__main__":
    main()
