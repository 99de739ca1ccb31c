"""What a process does with memory that it no longer needs."""

from __future__ import annotations

import gc
import os
import platform

import numpy as np
import psutil
import pytest

from yoyak.process import return_freed_memory, without_garbage_collection

MB = 2**20


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc keeps freed memory in this way")
@pytest.mark.skipif("MALLOC_MMAP_THRESHOLD_" in os.environ, reason="the environment decides")
def test_freed_blocks_go_back_to_the_system() -> None:
    return_freed_memory()
    process = psutil.Process()
    kept: list[np.ndarray] = []
    # Freeing the blocks of the first round is what would make glibc keep those of the others.
    for _ in range(3):
        blocks = []
        for _ in range(10):
            blocks.append(np.ones(24 * MB, np.uint8))
            kept.append(np.ones(MB // 16, np.uint8))
        full = process.memory_info().rss
        del blocks
        assert full - process.memory_info().rss > 200 * MB


@pytest.mark.parametrize("enabled", [True, False])
def test_garbage_is_collected_after_the_block_as_it_was_before(enabled: bool) -> None:
    before = gc.isenabled()
    try:
        (gc.enable if enabled else gc.disable)()
        with pytest.raises(ValueError, match="inside"), without_garbage_collection():
            assert not gc.isenabled()
            raise ValueError("inside")
        assert gc.isenabled() is enabled
    finally:
        (gc.enable if before else gc.disable)()
