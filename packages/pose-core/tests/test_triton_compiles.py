"""Triton's kernels compile to machine code for GPUs that this machine lacks.

The interpreter accepts code that the compiler refuses: loop variables that change type, sizes that are not powers of 2.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

pytest.importorskip("triton", reason="Triton has no build for this machine")
pytestmark = [
    pytest.mark.skipif(torch.cuda.is_available(), reason="the kernels run on the GPU, in test_triton_kernels.py"),
    pytest.mark.skipif(os.environ.get("TRITON_INTERPRET") == "1", reason="this is the interpreter"),
]

from pose_core.ops.decoding import _triton as decoding  # noqa: E402
from pose_core.ops.losses import _triton as heatmap_loss  # noqa: E402
from pose_core.ops.normalizing import _triton as normalizing  # noqa: E402
from pose_core.ops.pasting import _triton as pasting  # noqa: E402
from pose_core.ops.tags import _triton as tag_loss  # noqa: E402
from pose_core.ops.warping import _triton as warping  # noqa: E402

CAPABILITIES = (80, 90)
"""A100 and H100."""


class AbsentGpu:
    """A driver that answers what Triton asks of a GPU before it compiles."""

    def __init__(self, capability: int) -> None:
        from triton.backends.compiler import GPUTarget

        self.target = GPUTarget("cuda", capability, 32)

    def get_current_device(self) -> int:
        return int(self.target.arch)  # kernels are kept by device: one for each capability

    def get_current_stream(self, device: int | None = None) -> int:
        return 0

    def get_current_target(self) -> Any:
        return self.target


@pytest.fixture(params=[CAPABILITIES[0], *(pytest.param(each, marks=pytest.mark.slow) for each in CAPABILITIES[1:])])
def compiled(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[set[tuple[str, str]]]:
    """Compile kernels at launch without running them; return those that became machine code, by module and name."""
    from triton.runtime import driver
    from triton.runtime.jit import JITFunction

    found: set[tuple[str, str]] = set()
    run = JITFunction.run

    def compile_only(self: Any, *args: Any, grid: Any, warmup: bool, **kwargs: Any) -> None:
        kernel = run(self, *args, grid=grid, warmup=True, **kwargs)
        assert len(kernel.asm["cubin"]) > 0
        found.add((self.fn.__module__.split(".")[-2], self.fn.__name__))

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path_factory.mktemp("triton")))
    monkeypatch.setattr(JITFunction, "run", compile_only)
    driver.set_active(AbsentGpu(request.param))
    yield found
    driver.set_active(None)


def decode(kind: torch.dtype) -> None:
    maps, swap = torch.randn(2, 3, 8, 6, dtype=kind), torch.tensor([0, 2, 1])
    decoding.peaks(maps, None, None, False, False)
    decoding.peaks(maps, maps, swap, True, True)


def normalize(kind: torch.dtype) -> None:
    images = torch.zeros(2, 5, 4, 3, dtype=torch.uint8)
    for channels_last in (True, False):
        normalizing.normalize(images, [0.1] * 3, [0.2] * 3, kind, channels_last)


def warp(kind: torch.dtype) -> None:
    start, sizes = torch.zeros(1, dtype=torch.int64), torch.tensor([[6, 8]], dtype=torch.int32)
    warping.warp(torch.zeros(144, dtype=torch.uint8), start, sizes, start, torch.zeros(1, 2, 3, dtype=kind), [5, 4])


def compare(kind: torch.dtype) -> None:
    precise = torch.float64 if kind == torch.float64 else torch.float32
    known = torch.ones(2, 3, 7, dtype=precise), torch.ones(2, 3, dtype=precise), 2.0
    maps = torch.randn(2, 3, 8, 6, dtype=kind)
    heatmap_loss.heatmap_loss(maps, *known)
    heatmap_loss.heatmap_loss_gradient(torch.ones((), dtype=precise), maps, *known)


def paste(kind: torch.dtype) -> None:
    images, texels = torch.zeros(2, 3, 20, 18, dtype=kind), torch.zeros(64, 4, dtype=kind)
    boxes = torch.tensor([1, 1, 5, 5], dtype=torch.int32).expand(2, 2, 4).contiguous()
    starts, thetas = torch.arange(0, 64, 16).view(2, 2), torch.eye(2, 3, dtype=kind).repeat(2, 2, 1, 1)
    for aligned in (True, False):
        pasting.composite(images, texels, boxes, starts, thetas, aligned)
        pasting.gradients(images, images, texels, boxes, starts, thetas, aligned, aligned)


def pull_and_push(kind: torch.dtype) -> None:
    for dimensions in (1, 2):
        tags, people = torch.zeros(3, 40, dimensions, dtype=kind), torch.ones(3, 30, 17, 2, dtype=torch.long)
        tag_loss.loss(tags, people)
        tag_loss.loss_gradient(torch.ones(3, 2, dtype=kind), tags, people)


@pytest.mark.parametrize(
    ("launch", "kinds", "kernels"),
    [
        (decode, (torch.float32, torch.bfloat16), {("decoding", "_kernel")}),
        (normalize, (torch.float32, torch.bfloat16), {("normalizing", "_kernel")}),
        (warp, (torch.float32,), {("warping", "_kernel")}),
        (
            compare,
            (torch.float32, torch.float64, torch.bfloat16),
            {("losses", "_forward"), ("losses", "_backward")},
        ),
        (paste, (torch.float32, torch.float64), {("pasting", "_forward"), ("pasting", "_backward")}),
        (pull_and_push, (torch.float32, torch.float64), {("tags", "_forward"), ("tags", "_backward")}),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_it_compiles(
    launch: Callable[[torch.dtype], None],
    kinds: tuple[torch.dtype, ...],
    kernels: set[tuple[str, str]],
    compiled: set[tuple[str, str]],
) -> None:
    for kind in kinds:
        launch(kind)
    assert compiled == kernels
