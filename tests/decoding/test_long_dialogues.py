"""Dialogues that do not fit into the window: what of them is read, in torch, exported, and by several models."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from onnx_models import save_model
from yoyak.decoding.candidates import read_candidates, write_candidates
from yoyak.decoding.loading import load_member
from yoyak.decoding.onnx.runtime import OnnxSummarizer
from yoyak.decoding.reading import divide
from yoyak.decoding.summarizer import Summaries, describe_readings
from yoyak.decoding.torch import TorchSummarizer
from yoyak.ensemble.combine import Combiner
from yoyak.ensemble.soft import SoftSummarizer
from yoyak.ensemble.summarizer import EnsembleSummarizer
from yoyak.export.folder import export_model
from yoyak.files import read_json_lines
from yoyak.models.spec import load_spec, save_spec
from yoyak.params import Generation
from yoyak.params.deploy import Export
from yoyak.params.ensemble import Vote
from yoyak.params.members import Windows

SHORT = "#Person1#: 네?"
TURNS = [f"#Person{1 + number % 2}#: {'세 시에 만나요. ' * (1 + number % 2)}{number}" for number in range(14)]
LONG = "\n".join(TURNS)
ONE_TURN = "#Person1#: " + "네 시가 좋아요. " * 20
BEAMS = Generation(max_new_tokens=10, num_beams=3, num_return_sequences=3, batch_size=3)


@pytest.fixture(scope="module", params=["bart", "gpt2"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model as `yoyak train` saves it; its window holds 96 bytes or so."""
    return save_model(request.param, tmp_path_factory.mktemp(request.param) / "model")


def load(folder: Path, **changes: Any) -> TorchSummarizer:
    loaded = TorchSummarizer.load(folder, "cpu")
    return TorchSummarizer(loaded.model, loaded.tokenizer, replace(loaded.spec, **changes))


def text_of(summarizer: TorchSummarizer, dialogue: str) -> str:
    [ids] = summarizer.encode([dialogue]).input_ids
    return summarizer.tokenizer.decode(ids).removeprefix("<s>").removesuffix("</s>").removesuffix("\n요약: ")


def best(summaries: Summaries) -> list[list[str]]:
    """All texts: the scores of a dialogue differ in the last digit with what shares its batch."""
    return [[candidate.text for candidate in candidates] for candidates in summaries.candidates]


def test_whole_turns_are_kept_from_the_end_or_from_both(model: Path) -> None:
    tail, both = (text_of(load(model, truncate=keep), LONG) for keep in ("tail", "both"))
    assert LONG.endswith(tail)
    assert tail.split("\n")[0] in TURNS
    lines = both.split("\n")
    assert lines[0] == TURNS[0]
    assert lines[-1] == TURNS[-1]
    assert set(lines) < set(TURNS)
    head = text_of(load(model), LONG)
    assert LONG.startswith(head.rstrip("\ufffd"))


@pytest.mark.parametrize("keep", ["head", "tail", "both"])
def test_a_single_turn_is_cut_where_it_has_to_be(model: Path, keep: str) -> None:
    summarizer = load(model, truncate=keep, prefix="요약: ")
    encoded = summarizer.encode([ONE_TURN, SHORT])
    assert encoded.cut == [True, False]
    assert len(encoded.input_ids[0]) <= summarizer.spec.max_input_tokens
    text = text_of(summarizer, ONE_TURN)
    assert text.startswith("요약: ")
    assert ("#Person1#" in text) == (keep != "tail")
    summaries = summarizer.summarize([ONE_TURN, SHORT])
    assert (summaries.read, summaries.cut) == ([keep, "whole"], [True, False])


def test_parts_overlap_and_hold_all_turns(model: Path) -> None:
    summarizer = load(model, windows=Windows(max_parts=20, overlap_turns=1))
    assert summarizer.window is not None
    division = divide(LONG, summarizer.window)
    parts = [part.split("\n") for part in division.parts]
    assert not division.cut
    assert list(dict.fromkeys(turn for part in parts for turn in part)) == TURNS
    assert all(part[-1] == after[0] for part, after in pairwise(parts))
    assert not any(summarizer.encode(division.parts).cut)
    assert divide(SHORT, summarizer.window).parts == (SHORT,)
    smaller = load(model, windows=Windows(max_parts=20, part_tokens=40)).window
    assert smaller is not None
    assert len(divide(LONG, smaller).parts) > len(parts)


def test_the_summary_of_the_parts_is_what_their_summaries_give(model: Path) -> None:
    summarizer, plain = load(model, windows=Windows(max_parts=20, overlap_turns=1)), load(model)
    assert summarizer.window is not None
    summaries = summarizer.summarize([SHORT, LONG], generation=BEAMS)
    single = BEAMS.model_copy(update={"num_return_sequences": 1})
    text = LONG
    while len(parts := divide(text, summarizer.window).parts) > 1:
        written = plain.summarize(parts, generation=single).texts
        text = "\n".join(dict.fromkeys(written))
        if len(divide(text, summarizer.window).parts) >= len(parts):
            break
    assert best(summaries) == best(plain.summarize([SHORT, text], generation=BEAMS))
    assert summaries.read == ["whole", "windows"]
    assert summarizer.count_searches([SHORT, LONG]) == [1, len(divide(LONG, summarizer.window).parts) + 1]


def test_joined_summaries_of_parts_follow_each_other(model: Path) -> None:
    summarizer = load(model, windows=Windows(max_parts=20, overlap_turns=0, merge="join"))
    assert summarizer.window is not None
    summaries = summarizer.summarize([LONG, SHORT], generation=BEAMS)
    parts = divide(LONG, summarizer.window).parts
    written = load(model).summarize(parts, generation=BEAMS).candidates
    for rank, joined in enumerate(summaries.candidates[0]):
        assert joined.text == " ".join(dict.fromkeys(candidates[rank].text for candidates in written))
    assert best(summaries)[1:] == best(load(model).summarize([SHORT], generation=BEAMS))
    assert (summaries.read, summaries.cut) == (["windows", "whole"], [False, False])


@pytest.mark.parametrize(("keep", "first", "last"), [("head", 0, None), ("tail", None, -1), ("both", 0, -1)])
def test_of_too_many_parts_the_kept_turns_are_read(model: Path, keep: str, first, last) -> None:
    summarizer = load(model, truncate=keep, windows=Windows(max_parts=2, overlap_turns=0))
    assert summarizer.window is not None
    division = divide(LONG, summarizer.window)
    turns = [turn for part in division.parts for turn in part.split("\n")]
    assert division.cut
    assert len(division.parts) <= 2
    assert first is None or turns[0] == TURNS[first]
    assert last is None or turns[-1] == TURNS[last]
    summaries = summarizer.summarize([LONG])
    assert (summaries.read, summaries.cut) == (["windows"], [True])


@pytest.mark.parametrize(
    "changes",
    [
        {"truncate": "both"},
        {"truncate": "tail", "preprocessing": ["drop_fillers"]},
        {"windows": {"max_parts": 4, "overlap_turns": 1}},
        {"windows": {"max_parts": 3, "overlap_turns": 0, "merge": "join"}, "preprocessing": ["plain_masks"]},
    ],
)
def test_an_export_reads_as_torch_does(model: Path, changes: dict, tmp_path: Path) -> None:
    source, exported = tmp_path / "model", tmp_path / "export"
    source.mkdir()
    for path in model.iterdir():
        (source / path.name).symlink_to(path.resolve())
    spec = load_spec(model)
    (source / "yoyak.json").unlink()
    windows = Windows(**changes["windows"]) if "windows" in changes else None
    save_spec(
        source,
        replace(
            spec,
            truncate=changes.get("truncate", "head"),
            windows=windows,
            preprocessing=tuple(changes.get("preprocessing", ())),
            generation=BEAMS.model_copy(update={"postprocessing": ("restore_masks", "drop_repeats")}),
        ),
    )
    export_model(source, exported, Export(precision="fp32"))
    dialogues = [SHORT, LONG, ONE_TURN, "#Person1#: 음… 저기, 네."]
    expected, actual = (
        load_member(source, "cpu").summarize(dialogues),
        OnnxSummarizer.load(exported).summarize(dialogues),
    )
    assert actual.texts == expected.texts
    assert (actual.read, actual.cut, actual.tokens) == (expected.read, expected.cut, expected.tokens)
    assert actual.read[1] != "whole"


def test_several_models_say_how_each_has_read(model: Path) -> None:
    whole, tail, parts = (
        load(model, max_input_tokens=2000),
        load(model, truncate="tail"),
        load(model, windows=Windows()),
    )
    ensemble = EnsembleSummarizer(
        {"whole": whole, "tail": tail, "parts": parts},
        Combiner(strategy=Vote(type="vote"), granularity="syllable", weights={"whole": 0.4, "tail": 0.3, "parts": 0.3}),
        BEAMS,
    )
    assert ensemble.count_searches([SHORT, LONG]) == [1, max(parts.count_searches([LONG]))]
    summaries = EnsembleSummarizer(
        {"tail": tail, "parts": parts},
        Combiner(strategy=Vote(type="vote"), granularity="syllable", weights={"tail": 0.5, "parts": 0.5}),
        BEAMS,
    ).summarize([SHORT, LONG])
    assert summaries.read == ["whole", "tail+windows"]
    assert summaries.cut[1]


def test_models_that_generate_together_read_the_same_parts(model: Path) -> None:
    windows = Windows(max_parts=20, overlap_turns=1)
    first, second = load(model, windows=windows), load(model, windows=windows, max_input_tokens=80)
    both = SoftSummarizer([first, second], [0.5, 0.5])
    assert both.window is not None
    assert second.window is not None
    assert both.window.room == second.window.room
    summaries = both.summarize([SHORT, LONG], generation=BEAMS)
    assert (summaries.read, summaries.cut[0]) == (["whole", "windows"], False)
    assert both.count_searches([LONG]) == second.count_searches([LONG])
    # The same model twice writes what it writes alone, of the same parts.
    assert (
        summaries.texts
        == load(model, windows=windows, max_input_tokens=80).summarize([SHORT, LONG], generation=BEAMS).texts
    )


def test_parts_fit_into_the_window_of_a_member_that_truncates_by_itself(model: Path) -> None:
    windows = Windows(max_parts=20, overlap_turns=1)
    both = SoftSummarizer([load(model, windows=windows), load(model, max_input_tokens=80)], [0.5, 0.5])
    summaries = both.summarize([LONG], generation=BEAMS)
    assert (summaries.read, summaries.cut) == (["windows"], [False])


def test_predictions_say_how_a_dialogue_was_read(model: Path, tmp_path: Path) -> None:
    summaries = load(model, truncate="both").summarize([SHORT, LONG])
    path = tmp_path / "dev.jsonl"
    write_candidates(path, zip(["a", "b"], summaries.candidates, strict=True), summaries.read)
    assert [row.get("read") for row in read_json_lines(path)] == [None, "both"]
    assert read_candidates(path)["b"] == summaries.candidates[1]
    assert describe_readings(summaries) == (
        "1 of 2 dialogues did not fit into the model's window: 1 read from both ends only"
    )
    assert describe_readings(Summaries(candidates=[[]], cut=[False], tokens=summaries.tokens)) == ""
