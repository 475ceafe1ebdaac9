"""Self-adversarial training: a critic that draws heatmaps again, well where they are real (Chou and others, 2017).

The order of a step is the published one: the pose network looks; the critic judges real heatmaps and predictions, and
steps; it judges the predictions once more, and the pose network steps; k follows the balance of the critic's first two
judgments.
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
class Scene:
    """What a batch is to both players. Heatmaps are ``(N, K, h, w)``, ``small`` the images at their side.

    ``content`` is what the pose network minimizes without a critic; ``figures`` are for the log.
    """

    small: Tensor
    real: Tensor
    predicted: Tensor
    content: Tensor
    figures: dict[str, Tensor] = field(default_factory=dict)


class Content(Protocol):
    """Looks at a batch with the pose network."""

    def __call__(self, network: nn.Module, batch: Any) -> Scene: ...


class PlainObjective(Objective[Any]):
    """The content alone."""

    def __init__(self, content: Content) -> None:
        self.content = content

    def step(self, networks: Mapping[str, nn.Module], batch: Any, update: Update) -> dict[str, Tensor]:
        scene = self.content(networks["pose"], batch)
        update("pose", scene.content)
        return {"loss": scene.content, **scene.figures}


class CriticObjective(Objective[Any]):
    """Pose network against critic. Remembers k alone, which is the same in every process."""

    def __init__(self, content: Content, settings: AdversarialConfig, device: torch.device) -> None:
        self.content, self.settings = content, settings
        # Single precision would lose small steps of k near 1; Apple's GPUs have no other.
        kind = torch.float32 if device.type == "mps" else torch.float64
        self.k = torch.tensor(settings.start, dtype=kind, device=device)

    def step(self, networks: Mapping[str, nn.Module], batch: Any, update: Update) -> dict[str, Tensor]:
        critic, weight = networks["critic"], self.settings.weight
        scene = self.content(networks["pose"], batch)
        predicted = scene.predicted.detach()
        real = redrawing_error(critic, scene.small, scene.real)
        fake = redrawing_error(critic, scene.small, predicted)
        critic_loss = real - self.k.to(real.dtype) * fake
        update("critic", critic_loss)
        # The gradient goes through both places of the prediction, and not into the critic.
        with frozen(bare(critic)) as judge:
            judged = redrawing_error(judge, scene.small, scene.predicted)
            loss = scene.content + weight * judged
            update("pose", loss)
        real, fake = mean_over_processes(torch.stack([real.detach(), fake.detach()])).unbind()
        balance, measure = self.update_balance(real, fake)
        return {
            "loss": loss,
            "loss_hg_content": scene.content,
            **scene.figures,
            "loss_d": critic_loss,
            "loss_d_real": real,
            "loss_d_fake": fake,
            "loss_g": judged,
            "kt": self.k,
            "balance": balance,
            "measure": measure,
        }

    def update_balance(self, real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
        """Move k by the critic's errors on real heatmaps and predictions; returns the balance and the measure."""
        real, fake = real.to(self.k.dtype), fake.to(self.k.dtype)
        balance = self.settings.gamma * real - fake
        self.k = (self.k + self.settings.rate * balance).clamp(0, 1)
        return balance, real + balance.abs()

    def state_dict(self) -> dict[str, Any]:
        return {"k": self.k.cpu()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.k = state["k"].to(self.k)


def redrawing_error(critic: nn.Module, small: Tensor, heatmaps: Tensor) -> Tensor:
    """How far the critic's drawing of ``heatmaps`` ``(N, K, h, w)`` is from them: the mean of squares."""
    drawn = critic(torch.cat([small, heatmaps], 1))
    return (drawn.to(heatmaps.dtype) - heatmaps).square().mean()


def bare(network: nn.Module) -> nn.Module:
    """A network without what shares its gradients among processes: nobody waits for those of a frozen one."""
    network = getattr(network, "_orig_mod", network)  # torch.compile's
    return network.module if isinstance(network, DistributedDataParallel) else network


@contextmanager
def frozen(network: nn.Module) -> Iterator[nn.Module]:
    """Within, no parameter of ``network`` has a gradient."""
    learned = [parameter for parameter in network.parameters() if parameter.requires_grad]
    for parameter in learned:
        parameter.requires_grad_(False)
    try:
        yield network
    finally:
        for parameter in learned:
            parameter.requires_grad_(True)
