"""The cost of a network: size, multiply-adds, time of one image, images per second, memory, training steps."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from statistics import median_high
from typing import Any

import torch
from torch import Tensor, nn

from pose_core.benchmark.timing import free_megabytes, peak_megabytes, seconds_of, threads
from pose_core.bottomup.config import BottomUpConfig
from pose_core.errors import ConfigError
from pose_core.models.flops import count_macs, count_parameters
from pose_core.models.inference_copy import optimize_for_inference
from pose_core.plugins.experiments import load_config
from pose_core.plugins.method import installed_methods
from pose_core.plugins.networks import check_input_size, create_model, list_models
from pose_core.skeleton import get_skeleton
from pose_core.suggestions import did_you_mean

BATCHES = {"cpu": (1, 2, 4, 8, 16, 32), "cuda": (1, 4, 16, 32, 64, 128, 256)}
TRAINING_BATCH = {"cpu": 8, "cuda": 64}
"""Less if memory is too small, or if a step on a CPU would take longer than LONGEST seconds."""
LONGEST = 10.0
SHARE = 0.6
"""Share of the free memory that a batch may take: memory inside operators is not counted, see `timing`."""
TIMES = ("latency_ms", "throughput", "training")
"""Figures of a row that differ from one measurement to the next."""


@dataclass(frozen=True)
class Score:
    """The accuracy of a trained network, with its measure, data and protocol."""

    accuracy: float | None = None
    measure: str = ""
    data: str = ""
    protocol: str = ""


@dataclass(frozen=True)
class Subject:
    """A network as its first experiment uses it."""

    name: str
    method: str
    input_size: tuple[int, int]
    num_joints: int
    options: Mapping[str, Any] = field(default_factory=dict)
    label: str = ""
    """Name of the row, if it is not the network's name."""
    score: Score = Score()
    whole: bool = False
    """Whether it takes whole images, of any size, instead of crops."""


@dataclass(frozen=True)
class NetworkRow:
    """One row of the table; a figure that was not measured is None.

    ``spread`` is half the range of a time over the rounds, as a share of the median.
    """

    name: str
    method: str
    input: str
    joints: int
    parameters: int
    gmacs: float
    latency_ms: float
    throughput: float
    batch: int
    memory_mb: float
    training: float | None
    training_batch: int | None = None
    accuracy: float | None = None
    measure: str = ""
    data: str = ""
    protocol: str = ""
    spread: Mapping[str, float] = field(default_factory=dict)


def subjects(pattern: str, input_size: tuple[int, int] | None = None) -> list[Subject]:
    """Return networks by name, each with the input and joints of the first built-in experiment that uses it."""
    used: dict[str, Subject] = {}
    for method in installed_methods().values():
        for experiment, entry in method.experiments().items():
            name = entry.content()["model"]["name"]
            if experiment.startswith("synthetic") or name in used:
                continue
            config = load_config(f"{method.script}/{experiment}")
            joints = get_skeleton(config.data.skeleton).num_joints
            whole = isinstance(config, BottomUpConfig)
            used[name] = Subject(name, method.name, config.model.input_size, joints, whole=whole)
    chosen = []
    for name in filter(sees_images, list_models(pattern)):
        owner = next((m.name for m in installed_methods().values() if name in m.networks), "core")
        subject = used.get(name, Subject(name, owner, (192, 256), 17))
        size = input_size or subject.input_size
        chosen.append(replace(subject, method=owner if owner != "core" else subject.method, input_size=size))
    if not chosen:
        hint = did_you_mean(pattern, filter(sees_images, list_models()), 3) or "."
        raise ConfigError(f"no network that takes images matches {pattern!r}{hint} `pose models` lists all")
    return chosen


def sees_images(name: str) -> bool:
    """Return whether a network takes only images; a critic takes heatmaps in addition."""
    with torch.device("meta"):
        model = create_model(name)
    stem = next((layer for layer in model.modules() if isinstance(layer, nn.Conv2d)), None)
    return stem is None or stem.in_channels == 3


def measure_network(
    subject: Subject, device: torch.device, *, fast: bool = False, training: bool = True, budget: float = 1.0
) -> NetworkRow:
    """Measure one network; ``budget`` is the time for each figure in seconds.

    The time of one image is measured with one thread on a CPU, everything else with all of PyTorch's threads. ``fast``
    measures the copy for inference (batch norm folded, channels last, packed weights); on a GPU in bfloat16, compiled,
    as CUDA graphs.
    """
    model = create_model(subject.name, num_joints=subject.num_joints, **subject.options)
    check_input_size(model, subject.name, subject.input_size)
    true, _ = count_macs(model, subject.input_size)
    parameters = count_parameters(model)
    trained, trained_by = training_rate(model, subject, device, fast=fast, budget=budget) if training else (None, None)
    model = model.to(device).eval()
    if fast:
        model = optimize_for_inference(model, subject.input_size, compiled=device.type == "cuda")
    latency = milliseconds_of_one(model, subject.input_size, device, fast=fast, budget=budget)
    rate, batch, memory = best_throughput(model, subject.input_size, device, fast=fast, budget=budget)
    width, height = subject.input_size
    return NetworkRow(
        subject.label or subject.name, subject.method, f"{height}x{width}", subject.num_joints, parameters, true / 1e9,
        latency, rate, batch, memory, trained, trained_by, **asdict(subject.score),
    )  # fmt: skip


def middle_row(rows: Sequence[NetworkRow]) -> NetworkRow:
    """Merge one network's rows of several rounds: the median of each time, and its spread."""
    if len(rows) == 1:
        return rows[0]
    times = {name: [getattr(row, name) for row in rows] for name in TIMES if getattr(rows[0], name) is not None}
    middle: dict[str, Any] = {name: median_high(values) for name, values in times.items()}
    spread = {name: (max(values) - min(values)) / 2 / middle[name] for name, values in times.items()}
    # The best batch and its memory belong to one round's images per second.
    chosen = next(row for row in rows if row.throughput == middle["throughput"])
    return replace(chosen, **middle, spread=spread)


def milliseconds_of_one(
    model: nn.Module, size: tuple[int, int], device: torch.device, *, fast: bool = False, budget: float = 1.0
) -> float:
    """Measure the milliseconds of a forward pass of one image of ``size`` (w, h); on a CPU with one thread.

    Several threads on cores that are shared with other work wait for each other longer than they compute.
    """
    model = model.to(device).eval()
    images = _images(1, size, device, fast)
    with threads(1 if device.type == "cpu" else torch.get_num_threads()), _inference(device, fast):
        return 1000 * seconds_of(partial(model, images), device, budget)


def best_throughput(
    model: nn.Module, size: tuple[int, int], device: torch.device, *, fast: bool, budget: float
) -> tuple[float, int, float]:
    """Measure images per second at the best batch size; return them, that size, and the memory of its forward pass."""
    best, batch = 0.0, 1
    with _inference(device, fast):
        of_one = peak_megabytes(partial(model, _images(1, size, device, fast)), device)
        room = SHARE * free_megabytes(device)
        for count in BATCHES[device.type]:
            if best and count * of_one > room:
                break
            try:
                images = _images(count, size, device, fast)
                rate = count / seconds_of(partial(model, images), device, budget / 2, least=2)
            except torch.OutOfMemoryError:
                break
            if rate < best * 1.03:
                break
            best, batch = rate, count
        images = _images(batch, size, device, fast)
        memory = peak_megabytes(partial(model, images), device)
    return best, batch, memory


def training_rate(
    model: nn.Module, subject: Subject, device: torch.device, *, fast: bool, budget: float
) -> tuple[float, int]:
    """Measure images per second of forward, backward (of a dummy loss) and an Adam step; also return the batch size."""
    model = model.to(device).train()
    if fast:
        model = model.to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=1e-6, fused=fast)

    def step(run: Callable[[Tensor], Any], images: Tensor) -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=fast and device.type == "cuda"):
            outputs = run(images)
        loss = torch.stack([output.float().square().mean() for output in tensors(outputs)]).sum()
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        optimizer.step()

    # Two images, since batch norm cannot normalize a single value per channel.
    started = time.perf_counter()
    of_two = peak_megabytes(partial(step, model, _images(2, subject.input_size, device, fast)), device)
    # On a GPU the first step's time does not predict the next.
    seconds = time.perf_counter() - started if device.type == "cpu" else 0.0
    limit = min(2 * SHARE * free_megabytes(device) / of_two, 2 * LONGEST / seconds if seconds else float("inf"))
    count = TRAINING_BATCH[device.type]
    while count > max(limit, 2):
        count //= 2
    run = torch.compile(model) if fast and device.type == "cuda" else model
    images = _images(count, subject.input_size, device, fast)
    return count / seconds_of(partial(step, run, images), device, budget, least=2), count


def matrix_limit(device: torch.device, *, fast: bool, budget: float = 0.5) -> float:
    """Measure the FLOP/s of one large convolution, run as the networks are.

    It is one matrix product and nothing else, so this is an upper limit for every network.
    """
    # 1000 GFLOP on a GPU, 2.5 on a CPU, so that casting to bfloat16 costs little in comparison.
    images, channels = (48, 1024) if device.type == "cuda" else (2, 256)
    layer = nn.Conv2d(channels, channels, 3, padding=1, bias=False).to(device).to(memory_format=torch.channels_last)
    x = torch.randn(images, channels, 32, 32, device=device).to(memory_format=torch.channels_last)
    with _inference(device, fast):
        return 18 * channels * x.numel() / seconds_of(partial(layer, x), device, budget, least=9)


def tensors(outputs: Any) -> Iterator[Tensor]:
    """Yield every tensor of a network's output, regardless of nesting."""
    if isinstance(outputs, Tensor):
        yield outputs
    elif isinstance(outputs, dict):
        for value in outputs.values():
            yield from tensors(value)
    elif isinstance(outputs, list | tuple):
        for value in outputs:
            yield from tensors(value)


def _images(count: int, size: tuple[int, int], device: torch.device, fast: bool) -> Tensor:
    images = torch.randn(count, 3, size[1], size[0], device=device)
    return images.to(memory_format=torch.channels_last) if fast else images


@contextmanager
def _inference(device: torch.device, fast: bool) -> Iterator[None]:
    """Disable gradients; with ``fast`` on a GPU, use bfloat16."""
    with (
        torch.inference_mode(),
        torch.autocast(device.type, torch.bfloat16, enabled=fast and device.type == "cuda"),
    ):
        yield
