"""Checkpoints on the Hub are read at the commit of params.yaml, which `yoyak pin` writes there."""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from models.hub_server import Hub, Repository, serve_hub
from models.test_checkpoints import make_bart, save_pickled
from yoyak.errors import UserError
from yoyak.models import catalog
from yoyak.models.tokenizers import train_tokenizer
from yoyak.params import Tokenizer
from yoyak.params.overrides import read_yaml
from yoyak.params.pins import set_revisions

TEXTS = ["#Person1#: 안녕하세요? 오늘 날씨가 좋네요.", "#Person1#은 인사한다."] * 20
NAME, PICKLED = "someone/tiny-bart", "digit82/kobart-summarization"
FIRST, SECOND, OLD = "a1" * 20, "b2" * 20, "3" * 40  # YAML takes the last one for a number.
PARAMS = f"""\
seed: 7
tokenizers: {{bpe: {{type: bpe, vocab_size: 320}}}}

members:
  # the first one
  safe:  # a BART
    family: seq2seq
    checkpoint: {NAME} # of somebody
    # how fast
    learning_rate: 1e-4
  # the second one
  flow: {{family: seq2seq, checkpoint: {NAME}, learning_rate: 1e-4}}
  tagged:
    family: seq2seq
    revision: "v1" # the first release
    checkpoint: {NAME}
    learning_rate: 1e-4
  pickled:
    family: seq2seq
    learning_rate: 1e-4
    checkpoint: kobart_digit82

  # from scratch
  new: {{family: seq2seq, config: {{model_type: bart}}, tokenizer: bpe, learning_rate: 1e-3}}
"""
PROGRAM = """
import contextlib, io, json, sys
from pathlib import Path
from yoyak import params
from yoyak.cli import main
from yoyak.errors import UserError

def call(arguments):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(arguments)
    return {"code": code, "out": out.getvalue(), "err": err.getvalue()}

def load(name):
    import hashlib
    from yoyak.models.checkpoints import open_source
    from yoyak.models.load import build_model
    from yoyak.models.tokenizers import load_tokenizer
    member = params.load(params.Params).members[name]
    err = io.StringIO()
    try:
        with contextlib.redirect_stderr(err):
            source = open_source(member.checkpoint, member.revision)
            tokenizer = load_tokenizer(source.tokenizer, (), source.revision)
            model = build_model(name, member, tokenizer)
    except UserError as error:
        return {"error": str(error)}
    weights = hashlib.sha256(model.get_input_embeddings().weight.detach().numpy().tobytes()).hexdigest()
    return {"commit": model.config._commit_hash, "weights": weights, "err": err.getvalue()}

for line in sys.stdin:
    kind, argument = json.loads(line)
    print("\\n>" + json.dumps(call(argument) if kind == "call" else load(argument)), flush=True)
"""
Ask = Callable[[str, Any], dict[str, Any]]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The files of each commit."""
    tokenizer: Any = train_tokenizer(TEXTS, ["#Person1#"], Tokenizer(type="bpe", vocab_size=320))
    folders = {}
    for number, commit in enumerate((FIRST, SECOND, OLD)):
        folder, model = tmp_path_factory.mktemp(f"commit{number}"), make_bart(tokenizer)
        with torch.no_grad():
            model.get_input_embeddings().weight.add_(float(number))
        if commit == OLD:
            save_pickled(model, tokenizer, folder)
        else:
            tokenizer.save_pretrained(folder)
            model.save_pretrained(folder)
        folders[commit] = folder
    return folders


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    with serve_hub() as running:
        yield running


@pytest.fixture(autouse=True)
def repositories(hub: Hub, files: dict[str, Path]) -> None:
    """One commit of each model."""
    hub.repositories = {NAME: Repository(), PICKLED: Repository()}
    hub.repositories[NAME].push(FIRST, files[FIRST])
    hub.repositories[NAME].push(FIRST, files[FIRST], "v1")
    hub.repositories[PICKLED].push(OLD, files[OLD])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("project")


@pytest.fixture(scope="module")
def ask(hub: Hub, folder: Path) -> Iterator[Ask]:
    """Call Yoyak in a process that knows this Hub: libraries read the address when they are imported."""
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith(("HF_", "YOYAK_", "DVC_"))},
        "HF_ENDPOINT": hub.endpoint,
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_XET": "1",
        "HF_HOME": str(folder / "hub"),
        "XDG_CACHE_HOME": str(folder / "cache"),
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM], cwd=folder, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    stdin, stdout = process.stdin, process.stdout

    def send(kind: str, argument: Any) -> dict[str, Any]:
        stdin.write(json.dumps([kind, argument]) + "\n")
        stdin.flush()
        answer: dict[str, Any] = json.loads(next(line for line in stdout if line.startswith(">"))[1:])
        return answer

    yield send
    stdin.close()
    process.wait()


@pytest.fixture(autouse=True)
def fresh_params(folder: Path) -> Path:
    path = folder / "params.yaml"
    path.write_text(PARAMS)
    return path


def weights_of(folder: Path) -> str:
    from transformers import BartForConditionalGeneration

    weight = BartForConditionalGeneration.from_pretrained(folder).get_input_embeddings().weight
    return hashlib.sha256(weight.detach().numpy().tobytes()).hexdigest()


@pytest.mark.slow
def test_a_branch_that_moves_changes_nothing_for_a_pinned_member(hub: Hub, files, fresh_params: Path, ask: Ask) -> None:
    pinned = ask("call", ["pin", "safe"])
    assert pinned["code"] == 0, pinned["err"]
    hub.repositories[NAME].push(SECOND, files[SECOND])
    pinned, floating = ask("load", "safe"), ask("load", "flow")
    assert (pinned["commit"], pinned["weights"]) == (FIRST, weights_of(files[FIRST]))
    assert (floating["commit"], floating["weights"]) == (SECOND, weights_of(files[SECOND]))
    assert pinned["weights"] != floating["weights"]

    kept = fresh_params.read_text()
    assert "needs no change" in ask("call", ["pin", "safe"])["out"]
    assert fresh_params.read_text() == kept
    assert ask("call", ["pin", "safe", "--update"])["code"] == 0
    assert fresh_params.read_text() == kept.replace(FIRST, SECOND)


@pytest.mark.slow
def test_pickled_weights_of_a_pinned_name_are_converted_once_and_said_so(hub: Hub, files, ask: Ask) -> None:
    ask("call", ["pin", "pickled"])
    hub.repositories[PICKLED].push(SECOND, files[SECOND])
    first, again = ask("load", "pickled"), ask("load", "pickled")
    assert first["commit"] == again["commit"] == OLD
    assert first["weights"] == again["weights"] != weights_of(files[SECOND])
    assert first["err"].count("converting them to safetensors") == 1
    assert "converting" not in again["err"]


@pytest.mark.slow
def test_a_commit_that_does_not_exist_is_one_sentence(fresh_params: Path, ask: Ask) -> None:
    fresh_params.write_text(set_revisions(PARAMS, "params.yaml", {"safe": "9" * 40}))
    sentence = ask("load", "safe")["error"]
    assert "9" * 40 in sentence
    assert NAME in sentence
    assert sentence.count(". ") == 0


@pytest.mark.slow
def test_the_verb_pins_what_is_on_the_hub_and_changes_nothing_else(hub: Hub, fresh_params: Path, ask: Ask) -> None:
    requests = len(hub.requests)
    refused = ask("call", ["pin", "--check"])
    assert refused["code"] == 1
    assert "4 of 4" in refused["err"]
    assert "tagged (v1)" in refused["err"]
    assert len(hub.requests) == requests
    assert ask("call", ["pin"])["code"] == 0
    changes = list(difflib.ndiff(PARAMS.splitlines(), fresh_params.read_text().splitlines()))
    assert [line for line in changes if line.startswith(("-", "+"))] == [
        f"+     revision: {FIRST}",
        f"-   flow: {{family: seq2seq, checkpoint: {NAME}, learning_rate: 1e-4}}",
        f"+   flow: {{family: seq2seq, revision: {FIRST}, checkpoint: {NAME}, learning_rate: 1e-4}}",
        '-     revision: "v1" # the first release',
        f"+     revision: {FIRST} # the first release",
        f'+     revision: "{OLD}"',
    ]
    members = read_yaml(fresh_params)["members"]
    assert [member.get("revision") for member in members.values()] == [FIRST, FIRST, FIRST, OLD, None]
    assert ask("call", ["pin", "--check"])["code"] == 0


@pytest.mark.slow
@pytest.mark.parametrize(("change", "problem"), [("name", "no model 'someone/other'"), ("tag", "'v2' on the Hub")])
def test_what_the_hub_does_not_have_is_one_sentence(change: str, problem: str, fresh_params: Path, ask: Ask) -> None:
    text = PARAMS.replace(NAME, "someone/other") if change == "name" else PARAMS.replace('"v1"', "v2")
    fresh_params.write_text(text)
    answer = ask("call", ["pin", "tagged"])
    assert answer["code"] == 1
    assert problem in answer["err"]
    assert fresh_params.read_text() == text


def test_a_member_that_is_an_alias_is_refused() -> None:
    text = "members:\n  a: &a {family: seq2seq, checkpoint: kobart, learning_rate: 1e-4}\n  b: *a\n"
    with pytest.raises(UserError, match=r"members\.b is written in a way that cannot be edited"):
        set_revisions(text, "params.yaml", {"b": FIRST})


def test_the_catalogs_revision_is_used_where_a_member_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert all(entry.revision is None or len(entry.revision) == 40 for entry in catalog.entries().values())
    known = catalog.entries()
    pinned = {**known, "kobart": known["kobart"].model_copy(update={"revision": FIRST})}
    monkeypatch.setattr(catalog, "entries", lambda: pinned)
    assert catalog.find_revision("KoBART") == FIRST
    assert catalog.find_revision("gogamza/kobart-base-v2") == FIRST
    assert catalog.find_revision("kobart", SECOND) == SECOND
    assert catalog.find_revision("someone/kobart") is None
