"""Data of any size: what is held of it does not grow with the rows."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yoyak.data import digests
from yoyak.data.digests import DigestSet
from yoyak.data.facts import Fact, KnownFacts, dump_facts, write_facts
from yoyak.data.reading import SourceRow, open_table
from yoyak.data.records import Dialogue, DialogueFile, in_parts, write_jsonl
from yoyak.data.samples import generate, write_samples
from yoyak.data.source_rows import Dialogues, store_rows
from yoyak.errors import UserError
from yoyak.params import Data

LIMITED = """
import resource, sys
from pathlib import Path
from yoyak.data.reading import open_table
from yoyak.data.source_rows import store_rows
from yoyak.params import Data

path = Path(sys.argv[1])
used = int(next(line for line in open("/proc/self/status") if line.startswith("VmData")).split()[1]) * 1024
resource.setrlimit(resource.RLIMIT_DATA, (used + int(sys.argv[2]),) * 2)
with open_table(path, Data(), "train") as table:
    rows = store_rows(table.rows, path.parent)
print(len(rows), rows[len(rows) - 1].value.fname, sum(len(row.value.dialogue) for row in rows))
"""
ROWS, CHARS = 400, 30_000


def write_large(path: Path) -> int:
    """Write a file that takes about 30 MB in UTF-8, and more as text in memory; return its size."""
    words = "가나다라 " * (CHARS // 5)
    with path.open("w", encoding="utf-8") as out:
        if path.suffix == ".csv":
            out.write("fname,dialogue,summary\n")
        for number in range(ROWS):
            row = (f"t{number}", f"#Person1#: {words}", "요약")
            out.write(",".join(row) + "\n" if path.suffix == ".csv" else json.dumps(
                dict(zip(("fname", "dialogue", "summary"), row, strict=True)), ensure_ascii=False) + "\n")  # fmt: skip
    return path.stat().st_size


@pytest.mark.parametrize("name", ["train.csv", "train.jsonl"])
def test_a_file_is_read_in_a_fraction_of_its_size(tmp_path: Path, name: str) -> None:
    size = write_large(tmp_path / name)
    limit = 8 << 20
    assert size > 3 * limit
    command = [sys.executable, "-c", LIMITED, str(tmp_path / name), str(limit)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.split() == [str(ROWS), f"t{ROWS - 1}", str(ROWS * (CHARS + len("#Person1#: ")))], done.stderr


def test_rows_are_parsed_when_they_are_taken(tmp_path: Path) -> None:
    path = tmp_path / "train.csv"
    path.write_text("fname,dialogue,summary\na,하나,둘\nb,셋\n", encoding="utf-8")
    with open_table(path, Data(), "train") as table:
        assert next(table.rows).value.fname == "a"
        with pytest.raises(UserError, match=r"row 2 \(line 3\): 2 fields"):
            next(table.rows)


class Tracked(Dialogue):
    """A dialogue that can be counted while it is alive."""


class Source:
    """Rows that count how many of them are alive at once."""

    def __init__(self, count: int) -> None:
        self.count, self.alive, self.most = count, 0, 0

    def __iter__(self) -> Iterator[SourceRow]:
        for number in range(self.count):
            row = Tracked(fname=f"t{number}", dialogue=f"#Person1#: {number}", summaries=(f"요약 {number}",))
            self.alive += 1
            self.most = max(self.most, self.alive)
            weakref.finalize(row, self._forget)
            yield SourceRow(value=row, location=f"row {number}", group=str(number % 3))

    def _forget(self) -> None:
        self.alive -= 1


def test_stored_rows_are_let_go_and_read_again() -> None:
    source = Source(500)
    rows = store_rows(source)
    assert source.most <= 3
    assert len(rows) == 500
    assert [row.value.fname for row in rows[10:13]] == ["t10", "t11", "t12"]
    assert rows.select(rows.groups == rows.groups[1])[1] == rows[4]
    dialogues = Dialogues(rows, with_groups=True)
    assert dialogues[4] == Dialogue(fname="t4", dialogue="#Person1#: 4", summaries=("요약 4",), group="1")
    assert dialogues == list(dialogues) and dialogues != list(dialogues)[1:]
    assert rows[0] is not rows[0], "read each time"


def test_a_file_of_rows_is_read_line_by_line(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    write_jsonl(path, generate(5, 1, split="train"))
    path.write_bytes(path.read_bytes() + b"{damaged\n")
    rows = DialogueFile(path)
    assert len(rows) == 6
    taken = iter(rows)
    assert [next(taken) for _ in range(5)] == list(generate(5, 1, split="train"))
    with pytest.raises(UserError, match="line 6 is damaged"):
        next(taken)


def test_parts_are_taken_one_at_a_time() -> None:
    taken: list[int] = []
    parts = in_parts((taken.append(number) or number for number in range(7)), 3)  # type: ignore[func-returns-value]
    assert next(parts) == [0, 1, 2] and taken == [0, 1, 2]
    assert list(parts) == [[3, 4, 5], [6]]


class Pipe:
    """A stream that ends the generation when it has seen some rows."""

    def __init__(self, rows: int) -> None:
        self.rows = rows

    def write(self, text: str) -> int:
        self.rows -= 1
        if self.rows < 0:
            raise BrokenPipeError
        return len(text)


@pytest.mark.parametrize("is_open", [False, True])
def test_samples_are_written_as_they_are_generated(is_open: bool) -> None:
    # A million rows take minutes; these do not.
    with pytest.raises(BrokenPipeError):
        write_samples(Pipe(5), 1_000_000, 1, is_open=is_open)  # type: ignore[arg-type]


def test_a_set_of_digests_is_a_set_and_takes_8_bytes_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digests, "RECENT", 8)
    chance = random.Random(1)
    numbers = [chance.randrange(1 << 64) for _ in range(1000)]
    seen = DigestSet()
    for count, number in enumerate(numbers):
        digest = number.to_bytes(8, "big")
        assert digest not in seen and len(seen) == count
        seen.add(digest)
    assert all(number.to_bytes(8, "big") in seen for number in numbers)
    assert not any(chance.randrange(1 << 64).to_bytes(8, "big") in seen for _ in range(1000))
    assert len(seen._recent) < 8 and len(seen._sorted) < 10
    assert sum(array.nbytes for array in seen._sorted) <= 8 * 1000


texts = st.text(min_size=1, max_size=5)
known = st.builds(
    KnownFacts,
    st.lists(st.builds(Fact, st.sampled_from(["number", "name"]), st.tuples(texts)), max_size=2).map(tuple),
    st.lists(texts, max_size=2).map(tuple),
)


@settings(max_examples=30)
@given(st.dictionaries(texts, st.dictionaries(texts, known, max_size=3), max_size=3))
def test_facts_are_written_one_by_one_as_json_writes_all(tmp_path_factory, facts) -> None:
    path = tmp_path_factory.mktemp("facts") / "facts.json"
    write_facts(path, {split: iter(rows.items()) for split, rows in facts.items()})
    value = {split: {name: dump_facts(each) for name, each in rows.items()} for split, rows in facts.items()}
    assert path.read_text(encoding="utf-8") == json.dumps(value, ensure_ascii=False, indent=2) + "\n"
