"""Spark gives the answers that the local engine gives; these tests need PySpark and Java (docs/scale.md)."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
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
from yoyak.batch_scoring.run import Options, score
from yoyak.batch_scoring.spark import check_spark
from yoyak.errors import UserError

SPARK = importlib.util.find_spec("pyspark") is not None
needs_spark = pytest.mark.skipif(
    not (SPARK and shutil.which("java")), reason="pip install pyspark==4.2.0; apt-get install default-jre-headless"
)
TWO = "local[2]"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(model: Path, input: Path, output: Path, **options: object) -> str:
    return score(str(model), str(input), str(output), params.Data(), Options(**options))  # type: ignore[arg-type]


def test_without_pyspark_or_java_a_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        # Python's documented way to make an import fail.
        patch.setitem(sys.modules, "pyspark", None)
        with pytest.raises(UserError, match=r"needs PySpark.*pip install 'pyspark==4\.2\.0'"):
            check_spark()
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setenv("JAVA_HOME", "/no/java")
    with pytest.raises(UserError, match="needs PySpark" if not SPARK else "none in JAVA_HOME, /no/java: install it"):
        check_spark()
    monkeypatch.delenv("JAVA_HOME")
    with pytest.raises(UserError, match="needs PySpark" if not SPARK else "none on the PATH: install it"):
        check_spark()


@needs_spark
@pytest.mark.slow
def test_both_engines_write_the_same(failing_model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    bad = [{"fname": "bad", "dialogue": f"#Person1#: {FAILING}"}, {"fname": "empty", "dialogue": ""}]
    write_csv(folder / "a.csv", [*ROWS[:4], *bad, *ROWS[4:8]])
    write_json_lines(folder / "b.jsonl", ROWS[8:12])
    write_parquet(folder / "c.parquet", ROWS[12:], 3)
    run(failing_model, folder, tmp_path / "spark", engine="spark", master=TWO, part_rows=4)
    run(failing_model, folder, tmp_path / "local", engine="local", workers=2, part_rows=4)
    parts, rejected = read_parts(tmp_path / "spark"), read_rejected(tmp_path / "spark")
    assert [row["id"] for row in parts] == [row["fname"] for row in ROWS]
    assert [row["id"] for row in rejected] == ["bad", "empty"]
    assert parts == read_parts(tmp_path / "local")
    assert rejected == read_rejected(tmp_path / "local")
    for path in (tmp_path / "local").glob("*.parquet"):
        assert path.read_bytes() == (tmp_path / "spark" / path.name).read_bytes()
    # A run of one engine goes on with the other.
    (tmp_path / "spark/part-00001.parquet").unlink()
    sentence = run(failing_model, folder, tmp_path / "spark", engine="local", workers=1)
    assert "18 of them before" in sentence
    assert read_parts(tmp_path / "spark") == parts
    # What a task raises arrives as its sentence.
    write_csv(tmp_path / "all.csv", [{"fname": str(n), "dialogue": f"#Person1#: {FAILING} {n}"} for n in range(3)])
    with pytest.raises(UserError, match=r"^The model fails on each of the 3 dialogues of part 0: .*out of order$"):
        run(failing_model, tmp_path / "all.csv", tmp_path / "nothing", engine="spark", master=TWO)
    assert read_parts(tmp_path / "nothing") == []


@needs_spark
@pytest.mark.slow
def test_after_a_kill_the_same_command_goes_on_and_each_row_is_there_once(packaged: Path, tmp_path: Path) -> None:
    change_code(packaged, tmp_path / "slow", "        started = time.perf_counter()\n", "        time.sleep(0.3)\n")
    write_csv(tmp_path / "a.csv", ROWS)
    output = tmp_path / "out"
    command = [
        sys.executable, "-m", "yoyak", "summarize", "--model", str(tmp_path / "slow"), "--input", "a.csv",
        "--output", str(output), "--engine", "spark", "--master", TWO, "--part-rows", "2",
    ]  # fmt: skip
    process = subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    wait_for(lambda: len(list(output.glob("part-*.parquet"))) >= 2)
    others = psutil.Process(process.pid).children(recursive=True)
    assert any("java" in child.name() for child in others)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert not psutil.wait_procs(others, timeout=20)[1]
    written = {path.name: path.stat().st_mtime_ns for path in output.glob("part-*.parquet")}
    assert len(written) < 10
    completed = subprocess.run(command, text=True, capture_output=True, check=True)
    assert f"{2 * len(written)} of them before" in completed.stdout
    # Spark's own lines are in its log, and a person sees the bar.
    assert "WARN" not in completed.stderr
    assert "20/20" in completed.stderr
    assert (tmp_path / "logs/spark.log").stat().st_size
    assert Counter(row["id"] for row in read_parts(output)) == Counter(row["fname"] for row in ROWS)
    assert {name: (output / name).stat().st_mtime_ns for name in written} == written


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[str]:
    """The URL of a master with one worker, as processes of their own."""
    import pyspark

    home = Path(pyspark.__file__).parent
    port = free_port()
    names = {"SPARK_HOME": str(home), "SPARK_LOCAL_IP": "127.0.0.1", "PYSPARK_PYTHON": sys.executable}
    url = f"spark://127.0.0.1:{port}"

    def start(name: str, *arguments: object) -> subprocess.Popen[bytes]:
        command = [home / "bin/spark-class", f"org.apache.spark.deploy.{name}", "--host", "127.0.0.1", *arguments]
        with (tmp_path / f"{name.rpartition('.')[2]}.log").open("wb") as log:
            environment = {**os.environ, **names}
            return subprocess.Popen([*map(str, command)], env=environment, cwd=tmp_path, stdout=log, stderr=log)

    processes = [start("master.Master", "--port", port, "--webui-port", free_port())]
    try:
        wait_for(lambda: "New state: ALIVE" in (tmp_path / "Master.log").read_text())
        options = ("--webui-port", free_port(), "--cores", 1, "--memory", "1g", "--work-dir", tmp_path / "work")
        processes.append(start("worker.Worker", *options, url))
        wait_for(lambda: "Successfully registered" in (tmp_path / "Worker.log").read_text())
        yield url
    finally:
        for process in reversed(processes):
            for child in [*psutil.Process(process.pid).children(recursive=True), process]:
                child.kill()
            process.wait()


@needs_spark
@pytest.mark.slow
def test_a_cluster_is_given_the_model_and_summarizes(packaged: Path, cluster: str, tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", ROWS)
    environment = {**os.environ, "SPARK_LOCAL_IP": "127.0.0.1", "PYSPARK_PYTHON": sys.executable}
    command = [
        sys.executable, "-m", "yoyak", "summarize", str(packaged), "--engine", "spark", "--master", cluster,
        "--input", "a.csv", "--output", "out", "--part-rows", "8",
    ]  # fmt: skip
    completed = subprocess.run(command, check=False, env=environment, text=True, capture_output=True)
    assert completed.returncode == 0, completed.stderr
    assert [row["id"] for row in read_parts(tmp_path / "out")] == [row["fname"] for row in ROWS]
    # The processes of the cluster have unpacked it in folders of their own.
    assert list((tmp_path / "work").rglob("model/MLmodel"))


@needs_spark
@pytest.mark.slow
def test_spark_udf_runs_the_model_too(packaged: Path, tmp_path: Path) -> None:
    """In a process of its own, since a session that another test has started has other settings."""
    rows = [{**row, "dialogue": row["dialogue"].strip()} for row in ROWS[:6]]
    write_csv(tmp_path / "a.csv", rows)
    code = f"""
import json, mlflow
from pyspark.sql import SparkSession
spark = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false").getOrCreate()
table = spark.createDataFrame({[tuple(row.values()) for row in rows]!r}, ["fname", "dialogue"])
summarize = mlflow.pyfunc.spark_udf(spark, {str(packaged)!r}, env_manager="local")
rows = table.withColumn("answer", summarize("dialogue")).select("fname", "answer.*").collect()
empty = spark.createDataFrame([("empty", "")], ["fname", "dialogue"])
try:
    empty.withColumn("answer", summarize("dialogue")).collect()
except Exception as error:
    print("is empty" in str(error))
print(json.dumps([[row.fname, row.summary, row.truncated] for row in rows]))
"""
    environment = {**os.environ, "PYSPARK_PYTHON": sys.executable}
    command = [sys.executable, "-c", code]
    completed = subprocess.run(command, check=False, env=environment, text=True, capture_output=True)
    assert completed.returncode == 0, completed.stderr[-2000:]
    *_, ended, answers = completed.stdout.splitlines()
    # What it cannot do: a dialogue that is refused ends the job.
    assert ended == "True"
    run(packaged, tmp_path / "a.csv", tmp_path / "out", engine="local", workers=1)
    expected = read_parts(tmp_path / "out")
    assert json.loads(answers) == [[row["id"], row["summary"], row["truncated"]] for row in expected]


def wait_for(condition: Callable[[], object], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])
