"""Networks by name: the core's own, and those of installed methods."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from fnmatch import fnmatchcase
from functools import partial
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from pose_core.errors import ConfigError
from pose_core.plugins.method import NetworkBuilder, installed_methods
from pose_core.plugins.network_tables import INPUT_SIZE, NUM_JOINTS, Record, recorded_networks
from pose_core.suggestions import did_you_mean

if TYPE_CHECKING:
    from torch import Tensor, nn

    from pose_core.config import Experiment
    from pose_core.models.weights import LoadReport

_log = logging.getLogger(__name__)

HRNET_NAMES = ("hrnet_w18_small_v1", "hrnet_w18_small_v1_4x64", "hrnet_w18_small_v2", "hrnet_w32", "hrnet_w48")
SIMPLEBASELINE_DEPTHS = {"pytorch": (18, 34, 50, 101, 152), "caffe": (50, 101, 152)}
OWN_NAMES = (
    *HRNET_NAMES,
    "hrnet_w18_small_v2_softargmax",
    *(
        f"simplebaseline_resnet{depth}{'' if style == 'pytorch' else f'_{style}'}"
        for style, depths in SIMPLEBASELINE_DEPTHS.items()
        for depth in depths
    ),
)
"""Networks of the core; listing them loads no torch."""


def list_models(pattern: str = "*") -> list[str]:
    """Return the names that match a shell pattern, sorted."""
    names = {*OWN_NAMES, *(name for method in installed_methods().values() for name in method.networks)}
    return sorted(name for name in names if fnmatchcase(name, pattern))


def create_model(name: str, num_joints: int = 17, *, weights: str | Path | None = None, **options: object) -> nn.Module:
    """Build a float32 network; ``options`` go to its builder.

    ``weights`` are a name that `pose weights list` shows, a file, a URL or ``hf://owner/repo/file``; without them the
    network's weights are random.
    """
    builder = _own_builder(name) or _contributed_builder(name)
    if builder is None:
        hint = did_you_mean(name, list_models(), 3, 0.4) or "."
        raise ConfigError(f"no network is named {name!r}{hint} `pose models` lists them")
    try:
        signature(builder).bind(num_joints=num_joints, **options)
    except TypeError as error:
        raise ConfigError(f"network {name!r} does not take these options ({options}): {error}") from None
    if weights is not None:
        from pose_core.plugins.checkpoints import check_network

        check_network(name, num_joints, options, weights)
    network = builder(num_joints=num_joints, **options)
    if weights is not None:
        load_weights(network, weights)
    return network


def _own_builder(name: str) -> NetworkBuilder | None:
    if name not in OWN_NAMES:
        return None
    if name.startswith("hrnet"):
        from pose_core.models.hrnet import hrnet

        # The soft-argmax row of the published table is the same network, decoded differently.
        return partial(hrnet, name=name.removesuffix("_softargmax"))
    from pose_core.models.simplebaseline import simplebaseline

    style: Literal["caffe", "pytorch"] = "caffe" if name.endswith("_caffe") else "pytorch"
    depth = int(name.removeprefix("simplebaseline_resnet").removesuffix("_caffe"))
    return partial(simplebaseline, depth=depth, style=style)


def _contributed_builder(name: str) -> NetworkBuilder | None:
    for method in installed_methods().values():
        builder = method.network_builder(name)
        if builder is not None:
            return builder
    return None


def build_network(config: Experiment) -> nn.Module:
    """Build an experiment's network, initialized by ``model.init``, with the backbone of ``model.pretrained``."""
    from pose_core.engine.distributed import rank_and_world_size
    from pose_core.models.initialize import initialize, load_backbone

    network = bare_network(config)
    model = config.model
    if model.init == "published":
        initialize(network, backbone_follows=model.pretrained is not None)
    if model.pretrained is not None:
        report = load_backbone(network, model.pretrained)
        if rank_and_world_size()[0] == 0:
            _log.log(logging.WARNING if report.missing or report.warning else logging.INFO, "%s", report)
    return network


def bare_network(config: Experiment) -> nn.Module:
    """Build an experiment's network with the framework's random weights, to load a checkpoint into."""
    from pose_core.skeleton import get_skeleton

    model = config.model
    joints = get_skeleton(config.data.skeleton).num_joints
    network = create_model(model.name, joints, **model.options)
    check_input_size(network, model.name, model.input_size)
    return network


class Cost(NamedTuple):
    """Parameters and multiply-adds: ``gmacs`` the true count /1e9, ``published_gi`` the published tables' /1024³."""

    name: str
    parameters: int
    gmacs: float
    published_gi: float


def profile_model(name: str, input_size: tuple[int, int], num_joints: int = 17) -> Cost:
    """Return the size and cost of a network at ``input_size`` (w, h): recorded, or measured without its weights."""
    record = recorded_networks().get(name) if (input_size, num_joints) == (INPUT_SIZE, NUM_JOINTS) else None
    parameters, true, published = record[:3] if record is not None else _measure(name, input_size, num_joints)
    return Cost(name, parameters, true / 1e9, published / 1024**3)


def record_network(name: str) -> Record:
    """Measure a network for its package's table."""
    return Record(*_measure(name, INPUT_SIZE, NUM_JOINTS), *_count_kernels(name))


def _measure(name: str, input_size: tuple[int, int], num_joints: int) -> tuple[int, int, int]:
    """Return parameters, true and published multiply-adds; no weights are allocated."""
    import torch

    from pose_core.models.flops import count_macs, count_parameters

    with torch.device("meta"):
        model = create_model(name, num_joints=num_joints)
        return (count_parameters(model), *count_macs(model, input_size))


def _count_kernels(name: str) -> tuple[int, int]:
    """Return the number of elements of a network's kernels: without joints, and for each joint."""
    import torch

    counts = []
    with torch.device("meta"):
        for joints in (NUM_JOINTS, NUM_JOINTS + 1):
            counts.append(_kernels(create_model(name, num_joints=joints).state_dict()))
    each = counts[1] - counts[0]
    return counts[0] - NUM_JOINTS * each, each


def _kernels(state: Mapping[str, Tensor]) -> int:
    """Return the number of elements of all tensors with three or more dimensions."""
    return sum(value.numel() for value in state.values() if value.ndim > 2)


def check_input_size(model: nn.Module, name: str, input_size: tuple[int, int]) -> None:
    """Refuse an input (w, h) that the network's stages cannot halve evenly."""
    from pose_core.models.network import PoseNetwork

    divisor = model.divisor if isinstance(model, PoseNetwork) else 1
    width, height = input_size
    if width % divisor or height % divisor:
        near = [max(round(side / divisor), 1) * divisor for side in input_size]
        raise ConfigError(
            f"model.input_size [{width}, {height}]: {name} needs multiples of {divisor}, for example {near}"
        )


def load_weights(model: nn.Module, weights: str | Path | Mapping[str, object], *, strict: bool = True) -> LoadReport:
    """Load weights into ``model``, from a name, a file, a URL or a state dict, in our layout or a published one.

    A mismatch is refused, naming the networks that the weights fit; ``strict=False`` loads what fits and reports the
    rest.
    """
    from pose_core.models import weights as files
    from pose_core.plugins.checkpoints import locate_weights

    source = weights if isinstance(weights, Mapping) else locate_weights(weights)
    return files.load_weights(model, source, strict=strict, identify=identify)


def identify(state: Mapping[str, Tensor]) -> list[str]:
    """Return the names of the networks with exactly these parameters and buffers, for any number of joints.

    Batch counters are ignored: files older than PyTorch 1.0 have none. Published parameter names are recognized, too.
    Only networks with as many elements in their kernels are built.
    """
    import torch

    from pose_core.models.network import to_own_names

    recorded, names, kernels = recorded_networks(), [], _kernels(state)
    for name in list_models():
        try:
            record = recorded.get(name)
            free, each = record[3:] if record is not None else _count_kernels(name)
            joints, rest = divmod(kernels - free, each) if each else (NUM_JOINTS, kernels - free)
            if rest or not 0 < joints < MAX_JOINTS:
                continue
            with torch.device("meta"):
                model = create_model(name, num_joints=joints)
        except (ConfigError, ValueError):  # a network that needs options of its own
            continue
        if _shapes(to_own_names(model, state)) == _shapes(model.state_dict()):
            names.append(name)
    return names


MAX_JOINTS = 1000
"""More outputs than any file has; a network that needs more to have a file's size is another one."""


def _shapes(state: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {key: tuple(value.shape) for key, value in state.items() if not key.endswith("num_batches_tracked")}
