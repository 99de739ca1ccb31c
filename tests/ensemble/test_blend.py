"""`yoyak blend`: what it writes and logs, one member passed through, and what it refuses."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ruamel.yaml import YAML

from trained_members import parse_trained
from yoyak import cli, params
from yoyak.data.records import Dialogue, read_jsonl, write_jsonl
from yoyak.data.samples import generate
from yoyak.decoding.candidates import Candidate, read_candidates
from yoyak.decoding.summarizer import Summarizer
from yoyak.decoding.torch import TorchSummarizer
from yoyak.ensemble.blending import score_dialogues
from yoyak.ensemble.folds import make_folds
from yoyak.ensemble.soft import SoftSummarizer
from yoyak.ensemble.soft_weights import fit_weights
from yoyak.ensemble.soup import average, choose_ingredients
from yoyak.ensemble.splits import read_choices
from yoyak.ensemble.weights import by_score
from yoyak.errors import UserError
from yoyak.models.families import family_of
from yoyak.models.load import build_model
from yoyak.models.spec import save_spec
from yoyak.models.tokenizers import train_tokenizer
from yoyak.params import Tokenizer
from yoyak.stages import blend

BART = {"model_type": "bart", "d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2,
        "decoder_attention_heads": 2, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16,
        "max_position_embeddings": 128}  # fmt: skip
GPT2 = {"model_type": "gpt2", "n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 128}
COMMON = {"learning_rate": 0.1, "max_input_tokens": 60, "max_target_tokens": 12}
MEMBERS = {
    "bart": {"family": "seq2seq", "config": BART, "tokenizer": "bpe", **COMMON},
    "bart-b": {"family": "seq2seq", "config": BART, "tokenizer": "bpe", **COMMON},
    "gpt2": {"family": "causal", "config": GPT2, "tokenizer": "bpe", **COMMON},
    "other": {"family": "seq2seq", "config": BART, "tokenizer": "unigram", **COMMON},
}
TREE: dict[str, Any] = {
    "tokenizers": {"bpe": {"type": "bpe", "vocab_size": 400}, "unigram": {"type": "unigram", "vocab_size": 700}},
    "members": MEMBERS,
    "generation": {"num_beams": 3, "num_return_sequences": 2, "max_new_tokens": 10, "min_new_tokens": 3},
    "ensemble": {
        "granularity": "syllable",
        "models": {
            "soft": {"type": "soft", "members": ["bart", "gpt2", "bart-b"]},
            "given": {"type": "soft", "members": ["bart", "gpt2"], "weights": {"bart": 3, "gpt2": 1}},
            "dev": {"type": "soft", "members": ["bart", "gpt2"], "weights": "dev"},
            "fit": {"type": "soft", "members": ["gpt2", "bart"], "weights": "fit"},
            "soup": {"type": "soup", "members": ["bart", "bart-b"]},
            "uniform": {"type": "soup", "members": ["bart", "bart-b"], "method": "uniform"},
            "softone": {"type": "soft", "members": ["gpt2"]},
            "soupone": {"type": "soup", "members": ["bart"]},
            "mixed": {"type": "soup", "members": ["bart", "gpt2"]},
            "foreign": {"type": "soft", "members": ["gpt2", "bart", "other"]},
            "foreignsoup": {"type": "soup", "members": ["bart", "other"]},
        },
    },
}


@pytest.fixture(scope="module")
def prepared_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders prepared/ and models/, as the stages before leave them."""
    folder = tmp_path_factory.mktemp("models")
    rows = [
        Dialogue(fname=f"s{number}", dialogue=row.dialogue[:80], summaries=(row.summaries[0][:30],))
        for number, row in enumerate(generate(18, 1, split="train"))
    ]
    (folder / "prepared/eval").mkdir(parents=True)
    for split, part in {"dev": rows[6:12], "test": rows[12:]}.items():
        write_jsonl(folder / "prepared/eval" / f"{split}.jsonl", part)
    texts = [text for row in rows for text in (row.dialogue, *row.summaries)]
    for number, (name, value) in enumerate(MEMBERS.items()):
        member = parse_trained(value)
        tokenizer = train_tokenizer(texts, ["#Person1#"], Tokenizer(**TREE["tokenizers"][value["tokenizer"]]))
        torch.manual_seed(number)
        model = build_model(name, member, tokenizer)
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.dim() > 1:
                    parameter.normal_(std=0.4)
        model.save_pretrained(folder / "models" / name)
        tokenizer.save_pretrained(folder / "models" / name)
        save_spec(folder / "models" / name, family_of(member).make_spec(name, member))
    return folder


@pytest.fixture
def blend_project(prepared_models: Path, project: Path, store: Any) -> Path:
    """A project with a store that reads those folders."""
    for name in ("prepared", "models"):
        (project / name).symlink_to(prepared_models / name)
    write(TREE)
    return project


def write(tree: dict[str, Any]) -> None:
    with Path("params.yaml").open("w") as out:
        YAML().dump(tree, out)


def info(name: str) -> dict[str, Any]:
    return json.loads(Path("ensembles", name, "info.json").read_text())


def member(name: str) -> TorchSummarizer:
    return TorchSummarizer.load(Path("models", name))


def texts(summarizer: Summarizer, split: str) -> list[list[str]]:
    rows = read_jsonl(Path("prepared/eval", f"{split}.jsonl"))
    summaries = summarizer.summarize(
        [row.dialogue for row in rows], generation=params.load(params.Params).generation
    ).candidates
    return [[candidate.text for candidate in candidates] for candidates in summaries]


def written(name: str, split: str) -> list[list[str]]:
    rows = read_candidates(Path("ensembles", name, f"{split}.jsonl"))
    return [[candidate.text for candidate in candidates] for candidates in rows.values()]


@pytest.mark.usefixtures("blend_project")
def test_soft_writes_what_the_members_write_together(store: Any) -> None:
    blend.run("soft")
    assert {path.name for path in Path("ensembles/soft").iterdir()} == {"dev.jsonl", "test.jsonl", "info.json"}
    together = SoftSummarizer([member("bart"), member("gpt2"), member("bart-b")], [1 / 3] * 3)
    for split in ("dev", "test"):
        rows = read_jsonl(Path("prepared/eval", f"{split}.jsonl"))
        choices = read_choices(Path("ensembles/soft", f"{split}.jsonl"))
        assert [*choices] == [row.fname for row in rows]
        assert {(choice.member, choice.rank, len(choice.without)) for choice in choices.values()} == {("", 0, 0)}
        assert written("soft", split) == texts(together, split)
        assert {len(candidates) for candidates in written("soft", split)} == {2}
    about = info("soft")
    assert about["type"] == "soft"
    assert about["members"] == ["bart", "gpt2", "bart-b"]
    assert about["weights"] == pytest.approx({"bart": 1 / 3, "gpt2": 1 / 3, "bart-b": 1 / 3})
    assert about["pass_through"] is False
    assert about["truncated"].keys() == {"dev", "test"}

    runs = store.search_runs([exp.experiment_id for exp in store.search_experiments()], "tags.`yoyak.stage` = 'blend'")
    assert [(run.info.status, run.data.tags["yoyak.member"]) for run in runs] == [("FINISHED", "soft")]
    assert runs[0].data.metrics["weight_bart"] == pytest.approx(1 / 3)
    assert runs[0].data.params["ensemble.models.soft.type"] == "soft"
    assert {"input.prepared/eval", "input.models/bart"} <= runs[0].data.tags.keys()
    logged = {file.path for file in store.list_artifacts(runs[0].info.run_id, "ensembles/soft")}
    assert logged == {f"ensembles/soft/{name}" for name in ("dev.jsonl", "test.jsonl", "info.json")}


@pytest.mark.usefixtures("blend_project")
def test_weights_are_given_or_by_dev_score() -> None:
    blend.run("given")
    assert info("given")["weights"] == {"bart": 0.75, "gpt2": 0.25}
    assert written("given", "test") == texts(SoftSummarizer([member("bart"), member("gpt2")], [0.75, 0.25]), "test")

    blend.run("dev")
    dev, p = read_jsonl(Path("prepared/eval/dev.jsonl")), params.load(params.Params)
    used = {name: member(name) for name in ("bart", "gpt2")}
    scores = {name: score_dialogues(summarizer, dev, p.generation, "syllable") for name, summarizer in used.items()}
    means = {name: values.mean() for name, values in scores.items()}
    assert info("dev")["dev_scores"] == pytest.approx(means, abs=1e-6)
    assert info("dev")["weights"] == pytest.approx({name: mean / sum(means.values()) for name, mean in means.items()})

    # On dev the weights are those by the scores of the other dialogues.
    expected: dict[int, list[Candidate]] = {}
    for fold in make_folds([row.dialogue for row in dev]):
        weights = by_score({name: float(values[fold.fitted_to].mean()) for name, values in scores.items()})
        summaries = SoftSummarizer(list(used.values()), list(weights.values())).summarize(
            [dev[index].dialogue for index in fold.held_out], generation=p.generation
        )
        expected |= zip(fold.held_out, summaries.candidates, strict=True)
    written_candidates = read_candidates(Path("ensembles/dev/dev.jsonl")).values()
    assert list(written_candidates) == [expected[index] for index in range(len(dev))]
    assert info("dev")["cross_fitted"] is True


@pytest.mark.usefixtures("blend_project")
def test_dev_is_written_with_weights_fitted_to_other_dialogues() -> None:
    blend.run("fit")
    used = {name: member(name) for name in ("gpt2", "bart")}
    dev = read_jsonl(Path("prepared/eval/dev.jsonl"))
    weights, parts = fit_weights(used, dev)
    assert info("fit")["weights"] == pytest.approx(weights)
    assert written("fit", "test") == texts(SoftSummarizer(list(used.values()), list(weights.values())), "test")
    expected = {
        index: texts(SoftSummarizer(list(used.values()), list(fold.values())), "dev")[index]
        for indices, fold in parts
        for index in indices
    }
    assert written("fit", "dev") == [expected[index] for index in range(len(dev))]


@pytest.mark.parametrize("name", ["dev", "fit", "soup"])
def test_gate_is_summarized_and_nothing_is_learned_from_it(name: str, blend_project: Path) -> None:
    blend.run(name)
    learned = {key: value for key, value in info(name).items() if key != "truncated"}
    before = {split: written(name, split) for split in ("dev", "test")}

    originals = (blend_project / "prepared").readlink()
    (blend_project / "prepared").unlink()
    shutil.copytree(originals, "prepared")
    write_jsonl("prepared/eval/gate.jsonl", read_jsonl("prepared/eval/test.jsonl"))
    blend.run(name)
    assert {key: value for key, value in info(name).items() if key != "truncated"} == learned
    assert {split: written(name, split) for split in ("dev", "test")} == before
    assert written(name, "gate") == before["test"]


@pytest.mark.usefixtures("blend_project")
def test_a_soup_is_a_separate_model() -> None:
    blend.run("uniform")
    soup = TorchSummarizer.load("ensembles/uniform/model")
    assert soup.spec.member == "uniform"
    first, second, mean = (summarizer.model.state_dict() for summarizer in (member("bart"), member("bart-b"), soup))
    for key, value in mean.items():
        torch.testing.assert_close(value, (first[key] + second[key]) / 2)
    for split in ("dev", "test"):
        assert written("uniform", split) == texts(soup, split)
    assert info("uniform")["weights"] == {"bart": 0.5, "bart-b": 0.5}
    assert (info("uniform")["pass_through"], info("uniform")["cross_fitted"]) == (False, False)


@pytest.mark.usefixtures("blend_project")
def test_the_greedy_soup_reports_its_steps(store: Any) -> None:
    blend.run("soup")
    about = info("soup")
    dev, p = read_jsonl(Path("prepared/eval/dev.jsonl")), params.load(params.Params)
    used = {name: member(name) for name in ("bart", "bart-b")}

    def score(summarizer: TorchSummarizer) -> np.ndarray:
        return score_dialogues(summarizer, dev, p.generation, "syllable")

    scores = {name: score(model).mean() for name, model in used.items()}
    steps = about["steps"]
    assert {step["member"]: step["alone"] for step in steps} == pytest.approx(scores, abs=1e-6)
    assert [step["member"] for step in steps] == sorted(scores, key=lambda name: -scores[name])
    added = [step["member"] for step in steps if step["added"]]
    assert about["weights"] == {name: 1 / len(added) if name in added else 0 for name in used}
    assert steps[1]["added"] == (steps[1]["together"] >= steps[0]["together"])
    assert about["pass_through"] == (len(added) == 1)
    soup = TorchSummarizer.load("ensembles/soup/model")
    assert written("soup", "test") == texts(soup, "test")
    best = max(step["together"] for step in steps if step["added"])
    assert score(soup).mean() == pytest.approx(best, abs=1e-6)

    # On dev each dialogue is summarized by a soup that was chosen without it.
    cross_fits = choose_ingredients(used, "greedy", [row.dialogue for row in dev], score).cross_fits
    assert cross_fits and about["cross_fitted"] is True
    for ingredients, rows in cross_fits.items():
        by_these = texts(average("soup", [used[name] for name in ingredients]), "dev")
        assert [written("soup", "dev")[row] for row in rows] == [by_these[row] for row in rows]
    # A model is logged where it is registered, not with what it writes.
    [run] = store.search_runs([exp.experiment_id for exp in store.search_experiments()], "tags.`yoyak.stage` = 'blend'")
    assert "ensembles/soup/model" not in {file.path for file in store.list_artifacts(run.info.run_id, "ensembles/soup")}


@pytest.mark.usefixtures("blend_project")
@pytest.mark.parametrize(("name", "survivor"), [("softone", "gpt2"), ("soupone", "bart")])
def test_one_member_is_passed_through_if_params_allow_it(name: str, survivor: str) -> None:
    with pytest.raises(UserError, match=rf"{name} has 1 member \({survivor}\)"):
        blend.run(name)
    assert not Path("ensembles", name).exists()
    write({**TREE, "ensemble": {**TREE["ensemble"], "min_members": 1}})
    blend.run(name)
    assert info(name)["pass_through"] is True
    assert info(name)["weights"] == {survivor: 1.0}
    for split in ("dev", "test"):
        assert written(name, split) == texts(member(survivor), split)


@pytest.mark.usefixtures("blend_project")
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("foreign", "bart and other"),
        ("foreignsoup", "bart and other"),
        ("mixed", "bart and gpt2"),
    ],
)
def test_incompatible_members_are_named(name: str, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["blend", name]) == 1
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert line.startswith("yoyak blend: ")
    assert words in line
    assert not Path("ensembles", name).exists()


@pytest.mark.usefixtures("blend_project")
def test_other_problems_are_reported(prepared_models: Path) -> None:
    with pytest.raises(UserError, match="did you mean 'soup'"):
        blend.run("suop")
    write({**TREE, "generation": {"max_new_tokens": 90}})
    with pytest.raises(UserError, match=r"max_new_tokens.*gpt2"):
        blend.run("soft")
    write(TREE)
    Path("prepared").unlink()
    splits = Path("prepared/eval")
    splits.mkdir(parents=True)
    (splits / "test.jsonl").symlink_to(prepared_models / splits / "test.jsonl")
    with pytest.raises(UserError, match="dev split"):
        blend.run("soft")
    Path("models").unlink()
    (splits / "dev.jsonl").symlink_to(prepared_models / splits / "dev.jsonl")
    with pytest.raises((UserError, FileNotFoundError)):
        blend.run("soft")


def test_strategies_over_candidates_need_no_torch() -> None:
    code = (
        "import sys, yoyak.ensemble.splits, yoyak.stages.blend; assert not {'torch', 'transformers'} & {*sys.modules}"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
