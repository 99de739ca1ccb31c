"""How many cores there are in a container that may use only some of the machine's time."""

from __future__ import annotations

from pathlib import Path

import pytest

from yoyak.cpu import cores, cpu_quota, has_vnni


def write(root: Path, files: dict[str, str]) -> tuple[Path, Path]:
    """Write control groups, and the file that names a process' own."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root / "cgroup", root / "own"


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({"own": "0::/\n", "cgroup/cpu.max": "150000 100000\n"}, 1.5),
        ({"own": "0::/\n", "cgroup/cpu.max": "max 100000\n"}, None),
        ({"own": "0::/a/b\n", "cgroup/cpu.max": "max 100000", "cgroup/a/b/cpu.max": "50000 100000"}, 0.5),
        # A limit of a group above applies too.
        ({"own": "0::/a/b\n", "cgroup/a/cpu.max": "200000 100000", "cgroup/a/b/cpu.max": "300000 100000"}, 2.0),
        # In a container, the path is one of the host, and the group itself is mounted.
        ({"own": "0::/docker/123\n", "cgroup/cpu.max": "400000 100000"}, 4.0),
        (
            {
                "own": "11:memory:/m\n4:cpu,cpuacct:/x\n0::/\n",
                "cgroup/cpu,cpuacct/x/cpu.cfs_quota_us": "250000",
                "cgroup/cpu,cpuacct/x/cpu.cfs_period_us": "100000",
            },
            2.5,
        ),
        ({"own": "4:cpu:/x\n", "cgroup/cpu/x/cpu.cfs_quota_us": "-1", "cgroup/cpu/x/cpu.cfs_period_us": "1"}, None),
        ({"own": "0::/\n", "cgroup/cpu.max": "nonsense"}, None),
        ({"own": "nonsense\n"}, None),
        ({}, None),
    ],
)
def test_the_quota_of_a_container_is_read(tmp_path: Path, files: dict[str, str], quota: float | None) -> None:
    assert cpu_quota(*write(tmp_path, files)) == quota


@pytest.mark.parametrize(("quota", "expected"), [("50000 100000", 1), ("100000 100000", 1), ("max 100000", None)])
def test_cores_are_no_more_than_the_quota(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quota: str, expected: int | None
) -> None:
    cgroup, own = write(tmp_path, {"own": "0::/\n", "cgroup/cpu.max": "max 100000"})
    monkeypatch.setattr("yoyak.cpu.CGROUPS", cgroup)
    monkeypatch.setattr("yoyak.cpu.OWN_CGROUPS", own)
    unlimited = cores()
    (cgroup / "cpu.max").write_text(quota)
    assert cores() == (unlimited if expected is None else expected)


@pytest.mark.parametrize(
    ("flags", "expected"),
    [("fma avx2 avx512f avx512_vnni", True), ("avx2 avx_vnni", True), ("fma avx2 avx512f", False), (None, False)],
)
def test_vnni_is_found_among_the_processors_flags(flags: str | None, expected: bool, tmp_path: Path) -> None:
    info = tmp_path / "cpuinfo"
    if flags:
        info.write_text(f"processor\t: 0\nmodel name\t: Any\nflags\t\t: fpu {flags} xsave\n")
    assert has_vnni(info) == expected
