"""Benchmark every op's fast path against its plain reference: errors, and times where they are meaningful.

python shared/benchmark/bench_kernels.py [--rounds 7] [--out results.json]     # on a GPU, or the CPU's fast paths
python shared/benchmark/bench_kernels.py --interpret                           # Triton's kernels without a GPU

References run in double precision for the errors, and in single for the times. Under the interpreter kernels are slow,
and only their errors are shown. On a GPU the bandwidth counts the bytes that an op must read and write, once; on a CPU
times are processor times.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable

if "--interpret" in sys.argv:
    os.environ["TRITON_INTERPRET"] = "1"  # before Triton is imported

import numpy as np
import torch
from rows import arguments, print_table, write_rows
from torch import Tensor

from pose_core import timing
from pose_core.benchmark.timing import synchronizer
from pose_core.machine import processor
from pose_core.ops.cases import MAPS, Case, cases
from pose_core.ops.dispatch import uses_triton

TRITON = {"warp_crops", "normalize", "heatmap_loss", "decode_heatmaps", "decode_flipped", "paste", "tag_loss"}
"""Ops with a Triton kernel."""


def moved(case: Case) -> int:
    """Return the bytes that an op must read and write at least."""
    first, *others = case.inputs
    batch = len(first)
    maps = batch * 17 * MAPS[0] * MAPS[1] * 4
    image = 16 * MAPS[0] * MAPS[1] * 3
    return {
        "warp_crops": 2 * batch * image,
        "normalize": 5 * batch * image,
        "gaussian_heatmaps": maps,
        "heatmap_loss": 2 * maps,
        "decode_heatmaps": maps,
        "decode_flipped": 2 * maps,
        "fuse_flip": 3 * maps,
        # Forward reads and writes the crops, backward reads them and the gradient, and both read the parts.
        "paste": 4 * others[0].nbytes + 2 * others[1].nbytes if len(others) > 1 else 0,
        "tag_loss": 2 * first.nbytes,
        "deform_conv": 2 * first.nbytes + others[0].nbytes if others else 0,
    }[case.op]


def call(case: Case, *, path: str, double: bool = False) -> tuple[list[Tensor], Tensor | None]:
    """Return an op's outputs by a path, and the gradient of their weighted sum."""
    os.environ["POSE_OPS"] = path
    inputs = [v.double() if double and v.is_floating_point() else v for v in case.inputs]
    if case.learned:
        inputs[0] = inputs[0].detach().requires_grad_()
    with torch.set_grad_enabled(case.learned):
        found = case.run(*inputs)
    outputs = list(found) if isinstance(found, tuple) else [found]
    gradient = None
    if case.learned:
        (gradient,) = torch.autograd.grad(sum((o * 3).sum() for o in outputs), inputs[0])
    return [o.detach() for o in outputs], gradient


def error(found: Tensor, expected: Tensor) -> float:
    """Return the largest difference over the largest value."""
    return float((found.double() - expected.double()).abs().max() / expected.double().abs().max().clamp(min=1e-30))


def measure(case: Case, device: torch.device, rounds: int, *, timed: bool, limit: float | None) -> dict[str, object]:
    outputs, gradient = call(case, path="auto")
    # Decoding with the mirror image uses the same switch.
    kernel = case.op in TRITON and uses_triton(case.op.replace("_flipped", "_heatmaps"), case.inputs[0])
    expected, wanted = call(case, path="reference", double=True)
    row: dict[str, object] = {
        "op": case.op,
        "fast path": "Triton" if kernel else "PyTorch",
        "forward": max(error(a, b) for a, b in zip(outputs, expected, strict=True)),
        "backward": error(gradient, wanted) if gradient is not None and wanted is not None else "-",
    }
    if timed:
        wait = synchronizer(device)

        def by(path: str) -> Callable[[], None]:
            def run() -> None:
                call(case, path=path)
                wait()

            return run

        clock = time.perf_counter if device.type == "cuda" else time.process_time
        times = timing.compare({"reference": by("reference"), "fast": by("auto")}, rounds, clock)
        row |= {"reference ms": 1e3 * times.seconds("reference"), "fast ms": 1e3 * times.seconds("fast")}
        row |= {"ratio": times.ratio("reference", "fast").median}
        if limit is not None:
            speed = moved(case) / times.seconds("fast")
            row |= {"GB/s": speed / 1e9, "of a copy's": speed / limit}
    return row


def copy_speed(device: torch.device) -> float:
    """Return bytes per second, read and written, of a large copy: the memory bandwidth."""
    source = torch.empty(2**28, dtype=torch.uint8, device=device)
    target, wait = torch.empty_like(source), synchronizer(device)

    def run() -> None:
        target.copy_(source)
        wait()

    return 2 * source.nbytes / timing.compare({"copy": run}, 9).seconds("copy")


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--interpret", action="store_true", help="run Triton's kernels on the CPU, for their errors")
    args = parser.parse_args()
    torch.set_num_threads(1)
    device = torch.device("cuda" if torch.cuda.is_available() and not args.interpret else "cpu")
    batch = 256 if device.type == "cuda" else 2 if args.interpret else 32
    chosen = [case for case in cases(batch, device) if case.op in TRITON or not args.interpret]
    limit = copy_speed(device) if device.type == "cuda" else None
    rows = [measure(case, device, args.rounds, timed=not args.interpret, limit=limit) for case in chosen]
    name = torch.cuda.get_device_name() if device.type == "cuda" else processor()
    kind = "Triton's interpreter on " if args.interpret else ""
    print(f"{kind}{name}, PyTorch {torch.__version__}, NumPy {np.__version__}, batch {batch}")
    print_table(rows)
    write_rows(rows, args.out, f"{kind}{name}")


if __name__ == "__main__":
    main()
