"""The command line, `yoyak <verb>`: which verbs there are, what `--help` prints and how errors are reported.

The arguments of a verb are the typed signature of `run` in its module, read by cyclopts; the module is imported when
the verb is used, so that `yoyak --help` imports nothing heavy.
"""

from __future__ import annotations

import gc
import os
import sys
import textwrap
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cyclopts import App, CycloptsError, Group, MissingArgumentError, UnusedCliTokensError

from yoyak import __version__
from yoyak.errors import UserError, nearest

if TYPE_CHECKING:
    from cyclopts.help import HelpEntry, HelpPanel
    from rich.console import Console, ConsoleOptions

LOG = Path("logs") / "yoyak.log"

PIPELINE, MODELS, SERVERS, PROJECT, OPTIONS = "Pipeline", "Models", "Servers", "Project", "Options"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verb:
    """One verb of the command line; its arguments are those of ``run`` in its module."""

    name: str
    group: str
    help: str
    examples: tuple[str, ...]
    module: str = ""
    """In yoyak.stages, where it is not the verb's name."""


VERBS = (
    Verb(
        name="prepare",
        group=PIPELINE,
        help="Clean, check and split the data, and train the tokenizers.",
        examples=("yoyak prepare",),
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
        examples=("yoyak convert models:/yoyak@champion exports/champion --precision int8",),
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
        help="Send what stages logged while their tracking server was away.",
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
        help="Write the whole sample corpus (train, dev and test) into a folder.",
        examples=("yoyak corpus data",),
    ),
)

FLAGS = ("--help", "-h", "--version", "--install-completion")
"""What may stand in the place of a verb."""

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
"""What used to be an option of another verb, and its verb of today."""


def build_app() -> App:
    """Return the command line; the module of a verb is imported when the verb is looked up in it."""
    app = App(
        name="yoyak",
        help="Train, score, register and serve dialogue summarizers, Korean first.",
        help_epilogue="The whole pipeline: dvc repro. Runs and models: mlflow ui. Values: params.yaml.\n"
        "More about a verb: yoyak <verb> --help",
        help_format="plaintext",
        help_formatter=HelpText(),
        group_parameters=Group(OPTIONS),
        version=f"yoyak {__version__}",
        version_format="plaintext",
        suppress_keyboard_interrupt=False,
        result_action="return_value",
    )
    groups = {name: Group.create_ordered(name) for name in (PIPELINE, MODELS, SERVERS, PROJECT, OPTIONS)}
    for index, verb in enumerate(VERBS):
        app.command(
            f"yoyak.stages.{verb.module or verb.name}:run",
            name=verb.name,
            group=groups[verb.group],
            help=verb.help,
            help_epilogue="\n  ".join(("Examples:", *verb.examples)),
            sort_key=index,
        )
    app.register_install_completion_command(group=groups[OPTIONS], help="Let your shell complete verbs and options.")
    for flag, text in (("--help", "Print this help."), ("--version", "Print the version.")):
        app[flag].group, app[flag].help = groups[OPTIONS], text
    return app


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb and return the exit code.

    0 is success, 1 an error that a person can fix, 2 a wrong command line, 130 Ctrl-C.
    """
    tokens = list(sys.argv[1:] if arguments is None else arguments)
    # Importing torch, transformers and mlflow makes a million objects that stay: looking through them again and again
    # for cycles takes an eighth of the imports' time.
    gc.set_threshold(100_000)
    app = build_app()
    name = f"yoyak {tokens[0]}" if tokens and not tokens[0].startswith("-") else "yoyak"
    try:
        if not tokens:
            app.help_print(console=app.error_console)
            return 2
        wrong = check_verb(tokens)
        if wrong:
            _say(f"yoyak: {wrong} (see `yoyak --help`)")
            return 2
        app(tokens, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        _say(f"{name}: {usage_error(error)} (see `{name} --help`)")
        return 2
    except UserError as error:
        _log_traceback()
        _say(f"{name}: {error}")
        return 1
    except KeyboardInterrupt:
        _say(f"{name}: interrupted")
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        log = _log_traceback()
        _say(f"{name}: {_sentence(error)} (traceback: {log})")
        return 1
    return 0


def check_verb(tokens: Sequence[str]) -> str:
    """Return what is wrong with the verb: unknown, or an old spelling of another one. Empty where nothing is."""
    verb, *rest = tokens
    known = [each.name for each in VERBS]
    if verb.startswith("-"):
        return "" if verb in FLAGS else f"there is no option {verb}{nearest(verb, FLAGS)}"
    if verb not in known:
        return f"there is no verb '{verb}'{nearest(verb, known)}"
    for token in rest:
        option = token.partition("=")[0]
        if (verb, option) in RENAMED:
            return f"`yoyak {verb} {option}` is now `{RENAMED[verb, option]}`"
    if verb == "register" and rest and not rest[0].startswith("-"):
        return "`yoyak register FILE` is now `yoyak import`"
    return ""


def usage_error(error: CycloptsError) -> str:
    """Return what is wrong with the arguments, as part of a sentence."""
    if isinstance(error, MissingArgumentError) and error.argument is not None:
        name = error.keyword or error.argument.name
        return f"{name} needs a value" if error.keyword else f"{name.lstrip('-').upper()} is missing"
    if isinstance(error, UnusedCliTokensError):
        return f"too many arguments: {' '.join(error.unused_tokens or ())}"
    first, *others = " ".join(str(error).split()).rstrip(".").split(". ")
    return "; ".join(part[:1].lower() + part[1:] for part in (first, *others))


class HelpText:
    """Help in two aligned columns of plain text: no boxes, and no colours but bold titles in a terminal."""

    def __call__(self, console: Console, options: ConsoleOptions, panel: HelpPanel) -> None:
        """Print one group of verbs or of arguments."""
        from rich.text import Text

        rows = [(", ".join(_labels(entry)), _description(entry, console, options)) for entry in panel.entries]
        if not rows:
            return
        console.print()
        console.print(Text(f"{panel.title}:", style="bold"))
        indent = min(max(len(label) for label, _ in rows), 24) + 4
        width = min(console.width, 110)
        for label, text in rows:
            first, *others = textwrap.wrap(text, width - indent, break_on_hyphens=False) or [""]
            _print(console, f"  {label:{indent - 2}}{first}")
            for line in others:
                _print(console, " " * indent + line)

    def render_usage(self, console: Console, options: ConsoleOptions, usage: Any) -> None:
        """Print the first line."""
        _print(console, f"Usage: {str(usage).strip()}")

    def render_description(self, console: Console, options: ConsoleOptions, description: Any) -> None:
        """Print what the verb does."""
        console.print()
        _print(console, _plain_text(description, console, options))


def _labels(entry: HelpEntry) -> list[str]:
    return [entry.positional_label] if entry.positional_label else [*entry.all_options]


def _description(entry: HelpEntry, console: Console, options: ConsoleOptions) -> str:
    notes = [
        _plain_text(entry.description, console, options) if entry.description else "",
        f"One of {', '.join(entry.choices)}." if entry.choices else "",
        f"[default: {entry.default}]" if entry.default and entry.default != "False" else "",
    ]
    return " ".join(note for note in notes if note)


def _plain_text(renderable: Any, console: Console, options: ConsoleOptions) -> str:
    wide = options.update(width=10_000)
    return "".join(segment.text for segment in console.render(renderable, wide)).strip()


def _print(console: Console, line: str) -> None:
    console.print(line.rstrip(), markup=False, highlight=False, soft_wrap=True)


def _sentence(error: Exception) -> str:
    """Say what went wrong where no stage has said it: the disk and its files, or something unexpected."""
    if isinstance(error, OSError) and error.strerror:
        if isinstance(error, FileNotFoundError) and not Path(error.filename).is_absolute():
            return f"{error.filename} is missing: `dvc repro` makes it, or `dvc pull` brings it"
        path = error.filename or "a file could not be written or read"
        return f"{path}: {error.strerror[:1].lower()}{error.strerror[1:]}"
    return f"unexpected {type(error).__name__}: {' '.join(str(error).split()) or 'it has no message'}"


def _say(sentence: str) -> None:
    """Print to stderr, on a line of its own: progress bars that an error has left open are closed first."""
    tqdm = getattr(sys.modules.get("tqdm"), "tqdm", None)
    for bar in list(getattr(tqdm, "_instances", ())):
        bar.close()
    print(sentence, file=sys.stderr)


def _log_traceback() -> Path | str:
    """Append the traceback to the log; a folder that cannot be written is no reason to lose the error itself."""
    try:
        LOG.parent.mkdir(exist_ok=True)
        with LOG.open("a", encoding="utf-8") as log:
            log.write(f"$ {' '.join(sys.argv)}\n{traceback.format_exc()}\n")
    except OSError:
        return "not written, the folder is read-only"
    return LOG
