"""A load or a first step that hangs ends the process, with a sentence that names its limit."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from yoyak.training.watchdog import time_limit

HANGING = """
import ctypes, sys
from yoyak.training import watchdog
watchdog.GRACE_SECONDS = 0.3
libc = {library}(None)
with watchdog.time_limit("members.m.max_load_seconds", 0.3, lambda sentence: print("failed:", sentence, flush=True)):
    libc.{function}(600)
print("not reached")
"""


def run(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )


def test_a_hung_call_of_c_code_ends_the_process_with_a_sentence(tmp_path: Path) -> None:
    done = run(HANGING.format(library="ctypes.CDLL", function="sleep"), tmp_path)
    sentence = "members.m.max_load_seconds: it took longer than 0.3 seconds"
    assert done.returncode == 1
    assert done.stderr.lstrip().startswith(sentence)
    assert done.stdout.startswith(f"failed: {sentence}")
    assert "not reached" not in done.stdout
    stacks = (tmp_path / "logs/yoyak.log").read_text()
    assert sentence in stacks
    assert 'File "<string>", line 7 in <module>' in stacks


def test_code_that_keeps_the_interpreter_to_itself_is_ended_too(tmp_path: Path) -> None:
    done = run(HANGING.format(library="ctypes.PyDLL", function="sleep"), tmp_path)
    assert done.returncode == 1
    assert "not reached" not in done.stdout
    assert 'File "<string>", line 7 in <module>' in done.stderr


LOADING = """
import sys, time
from pathlib import Path
from yoyak.models.libraries import import_transformers

import_transformers()
from transformers import BartForConditionalGeneration
from training.tiny_training import MASKS, TEXTS, train
from yoyak.models.tokenizers import train_tokenizer
from yoyak.params import Tokenizer

BartForConditionalGeneration.__init__ = lambda *args, **kwargs: time.sleep(600)
tokenizer = train_tokenizer(TEXTS, MASKS, Tokenizer(type="bpe", vocab_size=600))
train("bart", tokenizer, Path(), max_load_seconds=0.3)
"""


@pytest.mark.slow
def test_a_hung_load_ends_the_process(tmp_path: Path) -> None:
    done = run(LOADING, tmp_path)
    assert done.returncode == 1
    assert "members.bart.max_load_seconds: it took longer than 0.3 seconds" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["logs"]


@pytest.mark.parametrize("lifted", [True, False])
def test_what_is_done_in_time_goes_on(lifted: bool) -> None:
    with time_limit("a limit that is not reached", 600) as lift:
        if lifted:
            lift()
    with time_limit("none", None) as lift:
        lift()
