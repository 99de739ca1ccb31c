"""Memory that moves to large pages keeps its content."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from yoyak.decoding.onnx import pages


@pytest.mark.skipif(not pages.MAPS.is_file(), reason="Linux only")
def test_what_is_in_memory_stays_the_same() -> None:
    array = np.random.default_rng(0).integers(0, 256, 16 * pages.PAGE, dtype=np.uint8)
    total = int(array.sum())
    # An array is not aligned to large pages: a part at either end stays where it is.
    assert pages.use_large_pages() >= array.nbytes - 2 * pages.PAGE
    assert int(array.sum()) == total
    array[:] = 1
    assert int(array.sum()) == array.size


def test_other_systems_stay_as_they_are(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(pages, "MAPS", tmp_path / "maps")
    assert pages.use_large_pages() == 0


def test_files_and_shared_memory_stay_where_they_are(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    maps = tmp_path / "maps"
    maps.write_text(
        "7f0000000000-7f0000400000 r--p 00000000 08:01 42   /lib/weights.so\n"
        "7f0000400000-7f0000800000 rw-s 00000000 00:00 0 \n"
        "7f0000800000-7f0000801000 rw-p 00000000 00:00 0 \n"
    )
    monkeypatch.setattr(pages, "MAPS", maps)
    assert pages.use_large_pages() == 0
