"""A model of which each process keeps a share: torch's FSDP, with checkpoints like those of one process.

accelerate has it for GPUs only, and in checkpoints of its own. Here weights and optimizer are gathered before the first
process saves them, so that a run goes on with any number of processes, sharded or not.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import distributed
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict, set_model_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from transformers.utils import SAFE_WEIGHTS_NAME

from yoyak.models.families.base import TrainedFamily


def shard(model: Any, device: torch.device) -> None:
    """Leave each process its share of the weights, on its device. A layer's are put together while it computes."""
    mesh = init_device_mesh(device.type, (distributed.get_world_size(),))
    layers = set(model._no_split_modules or ())
    for module in [module for module in model.modules() if type(module).__name__ in layers]:
        fully_shard(module, mesh=mesh)
    fully_shard(model, mesh=mesh)


def gather_weights(model: Any) -> dict[str, Any]:
    """Return all weights in the first process, on the CPU; in the others nothing. All have to call it."""
    return get_model_state_dict(model, options=StateDictOptions(full_state_dict=True, cpu_offload=True))


def load_weights(model: Any, checkpoint: Path) -> None:
    """Give each process its share of the weights of a checkpoint."""
    weights: dict[str, Any] = {}
    if distributed.get_rank() == 0:
        # Above 5 GB transformers writes several files.
        for file in checkpoint.glob(f"{Path(SAFE_WEIGHTS_NAME).stem}*.safetensors"):
            weights |= load_file(file)
    options = StateDictOptions(full_state_dict=True, broadcast_from_rank0=True, strict=False)
    set_model_state_dict(model, weights, options=options)


def unshard(model: Any, family: TrainedFamily) -> Any:
    """Return a plain model with all weights, in the first process, for saving it. All have to call it."""
    weights = gather_weights(model)
    if distributed.get_rank():
        return None
    with torch.device("meta"):
        plain = family.auto_class().from_config(model.config)
    plain.load_state_dict(weights, strict=False, assign=True)
    plain.tie_weights()
    plain.generation_config = model.generation_config
    return plain


def gather_optimizer(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return the state of an optimizer with whole tensors, in the first process. All have to call it."""
    return {
        "state": {
            number: {name: _gather(value) for name, value in values.items()}
            for number, values in state["state"].items()
        },
        "param_groups": state["param_groups"],
    }


def load_optimizer(optimizer: Any, state: Mapping[str, Any]) -> None:
    """Give each process its share of a gathered state."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    shared = {
        number: {name: _share(value, parameters[number]) for name, value in values.items()}
        for number, values in state["state"].items()
    }
    optimizer.load_state_dict({"state": shared, "param_groups": state["param_groups"]})


def _gather(value: Any) -> Any:
    if not isinstance(value, DTensor):
        return value
    # All take part in it, but only the first one has room for the state of all.
    whole = value.full_tensor()
    return whole.cpu() if distributed.get_rank() == 0 else None


def _share(value: Any, parameter: Any) -> Any:
    if not isinstance(parameter, DTensor) or not torch.is_tensor(value) or value.shape != parameter.shape:
        # Such as the count of steps. A copy, so that the file is closed.
        return value.clone() if torch.is_tensor(value) else value
    # Each process has all of it already.
    return distribute_tensor(value, parameter.device_mesh, parameter.placements, src_data_rank=None)
