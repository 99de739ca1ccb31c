"""Every family keeps the promises of `families.base`, and only its own file knows what is special about it."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import get_args

import pytest
import torch
from transformers import BartConfig, BartForConditionalGeneration, GenerationConfig

import yoyak
from trained_members import parse_trained
from yoyak.data.records import Dialogue
from yoyak.errors import UserError
from yoyak.models.families import all_families, family_of, get_family
from yoyak.models.families.base import TrainedFamily
from yoyak.models.spec import ModelSpec, load_spec
from yoyak.models.tokenizers import train_tokenizer
from yoyak.models.window import find_positions, new_token_limit, window_problem
from yoyak.params import Generation, Tokenizer
from yoyak.params.members import FAMILIES

TEXTS = ["#Person1#: 안녕하세요?\n#Person2#: 네.", "#Person1#은 인사한다."] * 20
MASKS = ["#Person1#", "#Person2#"]


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(TEXTS, MASKS, Tokenizer(type="bpe", vocab_size=320))


def test_each_family_is_named_as_in_the_table() -> None:
    for name, family in zip(FAMILIES, all_families(), strict=True):
        assert family.name == name
        assert get_args(family.member_class.model_fields["family"].annotation) == (name,)


def names_in(code: str) -> set[str]:
    """Return every string and identifier of a module, imports included, but no docstrings or comments.

    Modules of other packages are left out: dvc.api is no family.
    """
    names: set[str] = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ImportFrom) and not str(node.module).startswith("yoyak"):
            continue
        for _, value in ast.iter_fields(node):
            names.update(part for item in (value if isinstance(value, list) else [value]) if isinstance(item, str)
                         for part in [item, *item.split(".")])  # fmt: skip
    return names


def family_names() -> set[str]:
    """Return the names by which a module could ask for a family: the value, and the classes of it and its members."""
    return {
        name for family in all_families() for name in (family.name, type(family).__name__, family.member_class.__name__)
    }


def test_no_other_module_knows_a_familys_name() -> None:
    root = Path(yoyak.__file__).parent
    table = root / "params/members.py"
    homes = {root.parent / f"{path.partition(':')[0].replace('.', '/')}.py" for path in FAMILIES.values()}
    others = set(root.rglob("*.py")) - homes - {table}
    assert len(others) > 100
    assert {path: names for path in others if (names := names_in(path.read_text("utf-8")) & family_names())} == {}
    templates = [*root.rglob("*.j2"), *root.rglob("*.html")]
    assert templates
    literal = re.compile("|".join(f"[\"']{name}[\"']" for name in FAMILIES))
    assert [path for path in templates if literal.search(path.read_text("utf-8"))] == []


@pytest.mark.parametrize(
    "code",
    [
        'x.family == "seq2seq"',
        'match x.family:\n    case "causal":\n        pass',
        'sizes = {"seq2seq": 1, **more}',
        "sizes = dict(causal=1)",
        "from yoyak.models.families.seq2seq import Seq2Seq as kind\nisinstance(family, kind)",
        "isinstance(member, families.CausalMember)",
        "from yoyak.models.families import causal",
        "import yoyak.models.families.seq2seq as kind",
        'type(family).__name__ == "Causal"',
        "match family:\n    case seq2seq.Seq2Seq():\n        pass",
    ],
)
def test_a_branch_on_the_family_is_noticed(code: str) -> None:
    assert names_in(code) & family_names()


def test_an_unknown_family_names_the_nearest() -> None:
    with pytest.raises(UserError, match=r"did you mean 'causal'\?"):
        get_family("casual")


@pytest.mark.parametrize(("name", "needed", "limit", "longest"), [("seq2seq", 101, 127, 128), ("causal", 196, 32, 28)])
def test_the_window(name: str, needed: int, limit: int, longest: int) -> None:
    family = get_family(name)
    assert isinstance(family, TrainedFamily)
    spec = ModelSpec(member="m", family=name, max_input_tokens=96, generation=Generation())
    assert family.positions_needed(96, 100) == needed
    assert new_token_limit(spec, 128) == limit
    assert new_token_limit(spec, None) is None
    assert family.longest_input(128, 100) == longest
    assert family.positions_needed(longest, 100) <= 128
    assert window_problem(spec, 128, limit) is None
    assert "129 positions, the model has 128" in str(window_problem(spec, 128, limit + 1))


@pytest.mark.parametrize(
    ("config", "positions"),
    [
        ({"max_position_embeddings": 512}, 512),
        ({"n_positions": 1024}, 1024),
        ({"n_positions": 512, "relative_attention_num_buckets": 32}, None),
        ({}, None),
    ],
)
def test_positions_of_a_config(config: dict[str, int], positions: int | None) -> None:
    assert find_positions(config) == positions


def test_targets_start_with_the_token_that_generation_forces(tokenizer) -> None:
    seq2seq, causal = get_family("seq2seq"), get_family("causal")
    assert isinstance(seq2seq, TrainedFamily) and isinstance(causal, TrainedFamily)
    forced, plain = GenerationConfig(forced_bos_token_id=1), GenerationConfig()
    [target] = seq2seq.encode_summaries(tokenizer, ["#Person1#은 인사한다."], 32, plain)
    assert seq2seq.encode_summaries(tokenizer, ["#Person1#은 인사한다."], 32, forced) == [[1, *target]]
    assert len(seq2seq.encode_summaries(tokenizer, ["안녕 " * 50], 8, forced)[0]) == 8
    # transformers forces it on a prompt of one token only, so never for a decoder-only model.
    assert causal.encode_summaries(tokenizer, ["#Person1#은 인사한다."], 32, forced) == [target]


def test_a_checkpoints_forced_token_is_trained(tokenizer, tmp_path: Path) -> None:
    """mBART forces the language of the summary first: without it in the targets the decoder is never shown it."""
    from yoyak.models.load import build_model
    from yoyak.training.dataset import encode_rows

    config = BartConfig(
        vocab_size=len(tokenizer), d_model=16, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=8, decoder_ffn_dim=8, max_position_embeddings=128,
        pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=2, forced_bos_token_id=5,
    )  # fmt: skip
    torch.manual_seed(0)
    BartForConditionalGeneration(config).save_pretrained(tmp_path / "checkpoint")
    tokenizer.save_pretrained(tmp_path / "checkpoint")
    member = parse_trained(
        {"family": "seq2seq", "checkpoint": str(tmp_path / "checkpoint"), "learning_rate": 1, "max_input_tokens": 64}
    )
    model = build_model("m", member, tokenizer)
    assert model.generation_config.forced_bos_token_id == 5
    spec = family_of(member).make_spec("m", member)
    row = Dialogue(fname="a", dialogue=TEXTS[0], summaries=(TEXTS[1],))
    labels = encode_rows([row], tokenizer, spec, 32, model.generation_config).dataset[0]["labels"]
    ids = torch.tensor([[5, 6, 7]])
    written = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=4)[0].tolist()
    assert labels[0] == written[1] == 5


def test_a_model_saved_before_there_were_options_is_read(tmp_path: Path) -> None:
    saved = {
        "member": "gpt2", "family": "causal", "prefix": "", "separator": "\n요약: ", "max_input_tokens": 96,
        "generation": {"max_new_tokens": 12, "num_beams": 1, "num_return_sequences": 1},
    }  # fmt: skip
    (tmp_path / "yoyak.json").write_text(json.dumps(saved))
    spec = load_spec(tmp_path)
    assert (spec.family, spec.separator, dict(spec.options)) == ("causal", "\n요약: ", {})
