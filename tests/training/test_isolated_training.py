"""What is left of a training that ends, however it ends."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

from yoyak.errors import UserError
from yoyak.training.isolation import errors_logged, run_isolated


def test_an_error_is_a_sentence_and_its_traceback(tmp_path: Path) -> None:
    log = tmp_path / "errors/bart.log"
    with pytest.raises(UserError), errors_logged(log):
        raise UserError("members.bart: too large.")
    sentence, empty, first, *_ = log.read_text().splitlines()
    assert (sentence, empty) == ("members.bart: too large.", "")
    assert first.startswith("Traceback")


def test_a_success_removes_the_error_before_it(tmp_path: Path) -> None:
    log = tmp_path / "bart.log"
    log.write_text("members.bart: too large.\n")
    with errors_logged(log):
        pass
    assert not log.exists()


def end_by(signal_number: int) -> list[str]:
    code = f"import os, signal; number = {int(signal_number)}"
    if signal_number != signal.SIGKILL:
        # A shell lets what it runs in the background ignore Ctrl-C.
        code += "; signal.signal(number, signal.SIG_DFL)"
    return [sys.executable, "-c", f"{code}; os.kill(os.getpid(), number)"]


@pytest.mark.parametrize("signal_number", [signal.SIGKILL, signal.SIGABRT])
def test_a_process_that_is_killed_is_a_failure(tmp_path: Path, signal_number: int) -> None:
    log = tmp_path / "errors/bart.log"
    reason = run_isolated(end_by(signal_number), log)
    assert "killed" in reason or "SIGABRT" in reason
    assert log.read_text().startswith(reason)


def test_the_error_that_a_process_wrote_is_its_reason(tmp_path: Path) -> None:
    log = tmp_path / "bart.log"
    code = f"open({str(log)!r}, 'w').write('members.bart: too large.\\n\\nTraceback'); raise SystemExit(1)"
    assert run_isolated([sys.executable, "-c", code], log) == "members.bart: too large."


def test_a_success_is_no_failure_whatever_an_earlier_run_wrote(tmp_path: Path) -> None:
    log = tmp_path / "bart.log"
    log.write_text("members.bart: too large.\n")
    assert run_isolated([sys.executable, "-c", ""], log) == ""
    assert not log.exists()


def test_a_training_that_a_person_ends_ends_the_stage(tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as error:
        run_isolated(end_by(signal.SIGTERM), tmp_path / "bart.log")
    assert error.value.code == 128 + signal.SIGTERM
    with pytest.raises(KeyboardInterrupt):
        run_isolated(end_by(signal.SIGINT), tmp_path / "bart.log")
