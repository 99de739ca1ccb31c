"""Figures of a server's process that has died."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from yoyak.serving.metrics import Metrics

WRITE = "from yoyak.serving.metrics import Metrics; metrics = Metrics(); metrics.active.inc(); metrics.dialogues.inc(3)"


def test_gauges_of_a_dead_process_are_dropped_and_its_counts_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    subprocess.run([sys.executable, "-c", WRITE], check=True, env=dict(os.environ))
    [gauge] = tmp_path.glob("gauge_livesum_*.db")
    own = gauge.with_name(f"gauge_livesum_{os.getpid()}.db")
    own.write_bytes(gauge.read_bytes())
    figures = Metrics().render().decode()
    assert not gauge.exists()
    assert own.exists()
    assert "yoyak_requests_active 1.0" in figures
    assert "yoyak_dialogues_total 3.0" in figures
