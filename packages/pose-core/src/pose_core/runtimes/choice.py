"""Choose what computes a network: what was measured to be the fastest here, if the work ahead pays for changing to it.

Seconds of one batch are remembered in the section ``networks`` of `pose_core.measurements`, by the network's name, its
input size, its batch, the threads and the precision. Weights make no difference to them.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from pose_core import timing
from pose_core.config import Experiment
from pose_core.errors import ConfigError, PoseError
from pose_core.measurements import are_ignored, recall, remember
from pose_core.models.inference_copy import optimize_for_inference
from pose_core.plurals import counted
from pose_core.runtimes.networks import CHECKED, open_network, way_of
from pose_core.runtimes.onnx_files import onnx_bytes, onnx_path, stored_network
from pose_core.runtimes.ways import Way, missing, require, ways
from pose_core.verbosity import is_quiet

SECTION = "networks"
BATCHES = (1, 32)
"""Batch sizes that are measured; others count as the nearer one."""
START = 1.0
"""Seconds that importing a runtime and opening a network are thought to take before they were measured."""
IMPORT = 0.3
"""Seconds to import a runtime, for those that were imported before they were measured."""
FEWEST = 200
"""An unknown network is not tried out for fewer images: to pay, each would have to take most of a second."""
LONG = 1.0
"""Seconds of a batch above which fewer images are measured in its place."""
FEW = 8
CALLS = 15
"""Batches' time that a measurement takes."""
EXPORT = 30.0
"""Seconds that an export is thought to take before one was measured."""
MOST_THREADS = 512
WORTH = 5.0
"""An unknown network is measured if the work ahead takes this many times as long as the measurement."""


@dataclass(frozen=True)
class Work:
    """What a network does: its name, input size (w, h), images at a time, and the number format that is asked for.

    With ``multiple``, heights and widths vary, as multiples of it.
    """

    network: str
    input_size: tuple[int, int]
    batch: int
    precision: str = "fp32"
    multiple: int | None = None

    @property
    def key(self) -> str:
        """Return the name under which its times are remembered."""
        return self.key_with(torch.get_num_threads())

    def key_with(self, threads: int) -> str:
        """Return that name for a number of threads."""
        return f"{self._network}, batch {self.batch}, {counted(threads, 'thread')}, {self.precision}"

    @property
    def export_key(self) -> str:
        """Return the name under which the time of writing its ONNX file is remembered."""
        return f"{self._network}, export"

    @property
    def start_key(self) -> str:
        """Return the name under which the times of opening it are remembered, each with the import of its runtime."""
        return f"{self._network}, start"

    @property
    def _network(self) -> str:
        width, height = self.input_size
        return f"{self.network} {height}x{width}"

    @property
    def standard(self) -> Way:
        """Return the way if nothing is known."""
        return Way("torch", self.precision)


def batch_class(batch: int) -> int:
    """Return the measured batch size that stands for another one."""
    return BATCHES[0] if batch <= 4 else BATCHES[1]


def ready_network(
    network: nn.Module,
    config: Experiment,
    device: torch.device,
    *,
    dtype: torch.dtype | None,
    batch: int,
    images: int | None = None,
    multiple: int | None = None,
    quick: nn.Module | None = None,
) -> nn.Module:
    """Return a copy of a network for inference, computed by what the config's ``test.runtime`` says.

    ``dtype`` is the type of ``test.precision``, ``batch`` the images of a call, and ``images`` the number of all, if it
    is known. With ``multiple``, heights and widths vary, as multiples of it. ``quick`` is the copy that PyTorch
    computes, if there is one already.
    """
    test, size, runtime = config.test, config.model.input_size, config.test.runtime
    if device.type != "cpu" or test.compile:
        if runtime not in ("auto", "torch"):
            what = f"run.device={device}" if device.type != "cpu" else "test.compile=true"
            raise ConfigError(f"test.runtime={runtime} does not go with {what}: set test.runtime=torch")
        return optimize_for_inference(network.to(device), size, dtype, compiled=test.compile)
    work = Work(config.model.name, size, batch_class(batch), test.precision, multiple)
    if runtime != "auto" and runtime != "torch":
        require(runtime)
        if runtime == "onnxruntime" and dtype is not None:
            raise ConfigError(f"test.runtime=onnxruntime computes in fp32 only: remove test.precision={test.precision}")
        return _opened(Way(runtime, test.precision), work, network, optimize_for_inference(network.to(device), size))
    if quick is None:
        quick = optimize_for_inference(network.to(device), size, dtype)
    if runtime == "torch" or images is None or are_ignored() or len(_installed(work)) == 1:
        return quick
    try:
        way = _choose(work, network, quick, images)
        plain = quick if dtype is None or way == work.standard else optimize_for_inference(network, size)
        return plain if way.runtime == "torch" else _opened(way, work, network, plain)
    except PoseError as error:
        _say(f"network: PyTorch; {error}")
        return quick


def _opened(way: Way, work: Work, network: nn.Module, plain: nn.Module) -> nn.Module:
    """Return the network in another runtime, from its file, which is written if needed, and again if it is damaged."""
    file = onnx_path(network, work.input_size, work.multiple)
    existed = file.exists()
    try:
        return open_network(way, stored_network(network, work.input_size, work.multiple, file), plain)
    except PoseError:
        if not existed:
            raise
        file.unlink(missing_ok=True)
        return open_network(way, stored_network(network, work.input_size, work.multiple, file), plain)


def _choose(work: Work, network: nn.Module, quick: nn.Module, images: int) -> Way:
    """Return the fastest way that pays for a number of images."""
    found, batches = known(work), images / work.batch
    if not found:
        if images < FEWEST or _rank_and_processes()[1] > 1:
            return work.standard
        seconds = _seconds(quick, work)
        cost = CALLS * min(seconds, LONG) + EXPORT
        if batches * seconds < WORTH * cost:
            return work.standard
        _say(f"measuring what computes {work.network} fastest, about {cost:.0f} s, once (test.runtime=torch skips it)")
        file = onnx_path(network, work.input_size, work.multiple)
        found, _ = measure(network, work, stored_network(network, work.input_size, work.multiple, file))
    best = fastest(found)
    if best == work.standard or work.standard not in found:
        return work.standard
    saved, spent = batches * (found[work.standard] - found[best]), recall(SECTION)
    cost = 0.0
    if best.runtime != "torch":
        checked = min(CHECKED, images) / work.batch * found.get(Way("torch"), found[work.standard])
        cost = spent.get(work.start_key, {}).get(str(best), START) + checked
    # The file's name is a digest of all weights, which takes longer than a few images.
    if saved >= cost and best.runtime != "torch" and not onnx_path(network, work.input_size, work.multiple).exists():
        cost += spent.get(work.export_key, {}).get("onnx", EXPORT)
    if saved < cost:
        return work.standard
    now, before = (1000 * found[way] / work.batch for way in (best, work.standard))
    keep = "test.runtime=torch keeps PyTorch"
    _say(f"network: {best.label}, {now:.3g} ms an image instead of {before:.3g} (measured here; {keep})")
    return best


def known(work: Work) -> dict[Way, float]:
    """Return the measured seconds of a batch of the ways that are installed.

    Where this number of threads was not measured, as in one of several processes, the nearest one that was counts.
    """
    table, threads = recall(SECTION), torch.get_num_threads()
    nearest = sorted(range(1, MOST_THREADS + 1), key=lambda count: abs(count - threads))
    found = next((table[key] for key in map(work.key_with, nearest) if key in table), {})
    return {way: found[str(way)] for way in _installed(work) if str(way) in found}


def fastest(found: Mapping[Way, float]) -> Way:
    """Return the way with the smallest time."""
    return min(found, key=lambda way: found[way])


def measure(
    network: nn.Module, work: Work, stored: Path | bytes | None = None
) -> tuple[dict[Way, float], dict[Way, str]]:
    """Measure the seconds of a batch in every way that is installed, and remember them.

    Return also the ways that are not possible, each with the reason. Unless it is ``stored`` as ONNX, the network is
    exported.
    """
    plain = optimize_for_inference(network, work.input_size)
    contenders: dict[Way, nn.Module] = {Way("torch"): plain}
    if work.standard not in contenders:
        contenders[work.standard] = optimize_for_inference(network, work.input_size, torch.bfloat16)
    refused = {way: f"needs {' and '.join(missing(way.runtime))}" for way in ways(work.precision)}
    spent: dict[str, dict[str, float]] = {}
    starts: dict[str, float] = {}
    for way in _installed(work):
        del refused[way]
        if way in contenders:
            continue
        try:
            if stored is None:
                start = time.perf_counter()
                stored = onnx_bytes(network, work.input_size, work.multiple)
                spent[work.export_key] = {"onnx": time.perf_counter() - start}
            start = time.perf_counter() - (IMPORT if way.runtime in sys.modules else 0)
            contenders[way] = open_network(way, stored, plain)
            starts[str(way)] = time.perf_counter() - start
        except PoseError as error:
            refused[way] = str(error)
    found = _times(contenders, work)
    refused |= {way: "its outputs differ from PyTorch's" for way in contenders if way not in found}
    full = replace(work, precision="fp32")  # whatever is asked for, full precision is among the ways
    times = {each.key: {str(way): found[way] for way in ways(each.precision) if way in found} for each in (work, full)}
    try:
        remember(SECTION, times | spent | {work.start_key: starts})
    except (PoseError, OSError) as error:
        _say(f"the measurement is not remembered: {error}")
    return found, refused


@torch.inference_mode()
def _times(contenders: Mapping[Way, nn.Module], work: Work) -> dict[Way, float]:
    """Return the seconds of a batch of the networks whose outputs are right."""
    images = _images(work)
    if _seconds(contenders[Way("torch")], work) > LONG:
        images = images[:FEW]
    for network in contenders.values():
        network(images)
    right = {way: network for way, network in contenders.items() if way_of(network) == way}
    calls = {str(way): (lambda network=network: network(images)) for way, network in right.items()}
    # Processor time does not count what other programs do meanwhile, but it adds up the time of several threads.
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    times = timing.compare(calls, 3 if work.batch > 1 else 7, clock)
    return {way: times.shortest(str(way)) * work.batch / len(images) for way in right}


@torch.inference_mode()
def _seconds(network: nn.Module, work: Work) -> float:
    """Return the seconds of a batch, roughly, from one of at most four images."""
    images = _images(work)[:4]
    network(images[:1])
    start = time.perf_counter()
    network(images)
    return (time.perf_counter() - start) * work.batch / len(images)


def _images(work: Work) -> torch.Tensor:
    width, height = work.input_size
    random = torch.Generator().manual_seed(0)
    images = torch.randn(work.batch, 3, height, width, generator=random)
    return images.to(memory_format=torch.channels_last)


def _installed(work: Work) -> list[Way]:
    return [way for way in ways(work.precision) if not missing(way.runtime)]


def _rank_and_processes() -> tuple[int, int]:
    """Return this process's number among those that work together: measuring, they would disturb each other."""
    distributed = torch.distributed
    if not (distributed.is_available() and distributed.is_initialized()):
        return 0, 1
    return distributed.get_rank(), distributed.get_world_size()


def _say(text: str) -> None:
    if not is_quiet() and _rank_and_processes()[0] == 0:
        print(text, file=sys.stderr, flush=True)
