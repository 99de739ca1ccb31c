"""From the words on the command line to a verb and its exit code; errors are one sentence.

The arguments of a verb are the typed signature of `run` in its module, read by cyclopts; the module is imported when
the verb is used, so that `yoyak --help` imports nothing heavy.
"""

from __future__ import annotations

import gc
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from cyclopts import App, CycloptsError, Group, MissingArgumentError, UnusedCliTokensError

from yoyak import __version__
from yoyak.cli.help_text import HelpText
from yoyak.cli.verbs import FLAGS, GROUPS, OPTIONS, RENAMED, TOPICS, VERBS, Verb
from yoyak.errors import UserError, nearest
from yoyak.process import TERMINATED, Terminated
from yoyak.project import LOG
from yoyak.tracking.uri import redact_credentials

VERBS_OF_TOPIC = "Verbs"


def build_app() -> App:
    """Return the command line; the module of a verb is imported when the verb is looked up in it."""
    app = App(
        name="yoyak",
        help="Train, score, register and serve dialogue summarizers, Korean first.",
        help_epilogue="The whole pipeline: dvc repro. Runs and models: mlflow ui. Values: params.yaml.\n"
        "More about a verb: yoyak VERB --help",
        usage="yoyak VERB [OPTIONS] [ARGUMENTS]",
        help_format="plaintext",
        help_formatter=HelpText(),
        group_parameters=Group(OPTIONS),
        version=f"yoyak {__version__}",
        version_format="plaintext",
        suppress_keyboard_interrupt=False,
        result_action="return_value",
    )
    groups = {name: Group.create_ordered(name) for name in (*GROUPS, VERBS_OF_TOPIC, OPTIONS)}
    topics: dict[str, App] = {}
    for index, verb in enumerate(VERBS):
        parent, group = app, groups[verb.group]
        *above, name = verb.path
        if above:
            [topic] = above
            if topic not in topics:
                topics[topic] = _topic_app(topic, group, index)
                app.command(topics[topic])
            parent, group = topics[topic], groups[VERBS_OF_TOPIC]
        parent.command(
            f"{verb.location}:run",
            name=name,
            group=group,
            help=verb.help,
            help_epilogue="\n  ".join(("Examples:", *verb.examples)),
            sort_key=index,
        )
    app.register_install_completion_command(group=groups[OPTIONS], help="Let your shell complete verbs and options.")
    for flag, text in (("--help", "Print this help."), ("--version", "Print the version.")):
        app[flag].group, app[flag].help = groups[OPTIONS], text
    return app


def find_app(app: App, verb: Verb) -> App:
    """Return the command of a verb."""
    for word in verb.path:
        app = app[word]
    return app


def _topic_app(name: str, group: Group, sort_key: int) -> App:
    """Return what holds the verbs whose first word is ``name``."""
    return App(
        name=name,
        group=group,
        sort_key=sort_key,
        group_parameters=Group(OPTIONS),
        help=TOPICS[name],
        help_epilogue=f"More about a verb: yoyak {name} VERB --help",
        usage=f"yoyak {name} VERB [OPTIONS] [ARGUMENTS]",
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb and return the exit code.

    0 is success, 1 an error that a person can fix, 2 a wrong command line, 130 Ctrl-C, 143 SIGTERM.
    """
    tokens = list(sys.argv[1:] if arguments is None else arguments)
    # Importing torch, transformers and mlflow creates a million long-lived objects: scanning them for cycles again and
    # again would take an eighth of the import time.
    gc.set_threshold(100_000)
    app = build_app()
    name = " ".join(("yoyak", *_find_words(tokens)))
    try:
        if not tokens or (len(tokens) == 1 and tokens[0] in TOPICS):
            app.help_print(tokens, console=app.error_console)
            return 2
        problem = check_verb(tokens)
        if problem:
            _print_error(f"yoyak: {problem}; see `yoyak --help`")
            return 2
        app(tokens, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        _print_error(f"{name}: {describe_usage_error(error)}; see `{name} --help`")
        return 2
    except UserError as error:
        _log_traceback()
        _print_error(f"{name}: {error}")
        return 1
    except KeyboardInterrupt:
        _print_error(f"{name}: interrupted")
        return 130
    except Terminated as error:
        _print_error(f"{name}: {error}")
        return TERMINATED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        log = _log_traceback()
        _print_error(f"{name}: {_describe_error(error)} (traceback: {log})")
        return 1
    return 0


def check_verb(tokens: Sequence[str]) -> str:
    """Return what is wrong with the verb: it is unknown, or was renamed. Empty if it is fine."""
    verb, *rest = tokens
    if verb.startswith("-"):
        return "" if verb in FLAGS else f"there is no option {verb}{nearest(verb, FLAGS)}"
    for token in (*rest, ""):
        option = token.partition("=")[0]
        if (verb, option) in RENAMED:
            return f"`yoyak {f'{verb} {option}'.strip()}` is now `{RENAMED[verb, option]}`"
    known = {each.path[0] for each in VERBS}
    if verb not in known:
        return f"there is no verb '{verb}'{nearest(verb, known)}"
    if verb in TOPICS and rest and rest[0] not in FLAGS:
        known = {each.path[1] for each in VERBS if each.path[0] == verb}
        if rest[0] not in known:
            return f"there is no verb '{verb} {rest[0]}'{nearest(rest[0], known)}"
    if verb == "register" and rest and not rest[0].startswith("-"):
        return "`yoyak register FILE` is now `yoyak import`"
    return ""


def _find_words(tokens: Sequence[str]) -> list[str]:
    """Return the words of the verb: the first one, and the second one of a verb of two."""
    words = [token for token in tokens[:2] if not token.startswith("-")]
    return words[: 2 if words and words[0] in TOPICS else 1]


def describe_usage_error(error: CycloptsError) -> str:
    """Return what is wrong with the arguments, as part of a sentence."""
    if isinstance(error, MissingArgumentError) and error.argument is not None:
        name = error.keyword or error.argument.name
        return f"{name} needs a value" if error.keyword else f"{name.lstrip('-').upper()} is missing"
    if isinstance(error, UnusedCliTokensError):
        return f"too many arguments: {' '.join(error.unused_tokens or ())}"
    first, *others = " ".join(str(error).split()).rstrip(".").split(". ")
    return "; ".join(part[:1].lower() + part[1:] for part in (first, *others))


def _describe_error(error: Exception) -> str:
    """Describe an error that no stage handled: a problem with files or the disk, or something unexpected."""
    from yoyak.files import is_disk_full

    if is_disk_full(error):
        path = getattr(error, "filename", None)
        where = f", and {path} could not be written" if path else ""
        return f"the disk is full{where}: free some space and run it again, which goes on from what is there"
    if isinstance(error, OSError) and error.strerror:
        if isinstance(error, FileNotFoundError) and not Path(error.filename).is_absolute():
            return f"{error.filename} is missing: `dvc repro` creates it, or `dvc pull` fetches it"
        path = error.filename or "a file could not be written or read"
        return f"{path}: {error.strerror[:1].lower()}{error.strerror[1:]}"
    return f"unexpected {type(error).__name__}: {' '.join(str(error).split()) or 'it has no message'}"


def _print_error(sentence: str) -> None:
    """Print to stderr on a new line: progress bars that an error left open are closed first."""
    tqdm = getattr(sys.modules.get("tqdm"), "tqdm", None)
    for bar in list(getattr(tqdm, "_instances", ())):
        bar.close()
    print(redact_credentials(sentence), file=sys.stderr)


def _log_traceback() -> Path | str:
    """Append the traceback to the log; failing to write it must not hide the error itself."""
    try:
        LOG.parent.mkdir(exist_ok=True)
        with LOG.open("a", encoding="utf-8") as log:
            log.write(redact_credentials(f"$ {' '.join(sys.argv)}\n{traceback.format_exc()}\n"))
    except OSError:
        return "not written, the folder is read-only"
    return LOG
