"""yoyak behaviour: the members' behaviour tests."""

from __future__ import annotations

import sys
from dataclasses import asdict

from tqdm import tqdm

from yoyak import params, project
from yoyak.errors import UserError
from yoyak.failures import describe_failures, find_failures
from yoyak.files import atomic_path, write_json
from yoyak.params.stages import BehaviourParams
from yoyak.tracking import lineage, runs


def run() -> None:
    """Write behaviour/: how often each member fails each check, and examples; a run with both in MLflow.

    The share of cases that fail no check goes to metrics/behaviour/.
    """
    p = params.load(BehaviourParams)
    from yoyak.behaviour.cases import load_cases

    files = load_cases(p.behaviour.cases)
    failures = find_failures({member: project.predictions_folder(member) for member in p.members})
    if failures:
        print(f"tested without these: {describe_failures(failures)}", file=sys.stderr)
    sampled = [name for name, member in p.members.items() if member.sample_size is not None and name not in failures]
    if sampled:
        print(f"not tested, since they summarize only a sample (max_samples): {', '.join(sampled)}", file=sys.stderr)
    members = [member for member in p.members if member not in failures and member not in sampled]
    split = project.split_file(project.TEST)
    folders = [project.predictions_folder(member) for member in members]
    inputs = lineage.digests([project.CASE_DIALOGUES, split, *folders])
    with runs.stage_run("behaviour", params=params.dump(p), inputs=inputs) as run:
        from yoyak.behaviour.results import CHECKS, write_behaviour
        from yoyak.behaviour.run import run_behaviour
        from yoyak.data.records import read_jsonl
        from yoyak.decoding.candidates import read_candidates

        cases, test = read_jsonl(project.CASE_DIALOGUES), read_jsonl(split)
        run.log_dataset(split, context=project.TEST, rows=len(test))
        results = {}
        for member in tqdm(members, desc="checking behaviour", unit="member"):
            of_cases = read_candidates(project.case_predictions_file(member))
            of_test = read_candidates(project.predictions_folder(member) / split.name)
            results[member] = run_behaviour(
                member,
                files,
                {row.dialogue: of_cases[row.fname][0].text for row in cases},
                test,
                {fname: candidates[0].text for fname, candidates in of_test.items()},
                refuses=is_refused,
                confidence=p.behaviour.confidence,
                examples=p.behaviour.examples,
            )
        with atomic_path(project.BEHAVIOUR) as work:
            work.mkdir()
            for member, behaviour in results.items():
                write_behaviour(work / project.behaviour_file(member).name, behaviour)
        with atomic_path(project.CASE_METRICS) as work:
            work.mkdir()
            for member, behaviour in results.items():
                write_json(work / f"{member}.json", behaviour.passed)
        run.log_metrics(
            {
                f"{member}/{name}": rate.rate
                for member, behaviour in results.items()
                for name, rate in behaviour.rates.items()
            }
        )
        examples = [
            {"member": member, **asdict(failure)}
            for member, behaviour in results.items()
            for failure in behaviour.failures
        ]
        if examples:
            run.log_table(examples, "failures.json")
        run.log_artifact(project.BEHAVIOUR)
    for member, behaviour in results.items():
        shares = ", ".join(f"{share:.0%} of {name}" for name, share in behaviour.passed.items())
        print(f"{member}: nothing wrong with {shares}")
        for name, rate in behaviour.rates.items():
            print(f"  {CHECKS[name]}: {rate.failures} of {rate.n} ({rate.rate:.1%}, {rate.low:.1%} to {rate.high:.1%})")


def is_refused(dialogue: str) -> bool:
    """Return whether the server refuses a dialogue, whatever model it serves."""
    from yoyak.params import Serving
    from yoyak.serving.requests import check_dialogues

    try:
        check_dialogues([dialogue], Serving())
    except UserError:
        return True
    return False
