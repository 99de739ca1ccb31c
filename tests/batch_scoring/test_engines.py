"""Each row of many files is in a part or rejected, once, and a run goes on where the last one was interrupted."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import psutil
import pytest

from batch_scoring.dialogue_files import (
    FAILING,
    ROWS,
    change_code,
    read_parts,
    read_rejected,
    write_csv,
    write_json_lines,
    write_parquet,
)
from yoyak import params
from yoyak.batch_scoring.model import LoadedModel
from yoyak.batch_scoring.results import PartResult, write_part
from yoyak.batch_scoring.run import Options, score
from yoyak.batch_scoring.sources import Part
from yoyak.batch_scoring.storage import lock_folder, open_storage
from yoyak.batch_scoring.worker import Job, load_model, score_part
from yoyak.errors import UserError
from yoyak.models.manifest import write_manifest

DATA = params.Data()
BAD: list[dict] = [
    {"fname": "empty", "dialogue": "#Person1#: "},
    {"fname": "", "dialogue": "#Person1#: 네."},
    {"fname": "number", "dialogue": "12345"},
    {"fname": "null", "dialogue": None},
]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    load_model.cache_clear()


def run_local(model: Path, input: Path | str, output: Path, **options: object) -> str:
    return score(str(model), str(input), str(output), DATA, Options(engine="local", workers=1, **options))  # type: ignore[arg-type]


@pytest.mark.slow
def test_every_row_is_summarized_or_rejected_exactly_once(packaged: Path, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    write_csv(folder / "a.csv", ROWS[:7])
    write_json_lines(folder / "b.jsonl", [*ROWS[7:12], *BAD])
    write_parquet(folder / "c.parquet", ROWS[12:])
    sentence = run_local(packaged, folder, tmp_path / "out", part_rows=5)
    assert "24 dialogues: 20 summarized" in sentence
    assert "4 rejected" in sentence
    parts, rejected = read_parts(tmp_path / "out"), read_rejected(tmp_path / "out")
    assert [row["id"] for row in parts] == [row["fname"] for row in ROWS]
    assert [(Path(row["source"]).name, row["row"]) for row in parts] == [
        *(("a.csv", row) for row in range(1, 8)),
        *(("b.jsonl", row) for row in range(1, 6)),
        *(("c.parquet", row) for row in range(1, 9)),
    ]
    reasons = {row["row"]: (row["id"], row["reason"]) for row in rejected}
    assert reasons[6] == ("empty", 'The dialogue is empty: send its turns, one per line, as in "#Person1#: …".')
    assert reasons[7] == (None, "The id is empty.")
    assert "has no words" in reasons[8][1]
    assert "is empty" in reasons[9][1]
    # The summaries are the model's own, as a server gives them.
    model = LoadedModel(packaged, 1)
    expected = {row["fname"]: model.answer([row["dialogue"].strip()])[0] for row in ROWS}
    assert {row["id"]: row["summary"] for row in parts} == {name: answer.summary for name, answer in expected.items()}
    assert {row["id"]: row["truncated"] for row in parts} == {
        name: answer.truncated for name, answer in expected.items()
    }
    assert len({row["summary"] for row in parts}) > 5
    assert {row["model"] for row in parts} == {str(packaged)}
    assert (tmp_path / "out/_SUCCESS").exists()
    manifest = json.loads((tmp_path / "out/_manifest.json").read_text())
    assert manifest["rows"] == 24
    assert manifest["finished"]["summarized"] == 20
    # Nothing is left to do.
    again = run_local(packaged, folder, tmp_path / "out")
    assert "24 of them before" in again


@pytest.mark.slow
def test_a_dialogue_on_which_the_model_fails_is_rejected_alone(failing_model: Path, tmp_path: Path) -> None:
    rows = [*ROWS[:6], {"fname": "bad", "dialogue": f"#Person1#: {FAILING}"}, *ROWS[6:8]]
    write_csv(tmp_path / "a.csv", rows)
    run_local(failing_model, tmp_path / "a.csv", tmp_path / "out")
    assert len(read_parts(tmp_path / "out")) == 8
    [rejected] = read_rejected(tmp_path / "out")
    assert (rejected["id"], rejected["row"]) == ("bad", 7)
    assert rejected["reason"] == "the model fails with RuntimeError: out of order"


@pytest.mark.slow
def test_a_model_that_fails_on_everything_is_an_error_and_not_many_bad_rows(
    failing_model: Path, tmp_path: Path
) -> None:
    write_csv(tmp_path / "a.csv", [{"fname": str(n), "dialogue": f"#Person1#: {FAILING} {n}"} for n in range(3)])
    with pytest.raises(UserError, match=r"fails on each of the 3 dialogues of part 0: .*out of order"):
        run_local(failing_model, tmp_path / "a.csv", tmp_path / "out")
    assert read_rejected(tmp_path / "out") == []
    assert not (tmp_path / "out/_SUCCESS").exists()


def test_the_model_is_run_by_the_code_that_it_was_registered_with(packaged: Path, tmp_path: Path) -> None:
    change_code(
        packaged,
        tmp_path / "other",
        "            summaries = self.summarizer.summarize(texts, generation=settings)\n",
        "            return [Answer('its own code', False) for _ in texts]\n",
    )
    other, installed = LoadedModel(tmp_path / "other", 1), LoadedModel(packaged, 1)
    for _ in range(2):
        assert other.answer(["#Person1#: 네."])[0].summary == "its own code"
        assert installed.answer(["#Person1#: 네."])[0].summary != "its own code"
    from yoyak.serving import engine

    assert Path(engine.__file__).is_relative_to(Path(params.__file__).parents[1])


@pytest.mark.slow
def test_an_earlier_run_goes_on_only_with_everything_as_it_was(packaged: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    write_csv(tmp_path / "a.csv", ROWS)
    run_local(packaged, tmp_path / "a.csv", output, part_rows=10)
    expected = read_parts(output)
    # A file that is damaged is no part.
    (output / "part-00001.parquet").write_bytes((output / "part-00001.parquet").read_bytes()[:50])
    (output / ".part-00001.parquet.1234").write_bytes(b"half")
    kept = (output / "part-00000.parquet").stat().st_mtime_ns

    def refused(words: str, model: Path = packaged, data: params.Data = DATA, **options: object) -> None:
        with pytest.raises(UserError, match=f"{words}.*--start-over"):
            score(str(model), str(tmp_path / "a.csv"), str(output), data, Options(engine="local", **options))  # type: ignore[arg-type]

    change_code(packaged, tmp_path / "other", "        started = time.perf_counter()\n", "        pass\n")
    refused("the code of the model has changed", tmp_path / "other")
    shutil.copytree(packaged, tmp_path / "beams")
    [spec] = (tmp_path / "beams").rglob("yoyak.json")
    spec.write_text(spec.read_text().replace('"num_beams": 1', '"num_beams": 2'))
    write_manifest(tmp_path / "beams")
    refused(f"the model was {packaged} and is {tmp_path / 'beams'} .and 1 more", tmp_path / "beams")
    refused("data.max_chars was 20000 and is 50", data=params.Data(max_chars=50))
    refused("--part-rows was 10 and is 11", part_rows=11)
    assert "10 of them before" in run_local(packaged, tmp_path / "a.csv", output)
    assert (output / "part-00000.parquet").stat().st_mtime_ns == kept
    assert read_parts(output) == expected
    assert not list(output.glob(".part*"))
    write_csv(tmp_path / "a.csv", ROWS[:19])
    refused(f"the input {tmp_path}/a.csv has changed")
    # Told to start over, it forgets the earlier run.
    run_local(packaged, tmp_path / "a.csv", output, part_rows=4, start_over=True)
    assert [row["id"] for row in read_parts(output)] == [row["fname"] for row in ROWS[:19]]


def test_a_folder_of_something_else_is_left_alone(packaged: Path, tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", ROWS)
    (tmp_path / "out").mkdir()
    (tmp_path / "out/precious.txt").touch()
    with pytest.raises(UserError, match="holds other files"):
        run_local(packaged, tmp_path / "a.csv", tmp_path / "out", start_over=True)
    with pytest.raises(UserError, match="holds files of --input"):
        run_local(packaged, tmp_path / "*.csv", tmp_path)


def test_a_second_run_into_the_same_folder_is_refused(packaged: Path, tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", ROWS)
    output = tmp_path / "out"
    with lock_folder(open_storage(str(output))):
        written = output / ".part-00000.parquet.12345678"
        written.touch()
        with pytest.raises(UserError, match=r"Another run is writing to .*out: wait until it is over"):
            run_local(packaged, tmp_path / "a.csv", output, start_over=True)
        assert written.exists()


def test_an_error_leaves_no_folder(packaged: Path, tmp_path: Path) -> None:
    (tmp_path / "a.csv").touch()
    with pytest.raises(UserError, match="holds no dialogue"):
        run_local(packaged, tmp_path / "a.csv", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with pytest.raises(UserError, match=r"a\.csv cannot be written"):
        run_local(packaged, tmp_path, tmp_path / "a.csv")


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> list[Callable[[], object]]:
    """Parts are summarized in this process; what the list holds is called after the last one."""
    after: list[Callable[[], object]] = []

    def score_all(job: Job, parts: Sequence[Part], workers: int, advance: object) -> Iterator[PartResult]:
        for part in parts:
            yield score_part(job, part)
        for call in after:
            call()

    monkeypatch.setattr("yoyak.batch_scoring.local.score_in_processes", score_all)
    return after


def test_a_part_that_another_run_has_replaced_is_missing_at_the_end(
    packaged: Path, tmp_path: Path, in_this_process: list[Callable[[], object]]
) -> None:
    write_csv(tmp_path / "a.csv", ROWS)
    write_part(open_storage(str(tmp_path)), "another run", "m", "a.csv", 1, [], [])
    in_this_process.append(lambda: shutil.copy(tmp_path / "part-00001.parquet", tmp_path / "out"))
    with pytest.raises(UserError, match=r"1 parts are not in .*out, such as part-00001\.parquet"):
        run_local(packaged, tmp_path / "a.csv", tmp_path / "out", part_rows=10)
    assert not (tmp_path / "out/_SUCCESS").exists()


def test_a_run_that_was_killed_after_its_last_part_is_a_success_the_next_time(
    packaged: Path, tmp_path: Path, in_this_process: list[Callable[[], object]]
) -> None:
    write_csv(tmp_path / "a.csv", ROWS[:3])
    output = tmp_path / "out"
    run_local(packaged, tmp_path / "a.csv", output)
    expected = read_parts(output)
    (output / "part-00000.parquet").unlink()

    def die() -> None:
        raise KeyboardInterrupt

    in_this_process.append(die)
    with pytest.raises(KeyboardInterrupt):
        run_local(packaged, tmp_path / "a.csv", output)
    assert not (output / "_SUCCESS").exists()
    run_local(packaged, tmp_path / "a.csv", output)
    assert (output / "_SUCCESS").exists()
    assert read_parts(output) == expected


def start(*arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "yoyak", "summarize", *map(str, arguments)]
    return subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def wait_for(condition: object, seconds: float = 300) -> None:
    deadline = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.slow
def test_after_a_kill_the_same_command_goes_on_and_each_row_is_there_once(packaged: Path, tmp_path: Path) -> None:
    change_code(packaged, tmp_path / "slow", "        started = time.perf_counter()\n", "        time.sleep(0.15)\n")
    write_csv(tmp_path / "a.csv", ROWS)
    output = tmp_path / "out"
    command = (
        "--model", tmp_path / "slow", "--input", tmp_path / "a.csv", "--output", output, "--engine", "local",
        "--workers", 2, "--part-rows", 2,
    )  # fmt: skip
    process = start(*command)
    wait_for(lambda: len(list(output.glob("part-*.parquet"))) >= 2)
    workers = psutil.Process(process.pid).children(recursive=True)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert not (output / "_SUCCESS").exists()
    # Nobody goes on working for a process that is gone.
    assert not psutil.wait_procs(workers, timeout=10)[1]
    written = {path.name: path.stat().st_mtime_ns for path in output.glob("part-*.parquet")}
    assert 2 <= len(written) < 10
    process = start(*command)
    out, errors = process.communicate()
    assert process.returncode == 0, errors
    assert f"{2 * len(written)} of them before" in out
    assert Counter(row["id"] for row in read_parts(output)) == Counter(row["fname"] for row in ROWS)
    assert {name: (output / name).stat().st_mtime_ns for name in written} == written
    # Once more, and a worker is killed instead.
    process = start(*command, "--start-over")
    wait_for(lambda: not (output / "_SUCCESS").exists() and list(output.glob("part-*.parquet")))
    worker = max(psutil.Process(process.pid).children(), key=lambda child: child.memory_info().rss)
    worker.kill()
    out, errors = process.communicate()
    assert process.returncode == 1
    assert "ended by the system" in errors.splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--workers", "2"], "--workers needs --engine local"),
        (["--start-over"], "--start-over needs --engine local"),
        (["--engine", "local"], "name them with --input and --output"),
        (["--engine", "local", "--input", "a", "--output", "b", "--master", "x"], "--master is for --engine spark"),
        (["--engine", "spark", "--input", "a", "--output", "b", "--workers", "2"], "--workers is for --engine local"),
    ],
)
def test_options_that_do_not_belong_together_are_refused(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    from yoyak import cli

    assert cli.main(["summarize", "some/model", *arguments]) == 1
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1
