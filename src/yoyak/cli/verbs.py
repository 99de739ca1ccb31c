"""Every verb of the command line, in the order of `yoyak --help`."""

from __future__ import annotations

from dataclasses import dataclass

GROUPS = PIPELINE, MODELS, SERVERS, PROJECT = "Pipeline", "Models", "Servers", "Project"
OPTIONS = "Options"
"""The group of options such as `--help`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verb:
    """One verb of the command line, of one or two words; its arguments are those of ``run`` in its module."""

    name: str
    group: str
    help: str
    examples: tuple[str, ...]
    module: str = ""
    """Name of the module in yoyak.stages, if it is not the verb's name."""

    @property
    def path(self) -> tuple[str, ...]:
        """Its words: some verbs have two, such as ``models list``."""
        return tuple(self.name.split())

    @property
    def location(self) -> str:
        """The module of the verb."""
        return ".".join(("yoyak.stages", self.module or ".".join(self.path)))


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
        name="check",
        group=PIPELINE,
        help="Say whether members can be trained here, before any weight is loaded.",
        examples=("yoyak check", "yoyak check bart gpt2", "yoyak check --json"),
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
        name="score_candidates",
        group=PIPELINE,
        help="Let each member score the candidates of all members.",
        examples=("yoyak score_candidates",),
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
        help="Test the members' behaviour with the cases of params.yaml.",
        examples=("yoyak behaviour",),
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
            "yoyak summarize champion-onnx --engine local --input '*.parquet' --output out",
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
        name="models list",
        group=MODELS,
        help="List registered versions, best first.",
        examples=("yoyak models list", "yoyak models list --member bart --min-score 0.7 --metric rouge1 --split test"),
    ),
    Verb(
        name="models show",
        group=MODELS,
        help="Print everything about one version.",
        examples=("yoyak models show champion", "yoyak models show yoyak-bart/3 --json"),
    ),
    Verb(
        name="models compare",
        group=MODELS,
        help="Compare versions: scores, significance, params, summaries.",
        examples=("yoyak models compare champion challenger", "yoyak models compare 1 2 yoyak-t5/1 --examples 10"),
    ),
    Verb(
        name="models promote",
        group=MODELS,
        help="Make a version champion if it passes the gate.",
        examples=(
            "yoyak models promote challenger",
            'yoyak models promote 3 --force --reason "the champion invents names"',
        ),
    ),
    Verb(
        name="models rollback",
        group=MODELS,
        help="Undo the last move of the champion or serving alias.",
        examples=("yoyak models rollback", "yoyak models rollback yoyak-bart", "yoyak models rollback --alias serving"),
    ),
    Verb(
        name="models history",
        group=MODELS,
        help="Print who made which version champion, when and why.",
        examples=("yoyak models history", "yoyak models history yoyak-bart"),
    ),
    Verb(
        name="models lineage",
        group=MODELS,
        help="Print what a version was made from.",
        examples=("yoyak models lineage champion", "yoyak models lineage yoyak/3 --verify"),
    ),
    Verb(
        name="models reproduce",
        group=MODELS,
        help="Make a version once more from its commit, and compare.",
        examples=("yoyak models reproduce champion",),
    ),
    Verb(
        name="study run",
        group=MODELS,
        help="Run studies of studies/, or go on with them.",
        examples=(
            "yoyak study run hyperparameter --workers 2",
            "yoyak study run hyperparameter generation --trials 50",
            "yoyak study run hyperparameter --storage postgresql+psycopg2://optuna@db/optuna",
        ),
    ),
    Verb(
        name="study adopt",
        group=MODELS,
        help="Write the best trial's values into params.yaml.",
        examples=("yoyak study adopt hyperparameter --dry-run", "yoyak study adopt hyperparameter"),
    ),
    Verb(
        name="study register",
        group=MODELS,
        help="Register the best trial's model, as challenger at most.",
        examples=("yoyak study register hyperparameter",),
    ),
    Verb(
        name="study convert",
        group=MODELS,
        help="Print a sweep of Weights & Biases as a study.",
        examples=("yoyak study convert sweep.yaml --member bart --output studies/sweep.yaml",),
    ),
    Verb(
        name="collect",
        group=MODELS,
        help="Write a table of all training runs: params, metrics, time and memory.",
        examples=("yoyak collect --output results.csv", "yoyak collect bart --output results.md"),
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
        name="diff",
        group=PROJECT,
        help="Report what the changes between two git revisions do to the model.",
        examples=("yoyak diff origin/main", "yoyak diff v1.0 HEAD --markdown --plots diff/plots"),
    ),
    Verb(
        name="distillation",
        group=PROJECT,
        help="Report what share of an ensemble's gain a student keeps.",
        examples=("yoyak distillation teachers", "yoyak distillation teachers student --ensemble stack --json"),
    ),
    Verb(
        name="preset",
        group=PROJECT,
        help="Replace params.yaml with a file of presets/.",
        examples=("yoyak preset smoke", "yoyak preset kobart --force"),
    ),
    Verb(
        name="fold",
        group=PROJECT,
        help="Add a member for each part of the training set to params.yaml.",
        examples=("yoyak fold bart 5",),
    ),
    Verb(
        name="pin",
        group=PROJECT,
        help="Write the commits of checkpoints on the Hub to params.yaml.",
        examples=("yoyak pin", "yoyak pin --check", "yoyak pin kobart --update"),
    ),
    Verb(
        name="catalog",
        group=PROJECT,
        help="List the checkpoints with short names, and print a member for one.",
        examples=("yoyak catalog", "yoyak catalog kobart --memory 24"),
    ),
    Verb(
        name="checkpoint",
        group=PROJECT,
        help="Write a trained model as a checkpoint that other members start from.",
        examples=("yoyak checkpoint models/bart pretrained/mine --dtype float16",),
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

TOPICS = {
    "models": "Look up, compare, promote, trace and reproduce registered versions.",
    "study": "Try many values of params.yaml, and adopt the best ones.",
}
"""First words of verbs of two words, and what those are for."""

RENAMED = {
    ("predict", "--model"): "yoyak summarize",
    ("ensemble", "--models"): "yoyak combine",
    ("ensemble", "--all"): "yoyak combine --all",
    ("export", "--model"): "yoyak convert",
    ("register", "--undo"): "yoyak models rollback",
    ("register", "--name"): "yoyak import",
    ("release", "--undo"): "yoyak models rollback --alias serving",
    ("rollback", "serving"): "yoyak models rollback --alias serving",
    ("rollback", ""): "yoyak models rollback",
    ("samples", "--corpus"): "yoyak corpus",
}
"""Former verbs, and options and arguments by verb, and the command that replaces each."""
