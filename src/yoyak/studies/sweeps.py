"""Reading a sweep of Weights & Biases, and writing it as a study."""

from __future__ import annotations

import io
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from yoyak.errors import UserError, nearest
from yoyak.params import TrainedMember
from yoyak.params.generation import Generation
from yoyak.params.overrides import read_yaml
from yoyak.params.study_files import parse_study

METHODS = {"bayes": "tpe", "random": "random", "grid": "grid"}
OTHER_NAMES = {
    "epochs": "num_epochs",
    "num_train_epochs": "num_epochs",
    "lr": "learning_rate",
    "train_batch_size": "batch_size",
    "per_device_train_batch_size": "batch_size",
    "warmup": "warmup_ratio",
    "label_smoothing_factor": "label_smoothing",
    "scheduler": "lr_scheduler_type",
    "optimizer": "optim",
    "encoder_max_len": "max_input_tokens",
    "decoder_max_len": "max_target_tokens",
    "max_length": "max_new_tokens",
    "generation_max_length": "max_new_tokens",
    "min_length": "min_new_tokens",
}
"""Names that sweeps use, and what they are called here."""
KEYS = ("program", "method", "metric", "parameters", "early_terminate", "name", "description", "project", "entity",
        "command", "run_cap")  # fmt: skip
DEFAULT_TRIALS = 20
LARGEST = 1e300
"""The largest bound of a parameter: the distance of two larger ones is more than a float can hold."""
ROUGE, LOSS = "combined", "eval_loss"


def convert_sweep(path: Path, member: str) -> str:
    """Return a sweep file as the text of a study file that trains or decodes ``member``.

    What is left out is said on stderr and at the top of the file. Raises UserError for what a study does not have.
    """
    sweep = read_yaml(path)
    for key in sweep:
        if key not in KEYS:
            raise UserError(f"{path}: a sweep has no key '{key}'{nearest(str(key), KEYS)}.")
    method = sweep.get("method")
    if not isinstance(method, str) or method not in METHODS:
        raise UserError(f"{path}: method must be one of {', '.join(METHODS)}, not {method!r}.")
    parameters = sweep.get("parameters")
    if not isinstance(parameters, dict) or not parameters:
        raise UserError(f"{path}: parameters must hold the dimensions by name.")
    dimensions = {
        _dotted(str(name), member, path): _convert_parameter(str(name), values, path)
        for name, values in parameters.items()
    }
    decoding = [key for key in dimensions if key.startswith("generation.")]
    if decoding and len(decoding) < len(dimensions):
        raise UserError(
            f"{path}: {', '.join(decoding)} are tried without training: put them into a sweep of their own."
        )
    subject = {"kind": "generation", "members": [member]} if decoding else {"kind": "hyperparameter", "member": member}
    study: dict[str, Any] = {
        **subject,
        "objectives": _convert_metric(_mapping(sweep.get("metric") or {}, f"{path}: metric"), bool(decoding), path),
        "sampler": {"type": METHODS[method]},
        **({} if decoding else _convert_pruner(sweep.get("early_terminate"), path)),
        **({} if method == "grid" and "run_cap" not in sweep else {"trials": sweep.get("run_cap", DEFAULT_TRIALS)}),
        "dimensions": dimensions,
    }
    parse_study(study, str(path))
    from ruamel.yaml import YAML

    yaml, out = YAML(), io.StringIO()
    yaml.width = 120
    yaml.dump(study, out)
    left_out = ", ".join(_find_left_out(sweep, bool(decoding)))
    if left_out:
        print(f"warning: {path}: a study has no counterpart of {left_out}: left out.", file=sys.stderr)
    comment = f"# From {path.name}, a sweep of {sweep.get('program', 'Weights & Biases')}.\n"
    return comment + (f"# Left out: {left_out}.\n" if left_out else "") + out.getvalue()


def _find_left_out(sweep: Mapping[str, Any], decoding: bool) -> list[str]:
    """Return the dotted keys of a sweep that the study does not have."""
    used = {"program", "method", "metric", "parameters", "early_terminate", "run_cap"}
    early, parameters = sweep.get("early_terminate") or {}, sweep["parameters"]
    return [
        *(key for key in sweep if key not in used or (decoding and key == "early_terminate")),
        *(f"early_terminate.{key}" for key in early if not decoding and key not in ("type", "min_iter", "eta")),
        *(f"metric.{key}" for key in sweep.get("metric") or {} if key not in ("name", "goal")),
        *(
            f"parameters.{name}.{key}"
            for name, values in parameters.items()
            for key in values or {}
            if key not in ("values", "value", "min", "max", "distribution")
            and not (key == "q" and values.get("distribution") == "q_uniform")
        ),
    ]


def _dotted(name: str, member: str, path: Path) -> str:
    known = OTHER_NAMES.get(name, name)
    if "." in known:
        return known
    if known in TrainedMember.model_fields:
        return f"members.{member}.{known}"
    if known in Generation.model_fields:
        return f"generation.{known}"
    if known == "seed":
        return known
    raise UserError(
        f"{path}: parameters.{name} is neither a key of a member nor of generation"
        f"{nearest(known, [*TrainedMember.model_fields, *Generation.model_fields])}."
    )


def _mapping(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise UserError(f"{where} must hold keys and values, not {value!r}.")
    return value


def _convert_parameter(name: str, given: Any, path: Path) -> dict[str, Any]:
    where = f"{path}: parameters.{name}"
    values = _mapping(given or {}, where)
    numbers = [values[key] for key in ("min", "max", "q") if key in values]
    if any(isinstance(number, bool) or not isinstance(number, int | float) for number in numbers):
        raise UserError(f"{where}: min, max and q must be numbers.")
    if any(abs(number) > LARGEST or number != number for number in numbers):
        raise UserError(f"{where}: min, max and q must be between -{LARGEST:g} and {LARGEST:g}.")
    if "values" in values:
        return {"type": "categorical", "choices": values["values"]}
    if "value" in values:
        return {"type": "categorical", "choices": [values["value"]]}
    if not {"min", "max"} <= values.keys():
        raise UserError(f"{where} needs values, value, or min and max.")
    low, high = values["min"], values["max"]
    whole = isinstance(low, int) and isinstance(high, int)
    kind = values.get("distribution", "int_uniform" if whole else "uniform")
    match kind:
        case "int_uniform":
            return {"type": "int", "low": low, "high": high}
        case "uniform":
            return {"type": "float", "low": float(low), "high": float(high)}
        case "log_uniform_values":
            return {"type": "float", "low": float(low), "high": float(high), "log": True}
        case "q_uniform":
            step = values.get("q", 1)
            number = int if whole and isinstance(step, int) else float
            return {"type": number.__name__, "low": number(low), "high": number(high), "step": number(step)}
        case "q_log_uniform_values":
            return {"type": "int", "low": int(low), "high": int(high), "log": True}
        case _:
            raise UserError(
                f"{where}: the distribution {kind} has no counterpart: use uniform, log_uniform_values, int_uniform, "
                f"q_uniform or values."
            )


def _convert_metric(metric: Mapping[str, Any], decoding: bool, path: Path) -> dict[str, str]:
    goal, name = metric.get("goal"), str(metric.get("name", "rouge")).lower()
    if goal not in (None, "maximize", "minimize"):
        raise UserError(f"{path}: metric.goal must be maximize or minimize, not {goal!r}.")
    if "loss" in name and not decoding:
        return {LOSS: goal or "minimize"}
    if "rouge" not in name and ROUGE not in name:
        raise UserError(f"{path}: metric.name is {name}, and a study has combined ROUGE, or eval_loss.")
    if goal == "minimize":
        raise UserError(f"{path}: metric.goal is minimize, and more of {name} is better: use maximize.")
    return {ROUGE: "maximize"}


def _convert_pruner(early: Mapping[str, Any] | None, path: Path) -> dict[str, Any]:
    if early is None:
        return {}
    early = _mapping(early, f"{path}: early_terminate")
    if early.get("type") != "hyperband":
        raise UserError(f"{path}: early_terminate.type must be hyperband, not {early.get('type')!r}.")
    return {
        "pruner": {
            "type": "hyperband",
            "min_resource": early.get("min_iter", 1),
            "reduction_factor": early.get("eta", 3),
        }
    }
