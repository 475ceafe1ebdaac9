"""What networks may say about themselves, each with its default."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Literal

from torch import Tensor, nn


class PoseNetwork(nn.Module):
    """A network whose published files may name its layers otherwise."""

    divisor: int = 1
    """Height and width of the input must be multiples of this."""
    style: Literal["pytorch", "caffe"] | None = None
    """Where a ResNet's stages have their stride; None for other networks."""

    @staticmethod
    def from_published(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return a published state dict in our names; one in ours passes unchanged."""
        return dict(state)

    def to_published(self) -> dict[str, Tensor]:
        """Return the state dict in the published names."""
        return self.state_dict()


class InitializedLayer(nn.Module, ABC):
    """A layer that starts otherwise than the published scheme starts all others."""

    @abstractmethod
    def initialize_published(self) -> None:
        """Set the weights that the layer starts from."""


class UntracedBlock(nn.Module):
    """A block whose computation depends on its input's shape: tracing does not look into it."""


def to_own_names(model: nn.Module, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a state dict, ours or a published one, in the names of ``model``."""
    return model.from_published(state) if isinstance(model, PoseNetwork) else dict(state)
