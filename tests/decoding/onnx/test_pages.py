"""Memory that moves to large pages keeps its content."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from yoyak.decoding.onnx.pages import MAPS, PAGE, large_pages, list_pages


@pytest.mark.skipif(not MAPS.is_file(), reason="Linux only")
def test_what_is_in_memory_stays_the_same() -> None:
    before = list_pages()
    with large_pages():
        array = np.random.default_rng(0).integers(0, 256, 16 * PAGE, dtype=np.uint8)
        total = int(array.sum())
    # An array is not aligned to large pages: a part at either end stays where it is.
    assert len(list_pages() - before) >= 15
    assert int(array.sum()) == total
    array[:] = 1
    assert int(array.sum()) == array.size


def test_files_and_shared_memory_stay_where_they_are(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    maps = tmp_path / "maps"
    maps.write_text(
        "7f0000000000-7f0000400000 r--p 00000000 08:01 42   /lib/weights.so\n"
        "7f0000400000-7f0000800000 rw-s 00000000 00:00 0 \n"
        "7f0000801000-7f0000e01000 rw-p 00000000 00:00 0 \n"
    )
    monkeypatch.setattr("yoyak.decoding.onnx.pages.MAPS", maps)
    assert list_pages() == {0x7F0000A00000, 0x7F0000C00000}


def test_other_systems_stay_as_they_are(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("yoyak.decoding.onnx.pages.MAPS", tmp_path / "maps")
    with large_pages():
        assert list_pages() == set()
