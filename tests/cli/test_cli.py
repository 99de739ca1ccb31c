"""The command line as people meet it: quick help, one-sentence errors, exit codes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from cli import command_line
from yoyak import cli
from yoyak.cli.verbs import VERBS
from yoyak.data.samples import write_corpus
from yoyak.errors import nearest

ROOT = Path(__file__).parents[2]
YOYAK = Path(sys.executable).with_name("yoyak")
HEAVY = ("torch", "transformers", "mlflow", "datasets", "pandas", "numpy", "kiwipiepy", "matplotlib", "pydantic")


def yoyak(*arguments: str, folder: Path | None = None, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run([YOYAK, *arguments], cwd=folder, input=stdin, capture_output=True, text=True, check=False)


def test_help_imports_nothing_heavy() -> None:
    code = f"""
import sys
from yoyak import cli
from yoyak.cli.verbs import VERBS
cli.main(["--help"])
print([name for name in {HEAVY} if name in sys.modules], file=sys.stderr)
"""
    completed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert completed.stderr.strip() == "[]"
    assert "Train one member" in completed.stdout


def test_the_command_line_is_frozen() -> None:
    hint = "the command line has changed: if you meant that, run `python tests/cli/command_line.py` and commit the file"
    assert command_line.describe() == command_line.FILE.read_text(encoding="utf-8"), hint


@pytest.mark.parametrize("columns", [80, 120])
def test_help_fits_the_terminal_and_has_no_colours_when_it_is_piped(
    columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    for arguments in (["--help"], ["models", "--help"], *([*verb.path, "--help"] for verb in VERBS)):
        assert cli.main(arguments) == 0
        out = capsys.readouterr().out
        assert "\x1b" not in out
        assert [line for line in out.splitlines() if len(line) > columns] == []


def test_help_names_every_verb_and_each_has_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    for verb in VERBS:
        assert cli.main([*verb.path[:-1], "--help"]) == 0
        assert f"\n  {verb.path[-1]} " in capsys.readouterr().out
        assert verb.examples
        assert all(f"yoyak {verb.name}" in example for example in verb.examples)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nonsense"], "'nonsense'"),
        (["sampels"], "did you mean 'samples'?"),
        (["--hlep"], "did you mean '--help'?"),
        (["train"], "MEMBER is missing"),
        (["train", "a", "b"], "too many arguments: b"),
        (["samples", "--n", "0"], ">= 1"),
        (["samples", "--n", "many"], '"many"'),
        (["samples", "--n"], "--n needs a value"),
        (["samples", "--sead", "3"], "Did you mean --seed?"),
        (["serve", "--port", "65536"], "<= 65535"),
        (["serve", "--port", "-1"], ">= 0"),
        (["models", "rollback", "--alias", "champoin"], 'did you mean "champion"?'),
        (["models", "lsit"], "did you mean 'list'?"),
        (["models", "show"], "MODEL is missing"),
        (["models", "compare", "1"], "OTHER is missing"),
        (["rollback"], "`yoyak models rollback`"),
        (["rollback", "champion"], "`yoyak models rollback`"),
        (["rollback", "serving"], "`yoyak models rollback --alias serving`"),
        (["predict", "--model", "x"], "`yoyak summarize`"),
        (["predict", "--model=x", "--input", "y"], "`yoyak summarize`"),
        (["ensemble", "--models", "a", "b"], "`yoyak combine`"),
        (["ensemble", "--all"], "`yoyak combine --all`"),
        (["register", "model.zip"], "`yoyak import`"),
        (["register", "--undo"], "`yoyak models rollback`"),
        (["release", "--undo"], "`yoyak models rollback --alias serving`"),
        (["export", "--model", "a", "--output", "b"], "`yoyak convert`"),
        (["samples", "--corpus", "data"], "`yoyak corpus`"),
    ],
)
def test_a_wrong_command_line_gives_one_sentence_and_exits_with_2(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("yoyak")
    assert message.lower() in error.lower()
    assert error.count("\n") == 1
    assert "--help`" in error


def test_no_verb_prints_the_help_and_exits_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert "summarize" in output.err


def test_a_shell_completes_verbs_and_choices(tmp_path: Path) -> None:
    path = tmp_path / "completion"
    install = [str(YOYAK), "--install-completion", "--shell", "bash", "--output", str(path)]
    subprocess.run(install, env={**os.environ, "HOME": str(tmp_path)}, check=True, capture_output=True)
    script = f"""
source {path}
function=$(complete -p yoyak | sed 's/.*-F \\([^ ]*\\).*/\\1/')
COMP_WORDS=(yoyak mod); COMP_CWORD=1; $function; echo "${{COMPREPLY[@]}}"
COMP_WORDS=(yoyak models roll); COMP_CWORD=2; $function; echo "${{COMPREPLY[@]}}"
COMP_WORDS=(yoyak models rollback --alias ""); COMP_CWORD=4; $function; echo "${{COMPREPLY[@]}}"
"""
    completed = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert completed.stdout.split() == ["models", "rollback", "champion", "serving"]


def test_an_error_gives_one_sentence_and_logs_its_traceback(tmp_path: Path) -> None:
    completed = yoyak("prepare", folder=tmp_path)
    assert completed.returncode == 1
    assert completed.stderr.startswith("yoyak prepare: params.yaml is missing")
    assert completed.stderr.count("\n") == 1
    assert "Traceback" in (tmp_path / "logs/yoyak.log").read_text()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["register"], "evaluation/summary.json is missing"),
        (["bench"], "exports/"),
        (["release"], "bench/serving.json is missing"),
        (["samples", "--output", "data"], "--output data is a folder"),
        (["params", "--file", "data"], "data is a folder"),
        (["samples", "--output", "params.yaml/rows.csv"], "params.yaml: "),
        (["summarize", "models/bart", "--output", "data"], "--output data"),
        (["train", "brat"], "'brat' (did you mean 'bart'?)"),
        (["predict", "bart"], "prepared/eval"),
    ],
)
def test_missing_inputs_and_unwritable_outputs_are_named(arguments: list[str], words: str, tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    (tmp_path / "data").mkdir()
    (tmp_path / "data/train.csv").touch()
    completed = yoyak(*arguments, folder=tmp_path)
    assert completed.returncode == 1
    assert completed.stderr.startswith(f"yoyak {arguments[0]}: ")
    assert words in completed.stderr
    assert completed.stderr.count("\n") == 1
    assert (tmp_path / "data/train.csv").exists()


def test_an_error_is_on_its_own_line_below_the_progress_bar(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_corpus(tmp_path / "data", train=20, dev=5, test=5, gate=5, seed=1)
    (tmp_path / "data/handwritten.csv").write_bytes((tmp_path / "data/dev.csv").read_bytes())
    (tmp_path / "params.yaml").write_text(
        (ROOT / "params.yaml").read_text().replace("vocab_size: 3000", "vocab_size: 400")
    )
    monkeypatch.chdir(tmp_path)
    assert cli.main(["prepare"]) == 1
    *bars, last, end = capsys.readouterr().err.split("\n")
    assert "training tokenizers" in "".join(bars)
    assert last.startswith("yoyak prepare: tokenizers.unigram: ")
    assert "vocab_size" in last
    assert end == ""
    assert not (tmp_path / "prepared").exists()


def test_ctrl_c_leaves_nothing_half_written(tmp_path: Path) -> None:
    # Tests that a shell runs in the background ignore Ctrl-C, and so would what they start.
    code = "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler)"
    command = [sys.executable, "-c", f"{code}; from yoyak.cli import main; sys.exit(main())"]
    process = subprocess.Popen(
        [*command, "samples", "--n", "1000000", "--output", "rows.csv"],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        deadline = time.monotonic() + 120
        while not list(tmp_path.glob(".rows.csv.*/rows.csv")) and time.monotonic() < deadline:
            time.sleep(0.01)
        # Python drops an interrupt that comes while it cleans up an object: a person presses again.
        while process.poll() is None and time.monotonic() < deadline + 120:
            process.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=5)
        _, stderr = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 130
    assert stderr.endswith("yoyak samples: interrupted\n")
    assert list(tmp_path.iterdir()) == []


def test_params_say_where_each_value_comes_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    monkeypatch.setenv("YOYAK__SCORING__CONFIDENCE", "0.9")
    rows = dict(line.split(maxsplit=1) for line in yoyak("params", folder=tmp_path).stdout.splitlines())
    assert rows["seed"].split() == ["20", "params.yaml"]
    assert rows["scoring.confidence"].split() == ["0.9", "YOYAK__SCORING__CONFIDENCE"]
    assert rows["members.bart.max_grad_norm"].split() == ["1.0", "default"]


def test_samples_are_the_same_for_the_same_seed(tmp_path: Path) -> None:
    first = yoyak("samples", "--n", "5", "--seed", "3").stdout
    assert first == yoyak("samples", "--n", "5", "--seed", "3").stdout
    assert first.startswith("fname,dialogue,summary,topic\n")
    yoyak("samples", "--n", "5", "--seed", "3", "--output", "rows.csv", folder=tmp_path)
    assert (tmp_path / "rows.csv").read_text(encoding="utf-8") == first


def test_a_reader_that_leaves_early_is_not_an_error() -> None:
    completed = subprocess.run(
        f"{YOYAK} samples --n 20000 | head -n 1", shell=True, capture_output=True, text=True, check=True
    )
    assert completed.stdout.startswith("fname")
    assert "Traceback" not in completed.stderr


def test_a_preset_replaces_params(tmp_path: Path) -> None:
    (tmp_path / "presets").mkdir()
    for name in ("smoke", "demo"):
        (tmp_path / f"presets/{name}.yaml").write_text((ROOT / f"presets/{name}.yaml").read_text())
    assert yoyak("preset", "smoke", folder=tmp_path).returncode == 0
    assert (tmp_path / "params.yaml").read_text() == (tmp_path / "presets/smoke.yaml").read_text()
    wrong = yoyak("preset", "smok", folder=tmp_path)
    assert "did you mean 'smoke'?" in wrong.stderr
    (tmp_path / "params.yaml").write_text("seed: 3\n")
    assert "has changes that are in no preset" in yoyak("preset", "demo", folder=tmp_path).stderr
    assert (tmp_path / "params.yaml").read_text() == "seed: 3\n"
    assert yoyak("preset", "demo", "--force", folder=tmp_path).returncode == 0


@pytest.mark.parametrize(
    ("name", "choices", "hint"),
    [
        ("Bart", ["bart", "t5"], " (did you mean 'bart'?)"),
        ("xyz", ["bart", "t5"], " (known: bart, t5)"),
        ("xyz", [], ""),
    ],
)
def test_the_nearest_name(name: str, choices: list[str], hint: str) -> None:
    assert nearest(name, choices) == hint
