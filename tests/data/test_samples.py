"""The generated corpus keeps its promises: the same for a seed, no leakage, true summaries, right particles."""

import csv
import hashlib
import io
import itertools
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from yoyak.data.samples import SplitName, generate, scenarios, stream_samples, write_corpus, write_samples
from yoyak.data.samples.compose import Sample
from yoyak.data.samples.slots import SLOTS
from yoyak.errors import UserError
from yoyak.korean.josa import particle

MASKS = {"PhoneNumber", "Address", "DateOfBirth", "Email", "PassportNumber", "CardNumber", "CarNumber"}
SPEAKERS = {"Person1", "Person2", "Person3"}
PARTICLES = {form: form for form in ("은", "을", "이", "과", "으로", "이에요", "이야", "이라", "이라고", "이면")}
PARTICLES |= {form: form for form in ("이나", "이고", "이죠", "이요", "이랑")}
PARTICLES |= {"는": "은", "를": "을", "가": "이", "와": "과", "로": "으로", "예요": "이에요", "야": "이야"}
PARTICLES |= {"라고": "이라고", "면": "이면", "요": "이요"}
"""A particle as written, and the form to ask for."""


@pytest.fixture(scope="module")
def corpus() -> dict[str, list[Sample]]:
    sizes: dict[SplitName, int] = {"train": 2000, "dev": 200, "test": 200, "gate": 100}
    return {split: list(stream_samples(size, 20, split=split)) for split, size in sizes.items()}


@pytest.fixture(scope="module")
def every(corpus: dict[str, list[Sample]]) -> list[Sample]:
    return [sample for rows in corpus.values() for sample in rows]


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def spoken_form(sample: Sample, slot: str, reported: str) -> str:
    values = SLOTS[dict(sample.scenario.slots)[slot]]
    return next(value.spoken for value in values if value.reported == reported)


def test_the_same_seed_gives_the_same_rows_and_another_seed_others() -> None:
    rows = list(generate(60, 1, split="train"))
    assert rows == list(generate(60, 1, split="train"))
    assert rows == list(generate(90, 1, split="train"))[:60]
    with_another_seed = {row.dialogue for row in generate(60, 2, split="train")}
    assert len(with_another_seed & {row.dialogue for row in rows}) < 3


def test_rows_do_not_depend_on_the_hash_seed_of_the_process() -> None:
    code = "from yoyak.data.samples import generate; print(list(generate(30, 3, split='test')))"
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONIOENCODING": "utf-8"},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(outputs) == 1
    assert b"#Person1#" in outputs.pop()


def test_rows_are_streamed() -> None:
    # All rows of the second call would take minutes.
    assert next(generate(1, 5, split="train")) == next(generate(10**6, 5, split="train"))


def test_there_are_enough_topics_and_scenarios() -> None:
    by_topic: dict[str, list[bool]] = {}
    for scenario in scenarios():
        by_topic.setdefault(scenario.topic, []).append(scenario.unseen)
    assert len(by_topic) >= 18
    assert all(3 <= len(group) <= 5 and not all(group) for group in by_topic.values())
    assert sum(any(group) for group in by_topic.values()) >= 5
    assert len({scenario.key for scenario in scenarios()}) == len(scenarios())


def test_every_topic_is_in_every_split(corpus: dict[str, list[Sample]]) -> None:
    topics = {scenario.topic for scenario in scenarios()}
    by_split = {split: {sample.scenario.topic for sample in rows} for split, rows in corpus.items()}
    assert by_split == dict.fromkeys(("train", "dev", "test", "gate"), topics)


@pytest.mark.parametrize(("split", "unseen"), [("test", 60), ("gate", 30)])
def test_unseen_scenarios_are_in_the_unseen_part_of_test_and_gate_only(
    corpus: dict[str, list[Sample]], split: SplitName, unseen: int
) -> None:
    assert not any(sample.scenario.unseen for name in ("train", "dev") for sample in corpus[name])
    trained = {sample.scenario.key for sample in corpus["train"]}
    rows = list(generate(len(corpus[split]), 20, split=split))
    assert sum(row.slice == "unseen" for row in rows) == unseen
    for row, sample in zip(rows, corpus[split], strict=True):
        assert row.slice == ("seen" if sample.scenario.key in trained else "unseen")


def test_no_dialogue_comes_twice(every: list[Sample]) -> None:
    texts = [sample.dialogue for sample in every]
    assert len(set(texts)) == len(texts)


def test_splits_of_different_seeds_never_share_a_dialogue() -> None:
    sizes: dict[SplitName, int] = {"train": 300, "dev": 300, "test": 300, "gate": 30}
    texts = {
        split: {row.dialogue for seed in range(4) for row in generate(size, seed, split=split)}
        for split, size in sizes.items()
    }
    for left, right in itertools.combinations(texts.values(), 2):
        assert not left & right


def test_dialogues_have_two_to_twenty_turns_of_two_or_three_speakers(every: list[Sample]) -> None:
    lengths = set()
    for sample in every:
        turns = [re.fullmatch(r"#(Person[1-3])#: (\S.*\S)", turn) for turn in sample.dialogue.split("\n")]
        assert all(turns), sample.dialogue
        names = [turn.group(1) for turn in turns if turn]
        assert all(left != right for left, right in itertools.pairwise(names)), sample.dialogue
        assert list(dict.fromkeys(names)) in (["Person1", "Person2"], ["Person1", "Person2", "Person3"])
        lengths.add(len(names))
    assert min(lengths) == 2
    assert max(lengths) <= 20
    assert len(lengths) > 12


def test_some_dialogues_have_a_third_speaker(every: list[Sample]) -> None:
    assert 0.03 < sum("#Person3#:" in sample.dialogue for sample in every) / len(every) < 0.3


def test_references_differ_and_are_of_a_sentence_s_length(every: list[Sample]) -> None:
    for sample in every:
        assert len(set(sample.references)) == 3, sample.references
        for reference in sample.references:
            assert 25 <= len(reference) <= 90, reference
            assert reference.endswith("다."), reference
            assert set(re.findall(r"#(Person\d)#", reference)) <= {"Person1", "Person2"}


def test_what_a_summary_reports_was_spoken(every: list[Sample]) -> None:
    checked = set()
    for sample in every:
        for slot, reported in sample.values.items():
            if f"{{{slot}" not in sample.scenario.summaries[0]:
                continue
            assert spoken_form(sample, slot, reported) in sample.dialogue, (sample.scenario.key, slot, sample.dialogue)
            assert all(reported in reference for reference in sample.references), (reported, sample.references)
            checked.add(sample.scenario.key)
    assert len(checked) > len(scenarios()) / 2


def test_a_summary_has_the_corrected_value_and_not_the_first_one(every: list[Sample]) -> None:
    corrected = [sample for sample in every if sample.corrected]
    assert 0.2 < len(corrected) / len(every) < 0.6
    for sample in corrected:
        assert sample.corrected
        first, last = sample.corrected
        old, new = (spoken_form(sample, sample.scenario.fix, reported) for reported in (first, last))
        assert sample.dialogue.index(old) < sample.dialogue.rindex(new), sample.dialogue
        for reference in sample.references:
            assert last in reference, (last, reference)
            assert first not in reference, (first, reference)


def test_masks_are_known_ones_and_all_of_them_occur(every: list[Sample]) -> None:
    masks = {mask for sample in every for mask in re.findall(r"#(\w+)#", sample.dialogue)}
    assert masks == MASKS | SPEAKERS
    reported = {mask for sample in every for text in sample.references for mask in re.findall(r"#(\w+)#", text)}
    assert reported <= MASKS | SPEAKERS


def test_particles_after_masks(every: list[Sample]) -> None:
    closed = r"#(?:Person1|Email)#(?:는|가|를|와|예요)(?![가-힣])"
    # #Email# ends in ㄹ and takes 로, #Person1# in ㄴ and takes 으로.
    open_ = r"#(?!Person1#|Email#)\w+#(?:은|이|을|과|으로|이에요)(?![가-힣])|#Person1#로|#Email#으로"
    for sample in every:
        text = "\n".join((sample.dialogue, *sample.references))
        wrong = re.search(f"{closed}|{open_}", text)
        assert not wrong, (wrong, text)


def test_particles_after_generated_values(every: list[Sample]) -> None:
    """In the finished text, every value is followed by the right form of the particle."""
    checked = 0
    for sample in every:
        for reported in sample.values.values():
            for reference in sample.references:
                for match in re.finditer(re.escape(reported) + r"(은|는|을|를|이|가|과|와|으로|로) ", reference):
                    written = match.group(1)
                    assert particle(reported, PARTICLES[written]) == written, reference
                    checked += 1
    assert checked > 3000


def test_particles_written_out_in_templates_suit_every_value() -> None:
    for scenario in scenarios():
        lists = dict(scenario.slots)
        blocks = (*scenario.openings, *scenario.core, *scenario.extras, *scenario.closings, *scenario.briefs)
        texts = [(text, False) for block in blocks for _, text in block]
        for text, in_summary in [*texts, *((summary, True) for summary in scenario.summaries)]:
            for slot, following in re.findall(r"\{~?(\w+)\}([가-힣]+)", text):
                written = max((form for form in PARTICLES if following.startswith(form)), key=len, default=None)
                if written is None or slot in "ABC":
                    continue
                for value in SLOTS[lists.get(slot, slot.removeprefix("x_"))]:
                    word = value.reported if in_summary else value.spoken
                    assert particle(word, PARTICLES[written]) == written, (scenario.key, word, following)


def test_no_template_placeholder_is_left_in_a_text(every: list[Sample]) -> None:
    for sample in every:
        text = "\n".join((sample.dialogue, *sample.references))
        assert not re.search(r"[{}\[\]|~]|  |\b[ABC]:", text), text


def test_write_corpus_makes_files_that_read_back(tmp_path: Path) -> None:
    write_corpus(tmp_path / "data", train=70, dev=20, test=30, gate=10, seed=4)
    assert {path.stem for path in (tmp_path / "data").iterdir()} == {"train", "dev", "test", "gate"}
    for split, size in (("train", 70), ("dev", 20)):
        rows = read(tmp_path / "data" / f"{split}.csv")
        facts = [] if split == "train" else ["facts"]
        assert list(rows[0]) == ["fname", "dialogue", "summary", "topic", *facts]
        assert [row["fname"] for row in rows] == [f"{split}_{number}" for number in range(size)]
    held_out: dict[SplitName, int] = {"test": 30, "gate": 10}
    for split, size in held_out.items():
        rows = read(tmp_path / "data" / f"{split}.csv")
        assert list(rows[0]) == ["fname", "dialogue", "summary1", "summary2", "summary3", "topic", "slice", "facts"]
        for row, expected in zip(rows, generate(size, 4, split=split), strict=True):
            assert (row["dialogue"], row["topic"], row["slice"]) == (expected.dialogue, expected.topic, expected.slice)
            assert tuple(row[f"summary{number}"] for number in (1, 2, 3)) == expected.summaries
    raw = (tmp_path / "data" / "train.csv").read_bytes()
    assert b"\r" not in raw
    assert raw.startswith(b"fname,")


def test_the_default_corpus_is_the_shipped_one(tmp_path: Path) -> None:
    write_corpus(tmp_path)
    remote = Path(__file__).parents[2] / "dvc-remote" / "files" / "md5"
    for path in tmp_path.iterdir():
        digest = hashlib.md5(path.read_bytes()).hexdigest()
        assert (remote / digest[:2] / digest[2:]).is_file(), path.name


def test_train_uses_the_first_wording_most(corpus: dict[str, list[Sample]]) -> None:
    rows = generate(2000, 20, split="train")
    wordings = [sample.references.index(row.summaries[0]) for row, sample in zip(rows, corpus["train"], strict=True)]
    assert 0.75 < wordings.count(0) / 2000 < 0.85
    assert min(wordings.count(1), wordings.count(2)) > 120


def test_the_default_train_file_is_small(tmp_path: Path) -> None:
    write_corpus(tmp_path, dev=0, test=0, gate=0)
    assert (tmp_path / "train.csv").stat().st_size < 1_900_000


def test_write_samples_writes_the_same_to_a_path_and_to_a_stream(tmp_path: Path) -> None:
    stream = io.StringIO()
    write_samples(stream, 15, 9)
    write_samples(tmp_path / "some.csv", 15, 9)
    assert (tmp_path / "some.csv").read_text(encoding="utf-8") == stream.getvalue()
    assert [row["fname"] for row in read(tmp_path / "some.csv")] == [f"train_{number}" for number in range(15)]


def test_an_unknown_split_and_a_negative_number_are_refused_at_once() -> None:
    with pytest.raises(UserError, match="did you mean 'train'"):
        generate(1, 0, split="trian")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="-1"):
        generate(-1, 0, split="train")
