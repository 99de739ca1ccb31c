"""Results of the bench: bench/figures.json with all of them, and bench/serving.json with what `release` needs."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

Verdict = Literal["faster", "not faster", "out of memory"]
Fp32Source = Literal["predictions of the pipeline", "written by the bench"]
"""Where the fp32 summaries come from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """The machine and library versions that the figures hold for."""

    processor: str
    cores: int
    system: str
    host: str
    python: str
    onnxruntime: str
    torch: str
    transformers: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Startup:
    """What it takes to start a process with one variant."""

    disk_mb: float
    """Total size of the model's files."""
    import_seconds: float
    load_seconds: float
    start_seconds: float
    """From the start of the process to its first answer, imports included."""
    loaded_mb: float
    """Memory of the whole process once the model is loaded."""
    device: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One variant at one batch size and number of beams."""

    variant: str
    batch_size: int
    beams: int
    samples_per_second: float
    """Median over the rounds."""
    rounds: tuple[float, ...]
    """Samples per second in each round."""
    ratio: float | None
    """Speed as a multiple of torch fp32, median over the rounds; None if torch fp32 was not measured."""
    p50_ms: float
    """Median batch latency over all rounds."""
    p95_ms: float
    batches: int
    tokens_per_sample: float
    peak_mb: float
    threads: int | None
    """Number of torch threads; None for onnxruntime."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchSizeResult:
    """The measurements at one batch size."""

    batch_size: int
    verdict: Verdict
    samples_per_second: float | None = None
    """None if it could not be measured."""
    peak_mb: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchSizeSearch:
    """The batch size to serve with, and the batch sizes it was chosen from."""

    batch_size: int
    beams: int
    configured: bool
    """Whether ``serving.batch_size`` sets it, regardless of the search."""
    memory_limit_mb: float
    tried: tuple[BatchSizeResult, ...]

    @property
    def chosen(self) -> BatchSizeResult | None:
        """The measurements at the batch size to serve with; None if the search did not reach it."""
        matches = (result for result in self.tried if result.batch_size == self.batch_size)
        return next((result for result in matches if result.samples_per_second), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class RougeComparison:
    """One metric of the exported model and of the same model in fp32, on the same dialogues."""

    exported: float
    fp32: float
    difference: float
    """Exported minus fp32."""
    low: float
    high: float
    p_value: float
    n: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """ROUGE of the exported model's summaries of dev compared with those of fp32."""

    fp32_source: Fp32Source
    granularity: str
    n: int
    confidence: float
    different_texts: int
    metrics: dict[str, RougeComparison]
    """By metric: ``rouge1`` … ``combined``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeedComparison:
    """The exported model against the faster fp32 model, round by round."""

    against: str
    batch_size: int
    beams: int
    ratio: float
    """Median over the rounds."""
    low: float
    high: float
    won: int
    """Rounds in which the exported model was faster."""
    rounds: int
    p_value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeedCheck:
    """Whether the exported model is faster than fp32, and why."""

    passed: bool
    sentence: str
    comparison: SpeedComparison | None
    """None if no fp32 model was measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RougeCheck:
    """Whether the exported model loses no more ROUGE than allowed, and why."""

    passed: bool
    sentence: str
    max_rouge_drop: float
    comparison: RougeComparison


@dataclass(frozen=True, slots=True, kw_only=True)
class GateDecision:
    """Whether the exported model should be served."""

    speed: SpeedCheck
    rouge: RougeCheck

    @property
    def passed(self) -> bool:
        """Whether both checks passed."""
        return self.speed.passed and self.rouge.passed

    @property
    def checks(self) -> tuple[SpeedCheck | RougeCheck, ...]:
        """Both checks, in the order in which they are reported."""
        return (self.speed, self.rouge)

    def tags(self) -> dict[str, Any]:
        """Return the figures that a registered version carries as tags, nested."""
        speed = asdict(self.speed.comparison) if self.speed.comparison else {}
        return {
            "passed": self.passed,
            "speed": {"passed": self.speed.passed, **speed},
            "rouge": {
                "passed": self.rouge.passed,
                "max_rouge_drop": self.rouge.max_rouge_drop,
                **asdict(self.rouge.comparison),
            },
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class FloatOperators:
    """Summary of what stayed in float; exports/<name>/ops.json lists every operator."""

    bytes_by_type: dict[str, int]
    float_bytes_by_op: dict[str, int]
    float_weights: int
    products_of_activations: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchResult:
    """Everything that one run of the bench measured and decided."""

    model: str
    precision: str
    export_md5: str
    machine: Machine
    dialogues: int
    repeats: int
    max_new_tokens: int
    variants: dict[str, Startup]
    failed: dict[str, str]
    """Why a variant could not be measured, by variant."""
    cells: tuple[Cell, ...]
    search: BatchSizeSearch
    rounds: dict[str, tuple[float, ...]]
    """Samples per second in each round at the serving batch, by variant; they decide the speed gate."""
    quality: Quality
    gate: GateDecision
    float_operators: FloatOperators

    @property
    def beams(self) -> list[int]:
        """The numbers of beams that were measured, in their order."""
        return list(dict.fromkeys(cell.beams for cell in self.cells))


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingFigures:
    """The exported model's figures that its registered version carries as tags."""

    disk_mb: float
    load_seconds: float
    processor: str
    cores: int
    samples_per_second: float | None
    """At the serving batch size; None if that was configured and the search did not measure it."""
    peak_mb: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingDecision:
    """bench/serving.json: the results that `release` needs."""

    model: str
    precision: str
    export_md5: str
    batch_size: int
    gate: GateDecision
    figures: ServingFigures


def extract_serving_decision(result: BenchResult) -> ServingDecision:
    """Extract what `release` needs."""
    startup, measured = result.variants["exported"], result.search.chosen
    return ServingDecision(
        model=result.model,
        precision=result.precision,
        export_md5=result.export_md5,
        batch_size=result.search.batch_size,
        gate=result.gate,
        figures=ServingFigures(
            disk_mb=startup.disk_mb,
            load_seconds=startup.load_seconds,
            processor=result.machine.processor,
            cores=result.machine.cores,
            samples_per_second=measured.samples_per_second if measured else None,
            peak_mb=measured.peak_mb if measured else None,
        ),
    )


def collect_dvc_metrics(result: BenchResult) -> dict[str, float]:
    """Return the few figures that `dvc metrics show` prints."""
    speed = result.gate.speed.comparison
    change = {"rouge_change": result.quality.metrics["combined"].difference}
    return {"speedup": speed.ratio, **change} if speed else change


def collect_run_metrics(result: BenchResult) -> dict[str, float | None]:
    """Return all figures as metrics of the bench's MLflow run."""
    metrics: dict[str, float | None] = {}
    for variant, startup in result.variants.items():
        for name in ("disk_mb", "load_seconds", "start_seconds", "loaded_mb"):
            metrics[f"{variant}.{name}"] = getattr(startup, name)
    for cell in result.cells:
        for name in ("samples_per_second", "p50_ms", "p95_ms", "peak_mb", "ratio"):
            metrics[f"{cell.variant}.batch_{cell.batch_size}.beams_{cell.beams}.{name}"] = getattr(cell, name)
    for metric, comparison in result.quality.metrics.items():
        for name in ("exported", "fp32", "difference", "low", "high"):
            metrics[f"dev.{metric}.{name}"] = getattr(comparison, name)
    return {**metrics, "batch_size": result.search.batch_size, "gate.passed": float(result.gate.passed)}
