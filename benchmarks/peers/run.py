"""The exported model beside its peers, in one interleaved run, each peer in a process of its own.

    pip install --target /tmp/peers --no-deps ctranslate2==4.8.5
    python benchmarks/peers/run.py --ctranslate2 /tmp/peers

The model has KoBART's shape with random weights; each dialogue has 256 tokens, and 64 are written for each. In every
round all peers take turns, and a turn that another process disturbed is taken again. CTranslate2 is measured with its
threads inside of a batch (1x2), and with one for each half of it (2x1). Ratios are medians of those within a round.

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

from tqdm import tqdm

VOCABULARY, WIDTH = 30_000, 256
CALIBRATION = 8
"""Dialogues that constant scales are taken from."""
CELLS = [(1, 1), (8, 1), (32, 1), (1, 4), (8, 4), (32, 4)]
"""Batch size and beams."""
CORES = len(os.sched_getaffinity(0))
TICKS = os.sysconf("SC_CLK_TCK")
DISTURBED = 0.05
"""Share of all cores that other processes may take in a turn."""
TRIES = 4
PROCESSOR = "processor_seconds"


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


def make_model(folder: Path) -> None:
    """Save a BART of KoBART's shape: 6+6 layers, width 768, 16 heads, 124 million parameters."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import BartConfig, BartForConditionalGeneration, PreTrainedTokenizerFast

    from yoyak.models.spec import ModelSpec, save_spec
    from yoyak.params import Generation

    torch.manual_seed(0)
    config = BartConfig(
        vocab_size=VOCABULARY, d_model=768, encoder_layers=6, decoder_layers=6, encoder_attention_heads=16,
        decoder_attention_heads=16, encoder_ffn_dim=3072, decoder_ffn_dim=3072, max_position_embeddings=1026,
        bos_token_id=0, eos_token_id=1, pad_token_id=3, decoder_start_token_id=1, forced_eos_token_id=None,
        normalize_before=False, normalize_embedding=True,
    )  # fmt: skip
    BartForConditionalGeneration(config).save_pretrained(folder)
    words = {"<s>": 0, "</s>": 1, "<unk>": 2, "<pad>": 3, **{f"t{number}": number for number in range(4, VOCABULARY)}}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>", pad_token="<pad>"
    ).save_pretrained(folder)
    way = Generation(max_new_tokens=64, min_new_tokens=64, num_beams=1, num_return_sequences=1)
    save_spec(
        folder,
        ModelSpec(member="kobart", family="seq2seq", prefix="", separator="", max_input_tokens=WIDTH, generation=way),
    )


def prepare(folder: Path, ctranslate2: Path | None, before: Path | None) -> dict[str, Path]:
    """Return the folder of each peer's model; each is made once."""
    model, int8, converted = folder / "model", folder / "int8", folder / "ctranslate2"
    if not model.exists():
        make_model(model)
    if not int8.exists():
        from yoyak.data.records import Dialogue
        from yoyak.export.folder import export_model
        from yoyak.params.deploy import Export

        words = [
            [f"t{4 + (31 * row + 7 * place) % (VOCABULARY - 4)}" for place in range(WIDTH)]
            for row in range(CALIBRATION)
        ]
        dialogues = [Dialogue(fname=str(row), dialogue=" ".join(text)) for row, text in enumerate(words)]
        export_model(model, int8, Export(), dialogues)
    peers = {"yoyak": int8, "torch_int8": model}
    if before is not None:
        peers["before"] = folder / "before"
        if not peers["before"].exists():
            command = [
                sys.executable,
                "-m",
                "yoyak",
                "convert",
                str(model),
                str(peers["before"]),
                "--precision",
                "int8",
            ]
            subprocess.run(command, env={**os.environ, "PYTHONPATH": str(before.resolve() / "src")}, check=True)
    if ctranslate2 is not None:
        if not converted.exists():
            sys.path.insert(0, str(ctranslate2))
            from ctranslate2.converters import TransformersConverter

            TransformersConverter(str(model)).convert(str(converted), quantization="int8")
        layouts = ("1x2", "2x1") if CORES > 1 else ("1x1",)
        peers |= {f"ctranslate2:{layout}": converted for layout in layouts}
    return peers


def start(name: str, folder: Path, ctranslate2: Path | None, before: Path | None) -> Peer:
    """Start a peer's process."""
    code = str(before.resolve() / "src") if before is not None and name == "before" else ""
    path = os.pathsep.join(filter(None, [code, str(ctranslate2 or ""), os.environ.get("PYTHONPATH", "")]))
    process = subprocess.Popen(
        [sys.executable, Path(__file__).with_name("worker.py"), name, folder, str(WIDTH), str(VOCABULARY)],
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


def main() -> None:
    """Measure and print the table."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--ctranslate2", type=Path, help="folder that ctranslate2 was installed in")
    options.add_argument("--folder", type=Path, help="where models are kept for another run")
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--cells", nargs="+", help="batch size x beams, as in 8x4")
    options.add_argument("--peers", nargs="+", help="some of the peers")
    options.add_argument("--before", type=Path, help="the code of another commit, which is measured too")
    options.add_argument("--processor-time", action="store_true", help="compare processor time: for a machine in use")
    chosen = options.parse_args()
    key = PROCESSOR if chosen.processor_time else "seconds"
    cells = [(int(batch), int(beams)) for batch, beams in (cell.split("x") for cell in chosen.cells or [])] or CELLS
    with tempfile.TemporaryDirectory(prefix="yoyak-") as temporary:
        folders = prepare(chosen.folder or Path(temporary), chosen.ctranslate2, chosen.before)
        wanted = [name for name in folders if name == "yoyak" or not chosen.peers or name in chosen.peers]
        peers = [start(name, folders[name], chosen.ctranslate2, chosen.before) for name in wanted]
        disturbed = measure(peers, cells, chosen.rounds, key)
        for peer in peers:
            peer.process.communicate()
    unit = "second" if key == "seconds" else "second of processor time"
    print(f"Dialogues per {unit}, and in brackets how many times that is in ours; {CORES} cores.\n")
    print(table(peers, cells, key))
    if disturbed:
        print(f"\n{disturbed} turns were disturbed by other processes, {TRIES} times each.")


if __name__ == "__main__":
    main()
