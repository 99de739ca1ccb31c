"""yoyak blend <name>: summaries by several models at once, or by one that is made of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yoyak import params, project
from yoyak.data.records import Dialogue, read_jsonl
from yoyak.errors import UserError
from yoyak.files import atomic_path, write_json
from yoyak.params import Generation
from yoyak.params.ensemble import Soft, Soup
from yoyak.params.stages import BlendParams
from yoyak.stages.arguments import BlendName
from yoyak.tracking import lineage, runs

if TYPE_CHECKING:
    from yoyak.decoding.candidates import Candidate
    from yoyak.decoding.summarizer import Summarizer
    from yoyak.decoding.torch import TorchSummarizer

DEV = "dev"
FOLDS = 5
"""Parts of dev whose summaries are written with weights that were fitted to the others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Blend:
    """Something that summarizes as the strategy wants."""

    summarizer: Summarizer
    info: dict[str, Any]
    """How it was made, for a person to read."""
    dev_parts: Sequence[tuple[Sequence[int], Summarizer]] = field(default=())
    """Where something was fitted to dev: places of dialogues there, with the fit that did not see them."""


def run(name: BlendName, /) -> None:
    """Write ensembles/<name>/: what a strategy of ensemble.models makes of every split, and the model of a soup."""
    where = f"ensemble.models.{name}"
    p = params.load(BlendParams, key=name)
    strategy, wanted = p.strategy, p.min_members
    if len(strategy.members) < wanted:
        raise UserError(
            f"{where} has {len(strategy.members)} member ({', '.join(strategy.members)}), and ensemble.min_members "
            f"asks for {wanted}: name more, or set min_members to 1 to pass one member through."
        )
    splits = {split: read_jsonl(path) for split, path in project.eval_splits().items()}
    if DEV not in splits:
        raise UserError("ensembles are fitted on the dev split, and there is none: see data.files and data.split.")
    folders = {member: project.model_folder(member) for member in strategy.members}
    inputs = lineage.digests([project.EVAL_SPLITS, *folders.values()])
    with runs.stage_run("blend", member=name, params=params.dump(p, name), inputs=inputs) as run:
        from yoyak.ensemble.blending import load_members

        members = load_members(folders, where, p.generation.max_new_tokens)
        out = project.ensemble_folder(name)
        with atomic_path(out) as work:
            work.mkdir()
            if isinstance(strategy, Soft):
                blend = _soft(strategy, members, splits[DEV], p.generation, p.granularity)
            else:
                model = work / project.soup_folder(name).name
                blend = _soup(name, strategy, members, splits[DEV], p.generation, p.granularity, model)
            info = {"type": strategy.type, "members": strategy.members, **blend.info, "truncated": {}}
            for split, rows in splits.items():
                found, info["truncated"][split] = _summarize(blend, split, rows, p.generation)
                _write(work / f"{split}.jsonl", rows, found)
            write_json(work / "info.json", info)
        run.log_metrics({f"weight_{member}": weight for member, weight in info["weights"].items()})
        for path in sorted(path for path in out.iterdir() if path.is_file()):
            run.log_artifact(path, out.as_posix())
    print(json.dumps(info, ensure_ascii=False))


def _soft(
    strategy: Soft,
    members: Mapping[str, TorchSummarizer],
    dev: Sequence[Dialogue],
    generation: Generation,
    granularity: str,
) -> Blend:
    """Find the weights, and let the members write together."""
    from yoyak.ensemble import soft, weights
    from yoyak.ensemble.blending import dev_score

    def together(found: Mapping[str, float]) -> Summarizer:
        return soft.SoftSummarizer([members[name] for name in found], list(found.values()))

    about: dict[str, Any] = {"method": "weighted mean of the members' next-token probabilities"}
    found, parts = weights.equal(list(members)), []
    if isinstance(strategy.weights, dict):
        found = weights.normalised(strategy.weights, list(members))
    elif strategy.weights == "dev" and len(members) > 1:
        scores = {name: dev_score(member, dev, generation, granularity) for name, member in members.items()}
        found, about["dev"] = weights.by_score(scores), {name: round(score, 6) for name, score in scores.items()}
    elif strategy.weights == "fit" and len(members) > 1:
        found, others = soft.fit_weights(members, dev, FOLDS)
        parts = [(places, together(fold)) for places, fold in others]
    heard = [weight for weight in found.values() if weight > 0]
    return Blend(
        summarizer=together(found),
        info={**about, "weights": found, "pass_through": len(heard) == 1},
        dev_parts=parts,
    )


def _soup(
    name: str,
    strategy: Soup,
    members: Mapping[str, TorchSummarizer],
    dev: Sequence[Dialogue],
    generation: Generation,
    granularity: str,
    out: Path,
) -> Blend:
    """Make one model of the members, and save it at ``out`` as a member is."""
    from yoyak.ensemble import soup
    from yoyak.ensemble.blending import dev_score

    soup.check_alike(members, f"ensemble.models.{name}")
    made = soup.make_soup(
        name, members, strategy.method, lambda summarizer: dev_score(summarizer, dev, generation, granularity)
    )
    soup.save(made.summarizer, out)
    return Blend(
        summarizer=made.summarizer,
        info={
            "method": strategy.method,
            "weights": {member: 1 / len(made.taken) if member in made.taken else 0.0 for member in members},
            **made.info,
            "pass_through": len(made.taken) == 1,
        },
    )


def _summarize(
    blend: Blend, split: str, rows: Sequence[Dialogue], generation: Generation
) -> tuple[list[list[Candidate]], int]:
    """Return the candidates of each row, and how many dialogues were cut at a model's window."""
    parts = blend.dev_parts if split == DEV else ()
    found: dict[int, list[Candidate]] = {}
    cut = 0
    for places, summarizer in parts or [(range(len(rows)), blend.summarizer)]:
        dialogues = [rows[place].dialogue for place in places]
        summaries = summarizer.summarize(dialogues, generation=generation, progress=True)
        found |= dict(zip(places, summaries.candidates, strict=True))
        cut += summaries.truncated
    return [found[place] for place in range(len(rows))], cut


def _write(path: Path, rows: Sequence[Dialogue], found: Sequence[Sequence[Candidate]]) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for row, candidates in zip(rows, found, strict=True):
            line = {
                "fname": row.fname,
                "candidates": [{"text": candidate.text, "score": candidate.score} for candidate in candidates],
                "member": "",
                "rank": 0,
                "without": {},
            }
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
