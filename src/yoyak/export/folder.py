"""The folder that `yoyak export` writes: graphs, weights, tokenizer.json, yoyak.json, onnx.json and ops.json."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yoyak.errors import UserError
from yoyak.export.beams import BIAS
from yoyak.export.graphs import export_graphs, reorder_graph
from yoyak.export.quantize import detect_cpu, quantize
from yoyak.export.store import list_ops, write_graphs
from yoyak.files import atomic_path, write_json
from yoyak.params.deploy import Export

TOKENIZER, OPS = "tokenizer.json", "ops.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportResult:
    """An exported model and its size on disk."""

    folder: Path
    bytes: int
    """Total size of the files."""
    torch_bytes: int
    """Size of the same weights in torch in fp32."""

    @property
    def ratio(self) -> float:
        """Compression ratio: size of the weights in torch divided by the size of the export."""
        return self.torch_bytes / self.bytes

    def describe(self, folder: Path | None = None) -> str:
        """Describe the sizes in one line; ``folder`` is where the export is now, if it was moved."""
        return (
            f"{folder or self.folder}: {self.bytes / 1e6:.1f} MB, of {self.torch_bytes / 1e6:.1f} MB in torch "
            f"({self.ratio:.2f} to 1)"
        )


def export_model(source: Path, out: Path, settings: Export) -> ExportResult:
    """Export the model in ``source``, which `yoyak train` saved, to the folder ``out``.

    Raises UserError if the model cannot be exported.
    """
    from yoyak.models.families import family_of
    from yoyak.models.load import load_plain
    from yoyak.models.spec import ONNX_FILE, load_spec, save_spec
    from yoyak.models.tokenizers import load_tokenizer
    from yoyak.models.window import find_positions

    spec = load_spec(source)
    model, tokenizer = load_plain(source, family_of(spec, str(source))).eval(), load_tokenizer(source)
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise UserError(f"The tokenizer of {source} has no tokenizer.json, which an export needs.")
    config = model.generation_config
    manifest: dict[str, Any] = {
        "precision": settings.precision,
        "model_type": model.config.model_type,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "decoder_start_token_id": config.decoder_start_token_id,
        "forced_bos_token_id": config.forced_bos_token_id,
        "forced_eos_token_id": config.forced_eos_token_id,
        "positions": find_positions(model.config.to_dict()),
    }
    if settings.precision == "int8":
        manifest |= {
            "cpu": detect_cpu() if settings.cpu == "auto" else settings.cpu,
            "per_channel": settings.per_channel,
        }
    torch_bytes = sum(parameter.numel() * 4 for parameter in model.parameters())
    graphs = export_graphs(model)
    del model
    # A cache that all texts of a dialogue share is never reordered.
    shared = any(value.name == BIAS for value in graphs["decoder"].graph.input)
    quantize(graphs, settings)
    ops = list_ops(graphs)
    with atomic_path(out) as work:
        work.mkdir()
        write_graphs(graphs if shared else {**graphs, "reorder": reorder_graph(graphs["decoder"])}, work)
        (work / TOKENIZER).write_text(backend.to_str(), encoding="utf-8")
        save_spec(work, spec)
        write_json(work / ONNX_FILE, manifest)
        write_json(work / OPS, ops)
    size = sum(path.stat().st_size for path in out.iterdir())
    return ExportResult(folder=out, bytes=size, torch_bytes=torch_bytes)
