"""Every verb of the command line, in the order of `yoyak --help`."""

from __future__ import annotations

from dataclasses import dataclass

GROUPS = PIPELINE, MODELS, SERVERS, PROJECT = "Pipeline", "Models", "Servers", "Project"
OPTIONS = "Options"
"""The group of options such as `--help`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verb:
    """One verb of the command line; its arguments are those of ``run`` in its module."""

    name: str
    group: str
    help: str
    examples: tuple[str, ...]
    module: str = ""
    """Name of the module in yoyak.stages, if it is not the verb's name."""


VERBS = (
    Verb(
        name="prepare",
        group=PIPELINE,
        help="Clean, check and split the data, and train the tokenizers.",
        examples=("yoyak prepare",),
    ),
    Verb(
        name="base",
        group=PIPELINE,
        help="Gather what a member's training starts from.",
        examples=("yoyak base bart",),
    ),
    Verb(
        name="train",
        group=PIPELINE,
        help="Train one member of params.yaml.",
        examples=("yoyak train bart", "YOYAK__MEMBERS__BART__LEARNING_RATE=1e-4 yoyak train bart"),
    ),
    Verb(
        name="predict",
        group=PIPELINE,
        help="Write a member's candidates for every split.",
        examples=("yoyak predict bart",),
    ),
    Verb(
        name="ensemble",
        group=PIPELINE,
        help="Combine the members' candidates by a strategy of params.yaml.",
        examples=("yoyak ensemble mbr",),
    ),
    Verb(
        name="blend",
        group=PIPELINE,
        help="Summarize with members that decode together or are merged.",
        examples=("yoyak blend soft",),
    ),
    Verb(
        name="evaluate",
        group=PIPELINE,
        help="Score members, ensembles and extractive baselines.",
        examples=("yoyak evaluate",),
    ),
    Verb(
        name="behaviour",
        group=PIPELINE,
        help="Test a member's behaviour with the cases of params.yaml.",
        examples=("yoyak behaviour bart",),
    ),
    Verb(
        name="register",
        group=PIPELINE,
        help="Register the members and the best model in MLflow.",
        examples=("yoyak register",),
    ),
    Verb(
        name="report",
        group=PIPELINE,
        help="Write report/index.html and report/report.md.",
        examples=("yoyak report",),
    ),
    Verb(
        name="export",
        group=PIPELINE,
        help="Write the chosen model as INT8 ONNX graphs that run without torch.",
        examples=("yoyak export",),
    ),
    Verb(
        name="bench",
        group=PIPELINE,
        help="Compare the exported model with fp32 and decide whether to serve it.",
        examples=("yoyak bench",),
    ),
    Verb(
        name="release",
        group=PIPELINE,
        help="Register the exported model and serve it if it passed the bench.",
        examples=("yoyak release",),
    ),
    Verb(
        name="summarize",
        group=MODELS,
        help="Summarize any file with any model.",
        examples=(
            "yoyak summarize models:/yoyak@champion --input data/test.csv --output out.csv",
            "yoyak summarize bart.zip < dialogues.csv > summaries.csv",
        ),
    ),
    Verb(
        name="combine",
        group=MODELS,
        help="Summarize any file with several models and combine their summaries.",
        examples=(
            "yoyak combine models:/yoyak-bart/1 bart.zip exports/t5 --input data/test.csv",
            "yoyak combine --all --input data/test.csv --strategy vote",
            "yoyak combine a.zip b.zip --input data/test.csv --weights 2 1",
        ),
    ),
    Verb(
        name="convert",
        group=MODELS,
        help="Write any model as ONNX graphs that run without torch.",
        examples=("yoyak convert models:/yoyak@champion champion-onnx --precision int8",),
    ),
    Verb(
        name="bundle",
        group=MODELS,
        help="Write a model from MLflow as one ZIP file.",
        examples=("yoyak bundle models:/yoyak@champion model.zip",),
    ),
    Verb(
        name="import",
        group=MODELS,
        help="Register the model of a ZIP file that `yoyak bundle` wrote.",
        examples=("yoyak import model.zip", "yoyak import model.zip --name summarizer"),
        module="import_bundle",
    ),
    Verb(
        name="rollback",
        group=MODELS,
        help="Undo the last move of the champion or serving alias.",
        examples=("yoyak rollback champion", "yoyak rollback serving"),
    ),
    Verb(
        name="sync",
        group=MODELS,
        help="Send what stages logged while their tracking server was unreachable.",
        examples=("yoyak sync", "MLFLOW_TRACKING_URI=http://127.0.0.1:5000 yoyak sync"),
    ),
    Verb(
        name="serve",
        group=SERVERS,
        help="Answer HTTP requests with a model, as `mlflow models serve` does.",
        examples=("yoyak serve", "yoyak serve models:/yoyak@champion --port 5001 --workers 2"),
    ),
    Verb(
        name="demo",
        group=SERVERS,
        help="Show a web page where a dialogue is pasted and its summary read.",
        examples=("yoyak demo", "yoyak demo exports/bart --port 0", "yoyak demo --url http://127.0.0.1:5001"),
    ),
    Verb(
        name="params",
        group=PROJECT,
        help="Print every value in effect and where it comes from.",
        examples=("yoyak params", "yoyak params --file presets/smoke.yaml"),
    ),
    Verb(
        name="preset",
        group=PROJECT,
        help="Replace params.yaml with a file of presets/.",
        examples=("yoyak preset smoke", "yoyak preset kobart --force"),
    ),
    Verb(
        name="samples",
        group=PROJECT,
        help="Write generated Korean sample dialogues as CSV.",
        examples=("yoyak samples --n 5", "yoyak samples --n 100000 --seed 1 --output big.csv"),
    ),
    Verb(
        name="corpus",
        group=PROJECT,
        help="Write the whole sample corpus (train, dev, test and gate) into a folder.",
        examples=("yoyak corpus data",),
    ),
)

FLAGS = ("--help", "-h", "--version", "--install-completion")
"""Options that may be given instead of a verb."""

RENAMED = {
    ("predict", "--model"): "yoyak summarize",
    ("ensemble", "--models"): "yoyak combine",
    ("ensemble", "--all"): "yoyak combine --all",
    ("export", "--model"): "yoyak convert",
    ("register", "--undo"): "yoyak rollback champion",
    ("register", "--name"): "yoyak import",
    ("release", "--undo"): "yoyak rollback serving",
    ("samples", "--corpus"): "yoyak corpus",
}
"""Former options by verb, and the command that replaces each."""
