"""The memory that a container leaves to a search."""

from pathlib import Path

import pytest

from yoyak.serving.memory import free_in_container

V2 = {"memory.max": "4000", "memory.current": "3900", "memory.stat": "anon 1000\ninactive_file 2500\nactive_file 400\n"}
V1 = {
    "memory/memory.limit_in_bytes": "4000",
    "memory/memory.usage_in_bytes": "3900",
    "memory/memory.stat": "inactive_file 7\ntotal_inactive_file 2500\n",
}


@pytest.mark.parametrize(
    ("files", "free"),
    [
        (V2, 2600),
        (V1, 2600),
        ({**V2, "memory.stat": "anon 1000\n"}, 100),
        ({**V2, "memory.max": "max\n"}, None),
        ({"memory.max": "4000"}, None),
        ({}, None),
    ],
)
def test_files_that_a_container_has_read_take_nothing_from_a_search(
    tmp_path: Path, files: dict[str, str], free: int | None
) -> None:
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    assert free_in_container(tmp_path) == free
