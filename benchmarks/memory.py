"""Compare the memory that `yoyak check` expects with the peak of a real training of the same shape.

    python benchmarks/memory.py

Each shape is trained for three steps, with random weights, in a process of its own; what the process held before the
model was built does not count.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
from typing import Any

BART = {"vocab_size": 30_000, "d_model": 768, "encoder_layers": 6, "decoder_layers": 6, "encoder_ffn_dim": 3072,
        "decoder_ffn_dim": 3072, "encoder_attention_heads": 16, "decoder_attention_heads": 16}  # fmt: skip
SMALL_BART = {"vocab_size": 8000, "d_model": 256, "encoder_layers": 3, "decoder_layers": 3, "encoder_ffn_dim": 1024,
              "decoder_ffn_dim": 1024, "encoder_attention_heads": 4, "decoder_attention_heads": 4}  # fmt: skip
T5 = {"vocab_size": 32_128, "d_model": 512, "num_layers": 6, "num_heads": 8, "d_ff": 2048,
      "decoder_start_token_id": 0}  # fmt: skip
LLAMA = {"vocab_size": 49_152, "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 12,
         "num_attention_heads": 9, "num_key_value_heads": 3, "tie_word_embeddings": True}  # fmt: skip
SHAPES: dict[str, tuple[str, str, dict[str, Any], dict[str, Any], tuple[int, int, int]]] = {
    "KoBART": ("seq2seq", "bart", BART, {}, (4, 256, 64)),
    "small BART": ("seq2seq", "bart", SMALL_BART, {}, (16, 512, 96)),
    "T5-small": ("seq2seq", "t5", T5, {}, (4, 256, 64)),
    "GPT-2, 6 layers": ("causal", "gpt2", {"vocab_size": 50_257, "n_layer": 6}, {}, (4, 256, 64)),
    "GPT-2, 6 layers, no attention dropout": (
        "causal", "gpt2", {"vocab_size": 50_257, "n_layer": 6, "attn_pdrop": 0.0}, {}, (4, 256, 64)
    ),
    "Llama, 12 layers, LoRA": ("causal", "llama", LLAMA, {"adapter": {}}, (4, 256, 64)),
    "Llama, 12 layers, LoRA, chunked loss": (
        "causal", "llama", LLAMA | {"vocab_size": 128_256}, {"adapter": {}, "loss_chunk_tokens": 64}, (4, 256, 64)
    ),
    "small BART, R-Drop": ("seq2seq", "bart", SMALL_BART, {"r_drop": 1.0}, (8, 512, 96)),
    "KoBART, gradient checkpointing": ("seq2seq", "bart", BART, {"gradient_checkpointing": True}, (16, 256, 64)),
}  # fmt: skip
"""Family, model type, sizes and params of a member; rows of a batch, tokens of a dialogue, tokens of a summary."""


def measure(name: str) -> None:
    """Print the expected and the measured bytes of one shape as JSON."""
    import psutil
    import torch
    from transformers import AutoConfig, logging

    from yoyak.models.adapters import attach
    from yoyak.models.families import family_of
    from yoyak.models.memory import estimate_memory, make_batch, with_decoder_inputs
    from yoyak.models.precision import Decision
    from yoyak.models.target_loss import target_loss
    from yoyak.process import return_freed_memory

    # As a training does.
    return_freed_memory()
    logging.set_verbosity_error()
    family_name, model_type, sizes, values, (rows, inputs, targets) = SHAPES[name]
    member = _parse({"family": family_name, "checkpoint": "kobart", "learning_rate": 1e-5, **values})
    family, config = family_of(member), AutoConfig.for_model(model_type, **sizes)
    expected = estimate_memory(
        member, family, config, Decision(precision="fp32", reason=""), device="cpu",
        vocabulary=sizes["vocab_size"],
        input_tokens=inputs, target_tokens=targets, batch_size=rows,
    )  # fmt: skip
    before = psutil.Process().memory_info().rss
    model = base = family.auto_class().from_config(config).train()
    if member.gradient_checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    if member.adapter:
        model = attach(name, base, member.adapter, ())
    optimizer = torch.optim.AdamW([each for each in model.parameters() if each.requires_grad], lr=1e-5, fused=True)
    loss = target_loss(member, family)
    for _ in range(3):
        batch = make_batch(family, base, rows, inputs, targets)
        if loss is None:
            model(**batch).loss.backward()
        else:
            loss(model, base, with_decoder_inputs(base, batch)).backward()
        optimizer.step()
        optimizer.zero_grad()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"expected": expected.total, "fixed": expected.fixed, "measured": peak - before}))


def _parse(values: dict[str, Any]) -> Any:
    from pydantic import TypeAdapter

    from yoyak.params.any_member import AnyMember

    return TypeAdapter(AnyMember).validate_python(values)


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--one", choices=SHAPES, help="measure one shape in this process")
    chosen = parser.parse_args().one
    if chosen:
        measure(chosen)
        return
    print(f"{'':<40}{'expected, MB':>14}{'measured, MB':>14}{'ratio':>8}")
    for name in SHAPES:
        done = subprocess.run([sys.executable, __file__, "--one", name], check=True, capture_output=True, text=True)
        result = json.loads(done.stdout)
        expected, measured = (result[key] / 2**20 for key in ("expected", "measured"))
        print(f"{name:<40}{expected:>14.0f}{measured:>14.0f}{expected / measured:>8.2f}", flush=True)


if __name__ == "__main__":
    main()
