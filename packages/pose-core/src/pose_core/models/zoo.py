"""The layouts of the open-mmlab zoo: state dicts with a backbone and a head, in two generations of the same names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from torch import Tensor

Generation = Literal["mm0", "mm1"]
"""Files of mmpose 0.x, whose head is ``keypoint_head.``, and of mmpose 1.x, whose head is ``head.``."""

PREFIXES = ("backbone.", "keypoint_head.", "head.")
UNREAD = ("data_preprocessor.", "head.loss_module.", "head.rescore_net.")
"""Entries that belong to no pose network: pixel statistics, losses, and DEKR's scoring network, a network apart."""


def zoo_generation(state: Mapping[str, object]) -> Generation | None:
    """Return the generation of a state dict in the zoo's layout, None for any other.

    A file without a head, the hourglass of associative embedding, is of the first: the second lists none.
    """
    if not any(key.startswith("backbone.") for key in state):
        return None
    return "mm1" if any(key.startswith("head.") for key in state) else "mm0"


def bare_entries(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the entries of a pose network in the zoo's layout without the prefixes of backbone and head."""
    bare = {}
    for key, value in state.items():
        if key.startswith(UNREAD):
            continue
        prefix = next((prefix for prefix in PREFIXES if key.startswith(prefix)), "")
        bare[key.removeprefix(prefix)] = value
    return bare
