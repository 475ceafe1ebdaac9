"""Networks by name: the core's own, and those that installed methods contribute."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from fnmatch import fnmatchcase
from functools import cache, partial
from inspect import signature
from typing import Any

import torch
from torch import Tensor, nn

from pose_core.errors import ConfigError
from pose_core.models.hrnet import HRNETS, hrnet
from pose_core.models.simplebaseline import simplebaseline
from pose_core.plugins.method import installed_methods, resolve

Builder = Callable[..., nn.Module]


@cache
def _own() -> dict[str, Builder]:
    builders: dict[str, Builder] = {name: partial(hrnet, name=name) for name in HRNETS}
    # The soft-argmax row of the published table is the same network, decoded differently.
    builders["hrnet_w18_small_v2_softargmax"] = partial(hrnet, name="hrnet_w18_small_v2")
    for depth in (18, 34, 50, 101, 152):
        builders[f"simplebaseline_resnet{depth}"] = partial(simplebaseline, depth=depth)
    for depth in (50, 101, 152):
        builders[f"simplebaseline_resnet{depth}_caffe"] = partial(simplebaseline, depth=depth, style="caffe")
    return builders


@cache
def _contributed() -> dict[str, tuple[str, Mapping[str, Any]]]:
    found = {}
    for method in installed_methods().values():
        for name, where in method.models.items():
            found[name] = (where, {}) if isinstance(where, str) else where
    return found


def _contributed_builder(name: str) -> Builder | None:
    """The builder of a contributed name, or of a family's name with any number."""
    if name in _contributed():
        where, implied = _contributed()[name]
        return partial(resolve(where), **implied)
    stem = name.rstrip("0123456789")
    for method in installed_methods().values():
        if stem != name and stem in method.families:
            where, keyword = method.families[stem]
            return partial(resolve(where), **{keyword: int(name[len(stem) :])})
    return None


def list_models(pattern: str = "*") -> list[str]:
    """Names that match a shell pattern, sorted."""
    return sorted(name for name in {**_own(), **_contributed()} if fnmatchcase(name, pattern))


def create_model(name: str, num_joints: int = 17, **keywords: Any) -> nn.Module:
    """A network with random weights, float32; ``keywords`` go to its builder."""
    builder = _own().get(name) or _contributed_builder(name)
    if builder is None:
        near = get_close_matches(name, list_models(), n=3, cutoff=0.4)
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        raise ConfigError(f"no network named {name!r}{hint} `pose models` lists them")
    try:
        signature(builder).bind(num_joints=num_joints, **keywords)
    except TypeError as error:
        raise ConfigError(f"network {name!r} does not take these options ({keywords}): {error}") from None
    return builder(num_joints=num_joints, **keywords)


def check_input_size(model: nn.Module, name: str, input_size: tuple[int, int]) -> None:
    """Refuse an input (w, h) that the network's stages cannot halve evenly."""
    divisor = int(getattr(model, "divisor", 1))
    width, height = input_size
    if width % divisor or height % divisor:
        near = [max(round(side / divisor), 1) * divisor for side in input_size]
        raise ConfigError(
            f"model.input_size [{width}, {height}]: {name} needs multiples of {divisor}, for example {near}"
        )


def identify(state: Mapping[str, Tensor]) -> list[str]:
    """Names of the networks whose parameters and buffers are exactly these, whatever the number of joints.

    Batch counters do not count: files older than PyTorch 1.0 have none. The published names of a network count as its
    own.
    """
    found = []
    joints = next((len(value) for key, value in state.items() if _HEAD.search(key)), 17)
    if "head_heatmap.1.weight" in state:  # bottom-up heads that have the person's centre as one more channel
        joints = len(state["head_heatmap.1.weight"]) - 1
    with torch.device("meta"):
        for name in list_models():
            try:
                model = create_model(name, num_joints=joints)
            except (ConfigError, ValueError):  # a network that needs keywords of its own
                continue
            translate = getattr(model, "from_published", dict)
            if _shapes(translate(dict(state))) == _shapes(model.state_dict()):
                found.append(name)
    return found


_HEAD = re.compile(r"(^|\.)(final_layer|final_layers\.0|heatmaps\.0|score\.0|chantojoints\.0)\.weight$")
"""The layer that yields the heatmaps, in the names in use; its first side is the number of joints."""


def _shapes(state: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {key: tuple(value.shape) for key, value in state.items() if not key.endswith("num_batches_tracked")}
