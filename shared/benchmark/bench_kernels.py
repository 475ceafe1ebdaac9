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
from dataclasses import dataclass

if "--interpret" in sys.argv:
    os.environ["TRITON_INTERPRET"] = "1"  # before Triton is imported

import numpy as np
import torch
from paired import arguments, compare, machine, print_table, write_rows
from torch import Tensor

from pose_core import ops
from pose_core.benchmark.timing import synchronizer
from pose_core.ops.dispatch import uses_triton
from pose_core.skeleton import SKELETONS

COCO = SKELETONS["coco17"]
MAPS, RATIO = (48, 64), (0.25, 0.25)


@dataclass(frozen=True)
class Case:
    """An op and its inputs; it moves at least ``moved`` bytes. ``learned``: gradients reach the first input."""

    op: str
    run: Callable[..., Tensor | tuple[Tensor, ...]]
    inputs: tuple[Tensor, ...]
    moved: int
    learned: bool = False
    triton: bool = False
    """Whether there is a Triton kernel for it."""


def cases(batch: int, device: torch.device) -> list[Case]:
    make = torch.Generator().manual_seed(0)
    width, height = MAPS
    images = torch.randint(0, 256, (batch, 4 * height, 4 * width, 3), dtype=torch.uint8, generator=make).to(device)
    joints = (torch.rand(batch, 17, 2, generator=make) * torch.tensor([192.0, 256.0])).to(device)
    weights = torch.ones(batch, 17, device=device)
    maps = torch.randn(batch, 17, height, width, generator=make).to(device)
    mirrored = torch.randn(batch, 17, height, width, generator=make).to(device)
    order = torch.from_numpy(COCO.flip_order).to(device)
    tags = torch.randn(batch, 17 * 64 * 64, 1, generator=make).to(device)
    people = torch.stack(
        [torch.randint(0, 17 * 64 * 64, (batch, 30, 17), generator=make), torch.ones(batch, 30, 17, dtype=torch.long)],
        -1,
    ).to(device)
    x = torch.randn(max(batch // 8, 1), 15, 64, 64, generator=make).to(device)
    offsets = torch.randn(len(x), 18, 64, 64, generator=make).to(device)
    kernel = torch.randn(15, 15, 3, 3, generator=make).to(device)

    crops = torch.rand(batch, 3, 256, 256, generator=make).to(device)
    corners = torch.randint(0, 192, (batch, 4, 2), generator=make)
    boxes = torch.cat([corners, corners + 64], -1).int().to(device)
    # Smooth, as parts are: on noise a gradient depends on which side of a pixel's center rounding puts a position.
    bump = torch.linspace(0, torch.pi, 64).sin()
    colors = torch.cat([torch.rand(batch * 4, 3, generator=make), torch.ones(batch * 4, 1)], 1)
    texels = (torch.outer(bump, bump)[None, ..., None] * colors[:, None, None]).reshape(-1, 4).to(device)
    thetas = (torch.eye(2, 3).repeat(batch, 4, 1, 1) + torch.randn(batch, 4, 2, 3, generator=make) / 4).to(device)

    def pasted(t: Tensor, i: Tensor, x: Tensor, b: Tensor) -> Tensor:
        return ops.paste(i, x, b, t, align_corners=True)

    def loss(p: Tensor, j: Tensor, w: Tensor) -> Tensor:
        return ops.heatmap_loss(p, j, w, 2.0, ratio=RATIO)

    def targets(j: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
        return ops.gaussian_heatmaps(j, w, MAPS, 2.0, ratio=RATIO)

    def flipped(p: Tensor, m: Tensor) -> tuple[Tensor, Tensor]:
        return ops.decode_flipped(p, m, order, shift=True)

    # Each image once, slightly rotated, mirrored, at its own scale.
    planes = list(images.permute(0, 3, 1, 2).contiguous())
    angle, zoom = torch.rand(2, batch, generator=make, dtype=torch.float64)
    turn = torch.stack([-angle.cos(), angle.sin(), torch.full_like(angle, 150), angle.sin(), angle.cos(), -30 * angle])
    to_image = ((0.5 + zoom) * turn).T.reshape(batch, 2, 3).contiguous().to(device)
    numbers = torch.arange(batch, device=device)

    def cut(m: Tensor) -> Tensor:
        return ops.warp_crops(planes, numbers, m, (4 * width, 4 * height)).float()

    size = maps.nbytes
    return [
        Case("warp_crops", cut, (to_image,), 2 * images.nbytes, triton=True),
        Case("normalize", lambda i: ops.normalize(i, channels_last=True), (images,), 5 * images.nbytes, triton=True),
        Case("gaussian_heatmaps", targets, (joints, weights), size),
        Case("heatmap_loss", loss, (maps, joints, weights), 2 * size, learned=True, triton=True),
        Case("decode_heatmaps", ops.decode_heatmaps, (maps,), size, triton=True),
        Case("decode_flipped", flipped, (maps, mirrored), 2 * size, triton=True),
        Case("fuse_flip", lambda p, m: ops.fuse_flip(p, m, order, shift=True), (maps, mirrored), 3 * size),
        # Forward reads and writes the crops, backward reads them and the gradient, and both read the parts.
        Case(
            "paste", pasted, (thetas, crops, texels, boxes), 4 * crops.nbytes + 2 * texels.nbytes, learned=True,
            triton=True,
        ),
        Case("tag_loss", lambda t: ops.tag_loss(t, people), (tags,), 2 * tags.nbytes, learned=True, triton=True),
        Case("deform_conv", ops.deform_conv, (x, offsets, kernel), 2 * x.nbytes + offsets.nbytes),
    ]  # fmt: skip


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
    kernel = case.triton and uses_triton(case.op.replace("_flipped", "_heatmaps"), case.inputs[0])
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
        found = compare({"reference": by("reference"), "fast": by("auto")}, rounds, clock)
        row |= {"reference ms": 1e3 * found["reference"], "fast ms": 1e3 * found["fast"], "ratio": found["ratio"]}
        if limit is not None:
            speed = case.moved / found["fast"]
            row |= {"GB/s": speed / 1e9, "of a copy's": speed / limit}
    return row


def copy_speed(device: torch.device) -> float:
    """Return bytes per second, read and written, of a large copy: the memory bandwidth."""
    source = torch.empty(2**28, dtype=torch.uint8, device=device)
    target, wait = torch.empty_like(source), synchronizer(device)

    def run() -> None:
        target.copy_(source)
        wait()

    return 2 * source.nbytes / float(compare({"copy": run}, 9)["copy"])


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--interpret", action="store_true", help="run Triton's kernels on the CPU, for their errors")
    args = parser.parse_args()
    torch.set_num_threads(1)
    device = torch.device("cuda" if torch.cuda.is_available() and not args.interpret else "cpu")
    batch = 256 if device.type == "cuda" else 2 if args.interpret else 32
    chosen = [case for case in cases(batch, device) if case.triton or not args.interpret]
    limit = copy_speed(device) if device.type == "cuda" else None
    rows = [measure(case, device, args.rounds, timed=not args.interpret, limit=limit) for case in chosen]
    name = torch.cuda.get_device_name() if device.type == "cuda" else machine()
    kind = "Triton's interpreter on " if args.interpret else ""
    print(f"{kind}{name}, PyTorch {torch.__version__}, NumPy {np.__version__}, batch {batch}")
    print_table(rows)
    write_rows(rows, args.out, f"{kind}{name}")


if __name__ == "__main__":
    main()
