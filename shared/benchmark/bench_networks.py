"""Benchmark networks on a CPU: forward as predict and eval run it, and training steps.

    python shared/benchmark/run.py --only networks
    python shared/benchmark/run.py --only networks_large,networks_compiled,networks_threads,steps_published

Forward, 256x192: the plain module as in the published code; ours, as predict and eval run it in PyTorch (batch norm
folded, channels last, weights packed, large batches in parts); the exported file under ONNX Runtime and OpenVINO; those
that compute in bfloat16; in networks_compiled also torch.compile with frozen weights. "chosen" is what
test.runtime=auto takes after its own measurement, which is made first, in full precision and, in the cases "bf16
asked", with bfloat16 allowed.

Training step, batch 16, 128x96: the plain module, the loss joint by joint and Adam parameter by parameter; ours with
channels last, the loss in one expression and the fused Adam; and forward and backward alone of the bare network in the
best of contiguous and channels-last order: a step should add no more than a tenth to that.

Times are processor times with one thread, wall times with more.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import torch
from cases import FASTEST, Bar, Case
from torch import Tensor, nn

from pose_core.benchmark.timing import threads
from pose_core.errors import PoseError
from pose_core.machine import cores
from pose_core.models.fuse_batch_norm import fold_batch_norm
from pose_core.models.inference_copy import optimize_for_inference
from pose_core.ops import gaussian_heatmaps, mse_loss
from pose_core.plugins.networks import create_model
from pose_core.runtimes.choice import BATCHES, Work, fastest, measure
from pose_core.runtimes.networks import open_network
from pose_core.runtimes.onnx_files import onnx_bytes
from pose_core.runtimes.ways import Way, missing, ways

SMALL = ("lpn_18", "hrnet_w18_small_v1")
NETWORKS = ("lpn_18", "lpn_50", "hrnet_w18_small_v1", "hrnet_w32", "simplebaseline_resnet50")
USUAL = {name: BATCHES if name in SMALL else BATCHES[:1] for name in NETWORKS}
"""Networks and their batches that are measured in a minute or two."""
SIZE = (192, 256)
STEPS = {"lpn_18": ("ours", 1.6), "simplebaseline_resnet50": ("bf16", 1.7)}
"""Networks to train → the format that suits them, and how many times as fast as the published step it is at least."""


def clock() -> Callable[[], float]:
    """Return the clock that suits the number of threads."""
    return time.process_time if torch.get_num_threads() == 1 else time.perf_counter


def cases(folder: Path) -> Iterator[Case]:
    """Yield forward passes of one image, and of 32 for the small networks, and training steps."""
    yield from forward_cases(folder, USUAL)
    yield from step_cases()


def large_cases(folder: Path) -> Iterator[Case]:
    """Yield forward passes of 32 images for the large networks, which take minutes."""
    yield from forward_cases(folder, {name: BATCHES[1:] for name in NETWORKS if name not in SMALL})


def compiled_cases(folder: Path) -> Iterator[Case]:
    """Yield forward passes with torch.compile among the ways; it takes half a minute for each network."""
    yield from forward_cases(folder, USUAL, compiled=True)


def threads_cases(folder: Path) -> Iterator[Case]:
    """Yield forward passes with a thread for each core."""
    with threads(cores()):
        yield from forward_cases(folder, USUAL)


def published_steps(folder: Path) -> Iterator[Case]:
    """Yield training steps against the published one."""
    for name, (label, times) in STEPS.items():
        contenders = step_contenders(name)
        yield Case(
            f"training step, {name}, published",
            f"128×96, batch 16; {label}",
            {"published": contenders["published"], "step": contenders[label]},
            (Bar("published", "step", times, at_most=False),),
            clock(),
        )


def forward_cases(folder: Path, batches: Mapping[str, Sequence[int]], *, compiled: bool = False) -> Iterator[Case]:
    """Yield forward passes of networks in every way, after the choice was made."""
    words = ", compiled" if compiled else ""
    if torch.get_num_threads() > 1:
        words += f", {torch.get_num_threads()} threads"
    os.environ["POSE_HOME"] = str(folder)  # the benchmark's own measurements
    for name in batches:
        torch.manual_seed(0)
        plain = create_model(name).eval()
        stored = onnx_bytes(plain, SIZE)
        networks = all_ways(plain, stored)
        for batch in batches[name]:
            found, _ = measure(plain, Work(name, SIZE, batch, "bf16"), stored)
            x = torch.randn(batch, 3, *SIZE[::-1])
            last = x.to(memory_format=torch.channels_last)
            full = {way: seconds for way, seconds in found.items() if way.precision == "fp32"}
            choices = {"fp32": fastest(full), "bf16 asked": fastest(found)}
            for asked, best in list(choices.items())[: 2 if batch == 1 and not compiled else 1]:
                contenders: dict[str, Callable[[], object]] = {"plain": partial(run, plain, x)}
                for way, network in networks.items():
                    if asked != "fp32" or way.precision == "fp32":
                        contenders[str(way)] = partial(run, network, last)
                if compiled:
                    contenders["compiled"] = partial(run, compile_frozen(plain), last)
                # The same call once more, so that noise may favor either.
                contenders["chosen"] = contenders[str(best)]
                yield Case(
                    f"{name}, batch {batch}, {asked}{words}",
                    f"forward 256×192; chosen: {best}",
                    contenders,
                    (Bar("chosen", FASTEST, 1.1), Bar("chosen", "torch", 1)),
                    clock(),
                )


def step_cases() -> Iterator[Case]:
    """Yield training steps, in units of forward and backward of the bare network."""
    for name in STEPS:
        contenders = step_contenders(name)
        for label, word in (("ours", "fp32"), ("bf16", "bf16")):
            mine = {key: run for key, run in contenders.items() if key.split()[-1] == label}
            yield Case(
                f"training step, {name}, {word}",
                "128×96, batch 16; forward and backward of the bare network in its best format",
                {"step": mine.pop(label), **mine},
                (Bar("step", FASTEST, 1.1),),
                clock(),
            )


def all_ways(plain: nn.Module, stored: bytes) -> dict[Way, nn.Module]:
    """Return a network in every way that is installed."""
    quick = optimize_for_inference(plain, SIZE)
    networks: dict[Way, nn.Module] = {
        Way("torch"): quick,
        Way("torch", "bf16"): optimize_for_inference(plain, SIZE, torch.bfloat16),
    }
    for way in ways("bf16"):
        if way.runtime != "torch" and not missing(way.runtime):
            with contextlib.suppress(PoseError):  # OpenVINO computes in bfloat16 only where the processor does
                networks[way] = open_network(way, stored, quick)
    return networks


def compile_frozen(plain: nn.Module) -> nn.Module:
    """Return a network compiled for inference with its weights as constants."""
    from torch._inductor import config

    config.freezing = True
    torch.compiler.reset()  # each batch size is compiled anew, rather than one code for all
    folded = fold_batch_norm(plain).to(memory_format=torch.channels_last)
    return torch.compile(folded)  # type: ignore[return-value]


@torch.inference_mode()
def run(network: nn.Module, x: Tensor) -> Tensor:
    output: Tensor = network(x)
    return output


def step_contenders(name: str) -> dict[str, Callable[[], object]]:
    """Return training steps of a network, published and ours, and forward and backward alone in both formats."""
    torch.manual_seed(0)
    images = torch.randn(16, 3, 128, 96)
    joints, weights = torch.rand(16, 17, 2) * torch.tensor([96.0, 128.0]), torch.ones(16, 17)
    targets, kept = gaussian_heatmaps(joints, weights, (24, 32), 2.0, ratio=(0.25, 0.25))

    def step(
        network: nn.Module,
        optimizer: torch.optim.Optimizer,
        x: Tensor,
        ops: str,
        half: bool,
    ) -> None:
        os.environ["POSE_OPS"] = ops
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            output = network(x)
        loss = mse_loss(output.float(), targets, kept)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()

    plain = create_model(name).train()
    contenders: dict[str, Callable[[], object]] = {
        "published": partial(
            step, plain, torch.optim.Adam(plain.parameters(), foreach=False), images, "reference", False
        )
    }
    last = images.to(memory_format=torch.channels_last)
    for label, half in (("ours", False), ("bf16", True)):
        network = create_model(name).train().to(memory_format=torch.channels_last)
        optimizer = torch.optim.Adam(network.parameters(), fused=True)
        contenders[label] = partial(step, network, optimizer, last, "fast", half)
        contenders[f"bare {label}"] = partial(bare, network, last, half)
        # The best format: the same network in the other order.
        contenders[f"contiguous {label}"] = partial(bare, create_model(name).train(), images, half)
    return contenders


def bare(network: nn.Module, x: Tensor, half: bool) -> None:
    """Run forward and backward of a network, and nothing else."""
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        output = network(x)
    network.zero_grad()
    torch.autograd.backward(output, torch.ones_like(output))
