"""What processes that share a model's weights save and load."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import distributed, multiprocessing
from torch.distributed.tensor import DTensor
from transformers import GPT2Config, GPT2LMHeadModel

from yoyak.training import sharding


def make_model(seed: int) -> Any:
    torch.manual_seed(seed)
    return GPT2LMHeadModel(GPT2Config(n_embd=8, n_layer=1, n_head=2, n_positions=16, vocab_size=40))


def join(rank: int, count: int, folder: Path) -> None:
    distributed.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=count)


def test_a_checkpoint_of_several_files_is_loaded(tmp_path: Path) -> None:
    saved, model = make_model(1), make_model(2)
    saved.save_pretrained(tmp_path / "checkpoint", max_shard_size="2KB")
    assert not (tmp_path / "checkpoint/model.safetensors").exists()
    join(0, 1, tmp_path)
    try:
        sharding.shard(model, torch.device("cpu"))
        sharding.load_weights(model, tmp_path / "checkpoint")
        weights = sharding.gather_weights(model)
    finally:
        distributed.destroy_process_group()
    assert weights.keys() == saved.state_dict().keys()
    for name, tensor in saved.state_dict().items():
        torch.testing.assert_close(weights[name], tensor)


def save_and_load(rank: int, folder: Path) -> None:
    """Gather the state of an optimizer in one of two processes, and load it."""
    join(rank, 2, folder)
    model = make_model(1)
    sharding.shard(model, torch.device("cpu"))
    optimizer = torch.optim.AdamW(model.parameters())
    ids = torch.arange(8)[None]
    model(input_ids=ids, labels=ids).loss.backward()
    optimizer.step()
    state = sharding.gather_optimizer(optimizer.state_dict())
    moments = [values["exp_avg"] for values in state["state"].values()]
    assert len(moments) == len(list(model.parameters()))
    if rank == 0:
        assert all(type(moment) is torch.Tensor for moment in moments)
        torch.save(state, folder / "optimizer.pt")
    else:
        assert all(moment is None for moment in moments)
    distributed.barrier()
    loaded = torch.optim.AdamW(model.parameters())
    sharding.load_optimizer(loaded, torch.load(folder / "optimizer.pt", mmap=True, weights_only=True))
    for parameter in model.parameters():
        own, other = (each.state[parameter]["exp_avg"] for each in (optimizer, loaded))
        assert isinstance(other, DTensor)
        torch.testing.assert_close(other.to_local(), own.to_local())
    distributed.destroy_process_group()


@pytest.mark.slow
def test_only_the_process_that_saves_holds_the_whole_optimizer(tmp_path: Path) -> None:
    multiprocessing.spawn(save_and_load, (tmp_path,), nprocs=2)
