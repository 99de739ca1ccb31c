"""docs/migration.md: its examples run as they are written."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from mlflow_helpers import DIALOGUE
from yoyak.data.records import Dialogue, write_jsonl
from yoyak.project import DEV_SPLIT
from yoyak.registry import queries

PAGE = Path(__file__).parents[2] / "docs/migration.md"


@pytest.mark.slow
def test_every_python_block_runs(store: Any, tiny_bart: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(tiny_bart, "models/bart")
    rows = [Dialogue(fname=f"dev-{n}", dialogue=DIALOGUE.replace("세", str(n)), summaries=("약속",)) for n in range(4)]
    write_jsonl(DEV_SPLIT, rows)
    text = PAGE.read_text(encoding="utf-8")
    blocks = [*re.finditer(r"```python\n(.*?)```", text, re.DOTALL)]
    assert len(blocks) == 4
    namespace: dict[str, Any] = {}
    printed = []
    for block in blocks:
        # Blank lines before it, so that a traceback has the line of the page.
        code = "\n" * text[: block.start(1)].count("\n") + block[1]
        exec(compile(code, str(PAGE), "exec"), namespace)
        printed.append(capsys.readouterr().out)
    assert printed[0].startswith("yoyak/1 bart 0.41 ")
    assert printed[1] == "yoyak-bart/2 0.44\n['yoyak-bart/2', 'yoyak/1', 'yoyak-bart/3']\n"
    assert printed[2].startswith("yoyak/1 ")
    assert "learning_rate" in printed[3]
    assert "dev combined" in printed[3]
    assert len(queries.find_versions()) == 4


def test_every_name_of_the_table_exists() -> None:
    from yoyak.registry import comparing, promotion
    from yoyak.tracking import runs, stage_run

    modules = {
        "queries": queries, "comparing": comparing, "promotion": promotion, "runs": runs, "run": stage_run.StageRun
    }  # fmt: skip
    text = PAGE.read_text(encoding="utf-8")
    named = [match for match in re.findall(r"`(?:with )?(\w+)\.(\w+)[(`]", text) if match[0] in modules]
    assert len(named) > 8
    for module, name in named:
        assert hasattr(modules[module], name)
