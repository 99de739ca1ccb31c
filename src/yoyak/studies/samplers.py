"""The samplers and pruners of Optuna that a study file names."""

from __future__ import annotations

import warnings
import zlib
from typing import TYPE_CHECKING

import optuna
from optuna.exceptions import ExperimentalWarning

from yoyak.errors import UserError

if TYPE_CHECKING:
    from yoyak.params.studies import Pruner, Sampler


def make_sampler(sampler: Sampler, *, seed: int, objectives: int) -> optuna.samplers.BaseSampler:
    """Return the sampler of one process. Grids are queued by the supervisor, so that nothing is left to sample."""
    startup = sampler.startup_trials
    match sampler.type:
        case "tpe":
            return optuna.samplers.TPESampler(seed=seed, n_startup_trials=startup, warn_independent_sampling=False)
        case "gp":
            return optuna.samplers.GPSampler(seed=seed, n_startup_trials=startup, warn_independent_sampling=False)
        case "cmaes":
            if objectives > 1:
                raise UserError("sampler.type: cmaes has a single objective: use tpe or gp for several.")
            return optuna.samplers.CmaEsSampler(seed=seed, n_startup_trials=startup, warn_independent_sampling=False)
        case "qmc":
            # All processes share the seed, and take the points of one sequence in turn.
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ExperimentalWarning)
                return optuna.samplers.QMCSampler(
                    seed=seed, scramble=True, warn_independent_sampling=False, warn_asynchronous_seeding=False
                )
        case _:
            return optuna.samplers.RandomSampler(seed=seed)


def worker_seed(sampler: Sampler, seed: int, worker: int, finished: int, host: str = "") -> int:
    """Return the seed of a worker: with the same one all of them, or one that goes on, would try the same values.

    ``host`` is the name of the machine if there are several.
    """
    if sampler.type == "qmc":
        return seed
    return (seed + 1_000_003 * worker + 7_919 * finished + zlib.crc32(host.encode())) % 2**32


def make_pruner(pruner: Pruner) -> optuna.pruners.BasePruner:
    """Return the pruner."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        match pruner.type:
            case "median":
                return optuna.pruners.MedianPruner(
                    n_startup_trials=pruner.startup_trials, n_warmup_steps=pruner.warmup_steps
                )
            case "hyperband":
                return optuna.pruners.HyperbandPruner(
                    min_resource=pruner.min_resource, reduction_factor=pruner.reduction_factor
                )
            case "asha":
                return optuna.pruners.SuccessiveHalvingPruner(
                    min_resource=pruner.min_resource, reduction_factor=pruner.reduction_factor
                )
            case "wilcoxon":
                return optuna.pruners.WilcoxonPruner(
                    p_threshold=pruner.p_threshold, n_startup_steps=pruner.warmup_steps
                )
            case _:
                return optuna.pruners.NopPruner()
