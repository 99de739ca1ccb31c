"""Trainings of LLMs with adapters, for benchmarks/training.py."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from training_parts import in_process, make_stopwatch, parse_member, read_lines

ROOT = Path(__file__).resolve().parents[1]
LLAMA_3B = {
    "vocab_size": 128_256, "hidden_size": 3072, "intermediate_size": 8192, "num_hidden_layers": 28,
    "num_attention_heads": 24, "num_key_value_heads": 8, "head_dim": 128, "tie_word_embeddings": True,
}  # fmt: skip
PEAK_FLOPS = {"H100": 989e12, "H200": 989e12, "A100": 312e12}
"""Dense bf16 operations a second, as NVIDIA's data sheets say."""


def smollm2_member(folder: Path) -> dict[str, Any]:
    """Return the params of a LoRA with chunked loss."""
    return {
        "family": "causal", "checkpoint": str(folder), "prefix": "Summarize the dialogue in one or two sentences.\n\n",
        "chat": True, "max_input_tokens": 416, "max_target_tokens": 64, "learning_rate": 5e-4, "batch_size": 8,
        "num_epochs": 1, "evaluations": 1, "evaluation_dialogues": 4, "loss_chunk_tokens": 128,
        # Dropout before each matrix keeps two copies of its input, which is more than all else together.
        "adapter": {"r": 16, "lora_alpha": 32, "lora_dropout": 0.0}, "max_batch_tokens": 480,
    }  # fmt: skip


def measure_smollm2(kind: str, batches: int, gguf: Path, dialogsum: Path, folder: Path) -> dict[str, Any]:
    """Train on batches of the longest dialogues in this process: all weights, a LoRA, or a LoRA in bf16."""
    from yoyak.data.records import Dialogue
    from yoyak.models.checkpoints import open_source
    from yoyak.models.libraries import import_transformers
    from yoyak.models.tokenizers import load_tokenizer
    from yoyak.training.launch import train_on_devices
    from yoyak.training.selection import CheckpointScoring

    import_transformers()
    member = smollm2_member(gguf.parent) | {"precision": "bf16" if kind == "lora, bf16" else "fp32"}
    if kind == "full":
        member |= {"adapter": None, "loss_chunk_tokens": None, "max_batch_tokens": None, "learning_rate": 1e-5}
    source = open_source(str(gguf.parent), None)
    tokenizer = load_tokenizer(source.tokenizer, (), source.revision)
    lines = sorted(read_lines(dialogsum), key=lambda line: -len(line["dialogue"]))[: batches * member["batch_size"]]
    rows = [Dialogue(fname=line["fname"], dialogue=line["dialogue"], summaries=(line["summary"],)) for line in lines]
    stopwatch = make_stopwatch()
    train_on_devices(
        "smollm2",
        parse_member(member),
        tokenizer=tokenizer,
        train=rows,
        dev=rows[-1:],
        scoring=CheckpointScoring(granularity="eojeol", multi_reference="mean", weights=(0.33, 0.33, 0.34)),
        seed=1,
        out=folder / kind,
        checkpoints=folder / f"checkpoints-{kind}",
        callbacks=[stopwatch],
    )
    return {
        "rows": len(rows),
        "processor_seconds": stopwatch.processor_seconds,
        "seconds": stopwatch.seconds,
        "peak_mb": stopwatch.peak_mb,
    }


def compare_smollm2(gguf: Path, dialogsum: Path, batches: int) -> None:
    """Print speed and memory of each kind of training; bf16 only where the hardware computes in it."""
    from yoyak.models.precision import find_hardware

    print(
        "| | dialogues/s | per second of processor time | relative | peak memory, MB |\n| --- | --- | --- | --- | --- |"
    )
    results = {}
    with tempfile.TemporaryDirectory(prefix="yoyak-") as folder:
        for kind in ("full", "lora", *(["lora, bf16"] if find_hardware().bf16 else [])):
            results[kind] = in_process("one", "smollm2", kind, str(batches), str(gguf), str(dialogsum), folder)
    for kind, result in results.items():
        speeds = {name: each["rows"] / each["processor_seconds"] for name, each in results.items()}
        print(
            f"| {kind} | {result['rows'] / result['seconds']:.2f} | {speeds[kind]:.2f} | "
            f"{speeds[kind] / speeds['full']:.2f} | {result['peak_mb']:.0f} |",
            flush=True,
        )


def gain_smollm2(gguf: Path, dialogsum: Path, rows: int, tested: int) -> None:
    """Run the stages in a folder, and print how much a LoRA scores above the model as it was."""
    from ruamel.yaml import YAML

    tree = YAML(typ="safe").load(ROOT / "presets/tiny-llm.yaml")
    tuned = smollm2_member(Path("pretrained/smollm2"))
    # One update of this size leaves every weight as it was.
    tree["members"] = {"tuned": tuned, "zero_shot": tuned | {"num_epochs": 0.001, "learning_rate": 1e-12}}
    tree["data"] = {"folder": "data", "files": {name: f"{name}.jsonl" for name in ("train", "dev", "test")}}
    tree["ensemble"]["strategies"] = {}
    tree["generation"] |= {"num_beams": 1, "num_return_sequences": 1, "no_repeat_ngram_size": 0}
    with tempfile.TemporaryDirectory(prefix="yoyak-") as temporary:
        folder = Path(temporary)
        for name in ("data", "pretrained/smollm2"):
            (folder / name).mkdir(parents=True)
        (folder / "pretrained/smollm2" / gguf.name).symlink_to(gguf.resolve())
        with (folder / "params.yaml").open("w") as out:
            YAML().dump(tree, out)
        lines = read_lines(dialogsum)
        splits = {"train": lines[:rows], "dev": lines[rows : rows + 20], "test": lines[rows + 20 : rows + 20 + tested]}
        for name, part in splits.items():
            text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in part)
            (folder / "data" / f"{name}.jsonl").write_text(text, encoding="utf-8")
        members = [(verb, member) for member in tree["members"] for verb in ("base", "train", "predict")]
        for command in [("prepare",), *members, ("evaluate",)]:
            subprocess.run([sys.executable, "-m", "yoyak", *command], cwd=folder, check=True)
        summary = json.loads((folder / "evaluation/summary.json").read_text(encoding="utf-8"))
    for row in summary["comparisons"]:
        if {row["system"], row["against"]} == set(tree["members"]) and row["split"] == "test":
            print(
                f"{row['metric']}: {row['system']} - {row['against']}: {row['difference']:+.4f}, "
                f"{row['low']:+.4f} to {row['high']:+.4f}, p {row['p_value']:.4f}, {row['n']} dialogues"
            )


def measure_qlora(batch_size: int, tokens: int, steps: int) -> None:
    """Print memory, speed and share of the peak of a Llama of Llama 3.2 3B's shape in 4 bits, with random weights."""
    import torch

    if not torch.cuda.is_available():
        print("qlora: skipped, since there is no CUDA GPU here.")
        return
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig, LlamaConfig

    from yoyak.models.adapters import attach
    from yoyak.models.families import family_of
    from yoyak.models.memory import make_batch
    from yoyak.models.target_loss import target_loss

    member = parse_member({
        "family": "causal", "checkpoint": "llama-3.2-korean-3b", "learning_rate": 1e-4, "gradient_checkpointing": True,
        "adapter": {"quantization": {}}, "loss_chunk_tokens": 256,
    })  # fmt: skip
    family, loss = family_of(member), target_loss(member, family_of(member))
    assert loss is not None
    with tempfile.TemporaryDirectory(prefix="yoyak-") as folder:
        config = LlamaConfig(**LLAMA_3B)
        with torch.device("cuda"):
            AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).save_pretrained(folder)
        torch.cuda.empty_cache()
        quantization = BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch.bfloat16,
        )  # fmt: skip
        base = AutoModelForCausalLM.from_pretrained(
            folder, quantization_config=quantization, dtype=torch.bfloat16, device_map={"": 0}
        )
    base.gradient_checkpointing_enable({"use_reentrant": False})
    model = attach("members.llama", base, member.adapter, ()).train()
    optimizer = torch.optim.AdamW([each for each in model.parameters() if each.requires_grad], lr=1e-4, fused=True)
    batch = {
        name: value.cuda() if isinstance(value, torch.Tensor) else value
        for name, value in make_batch(family, base, batch_size, tokens - 64, 64).items()
    }
    torch.cuda.reset_peak_memory_stats()
    for step in range(steps + 2):
        if step == 2:
            torch.cuda.synchronize()
            started = time.perf_counter()
        with torch.autocast("cuda", torch.bfloat16):
            value = loss(model, base, batch) / (batch_size * 64)
        value.backward()
        optimizer.step()
        optimizer.zero_grad()
    torch.cuda.synchronize()
    speed = batch_size * tokens * steps / (time.perf_counter() - started)
    layers = sum(math.prod(shape) for shape in linear_shapes(config)) * config.num_hidden_layers
    # Forward, forward again for checkpointing, and the gradients of the activations; those of the weights are not
    # computed, and attention and the output layer are left out.
    used = 6 * layers * speed
    name = torch.cuda.get_device_name()
    peak = next((flops for key, flops in PEAK_FLOPS.items() if key in name), None)
    share = f", {used / peak:.0%} of its peak in bf16" if peak else ""
    print(
        f"{name}, batches of {batch_size} x {tokens}: {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB, "
        f"{speed:.0f} tokens/s{share}"
    )


def linear_shapes(config: Any) -> list[tuple[int, int]]:
    """Return the shapes of the linear layers of a block of Llama."""
    hidden, inner = config.hidden_size, config.intermediate_size
    keys = config.num_key_value_heads * config.head_dim
    queries = config.num_attention_heads * config.head_dim
    return [(hidden, queries), (hidden, keys), (hidden, keys), (queries, hidden), *[(hidden, inner)] * 3]
