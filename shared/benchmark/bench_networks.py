"""Benchmark networks on a CPU: forward as predict and eval run it, and training steps.

python shared/benchmark/bench_networks.py [NETWORK …] [--rounds 7] [--threads 1] [--compiled] [--out results.json]

Forward, 256x192: the plain module as in the published code; ours, as predict and eval run it in PyTorch (batch norm
folded, channels last, weights packed, large batches in parts); the exported file under ONNX Runtime and OpenVINO; those
that compute in bfloat16; with --compiled also torch.compile with frozen weights. "chosen" is what test.runtime=auto
takes after its own measurement, which this script makes first, in full precision and, in the rows "bf16 asked", with
bfloat16 allowed; its ratio to the best of all has the 95 % interval of the median over rounds.

Training step, batch 16, 128x96: the plain module, the loss joint by joint and Adam parameter by parameter; ours with
channels last, the loss in one expression and the fused Adam; and forward and backward alone of the bare network in the
best of contiguous and channels-last order: a step should add no more than a tenth to that.

Times are processor times with one thread, wall times with more.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import torch
from cases import FASTEST, Bar, Case
from paired import arguments, finish, machine, print_table, write_rows
from torch import Tensor, nn

from pose_core import timing
from pose_core.errors import PoseError
from pose_core.models.fuse_batch_norm import fold_batch_norm
from pose_core.models.inference_copy import optimize_for_inference
from pose_core.ops import gaussian_heatmaps, mse_loss
from pose_core.plugins.networks import create_model
from pose_core.runtimes.choice import BATCHES, FEW, Work, fastest, measure
from pose_core.runtimes.networks import open_network
from pose_core.runtimes.onnx_files import onnx_bytes
from pose_core.runtimes.ways import Way, missing, ways

SMALL = ("lpn_18", "hrnet_w18_small_v1")
NETWORKS = ("lpn_18", "lpn_50", "hrnet_w18_small_v1", "hrnet_w32", "simplebaseline_resnet50")
SIZE = (192, 256)
STEPS = {"lpn_18": 1.6, "simplebaseline_resnet50": 1.7}
DENSE = ("hrnet_w32", "simplebaseline_resnet50")
"""Networks whose large batch has only `FEW` images, since it takes seconds; times are those of as many."""
LARGE = 3
"""Rounds of the large batch: its calls are long."""


def clock() -> Callable[[], float]:
    """Return the clock that suits the number of threads."""
    return time.process_time if torch.get_num_threads() == 1 else time.perf_counter


def forward(
    name: str, rounds: int, *, batches: tuple[int, ...] = BATCHES, compiled: bool = False
) -> list[dict[str, object]]:
    """Compare forward passes of a network in every way, after the choice was made: rows for each batch."""
    torch.manual_seed(0)
    plain = create_model(name).eval()
    stored = onnx_bytes(plain, SIZE)
    networks = all_ways(plain, stored)
    rows = []
    for batch in batches:
        found, _ = measure(plain, Work(name, SIZE, batch, "bf16"), stored)
        x = torch.randn(min(batch, FEW) if name in DENSE else batch, 3, *SIZE[::-1])
        last = x.to(memory_format=torch.channels_last)
        contenders: dict[str, Callable[[], object]] = {"plain": partial(run, plain, x)}
        contenders |= {str(way): partial(run, network, last) for way, network in networks.items()}
        if compiled:
            contenders["compiled"] = partial(run, compile_frozen(plain), last)
        times = timing.compare(contenders, rounds if batch == 1 else LARGE, clock())
        full = {way: seconds for way, seconds in found.items() if way.precision == "fp32"}
        rows += [
            row(name, len(x), "fp32", times, str(fastest(full)), lambda each: "bf16" not in each),
            row(name, len(x), "bf16 asked", times, str(fastest(found)), lambda each: True),
        ]
    return rows


def row(
    name: str, batch: int, asked: str, times: timing.Times, chosen: str, counts: Callable[[str], bool]
) -> dict[str, object]:
    """Return the times of all ways, and the chosen one's ratio to the best of those that count."""
    best = min(filter(counts, times.rounds), key=times.seconds)
    ratio = times.ratio(chosen, best)
    ours = times.ratio("torch", best)
    shown = ("plain", "torch", "torch bf16", "onnxruntime", "openvino", "openvino bf16", "compiled")
    return {
        "#": "8", "network": f"{name}, batch {batch}, {asked}",
        **{f"{way} ms": 1000 * times.seconds(way) if way in times.rounds else "" for way in shown},
        "chosen": chosen, "best": best, "ratio": ratio.median, "low": ratio.low, "high": ratio.high,
        "torch / best": ours.median, "bar": "≤ 1.1",
    }  # fmt: skip


def cases(folder: Path) -> Iterator[Case]:
    """Yield forward passes of one image, and of 32 for the small networks, and training steps."""
    yield from forward_cases(folder, {name: BATCHES if name in SMALL else BATCHES[:1] for name in NETWORKS})
    yield from step_cases()


def large_cases(folder: Path) -> Iterator[Case]:
    """Yield forward passes of 32 images for the large networks, which take minutes."""
    yield from forward_cases(folder, {name: BATCHES[1:] for name in NETWORKS if name not in SMALL})


def forward_cases(folder: Path, batches: Mapping[str, Sequence[int]]) -> Iterator[Case]:
    """Yield forward passes of networks in every way, after the choice was made."""
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
            for asked, best in list(choices.items())[: 2 if batch == 1 else 1]:
                contenders: dict[str, Callable[[], object]] = {"plain": partial(run, plain, x)}
                for way, network in networks.items():
                    if asked != "fp32" or way.precision == "fp32":
                        contenders[str(way)] = partial(run, network, last)
                # The same call once more, so that noise may favor either.
                contenders["chosen"] = contenders[str(best)]
                yield Case(
                    f"{name}, batch {batch}, {asked}",
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
    compiled: nn.Module = torch.compile(fold_batch_norm(plain).to(memory_format=torch.channels_last))  # type: ignore[assignment]
    return compiled


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


def training(name: str, rounds: int) -> dict[str, object]:
    """Compare training steps of a network."""
    times = timing.compare(step_contenders(name), rounds, clock())
    row: dict[str, object] = {"#": "9", "network": f"{name}, training step"}
    for label in ("ours", "bf16"):
        floor = min((f"bare {label}", f"contiguous {label}"), key=times.seconds)
        ratio = times.ratio(label, floor)
        row |= {f"{label} ms": 1000 * times.seconds(label), f"{label} floor ms": 1000 * times.seconds(floor)}
        row |= {f"{label} best format": floor.split()[0].replace("bare", "channels last")}
        row |= {f"{label} / floor": ratio.median, f"{label} low": ratio.low, f"{label} high": ratio.high}
        row |= {f"{label} ×": times.ratio("published", label).median}
    return row | {"published ms": 1000 * times.seconds("published"), "bar": f"≤ 1.1; × ≥ {STEPS[name]}"}


def bare(network: nn.Module, x: Tensor, half: bool) -> None:
    """Run forward and backward of a network, and nothing else."""
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        output = network(x)
    network.zero_grad()
    torch.autograd.backward(output, torch.ones_like(output))


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("networks", nargs="*", default=NETWORKS, metavar="NETWORK", help=" ".join(NETWORKS))
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="threads (1)")
    parser.add_argument("--compiled", action="store_true", help="compile, too, which takes a minute for each network")
    parser.add_argument("--no-training", action="store_true", help="leave out the training steps")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as folder:
        os.environ["POSE_HOME"] = folder  # the script's own measurements
        for name in args.networks:
            rows += forward(name, args.rounds, compiled=args.compiled)
    steps = [] if args.no_training else [training(name, args.rounds) for name in STEPS if name in args.networks]
    finish(rows, None)
    if steps:
        print_table(steps)
    write_rows([*rows, *steps], args.out, machine())


if __name__ == "__main__":
    main()
