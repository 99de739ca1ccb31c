"""Compare the training of Yoyak with transformers' own recipe, and measure trainings with adapters.

    python benchmarks/training.py speed                       # a small BART on the sample corpus and DialogSum
    python benchmarks/training.py speed --shape bart-base     # BART-base's shape, some ten minutes on two cores
    python benchmarks/training.py smollm2 --gguf SmolLM2-135M-Instruct.Q4_1.gguf --dialogsum dialogsum.dev.jsonl
    python benchmarks/training.py qlora                       # a Llama of 3B parameters in 4 bits, on a CUDA GPU

`speed`: both start from the same weights, see the same examples once, and use AdamW as run_summarization does. Each
training is a process of its own, and they take turns. Evaluations and checkpoints do not count. What counts are tokens
of the texts, not padding, per second of processor time, since other work on the machine does not change that much; on
a GPU, per second. `smollm2`: real weights; a LoRA with chunked loss beside full fine-tuning, and what it gains over
zero-shot.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

from training_llms import compare_smollm2, gain_smollm2, measure_qlora, measure_smollm2
from training_parts import in_process, make_stopwatch, parse_member, read_lines

SHAPES: dict[str, dict[str, Any]] = {
    "small-bart": {
        "vocab_size": 8000, "d_model": 256, "encoder_layers": 3, "decoder_layers": 3, "encoder_ffn_dim": 1024,
        "decoder_ffn_dim": 1024, "encoder_attention_heads": 4, "decoder_attention_heads": 4,
    },
    "bart-base": {
        "vocab_size": 50_265, "d_model": 768, "encoder_layers": 6, "decoder_layers": 6, "encoder_ffn_dim": 3072,
        "decoder_ffn_dim": 3072, "encoder_attention_heads": 12, "decoder_attention_heads": 12,
    },
}  # fmt: skip
LEARNING_RATES = {"small-bart": 1e-3, "bart-base": 1e-4}
BATCH_SIZE, MAX_INPUT_TOKENS, MAX_TARGET_TOKENS = 8, 1024, 128
"""As in run_summarization.py, the batch size as in TrainingArguments."""
DEV_ROWS = 50
CORPUS_SEED = 11


def prepare_speed(shape: str, data: str, dialogsum: Path | None, rows: int, folder: Path) -> None:
    """Write the rows, and a model with a tokenizer of its own as a checkpoint."""
    import torch
    from tokenizers.processors import TemplateProcessing
    from transformers import BartConfig, BartForConditionalGeneration

    from yoyak.data.records import Dialogue, write_jsonl
    from yoyak.data.samples import generate
    from yoyak.models.tokenizers import train_tokenizer
    from yoyak.params import Tokenizer

    if data == "sample":
        corpus = list(generate(rows + DEV_ROWS, CORPUS_SEED, split="train"))
    else:
        assert dialogsum is not None
        corpus = [
            Dialogue(fname=line["fname"], dialogue=line["dialogue"], summaries=(line["summary"],))
            for line in read_lines(dialogsum)[: rows + DEV_ROWS]
        ]
    write_jsonl(folder / "dev.jsonl", corpus[:DEV_ROWS])
    write_jsonl(folder / "train.jsonl", corpus[DEV_ROWS:])
    config = BartConfig(**SHAPES[shape], max_position_embeddings=MAX_INPUT_TOKENS)
    texts = [text for row in corpus for text in (row.dialogue, *row.summaries)]
    masks = [f"#Person{number}#" for number in range(1, 8)]
    tokenizer = train_tokenizer(texts, masks, Tokenizer(type="bpe", vocab_size=8000))
    # Both then make the same examples.
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        "$A </s>", special_tokens=[("</s>", tokenizer.eos_token_id)]
    )
    tokenizer.save_pretrained(folder / "checkpoint")
    torch.manual_seed(1)
    for name in ("pad", "bos", "eos"):
        setattr(config, f"{name}_token_id", getattr(tokenizer, f"{name}_token_id"))
    config.decoder_start_token_id = config.forced_eos_token_id = tokenizer.eos_token_id
    BartForConditionalGeneration(config).save_pretrained(folder / "checkpoint")


def train_recipe(folder: Path, seed: int, learning_rate: float, bf16: bool, stopwatch: Any) -> tuple[Path, Any]:
    """Train as run_summarization.py does by default; return where the model is, and the rows."""
    from datasets import Dataset
    from transformers import (
        AutoModelForSeq2SeqLM,
        AutoTokenizer,
        DataCollatorForSeq2Seq,
        Seq2SeqTrainer,
        Seq2SeqTrainingArguments,
        set_seed,
    )

    from yoyak.data.records import read_jsonl

    set_seed(seed)
    model = AutoModelForSeq2SeqLM.from_pretrained(folder / "checkpoint")
    tokenizer = AutoTokenizer.from_pretrained(folder / "checkpoint")
    rows = read_jsonl(folder / "train.jsonl")
    inputs = tokenizer([row.dialogue for row in rows], max_length=MAX_INPUT_TOKENS, truncation=True)
    targets = tokenizer(text_target=[row.summaries[0] for row in rows], max_length=MAX_TARGET_TOKENS, truncation=True)
    dataset = Dataset.from_dict({**{name: inputs[name] for name in ("input_ids", "attention_mask")},
                                 "labels": targets["input_ids"]})  # fmt: skip
    trainer = Seq2SeqTrainer(
        model=model,
        args=Seq2SeqTrainingArguments(
            output_dir=str(folder / f"recipe-{seed}"),
            seed=seed,
            learning_rate=learning_rate,
            num_train_epochs=1,
            per_device_train_batch_size=BATCH_SIZE,
            bf16=bf16,
            report_to=[],
            save_strategy="no",
            disable_tqdm=True,
        ),
        train_dataset=dataset,
        processing_class=tokenizer,
        data_collator=DataCollatorForSeq2Seq(tokenizer, model=model, label_pad_token_id=-100),
        callbacks=[stopwatch],
    )
    trainer.train()
    trainer.save_model()
    return Path(str(trainer.args.output_dir)), dataset


def train_yoyak(folder: Path, seed: int, learning_rate: float, stopwatch: Any) -> tuple[Path, Any]:
    """Train as the stage `train` does; return where the model is, and the rows."""
    from transformers import GenerationConfig

    from yoyak.data.records import read_jsonl
    from yoyak.models.families import family_of
    from yoyak.models.tokenizers import load_tokenizer
    from yoyak.training.dataset import encode_rows
    from yoyak.training.launch import train_on_devices
    from yoyak.training.selection import CheckpointScoring

    member = parse_member({
        "family": "seq2seq", "checkpoint": str(folder / "checkpoint"), "learning_rate": learning_rate,
        "batch_size": BATCH_SIZE, "num_epochs": 1, "warmup_ratio": 0.0, "weight_decay": 0.0,
        "max_input_tokens": MAX_INPUT_TOKENS, "max_target_tokens": MAX_TARGET_TOKENS, "evaluations": 1,
        "evaluation_dialogues": 4,
    })  # fmt: skip
    tokenizer = load_tokenizer(folder / "checkpoint")
    rows, out = read_jsonl(folder / "train.jsonl"), folder / f"yoyak-{seed}"
    train_on_devices(
        "bart",
        member,
        tokenizer=tokenizer,
        train=rows,
        dev=read_jsonl(folder / "dev.jsonl")[:8],
        scoring=CheckpointScoring(granularity="eojeol", multi_reference="mean", weights=(0.33, 0.33, 0.34)),
        seed=seed,
        out=out,
        checkpoints=folder / f"checkpoints-{seed}",
        callbacks=[stopwatch],
    )
    family = family_of(member)
    spec = family.apply_tokenizer(family.make_spec("bart", member), member, tokenizer)
    return out, encode_rows(rows, tokenizer, spec, MAX_TARGET_TOKENS, GenerationConfig()).dataset


def measure_speed(contestant: str, folder: Path, seed: int, learning_rate: float) -> dict[str, Any]:
    """Train once in this process and return what was measured."""
    from yoyak.models.libraries import import_transformers

    import_transformers()
    from transformers import logging

    logging.set_verbosity_error()
    stopwatch = make_stopwatch()
    if contestant == "yoyak":
        out, dataset = train_yoyak(folder, seed, learning_rate, stopwatch)
    else:
        out, dataset = train_recipe(folder, seed, learning_rate, contestant.endswith("bf16"), stopwatch)
    examples = sorted(zip(dataset["input_ids"], dataset["labels"], strict=True))
    return {
        "tokens": sum(len(ids) + len(labels) for ids, labels in examples),
        "examples": hashlib.sha256(json.dumps(examples).encode()).hexdigest(),
        "seconds": stopwatch.seconds,
        "processor_seconds": stopwatch.processor_seconds,
        "dev_loss": measure_loss(out, folder),
        "peak_mb": stopwatch.peak_mb,
    }


def measure_loss(out: Path, folder: Path) -> float:
    """Return the mean loss of the dev rows' target tokens, of one row at a time."""
    import torch
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

    from yoyak.data.records import read_jsonl

    model = AutoModelForSeq2SeqLM.from_pretrained(out, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder / "checkpoint")
    total = tokens = 0.0
    for row in read_jsonl(folder / "dev.jsonl"):
        inputs = tokenizer(row.dialogue, return_tensors="pt", max_length=MAX_INPUT_TOKENS, truncation=True)
        labels = tokenizer(row.summaries[0], return_tensors="pt", max_length=MAX_TARGET_TOKENS, truncation=True)
        with torch.no_grad():
            loss = model(input_ids=inputs.input_ids, labels=labels.input_ids).loss
        total, tokens = total + float(loss) * labels.input_ids.numel(), tokens + labels.input_ids.numel()
    return total / tokens


def compare_speed(shape: str, data: str, dialogsum: Path | None, rows: int, rounds: int) -> None:
    """Print a table of both contestants."""
    import torch

    gpu = torch.cuda.is_available()
    contestants = ["recipe", *(["recipe bf16"] if gpu else []), "yoyak"]
    results: dict[str, list[dict[str, Any]]] = {name: [] for name in contestants}
    with tempfile.TemporaryDirectory(prefix="yoyak-") as temporary:
        folder = Path(temporary)
        prepare_speed(shape, data, dialogsum, rows, folder)
        for seed in range(1, rounds + 1):
            for name in contestants if seed % 2 else reversed(contestants):
                results[name].append(
                    in_process("one", "speed", name, str(folder), str(seed), str(LEARNING_RATES[shape]))
                )
    assert len({result["examples"] for runs in results.values() for result in runs}) == 1
    clock = "seconds" if gpu else "processor_seconds"
    print(f"\n{shape}, {data}, {rows} dialogues, {rounds} rounds, tokens per second of {clock.replace('_', ' ')}")
    print("| | tokens/s | relative | dev loss | peak memory, MB |\n| --- | --- | --- | --- | --- |")
    speeds = {name: [run["tokens"] / run[clock] for run in runs] for name, runs in results.items()}
    for name, runs in results.items():
        ratio = statistics.median(a / b for a, b in zip(speeds[name], speeds["recipe"], strict=True))
        losses = [run["dev_loss"] for run in runs]
        spread = f" ± {statistics.stdev(losses):.3f}" if len(losses) > 1 else ""
        print(
            f"| {name} | {statistics.median(speeds[name]):.0f} | {ratio:.2f} | {statistics.mean(losses):.3f}{spread} | "
            f"{max(run['peak_mb'] for run in runs):.0f} |",
            flush=True,
        )


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = parser.add_subparsers(dest="part", required=True)
    speed = parts.add_parser("speed")
    speed.add_argument("--shape", choices=SHAPES, default="small-bart")
    speed.add_argument("--data", choices=("sample", "dialogsum"), default="sample")
    speed.add_argument("--dialogsum", type=Path)
    speed.add_argument("--rows", type=int, default=400)
    speed.add_argument("--rounds", type=int, default=3)
    smollm2 = parts.add_parser("smollm2")
    smollm2.add_argument("--gguf", type=Path, required=True)
    smollm2.add_argument("--dialogsum", type=Path, required=True)
    smollm2.add_argument("--batches", type=int, default=3, help="of both kinds of training side by side")
    smollm2.add_argument("--rows", type=int, default=200, help="to train on; 0 leaves out what that gains")
    smollm2.add_argument("--tested", type=int, default=60)
    qlora = parts.add_parser("qlora")
    qlora.add_argument("--batch-size", type=int, default=8)
    qlora.add_argument("--tokens", type=int, default=512)
    qlora.add_argument("--steps", type=int, default=10)
    one = parts.add_parser("one", help="used by the others")
    one.add_argument("arguments", nargs="*")
    chosen = parser.parse_args()
    if chosen.part == "one" and chosen.arguments[0] == "speed":
        contestant, folder, seed, learning_rate = chosen.arguments[1:]
        print(json.dumps(measure_speed(contestant, Path(folder), int(seed), float(learning_rate))))
    elif chosen.part == "one":
        kind, batches, *paths = chosen.arguments[1:]
        print(json.dumps(measure_smollm2(kind, int(batches), *map(Path, paths))))
    elif chosen.part == "speed":
        compare_speed(chosen.shape, chosen.data, chosen.dialogsum, chosen.rows, chosen.rounds)
    elif chosen.part == "smollm2":
        compare_smollm2(chosen.gguf, chosen.dialogsum, chosen.batches)
        if chosen.rows:
            gain_smollm2(chosen.gguf, chosen.dialogsum, chosen.rows, chosen.tested)
    else:
        measure_qlora(chosen.batch_size, chosen.tokens, chosen.steps)


if __name__ == "__main__":
    main()
