"""Every parser of ours gives a value or its documented error, whatever it is given: hypothesis makes the input up."""

from __future__ import annotations

import json
from contextlib import suppress
from encodings.aliases import aliases
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from yoyak import params
from yoyak.behaviour.cases import read_cases
from yoyak.data.cleaning import clean_row
from yoyak.data.reading import open_table
from yoyak.data.records import read_jsonl, write_jsonl
from yoyak.errors import UserError
from yoyak.files import read_json_lines, read_result
from yoyak.korean.masks import count_masks, distinct_masks, find_masks, find_stray_hashes, mask_at_end, split_mask
from yoyak.models.spec import load_spec
from yoyak.params import Params
from yoyak.params.deploy import Serving
from yoyak.params.load import validate
from yoyak.params.overrides import read_yaml
from yoyak.params.study_files import load_study, parse_study
from yoyak.scoring.results import EvaluationSummary
from yoyak.serving.bodies import read_invocations, read_json
from yoyak.serving.requests import check_dialogues, request_generation
from yoyak.serving.settings import load_serving
from yoyak.studies.sweeps import convert_sweep
from yoyak.tracking.lineage import read_receipt

ROOT = Path(__file__).parents[2]
TREE = read_yaml(ROOT / "params.yaml")
many = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
words = st.sampled_from(
    [
        "",
        "#Person1#: 네",
        "\x00",
        "\ud83d",
        "²",
        "1" * 5000,
        "nan",
        "dialogue",
        "fname",
        "summary",
        "a,b",
        '"',
        "\u2028",
    ]
)
texts = words | st.text(max_size=20)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | texts
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4), max_leaves=10
)


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode(errors="surrogatepass"))
    return path


def with_changes(tree: Any, draw: st.DrawFn) -> Any:
    """Return a tree in which one value, key or branch is something else."""
    if not isinstance(tree, dict) or not tree or draw(st.integers(0, 3)) == 0:
        return draw(values)
    key = draw(st.sampled_from(sorted(tree)))
    kind = draw(st.sampled_from(["below", "below", "below", "drop", "add"]))
    if kind == "drop":
        return {name: value for name, value in tree.items() if name != key}
    if kind == "add":
        return {**tree, draw(texts): draw(values)}
    return {**tree, key: with_changes(tree[key], draw)}


@st.composite
def changed(draw: st.DrawFn, tree: Any) -> Any:
    return with_changes(tree, draw)


yaml_texts = st.sampled_from(
    ["2001-13-45", "0x_", "0o9", "1__2", "!!int a", "!!float b", "!!binary =", "!!timestamp x", "!!set {a}",
     "!!omap [a]", "? [a]: b", "&a [*a]", "<<: 3", "<<: [1]", "%YAML 9.9\n---\na", "%TAG ! x", "a: b: c", "- a\nb",
     "a: !!python/object/apply:os.system [ls]", "---\n---", "\ufeff", "[" * 30, "{" * 30, "9" * 5000, "1e999",
     ".inf", "a: 1\na: 2", "'", "\t", "!<tag:yaml.org,2002:int> x", "&a a: *b", "*", "!", "|9\n a", "1:60", "-.", "0b"]
)  # fmt: skip


@many
@given(text=yaml_texts | st.text(max_size=40) | yaml_texts.map(lambda text: f"members: {text}\n"))
def test_yaml(tmp_path: Path, text: str) -> None:
    try:
        assert isinstance(read_yaml(write(tmp_path / "a.yaml", text)), dict)
    except UserError as error:
        assert "a.yaml" in str(error)


@many
@given(tree=changed(TREE))
def test_params(tree: Any) -> None:
    if not isinstance(tree, dict):
        return
    try:
        assert isinstance(validate(tree, "params.yaml"), Params)
    except UserError as error:
        assert str(error).startswith("params.yaml")


@many
@given(
    key=st.sampled_from(["SEED", "MEMBERS__BART__LEARNING_RATE", "MEMBERS", "GENERATION__NUM_BEAMS", "DATA__FILES__X"])
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0="), max_size=12),
    text=yaml_texts | st.text(st.characters(exclude_characters="\0"), max_size=20),
)
def test_overrides(key: str, text: str) -> None:
    with suppress(UserError):
        assert isinstance(params.load(Params, ROOT / "params.yaml", env={f"YOYAK__{key}": text}), Params)


STUDIES = [read_yaml(path) for path in sorted((ROOT / "studies").glob("*.yaml")) if path.name != "dvc.yaml"]
GRID = {"kind": "hyperparameter", "member": "bart", "sampler": {"type": "grid"},
        "dimensions": {"seed": {"type": "float", "low": 0, "high": 9, "step": 1}}}  # fmt: skip
HUGE = {**GRID, "dimensions": {"seed": {"type": "float", "low": 0, "high": 1e300, "step": 1}}}
LONG = {**GRID, "dimensions": {"seed": {"type": "int", "low": 0, "high": 10**15}}}


@many
@given(tree=st.sampled_from([*STUDIES, GRID]).flatmap(changed))
@example(HUGE)
@example(LONG)
def test_studies(tmp_path: Path, tree: Any) -> None:
    with (tmp_path / "s.yaml").open("w", encoding="utf-8", errors="surrogatepass") as out:
        YAML(typ="safe", pure=True).dump(tree, out)
    try:
        load_study(tmp_path / "s.yaml", TREE)
        parse_study(tree, "s.yaml")
    except UserError:
        pass


SWEEP = {"program": "t.py", "method": "grid", "metric": {"name": "rouge", "goal": "maximize"},
         "early_terminate": {"type": "hyperband", "min_iter": 2}, "run_cap": 3,
         "parameters": {"lr": {"min": 0.1, "max": 1.0}, "epochs": {"values": [1, 2]}, "seed": {"value": 1},
                        "batch_size": {"distribution": "q_uniform", "min": 1, "max": 9, "q": 2}}}  # fmt: skip


@many
@given(tree=changed(SWEEP))
def test_sweeps(tmp_path: Path, tree: Any) -> None:
    with (tmp_path / "sweep.yaml").open("w", encoding="utf-8", errors="surrogatepass") as out:
        YAML(typ="safe", pure=True).dump(tree, out)
    try:
        assert isinstance(convert_sweep(tmp_path / "sweep.yaml", "bart"), str)
    except UserError as error:
        assert "sweep.yaml" in str(error)


CASES = {"language": "ko", "names": ["a"], "dialogues": [{"name": "x", "dialogue": "a: b\nc: d", "reorder": [1, 2]}]}


@many
@given(tree=changed(CASES))
def test_cases_of_behaviour(tmp_path: Path, tree: Any) -> None:
    with (tmp_path / "c.yaml").open("w", encoding="utf-8", errors="surrogatepass") as out:
        YAML(typ="safe", pure=True).dump(tree, out)
    try:
        read_cases(tmp_path / "c.yaml")
    except UserError as error:
        assert "c.yaml" in str(error)


ROW = {"fname": "a", "dialogue": "#Person1#: 네", "summary": "요약", "topic": "t"}
rows = st.lists(changed(ROW) | st.just(ROW), max_size=4)


@st.composite
def tables(draw: st.DrawFn) -> tuple[str, bytes]:
    """A data file that is right, nearly right, or nothing of the kind."""
    kind = draw(st.sampled_from(["jsonl", "csv", "bytes"]))
    if kind == "bytes":
        return draw(st.sampled_from(["a.csv", "a.jsonl", "a"])), draw(st.binary(max_size=100))
    if kind == "jsonl":
        lines = [json.dumps(row, ensure_ascii=draw(st.booleans())) for row in draw(rows)]
        return "a.jsonl", "\n".join(lines).encode(errors="surrogatepass")
    fields = st.lists(texts, max_size=5).map(lambda row: ",".join(f'"{field}"' for field in row))
    header = draw(st.sampled_from(["fname,dialogue,summary", "dialogue", "", "a;b"]))
    body = "\r\n".join([header, *draw(st.lists(fields, max_size=4))])
    encoded = body.encode(draw(st.sampled_from(["utf-8", "utf-16", "cp949", "utf-8-sig"])), errors="replace")
    return "a.csv", encoded[: draw(st.integers(0, len(encoded)))] if draw(st.booleans()) else encoded


@many
@given(table=tables(), encoding=st.sampled_from(["utf-8", "utf-8", "utf-16", "cp949", *sorted(set(aliases.values()))]))
@example(("a.csv", b"fname,dialogue,summary\n\xff,\xfe,a"), "idna")
@example(("a.csv", b"fname,dialogue,summary\n\xff,\xfe,a"), "undefined")
@example(("a.csv", b"fname,dialogue,summary\n\xff,\xfe,a"), "punycode")
@example(("a.csv", b"fname"), "a\0b")
def test_data_files(tmp_path: Path, table: tuple[str, bytes], encoding: str) -> None:
    name, raw = table
    try:
        data = params.Data(encoding=encoding)
        with open_table(write(tmp_path / name, raw), data, "train") as source:
            read = list(source.rows)
    except UserError:
        return
    cleaned = [clean_row(row.value, 1000)[0] for row in read]
    write_jsonl(tmp_path / "out.jsonl", cleaned)
    assert read_jsonl(tmp_path / "out.jsonl") == cleaned


@many
@given(text=texts | st.text("#Person_19Az :", max_size=40) | st.just("#Person" + "1" * 5000 + "#"))
def test_masks(text: str) -> None:
    found = find_masks(text)
    assert set(distinct_masks([text])) == set(found) == set(count_masks([text]))
    assert all(split_mask(mask)[0].isalpha() or "_" in mask for mask in found)
    assert mask_at_end(text) in (None, *found)
    assert not find_stray_hashes(" ".join(found))


LIMITS = Serving()


@many
@given(body=st.binary(max_size=60) | values.map(lambda value: json.dumps(value).encode()),
       kind=st.none() | st.sampled_from(["application/json", "text/csv", "a/b; charset=x"]) | texts)  # fmt: skip
def test_bodies_of_requests(body: bytes, kind: str | None) -> None:
    for read in (lambda: read_invocations(body, kind, LIMITS), lambda: read_json(body, LIMITS)):
        try:
            read()
        except UserError as error:
            assert "\n" not in str(error)


@many
@given(dialogues=st.lists(values, max_size=4), wanted=st.dictionaries(texts | st.just("num_beams"), values, max_size=3))
def test_dialogues_and_params_of_requests(dialogues: list[object], wanted: dict[str, Any]) -> None:
    for check in (lambda: check_dialogues(dialogues, LIMITS), lambda: request_generation(params.Generation(), wanted)):
        try:
            check()
        except UserError as error:
            assert "\n" not in str(error)


json_files = st.binary(max_size=60) | values.map(lambda value: json.dumps(value).encode()) | st.just(b"[" * 100_000)


@many
@given(content=json_files | st.just(b'{"member": "a", "family": "seq2seq", "generation": 3}'))
def test_files_of_models_and_results(tmp_path: Path, content: bytes) -> None:
    for name, read in {
        "yoyak.json": lambda: load_spec(tmp_path),
        "serving.json": lambda: load_serving(tmp_path, {}),
        "receipt.json": lambda: read_receipt(tmp_path / "receipt.json"),
        "result.json": lambda: read_result(tmp_path / "result.json", EvaluationSummary, command="dvc repro"),
        "rows.jsonl": lambda: read_json_lines(tmp_path / "rows.jsonl"),
    }.items():
        write(tmp_path / name, content)
        try:
            read()
        except UserError as error:
            assert name in str(error) or str(tmp_path) in str(error)
