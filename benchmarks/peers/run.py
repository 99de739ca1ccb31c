"""The exported model beside its peers, in one interleaved run, each peer in a process of its own.

    pip install --target /tmp/peers --no-deps ctranslate2==4.8.5
    python benchmarks/peers/run.py --ctranslate2 /tmp/peers

The model has random weights and the shape of KoBART, or that of ``--shape``; each dialogue has 256 tokens, and 64 are
written for each. In every round all peers take turns, and a turn that another process disturbed is taken again.
CTranslate2 is measured with its threads inside of a batch (1x2), and with one for each half of it (2x1). Ratios are
medians of those within a round.

The floor is the time in which the machine, on all of its cores, could read the weights and the caches of the input in
each step and do all multiplications with weights, at the speeds that it reaches for these alone in the same rounds.

Where other work never ends, measure processor time on one core: taskset -c 0 python benchmarks/peers/run.py
--processor-time. ``--before FOLDER`` adds the code of another commit (`git worktree add FOLDER COMMIT`).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shapes import SHAPES, WIDTH, Work, count_work, make_model
from tqdm import tqdm

CALIBRATION = 2
"""Dialogues that constant scales are taken from."""
CELLS = [(1, 1), (8, 1), (32, 1), (1, 4), (8, 4), (32, 4)]
"""Batch size and beams."""
CORES = len(os.sched_getaffinity(0))
TICKS = os.sysconf("SC_CLK_TCK")
DISTURBED = 0.05
"""Share of all cores that other processes may take in a turn."""
TRIES = 4
PROCESSOR, FLOOR = "processor_seconds", "floor"


@dataclass
class Peer:
    """A running worker and what it measured."""

    name: str
    process: subprocess.Popen[str]
    loaded: float
    found: dict[tuple[int, int], list[dict[str, float]]] = field(default_factory=dict)

    def turn(self, cell: tuple[int, int]) -> dict[str, float]:
        """Let the worker summarize a batch once; ``others`` is the share of the cores that others took meanwhile."""
        assert self.process.stdin and self.process.stdout
        before, own, began = busy(), self._own(), time.perf_counter()
        self.process.stdin.write("{} {}\n".format(*cell))
        self.process.stdin.flush()
        answer: dict[str, float] = json.loads(self.process.stdout.readline())
        others = (busy() - before) - (self._own() - own)
        return {**answer, "others": others / (time.perf_counter() - began) / CORES}

    def _own(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS


def busy() -> float:
    """Return the seconds that all cores have worked, or were taken away by the host."""
    user, nice, system, _, _, irq, soft, steal = map(int, Path("/proc/stat").read_text().split()[1:9])
    return (user + nice + system + irq + soft + steal) / TICKS


def export(model: Path, out: Path, shape: str) -> None:
    """Export a model in INT8."""
    from yoyak.data.records import Dialogue
    from yoyak.export.folder import export_model
    from yoyak.params.deploy import Export

    words = [
        [f"t{4 + (31 * row + 7 * place) % (SHAPES[shape].vocabulary - 4)}" for place in range(WIDTH)]
        for row in range(CALIBRATION)
    ]
    dialogues = [Dialogue(fname=str(row), dialogue=" ".join(text)) for row, text in enumerate(words)]
    export_model(model, out, Export(), dialogues)


def prepare(folder: Path, shape: str, ctranslate2: Path | None, before: Path | None) -> dict[str, Path]:
    """Return the folder of each peer's model; each is made once."""
    folder /= shape
    model, int8, converted = folder / "model", folder / "int8", folder / "ctranslate2"
    if not model.exists():
        make_model(model, shape)
    if not int8.exists():
        export(model, int8, shape)
    peers = {"yoyak": int8, "torch_int8": model}
    if before is not None:
        peers["before"] = folder / "before"
        if not peers["before"].exists():
            # The code of this commit says what is exported, that of the other one how.
            command = [
                sys.executable,
                str(Path(__file__).resolve()),
                "--export",
                shape,
                str(model),
                str(peers["before"]),
            ]
            subprocess.run(command, env={**os.environ, "PYTHONPATH": str(before.resolve() / "src")}, check=True)
    if ctranslate2 is not None:
        if not converted.exists():
            sys.path.insert(0, str(ctranslate2))
            from ctranslate2.converters import TransformersConverter

            TransformersConverter(str(model)).convert(str(converted), quantization="int8")
        layouts = ("1x2", "2x1") if CORES > 1 else ("1x1",)
        peers |= {f"ctranslate2:{layout}": converted for layout in layouts}
    return {**peers, FLOOR: int8}


def start(name: str, folder: Path, shape: str, ctranslate2: Path | None, before: Path | None) -> Peer:
    """Start a peer's process."""
    code = str(before.resolve() / "src") if before is not None and name == "before" else ""
    path = os.pathsep.join(filter(None, [code, str(ctranslate2 or ""), os.environ.get("PYTHONPATH", "")]))
    process = subprocess.Popen(
        [sys.executable, Path(__file__).with_name("worker.py"), name, folder, shape],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert process.stdout
    return Peer(name, process, json.loads(process.stdout.readline())["loaded"])


def measure(peers: list[Peer], cells: list[tuple[int, int]], rounds: int, key: str) -> int:
    """Let all peers take turns at each cell; return how many turns stayed disturbed."""
    disturbed = 0
    tries = 1 if key == PROCESSOR else TRIES
    with tqdm(total=len(cells) * rounds * len(peers), unit="turn") as bar:
        for cell in cells:
            for peer in peers:
                peer.turn(cell)
            for _ in range(rounds):
                for peer in peers:
                    turns: list[dict[str, float]] = []
                    while len(turns) < tries and (not turns or turns[-1]["others"] > DISTURBED):
                        turns.append(peer.turn(cell))
                    best = min(turns, key=lambda one: one["others"])
                    disturbed += tries > 1 and best["others"] > DISTURBED
                    peer.found.setdefault(cell, []).append(best)
                    bar.update()
    return disturbed


def table(peers: list[Peer], cells: list[tuple[int, int]], key: str) -> str:
    """Return dialogues per second, with yoyak's ratio to each peer, and memory, as a table in Markdown."""
    head = ["peer", "ready, s", *(f"b{batch} beam {beams}" for batch, beams in cells), "peak MB b8 greedy, beam 4"]
    rows: list[list[Any]] = [head, ["---"] * len(head)]
    for peer in peers:
        row = [peer.name, f"{peer.loaded:.1f}"]
        for cell in cells:
            seconds = [turn[key] for turn in peer.found[cell]]
            ratios = [own[key] / peers[0].found[cell][number][key] for number, own in enumerate(peer.found[cell])]
            rate = f"{cell[0] / statistics.median(seconds):.2f}"
            row.append(rate + (f" ({statistics.median(ratios):.2f})" if peer is not peers[0] else ""))
        peaks = [max(turn["peak_mb"] for turn in peer.found[cell]) for cell in cells if cell[0] == 8]
        rows.append([*row, ", ".join(f"{peak:.0f}" for peak in peaks)])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def floor_row(floor: Peer, own: Peer, cells: list[tuple[int, int]], work: Work, key: str) -> str:
    """Return the least seconds of each cell, and their share of ours, as a row in Markdown."""
    row = ["floor", ""]
    for cell in cells:
        turns = floor.found[cell]
        # Whatever disturbs the machine makes it slower.
        bandwidth, rate = (1 / min(turn[f"{name}_{key}"] for turn in turns) for name in ("byte", "product"))
        least = work.seconds(*cell, bandwidth=bandwidth, rate=rate)
        share = least / statistics.median(turn[key] for turn in own.found[cell])
        row.append(f"{cell[0] / least:.2f} ({share:.0%})")
    return f"| {' | '.join([*row, ''])} |"


def main() -> None:
    """Measure and print the table."""
    if sys.argv[1:2] == ["--export"]:
        shape, model, out = sys.argv[2:]
        export(Path(model), Path(out), shape)
        return
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--ctranslate2", type=Path, help="folder that ctranslate2 was installed in")
    options.add_argument("--folder", type=Path, help="where models are kept for another run")
    options.add_argument("--shape", choices=SHAPES, default="kobart")
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--cells", nargs="+", help="batch size x beams, as in 8x4")
    options.add_argument("--peers", nargs="+", help="some of the peers")
    options.add_argument("--before", type=Path, help="the code of another commit, which is measured too")
    options.add_argument("--processor-time", action="store_true", help="compare processor time: for a machine in use")
    chosen = options.parse_args()
    key = PROCESSOR if chosen.processor_time else "seconds"
    cells = [(int(batch), int(beams)) for batch, beams in (cell.split("x") for cell in chosen.cells or [])] or CELLS
    with tempfile.TemporaryDirectory(prefix="yoyak-") as temporary:
        folders = prepare(chosen.folder or Path(temporary), chosen.shape, chosen.ctranslate2, chosen.before)
        needed = {"yoyak", FLOOR}
        wanted = [name for name in folders if name in needed or not chosen.peers or name in chosen.peers]
        peers = [start(name, folders[name], chosen.shape, chosen.ctranslate2, chosen.before) for name in wanted]
        disturbed = measure(peers, cells, chosen.rounds, key)
        for peer in peers:
            peer.process.communicate()
        work = count_work(folders[FLOOR])
    unit = "second" if key == "seconds" else "second of processor time"
    print(f"Dialogues per {unit}, and in brackets how many times that is in ours; {CORES} cores.\n")
    *measured, floor = peers
    print(table(measured, cells, key))
    print(floor_row(floor, peers[0], cells, work, key))
    print("\nIn the row of the floor: the most that the machine could do, and which share of that ours reaches.")
    if disturbed:
        print(f"\n{disturbed} turns were disturbed by other processes, {TRIES} times each.")


if __name__ == "__main__":
    main()
