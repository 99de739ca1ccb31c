"""The command line: `yoyak <verb>`. It parses, calls a stage, and turns errors into one sentence."""

from __future__ import annotations

import argparse
import gc
import importlib
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from yoyak import __version__
from yoyak.errors import UserError

LOG = Path("logs") / "yoyak.log"

STAGES = {
    "prepare": "clean, check and split the data, and train the tokenizers",
    "train": "train one member of params.yaml",
    "predict": "write a member's summaries of every split",
    "ensemble": "make one summary of the candidates of several members",
    "blend": "summarize with several members at once, or with one model made of them",
    "evaluate": "score members, ensembles and extractive baselines",
    "register": "register the members and the best one in the MLflow Model Registry",
    "report": "write report/index.html and report/report.md",
    "export": "write a model as ONNX graphs that run without torch, in INT8",
    "bench": "measure the exported model beside fp32 and decide whether it is to be served",
    "release": "register the exported model, and serve it if the bench's gate lets it",
    "summarize": "summarize any file with any model",
    "combine": "summarize any file with several models and combine what they write",
    "convert": "write any model as ONNX graphs that run without torch",
    "bundle": "write a model of MLflow as one ZIP file",
    "import": "register the model of a ZIP file that `yoyak bundle` wrote",
    "rollback": "take back the last move of the champion or the serving alias",
}


VERBS = (*STAGES, "serve", "demo", "samples", "corpus", "params", "preset")
MODULES = {"import": "import_bundle"}


def parser() -> argparse.ArgumentParser:
    """Return the parser of every verb; building it imports nothing heavy."""
    top = argparse.ArgumentParser(
        prog="yoyak",
        description="Train, score, register and serve dialogue summarizers, Korean first.",
        epilog="Whole pipeline: dvc repro. Runs and models: mlflow ui. Every value: params.yaml.",
    )
    top.add_argument("--version", action="version", version=f"yoyak {__version__}")
    verbs = top.add_subparsers(dest="verb", metavar="<verb>", required=True)
    for name, text in STAGES.items():
        verb = verbs.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
        if name == "train":
            verb.add_argument("member", help="name under members: in params.yaml")
        if name == "predict":
            verb.add_argument("member", help="member whose splits are summarized")
        if name == "summarize":
            verb.add_argument("model", help="models:/yoyak@champion, runs:/…, a folder, or a ZIP bundle")
            verb.add_argument("--input", default="-", help="CSV or JSONL file with dialogues; - is standard input")
            verb.add_argument("--output", default="-", help="CSV file fname,summary to write; - is standard output")
        if name == "ensemble":
            verb.add_argument("name", help="name under ensemble.strategies: in params.yaml")
        if name == "combine":
            _combine_options(verb)
        if name == "bundle":
            verb.add_argument("model", help="models:/yoyak@champion, models:/yoyak-bart/3 or runs:/…")
            verb.add_argument("output", help="ZIP file to write")
        if name == "convert":
            verb.add_argument("model", help="as for summarize")
            verb.add_argument("output", metavar="FOLDER", help="the folder to write")
            verb.add_argument("--precision", choices=("int8", "fp32", "int4"), help="default: params.yaml's, or int8")
        if name == "rollback":
            verb.add_argument("alias", choices=("champion", "serving"))
        if name == "blend":
            verb.add_argument("name", help="name under ensemble.models: in params.yaml")
        if name == "import":
            verb.add_argument("bundle", help="ZIP file of a model")
            verb.add_argument("--name", help="registered model of the bundle (default <registry.name>-<member>)")

    serve = verbs.add_parser("serve", help="answer requests over HTTP with a model, as `mlflow models serve` does")
    _server_options(serve, 5001)
    serve.add_argument("--workers", type=_positive, default=1, metavar="N", help="processes that share the cores")
    demo = verbs.add_parser("demo", help="show a page where a dialogue is pasted and its summary read")
    _server_options(demo, 7860)
    demo.add_argument("--url", help="a server that runs already, such as that of `yoyak serve`, instead of a model")

    samples = verbs.add_parser("samples", help="write generated Korean sample dialogues as CSV")
    samples.add_argument("--n", type=_positive, default=1000, help="rows (default 1000)")
    samples.add_argument("--seed", type=int, default=20, help="same seed, same rows (default 20)")
    samples.add_argument("--output", default="-", help="file to write; - is standard output (default)")
    corpus = verbs.add_parser("corpus", help="write the whole sample corpus (train, dev, test)")
    corpus.add_argument("folder", metavar="FOLDER")
    corpus.add_argument("--seed", type=int, default=20, help="same seed, same rows (default 20)")

    params = verbs.add_parser("params", help="show the effective params and where each comes from")
    params.add_argument("--file", default="params.yaml", help="params file (default params.yaml)")

    preset = verbs.add_parser("preset", help="put presets/<name>.yaml in the place of params.yaml")
    preset.add_argument("name", help="smoke, demo, kobart …")
    preset.add_argument("--force", action="store_true", help="even if params.yaml has changes that are in no preset")
    return top


def _combine_options(some: argparse.ArgumentParser) -> None:
    some.add_argument("models", nargs="*", metavar="MODEL", help="models:/…, runs:/…, folders and ZIP bundles")
    some.add_argument("--all", action="store_true", help="every registered member, and every ZIP below --folder")
    some.add_argument("--folder", default=".", help="where --all looks for ZIP files (default: here)")
    some.add_argument("--input", default="-", help="CSV or JSONL file with dialogues; - is standard input")
    some.add_argument("--output", default="ensemble_results", metavar="FOLDER", help="default ensemble_results")
    some.add_argument("--strategy", default="mbr", help="mbr (default), vote, weighted …, or a name of params.yaml")
    some.add_argument("--weights", nargs="+", type=float, metavar="W", help="one for each model, in their order")
    some.add_argument("--min-members", type=_positive, metavar="N", help="models that must be usable (default 2)")
    some.add_argument("--parallel", action="store_true", help="all models at once: more memory, less time")


def _server_options(verb: argparse.ArgumentParser, port: int) -> None:
    verb.add_argument(
        "model", nargs="?", help="as for summarize (default the registered one to serve, else the champion)"
    )
    verb.add_argument("--host", default="127.0.0.1", help="0.0.0.0 lets other machines in (default 127.0.0.1)")
    verb.add_argument("--port", type=_port, default=port, help=f"0 is any free one (default {port})")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb and return the exit code: 0, 1 after an error a person can put right, 130 after Ctrl-C."""
    options = parser().parse_args(arguments)
    # Importing torch, transformers and mlflow makes a million objects that stay: looking through them again and again
    # for cycles takes an eighth of the imports' time.
    gc.set_threshold(100_000)
    try:
        _run(options)
    except UserError as error:
        _log_traceback()
        _say(f"yoyak {options.verb}: {error}")
        return 1
    except KeyboardInterrupt:
        _say(f"yoyak {options.verb}: interrupted")
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        where = _log_traceback()
        _say(f"yoyak {options.verb}: {_sentence(error)} (traceback: {where})")
        return 1
    return 0


def _run(options: argparse.Namespace) -> None:
    stage = importlib.import_module(f"yoyak.stages.{MODULES.get(options.verb, options.verb)}")
    values = {key: value for key, value in vars(options).items() if key != "verb"}
    stage.run(**values)


def _sentence(error: Exception) -> str:
    """Say what went wrong where no stage has said it: the disk and its files, or something unforeseen."""
    if isinstance(error, OSError) and error.strerror:
        if isinstance(error, FileNotFoundError) and not Path(error.filename).is_absolute():
            return f"{error.filename} is missing: `dvc repro` makes it, or `dvc pull` brings it"
        place = error.filename or "a file could not be written or read"
        return f"{place}: {error.strerror[:1].lower()}{error.strerror[1:]}"
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


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be 1 or more, not {value}")
    return value


def _port(text: str) -> int:
    value = int(text)
    if not 0 <= value < 1 << 16:
        raise argparse.ArgumentTypeError(f"must be between 0 and 65535, not {value}")
    return value
