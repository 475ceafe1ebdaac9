"""Self-adversarial training (Chou et al., 2017): a critic reconstructs heatmaps, real ones better than predicted ones.

The order within a training step is the published one: the pose network runs; the critic reconstructs the real and the
predicted heatmaps, and is updated; it reconstructs the predictions once more, and the pose network is updated; the
critic's first two errors update the balance k.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from pose_advpose.config import AdversarialConfig
from pose_core.engine.distributed import mean_over_processes
from pose_core.engine.interfaces import Objective, Update


@dataclass(frozen=True)
class AdversarialBatch:
    """The tensors of a batch that the losses of both networks are computed from.

    ``real`` and ``predicted`` heatmaps are ``(N, K, h, w)``; ``small`` are the images at their size ``(N, 3, h, w)``;
    ``content_loss`` is the pose network's loss without a critic; ``metrics`` are logged.
    """

    small: Tensor
    real: Tensor
    predicted: Tensor
    content_loss: Tensor
    metrics: dict[str, Tensor] = field(default_factory=dict)


class Content(Protocol):
    """A function that runs the pose network on a batch and computes the content loss."""

    def __call__(self, network: nn.Module, batch: Any) -> AdversarialBatch: ...


class PlainObjective(Objective[Any]):
    """The content loss alone."""

    def __init__(self, content: Content) -> None:
        self.content = content

    def step(self, networks: Mapping[str, nn.Module], batch: Any, update: Update) -> dict[str, Tensor]:
        result = self.content(networks["pose"], batch)
        update("pose", result.content_loss)
        return {"loss": result.content_loss, **result.metrics}


class CriticObjective(Objective[Any]):
    """The losses of pose network and critic. The only state is k, which is the same in every process."""

    def __init__(self, content: Content, settings: AdversarialConfig, device: torch.device) -> None:
        self.content, self.settings = content, settings
        # Single precision would lose small steps of k near 1.
        self.k = torch.tensor(settings.start, dtype=torch.float64, device=device)

    def step(self, networks: Mapping[str, nn.Module], batch: Any, update: Update) -> dict[str, Tensor]:
        critic, weight = networks["critic"], self.settings.weight
        result = self.content(networks["pose"], batch)
        real = reconstruction_error(critic, result.small, result.real)
        fake = reconstruction_error(critic, result.small, result.predicted.detach())
        critic_loss = real - self.k.to(real.dtype) * fake
        update("critic", critic_loss)
        # The prediction is both the critic's input and its target: the gradient goes through both, not into the critic.
        with frozen(unwrap(critic)) as fixed_critic:
            adversarial_loss = reconstruction_error(fixed_critic, result.small, result.predicted)
            loss = result.content_loss + weight * adversarial_loss
            update("pose", loss)
        real, fake = mean_over_processes(torch.stack([real.detach(), fake.detach()])).unbind()
        balance, measure = self.update_balance(real, fake)
        return {
            "loss": loss,
            "loss_hg_content": result.content_loss,
            **result.metrics,
            "loss_d": critic_loss,
            "loss_d_real": real,
            "loss_d_fake": fake,
            "loss_g": adversarial_loss,
            "kt": self.k,
            "balance": balance,
            "measure": measure,
        }

    def update_balance(self, real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
        """Update k by the critic's errors on real and predicted heatmaps; return the balance and the measure."""
        real, fake = real.to(self.k.dtype), fake.to(self.k.dtype)
        balance = self.settings.gamma * real - fake
        self.k = (self.k + self.settings.rate * balance).clamp(0, 1)
        return balance, real + balance.abs()

    def state_dict(self) -> dict[str, Any]:
        return {"k": self.k.cpu()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.k = state["k"].to(self.k)


def reconstruction_error(critic: nn.Module, small: Tensor, heatmaps: Tensor) -> Tensor:
    """Return the mean squared error of the critic's reconstruction of ``heatmaps`` ``(N, K, h, w)``."""
    reconstructed = critic(torch.cat([small, heatmaps], 1))
    return (reconstructed.to(heatmaps.dtype) - heatmaps).square().mean()


def unwrap(network: nn.Module) -> nn.Module:
    """Return a network without its DistributedDataParallel wrapper, which would wait for a frozen one's gradients."""
    network = getattr(network, "_orig_mod", network)  # torch.compile's
    return network.module if isinstance(network, DistributedDataParallel) else network


@contextmanager
def frozen(network: nn.Module) -> Iterator[nn.Module]:
    """Exclude the parameters of ``network`` from gradients within a ``with`` block."""
    trainable = [parameter for parameter in network.parameters() if parameter.requires_grad]
    for parameter in trainable:
        parameter.requires_grad_(False)
    try:
        yield network
    finally:
        for parameter in trainable:
            parameter.requires_grad_(True)
