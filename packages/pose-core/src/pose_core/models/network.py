"""Base classes of networks: the attributes and hooks they may define, with defaults."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Literal

from torch import Tensor, nn

from pose_core.models.zoo import Generation, bare_entries, zoo_generation


class PoseNetwork(nn.Module):
    """A network; its published files may use other layer names."""

    divisor: int = 1
    """Height and width of the input must be multiples of this."""
    style: Literal["pytorch", "caffe"] | None = None
    """Style of a ResNet, the position of its stages' stride; None for other networks."""

    def published_names(self, key: str) -> tuple[str, ...]:
        """Return the names in published files of an entry of the state dict; the first is the one that is written."""
        return (key,)

    def from_published(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return a published state dict in our names; one in ours passes unchanged."""
        ours = {name: key for key in self.state_dict() for name in self.published_names(key)}
        return {ours.get(key, key): value for key, value in state.items()}

    @staticmethod
    def from_zoo(state: Mapping[str, Tensor], generation: Generation) -> dict[str, Tensor]:
        """Return entries of the open-mmlab zoo in our names; ``state`` is without the prefixes of backbone and head."""
        return dict(state)

    def to_published(self) -> dict[str, Tensor]:
        """Return the state dict in the published names and order."""
        return {self.published_names(key)[0]: value for key, value in self.state_dict().items()}


class InitializedLayer(nn.Module, ABC):
    """A layer with its own initialization instead of the published scheme's."""

    @abstractmethod
    def initialize_published(self) -> None:
        """Initialize the layer's weights."""


class UntracedBlock(nn.Module):
    """A block whose computation depends on its input's shape: tracing does not enter it."""


def to_own_names(model: nn.Module, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a state dict, ours, a published one or one of the open-mmlab zoo, with the names of ``model``."""
    if not isinstance(model, PoseNetwork):
        return dict(state)
    generation = zoo_generation(state)
    if generation is not None:
        return model.from_zoo(bare_entries(state), generation)
    return model.from_published(state)
