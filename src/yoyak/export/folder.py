"""The folder that `yoyak export` writes: graphs, weights, tokenizer.json, yoyak.json, onnx.json and ops.json."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yoyak.data.records import Dialogue
from yoyak.errors import UserError
from yoyak.export.beams import BIAS
from yoyak.export.calibration import calibrate, expose_activations, spread
from yoyak.export.edit import Graphs
from yoyak.export.graphs import export_graphs, reorder_graph
from yoyak.export.products import ConstantScale
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


def export_model(source: Path, out: Path, settings: Export, dialogues: Sequence[Dialogue] = ()) -> ExportResult:
    """Export the model in ``source``, which `yoyak train` saved, to the folder ``out``.

    Constant scales of activations in INT8 are found with ``dialogues``; without any, each row has scales of its own.
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
    calibrated = settings.precision == "int8" and settings.activations == "constant" and len(dialogues) > 0
    if settings.precision == "int8":
        manifest |= {
            "cpu": detect_cpu() if settings.cpu == "auto" else settings.cpu,
            "per_channel": settings.per_channel,
            "activations": "row" if settings.activations == "constant" and not calibrated else settings.activations,
        }
    torch_bytes = sum(parameter.numel() * 4 for parameter in model.parameters())
    graphs = export_graphs(model)
    del model

    def write(written: Graphs, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        # A cache that all texts of a dialogue share is never reordered.
        shared = any(value.name == BIAS for value in written["decoder"].graph.input)
        write_graphs(written if shared else {**written, "reorder": reorder_graph(written["decoder"])}, folder)
        (folder / TOKENIZER).write_text(backend.to_str(), encoding="utf-8")
        save_spec(folder, spec)
        write_json(folder / ONNX_FILE, manifest)

    scales: dict[str, dict[str, ConstantScale]] = {}
    if calibrated:
        with tempfile.TemporaryDirectory(prefix="yoyak-") as temporary:
            write(expose_activations(graphs), Path(temporary))
            scales = calibrate(graphs, Path(temporary), spread(dialogues, settings.calibration_dialogues))
    quantize(graphs, settings, scales)
    ops = list_ops(graphs)
    with atomic_path(out) as work:
        write(graphs, work)
        write_json(work / OPS, ops)
    size = sum(path.stat().st_size for path in out.iterdir())
    return ExportResult(folder=out, bytes=size, torch_bytes=torch_bytes)
