"""Tests that several machines share: each runs exactly once."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharding import choose_files, parse_shard

ROOT = Path(__file__).parents[2]


@given(
    weights=st.dictionaries(st.text(min_size=1, max_size=5), st.integers(1, 100), max_size=30), shards=st.integers(1, 6)
)
def test_each_file_is_in_exactly_one_shard_and_none_has_much_more(weights: dict[str, int], shards: int) -> None:
    parts = [choose_files(weights, shard, shards) for shard in range(1, shards + 1)]
    assert sorted(name for part in parts for name in part) == sorted(weights)
    loads = [sum(weights[name] for name in part) for part in parts]
    assert max(loads) - min(loads) <= max(weights.values(), default=0)


def collect(folder: Path, *options: str) -> list[str]:
    command = [sys.executable, "-m", "pytest", "-q", "--collect-only", *options]
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True)
    return re.findall(r"^test_\S+", done.stdout, re.MULTILINE)


def test_all_shards_together_run_each_test_once(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text((ROOT / "tests/sharding.py").read_text(encoding="utf-8"), encoding="utf-8")
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = slow: slow\n")
    for number in range(5):
        body = "import pytest\n" + "".join(f"def test_{one}(): pass\n" for one in range(number + 1))
        (tmp_path / f"test_{number}.py").write_text(body + "@pytest.mark.slow\ndef test_slow(): pass\n")
    shards = [collect(tmp_path, "--shard", f"{number}/3") for number in (1, 2, 3)]
    everything = collect(tmp_path)
    assert len(everything) == 20
    assert sorted(one for shard in shards for one in shard) == sorted(everything)
    assert all(shards)
    files = [{one.partition("::")[0] for one in shard} for shard in shards]
    assert not files[0] & files[1] and not files[0] & files[2] and not files[1] & files[2]


@pytest.mark.parametrize("text", ["0/4", "5/4", "1/0", "1", "a/b", "-1/4", "1/4/2", "1/99999", ""])
def test_a_wrong_shard_is_refused_rather_than_running_nothing(text: str) -> None:
    with pytest.raises(pytest.UsageError, match="such as 2/4"):
        parse_shard(text)
