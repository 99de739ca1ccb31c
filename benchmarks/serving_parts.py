"""What benchmarks of the server share: a model with random weights, dialogues for it, and a server that is running."""

from __future__ import annotations

import http.client
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from yoyak.models.spec import ModelSpec, save_spec
from yoyak.params import Generation

SHAPES = {
    "kobart": {"d_model": 768, "layers": 6, "heads": 16, "ffn": 3072, "vocabulary": 30_000, "window": 256, "new": 64},
    "tiny": {"d_model": 32, "layers": 1, "heads": 2, "ffn": 64, "vocabulary": 600, "window": 96, "new": 12},
}
MALFORMED = (b"{not json", b'{"inputs": []}', b'{"inputs": [3]}', b'{"dialogue": "x"}', b'{"inputs": ["\\n"]}')
SYLLABLES = [chr(0xAC00 + 28 * number) for number in range(399)]


@dataclass(frozen=True)
class Server:
    """A server that listens."""

    port: int
    process: subprocess.Popen[bytes]

    def peak(self) -> float:
        """Return the most memory in MB that any of its processes has held."""
        peaks = [0.0]
        for status in Path("/proc").glob("[0-9]*/status"):
            with suppress(OSError):
                if os.getpgid(int(status.parent.name)) == self.process.pid:
                    held = [line.split()[1] for line in status.read_text().splitlines() if line.startswith("VmHWM")]
                    peaks += [int(kilobytes) / 1024 for kilobytes in held]
        return max(peaks)


def make_model(folder: Path, shape: dict[str, int]) -> None:
    """Save a BART with random weights and a tokenizer of two-syllable words, one token each."""
    import torch
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import WhitespaceSplit
    from transformers import BartConfig, BartForConditionalGeneration, PreTrainedTokenizerFast

    torch.manual_seed(0)
    size, layers, heads = shape["d_model"], shape["layers"], shape["heads"]
    config = BartConfig(
        vocab_size=shape["vocabulary"],
        d_model=size,
        encoder_layers=layers,
        decoder_layers=layers,
        encoder_attention_heads=heads,
        decoder_attention_heads=heads,
        encoder_ffn_dim=shape["ffn"],
        decoder_ffn_dim=shape["ffn"],
        max_position_embeddings=max(shape["window"], shape["new"]) + 2,
        bos_token_id=0,
        pad_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=2,
        forced_eos_token_id=None,
    )
    model = BartForConditionalGeneration(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 2:
                # Wide enough that the summaries of two dialogues differ.
                parameter.copy_(torch.randn_like(parameter) * (0.6 if len(parameter) > 4 * size else 2 / size**0.5))
    model.tie_weights()
    model.save_pretrained(folder)
    words = [first + second for first in SYLLABLES for second in SYLLABLES][: shape["vocabulary"] - 4]
    table = {word: number for number, word in enumerate(["<s>", "<pad>", "</s>", "<unk>", *words])}
    tokenizer = Tokenizer(WordLevel(table, unk_token="<unk>"))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>"
    ).save_pretrained(folder)
    new = shape["new"]
    generation = Generation(max_new_tokens=new, min_new_tokens=new, num_beams=1, num_return_sequences=1)
    spec = ModelSpec(
        member="random",
        family="seq2seq",
        prefix="",
        separator="",
        max_input_tokens=shape["window"],
        generation=generation,
    )
    save_spec(folder, spec)


def make_dialogues(model: Path, window: int, count: int) -> list[str]:
    """Return dialogues of a tenth of the window up to a little more than it, made of the tokenizer's own words."""
    backend = Tokenizer.from_file(str(model / "tokenizer.json"))
    decoded = [backend.decode([number]) for number in range(backend.get_vocab_size())]
    words = [word for word in decoded if word.isalpha()]
    chance = random.Random(0)
    lengths = [chance.randint(window // 10, window + window // 20) for _ in range(count)]
    return [" ".join(chance.choices(words, k=length)) for length in lengths]


def mlflow_command(model: Path) -> list[str]:
    """Return the command that people start."""
    return [
        sys.executable, "-m", "mlflow", "models", "serve", "-m", str(model), "--env-manager", "local",
        "--timeout", "600",
    ]  # fmt: skip


@contextmanager
def serve(command: list[str], folder: Path, **environment: str) -> Iterator[Server]:
    """Run a server and yield it once it listens."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    log = folder / "serve.log"
    with log.open("w") as out:
        process = subprocess.Popen(
            [*command, "--port", str(port)],
            stdout=out,
            stderr=out,
            env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", **environment},
            start_new_session=True,
        )
    try:
        while True:
            if process.poll() is not None:
                raise SystemExit(log.read_text())
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                time.sleep(0.02)
        yield Server(port, process)
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)


def ask(connection: http.client.HTTPConnection, body: bytes) -> tuple[int, Any]:
    """Post a body and return status and answer."""
    connection.request("POST", "/invocations", body, {"Content-Type": "application/json"})
    response = connection.getresponse()
    return response.status, json.loads(response.read())
