"""Optimizer steps: micro-batches, clipping, mixed precision, several processes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from pose_core.config import TrainConfig


def build_optimizer(network: nn.Module, config: TrainConfig, device: torch.device) -> Optimizer:
    """Return the config's optimizer of a network's parameters, fused if the device supports it."""
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    fused = device.type in {"cuda", "cpu"}
    if config.optimizer == "sgd":
        return torch.optim.SGD(
            parameters,
            config.lr,
            config.momentum,
            weight_decay=config.weight_decay,
            nesterov=config.nesterov,
            fused=fused,
        )
    if config.optimizer == "rmsprop":
        return torch.optim.RMSprop(parameters, config.lr, weight_decay=config.weight_decay)  # alpha 0.99, eps 1e-8
    kind = torch.optim.AdamW if config.optimizer == "adamw" else torch.optim.Adam
    return kind(parameters, config.lr, weight_decay=config.weight_decay, fused=fused)


class Updater:
    """The ``update`` of an objective: sums gradients over ``accumulate`` micro-batches, then steps the optimizer.

    A micro-batch's loss is a mean; divided by the number of micro-batches, they sum to the mean over the batch.
    """

    def __init__(
        self, networks: Mapping[str, nn.Module], optimizers: Mapping[str, Optimizer], config: TrainConfig
    ) -> None:
        self.networks = networks
        self.optimizers = optimizers
        self.accumulate = config.accumulate
        self.clip_norm = config.clip_norm
        self.scalers = {
            name: torch.amp.GradScaler("cuda", enabled=config.precision == "fp16" and torch.cuda.is_available())
            for name in optimizers
        }
        self.is_last = True

    @contextmanager
    def micro_batch(self, number: int) -> Iterator[None]:
        """Enter the ``number``-th micro-batch; processes synchronize gradients only in the last."""
        self.is_last = number == self.accumulate - 1
        with ExitStack() as stack:
            if not self.is_last:
                for network in self.networks.values():
                    plain = getattr(network, "_orig_mod", network)  # what torch.compile has wrapped
                    if isinstance(plain, DistributedDataParallel):
                        stack.enter_context(plain.no_sync())
            yield

    def __call__(self, name: str, loss: Tensor) -> None:
        """Run the backward pass of ``loss``; in the last micro-batch, also step network ``name``'s optimizer."""
        scaler, optimizer = self.scalers[name], self.optimizers[name]
        scaler.scale(loss / self.accumulate).backward()  # type: ignore[no-untyped-call]
        if not self.is_last:
            return
        if self.clip_norm is not None:
            scaler.unscale_(optimizer)
            parameters = [p for group in optimizer.param_groups for p in group["params"]]
            nn.utils.clip_grad_norm_(parameters, self.clip_norm)
        scaler.step(optimizer)
        scaler.update()
        # Gradients of this loss in the other networks are cleared too.
        for other in self.optimizers.values():
            other.zero_grad(set_to_none=True)

    def set_lr(self, lr: float | Mapping[str, float]) -> None:
        """Set one learning rate for all networks, or one for each by name."""
        for name, optimizer in self.optimizers.items():
            rate = lr[name] if isinstance(lr, Mapping) else lr
            for group in optimizer.param_groups:
                group["lr"] = rate * group.get("lr_scale", 1.0)

    def state_dict(self) -> dict[str, Any]:
        return {
            "optimizers": {name: optimizer.state_dict() for name, optimizer in self.optimizers.items()},
            "scalers": {name: scaler.state_dict() for name, scaler in self.scalers.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(state["optimizers"][name])
            self.scalers[name].load_state_dict(state["scalers"][name])
