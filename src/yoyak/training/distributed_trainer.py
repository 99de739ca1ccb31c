"""transformers' Trainer as one of several processes that share each batch, and a sharded model's weights too."""

from __future__ import annotations

import random
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate.data_loader import prepare_data_loader
from torch.distributed.fsdp import FSDPModule
from torch.utils.data import DataLoader
from transformers import set_seed
from transformers.trainer import OPTIMIZER_NAME, SCHEDULER_NAME, safe_globals

from yoyak.training import ranks, sharding
from yoyak.training.arguments import SingleDeviceArguments
from yoyak.training.loss_trainer import LossTrainer


class DistributedTrainer(LossTrainer):
    """A Trainer whose batches, updates and checkpoints are those of one process, however many there are."""

    args: SingleDeviceArguments
    # The Trainer has them before any of its methods that are extended here is called.
    model: Any
    optimizer: Any
    lr_scheduler: Any

    @property
    def sharded(self) -> bool:
        """Whether this process has only a share of the weights."""
        return isinstance(self.model, FSDPModule)

    def get_train_dataloader(self) -> Any:
        """Return the batches; of several processes, each gets its share of the rows of every batch."""
        if self.size == 1:
            return super().get_train_dataloader()
        return self._share_batches(self.train_dataset, self._get_train_sampler(), self._train_batch_size)

    def get_eval_dataloader(self, eval_dataset: Any = None) -> Any:
        """Return the batches of dev, shared like those of the training."""
        if self.size == 1:
            return super().get_eval_dataloader(eval_dataset)
        rows: Any = self.eval_dataset if eval_dataset is None else eval_dataset
        return self._share_batches(rows, self._get_eval_sampler(rows), self.args.eval_batch_size)

    def _share_batches(self, rows: Any, sampler: Any, batch_size: int) -> Any:
        """Return batches that each process has its share of.

        accelerate would fill up the last batch of an epoch with rows that come twice, and hand out whole batches.
        """
        collate: Any = self.data_collator
        loader = DataLoader(
            rows,
            batch_size=batch_size,
            sampler=ranks.SameOrder(sampler),
            collate_fn=partial(ranks.collate_share, collate),
            pin_memory=self.args.dataloader_pin_memory,
        )
        return prepare_data_loader(
            loader, device=self.args.device, num_processes=1, process_index=0, put_on_device=True
        )

    def _unshared_batches(self, rows: Any) -> Any:
        """Return batches without the other processes."""
        return DataLoader(rows, batch_size=self.args.eval_batch_size, collate_fn=self.data_collator)

    def get_batch_samples(self, epoch_iterator: Any, num_batches: int, device: Any) -> Any:
        """Return the batches of an update, and the number of their targets in all processes if the loss needs it."""
        batches, targets = super().get_batch_samples(epoch_iterator, num_batches, device)
        if self.size > 1 and targets is not None:
            targets = torch.stack([batch[ranks.TARGETS][1] for batch in batches]).sum()
        return batches, targets

    # A sharded model: everything of it that is saved is gathered before, and shared out when it is loaded.

    def create_optimizer(self) -> Any:
        """Create the optimizer, of the shares of the weights if the model is to be sharded."""
        if self.args.sharded and not self.sharded:
            sharding.shard(self.model, self.args.device)
            # For autocast; what it is told here keeps accelerate from wrapping the model for DDP.
            self.accelerator.prepare_model(self.model, evaluation_mode=True)
            self.model._is_accelerate_prepared = True
        return super().create_optimizer()

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Save the weights of a checkpoint."""
        if not self.sharded:
            super().save_model(output_dir, _internal_call)
            return
        weights = sharding.gather_weights(self.model)
        if self.args.should_save:
            self._save(output_dir, state_dict=weights)

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        if not self.sharded:
            super()._save_optimizer_and_scheduler(output_dir)
            return
        state = sharding.gather_optimizer(self.optimizer.state_dict())
        if self.args.should_save:
            torch.save(state, Path(output_dir) / OPTIMIZER_NAME)
            torch.save(self.lr_scheduler.state_dict(), Path(output_dir) / SCHEDULER_NAME)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if self.size == 1 or checkpoint is None:
            super()._load_optimizer_and_scheduler(checkpoint)
            return
        # The Trainer would load all of it onto every device at once, and fails where that is a CPU.
        folder = Path(checkpoint)
        # Each process reads the file, of which it may keep a share only.
        state = torch.load(folder / OPTIMIZER_NAME, map_location="cpu", mmap=True, weights_only=True)
        sharding.load_optimizer(self.optimizer, state)
        self.lr_scheduler.load_state_dict(torch.load(folder / SCHEDULER_NAME, weights_only=True))

    def _load_best_model(self) -> None:
        if self.sharded:
            sharding.load_weights(self.model, Path(str(self.state.best_model_checkpoint)))
        else:
            super()._load_best_model()

    def _load_rng_state(self, checkpoint: Any) -> None:
        """Restore the states of the random generators, or begin new ones that depend on the seed, step and process.

        A checkpoint has them for as many processes as there were. The first one goes on with those of the first one.
        """
        if checkpoint is None:
            return
        own = f"rng_state_{ranks.rank()}.pth" if self.size > 1 else "rng_state.pth"
        if (Path(checkpoint) / own).is_file():
            super()._load_rng_state(checkpoint)
            return
        set_seed((self.args.seed + self.state.global_step * 1009 + ranks.rank()) % 2**32)
        first = Path(checkpoint) / ("rng_state.pth" if self.size > 1 else "rng_state_0.pth")
        if ranks.rank() == 0 and first.is_file():
            with safe_globals():
                states = torch.load(first)
            random.setstate(states["python"])
            np.random.set_state(states["numpy"])
            torch.random.set_rng_state(states["cpu"])

    def _first_rows(self, values: torch.Tensor) -> torch.Tensor:
        """Return as many values as a batch of dev has rows: every process has the loss of all rows."""
        state = self.accelerator.gradient_state
        return values[: state.remainder] if state.end_of_dataloader and state.remainder > 0 else values
