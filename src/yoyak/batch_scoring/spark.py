"""Parts over Spark: the processes of this machine, or a cluster.

Spark gives out the parts, and each task reads, summarizes and writes one of them as a local process does.
`mlflow.pyfunc.spark_udf` runs the same model, but a dialogue on which it fails ends the job, Spark decides which rows
share a batch, and what was done is lost with the job.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from yoyak.batch_scoring.results import PartResult
from yoyak.batch_scoring.sources import Part
from yoyak.batch_scoring.worker import Job, score_part
from yoyak.errors import UserError, first_line
from yoyak.project import SPARK_LOG

LOCAL = "local[*]"
_POLL = 0.2
"""Seconds between two looks at what is done."""
_RAISED = re.compile(r"^yoyak\.errors\.\w+: (.+)$", re.MULTILINE)


def check_spark() -> None:
    """Raise UserError where PySpark or Java is missing."""
    if importlib.util.find_spec("pyspark") is None:
        raise UserError(
            "--engine spark needs PySpark, which is not installed: pip install 'pyspark==4.2.0', or use --engine local."
        )
    java = Path(os.environ["JAVA_HOME"], "bin", "java") if os.environ.get("JAVA_HOME") else None
    if not (java.is_file() if java else shutil.which("java")):
        where = f"in JAVA_HOME, {os.environ['JAVA_HOME']}" if java else "on the PATH"
        raise UserError(
            f"--engine spark needs Java 17 or later, and there is none {where}: install it (on Debian: apt-get install "
            "default-jre-headless), or use --engine local."
        )


def score_on_spark(
    job: Job, parts: Sequence[Part], master: str, advance: Callable[[int], object]
) -> Generator[PartResult]:
    """Yield the result of each part soon after it is done; when the caller leaves off, the job is cancelled.

    ``advance`` is called with the number of its rows.

    The processes of a cluster need this package and what the model requires, and reach the input and the output by the
    names that this process has for them; the model is sent to them.

    Raises UserError for the first part that fails for good.
    """
    check_spark()
    is_local = master.startswith("local")
    with (
        tempfile.TemporaryDirectory(prefix="yoyak-") as temporary,
        _open_context(master, is_local) as context,
        ThreadPoolExecutor(1) as pool,
    ):
        results = context.accumulator([], _make_list_param())
        model = None if is_local else _send_folder(context, job.folder, Path(temporary))

        def score(part: Part) -> None:
            results.add([score_part(_with_model(job, model), part)])

        # Of an action, and only of that, Spark adds up what each task says exactly once, however often it was tried.
        done: Future[None] = pool.submit(context.parallelize(parts, len(parts)).foreach, score)
        try:
            seen = 0
            while True:
                is_over = done.done()
                there = results.value
                for result in there[seen:]:
                    advance(result.rows)
                    yield result
                seen = len(there)
                if is_over:
                    break
                time.sleep(_POLL)
            done.result()
        except Exception as error:  # py4j and pyspark have classes of their own for what a task raises.
            if isinstance(error, UserError):
                raise
            raise UserError(_find_sentence(error)) from error
        finally:
            if not done.done():
                context.cancelAllJobs()


def _with_model(job: Job, name: str | None) -> Job:
    """Return the job with the model where it was unpacked on this machine, if it was sent there."""
    if name is None:
        return job
    from pyspark import SparkFiles

    return replace(job, folder=Path(SparkFiles.get(name)))


def _send_folder(context: Any, folder: Path, temporary: Path) -> str:
    """Let Spark unpack a folder wherever it runs a task, and return its name there.

    Spark fetches it from the folder ``temporary`` for as long as the context is open.
    """
    archive = shutil.make_archive(str(temporary / "model"), "zip", folder)
    context.addArchive(f"{archive}#model")
    return "model"


@contextmanager
def _open_context(master: str, is_local: bool) -> Iterator[Any]:
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.appName("yoyak summarize").master(master)
    builder = builder.config("spark.ui.showConsoleProgress", "false")
    if is_local:
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
        for name in ("spark.driver.host", "spark.driver.bindAddress"):
            builder = builder.config(name, "127.0.0.1")
        # Its page would listen on all addresses.
        builder = builder.config("spark.ui.enabled", "false")
        # Java only gives out parts here: compiling and collecting with all its means would take cores from the model.
        builder = builder.config("spark.driver.extraJavaOptions", "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC")
    try:
        # Java keeps what standard error was when it started, and so do the processes that it starts.
        with _stderr_to(SPARK_LOG):
            session = builder.getOrCreate()
    except Exception as error:  # py4j passes on whatever Java raises, and Python what starting it raises.
        raise UserError(
            f"Spark cannot be started with --master {master} ({first_line(error)}); {SPARK_LOG} says more."
        ) from error
    try:
        session.sparkContext.setLogLevel("ERROR")
        yield session.sparkContext
    finally:
        session.stop()


@contextmanager
def _stderr_to(path: Path) -> Iterator[None]:
    """Let everything, whatever language it is written in, add to a file instead of standard error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with path.open("ab") as file:
            os.dup2(file.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _make_list_param() -> Any:
    from pyspark import AccumulatorParam

    class ListParam(AccumulatorParam[list[PartResult]]):
        def zero(self, value: list[PartResult]) -> list[PartResult]:
            return []

        def addInPlace(self, value1: list[PartResult], value2: list[PartResult]) -> list[PartResult]:  # noqa: N802
            return value1 + value2

    return ListParam()


def _find_sentence(error: BaseException) -> str:
    """Return what went wrong in a task, from the trace of Java and Python that Spark makes of it."""
    raised = _RAISED.findall(str(error))
    if raised:
        return str(raised[-1])
    return (
        f"Spark could not summarize a part ({first_line(error)}): {SPARK_LOG} says more, and the same command goes on "
        "from here."
    )
