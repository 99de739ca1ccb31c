"""yoyak behaviour <member>: a member's behaviour tests."""

from __future__ import annotations

from dataclasses import asdict

from yoyak import params, project
from yoyak.errors import UserError
from yoyak.params.stages import BehaviourParams
from yoyak.stages.arguments import MemberName
from yoyak.tracking import lineage, runs


def run(member: MemberName, /) -> None:
    """Write behaviour/<member>.json: how often each check fails, and examples, and a run with both in MLflow."""
    p = params.load(BehaviourParams)
    from yoyak.behaviour.cases import load_cases

    files = load_cases(p.behaviour.cases)
    folder, split = project.model_folder(member), project.split_file("test")
    predictions = project.predictions_folder(member) / split.name
    inputs = lineage.digests([folder, predictions, split])
    with runs.stage_run("behaviour", member=member, params=params.dump(p), inputs=inputs) as run:
        from yoyak.behaviour.results import CHECKS, write_behaviour
        from yoyak.behaviour.run import run_behaviour
        from yoyak.data.records import read_jsonl
        from yoyak.decoding.candidates import read_candidates
        from yoyak.decoding.loading import load_member

        test = read_jsonl(split)
        run.log_dataset(split, context="test", rows=len(test))
        behaviour = run_behaviour(
            member,
            load_member(folder),
            files,
            test,
            {fname: candidates[0].text for fname, candidates in read_candidates(predictions).items()},
            refuses=is_refused,
            generation=p.generation,
            confidence=p.behaviour.confidence,
            examples=p.behaviour.examples,
        )
        out = project.behaviour_file(member)
        write_behaviour(out, behaviour)
        run.log_metrics({name: rate.rate for name, rate in behaviour.rates.items()})
        if behaviour.failures:
            run.log_table([asdict(failure) for failure in behaviour.failures], "failures.json")
        run.log_artifact(out, project.BEHAVIOUR.name)
    for name, rate in behaviour.rates.items():
        print(f"{CHECKS[name]}: {rate.failures} of {rate.n} ({rate.rate:.1%}, {rate.low:.1%} to {rate.high:.1%})")


def is_refused(dialogue: str) -> bool:
    """Return whether the server refuses a dialogue, whatever model it serves."""
    from yoyak.params import Serving
    from yoyak.serving.requests import check_dialogues

    try:
        check_dialogues([dialogue], Serving())
    except UserError:
        return True
    return False
