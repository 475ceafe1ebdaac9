"""POSE_OPS selects the implementation of every public op: tests record the code that runs and compare its results."""

from __future__ import annotations

import ast
import importlib.util
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import numpy as np
import pytest
import torch

from pose_core import ops
from pose_core.errors import ConfigError
from pose_core.ops import dispatch
from pose_core.ops.dispatch import OPS, choose, paths
from pose_core.topdown.codec import HeatmapCodec

MAKE = torch.Generator().manual_seed(0)
JOINTS, WEIGHTS = torch.rand(2, 5, 2, generator=MAKE) * 60, torch.ones(2, 5)
MAPS, MIRRORED = torch.rand(2, 2, 5, 16, 12, generator=MAKE)
ORDER = torch.tensor([0, 2, 1, 4, 3])
IMAGES = torch.randint(0, 256, (2, 16, 12, 3), dtype=torch.uint8, generator=MAKE)
TAGS, PEOPLE = torch.randn(2, 40, 1, generator=MAKE), torch.ones(2, 3, 5, 2, dtype=torch.long)
PEOPLE[..., 0] = torch.randint(0, 40, (2, 3, 5), generator=MAKE)
BOXES = torch.tensor([[[1, 1, 9, 9]], [[2, 3, 10, 12]]], dtype=torch.int32)
TEXELS = torch.rand(64 + 72, 4, generator=MAKE)
THETAS = torch.eye(2, 3).repeat(2, 1, 1, 1) + 0.1 * torch.randn(2, 1, 2, 3, generator=MAKE)
POSES = np.random.default_rng(0).choice([0, 40, 80], (20, 1, 1)) + np.random.default_rng(1).normal(0, 4, (20, 17, 2))
SCORES, AREAS, SIGMAS = np.linspace(0, 1, 20), np.full(20, 2000.0), np.full(17, 0.07)

CASES: dict[str, Callable[[], object]] = {
    "decode_flipped": lambda: ops.decode_flipped(MAPS, MIRRORED, ORDER, shift=True),
    "decode_heatmaps": lambda: ops.decode_heatmaps(MAPS),
    "deform_conv": lambda: ops.deform_conv(MAPS, MAPS[:, :1].repeat(1, 18, 1, 1), torch.ones(2, 5, 3, 3)),
    "fuse_flip": lambda: ops.fuse_flip(MAPS, MIRRORED, ORDER, shift=True),
    "gaussian_heatmaps": lambda: ops.gaussian_heatmaps(JOINTS, WEIGHTS, (12, 16), 1.5, ratio=(0.25, 0.25)),
    "heatmap_loss": lambda: ops.heatmap_loss(MAPS, JOINTS, WEIGHTS, 1.5, ratio=(0.25, 0.25)),
    "heatmap_loss_and_accuracy": lambda: ops.heatmap_loss_and_accuracy(
        [MAPS, MIRRORED], JOINTS, WEIGHTS, 1.5, ratio=(0.25, 0.25)
    ),
    "joint_centers": lambda: ops.joint_centers(JOINTS, WEIGHTS, (12, 16), 1.5, ratio=(0.25, 0.25)),
    "mse_loss": lambda: ops.mse_loss(MAPS, MIRRORED, WEIGHTS),
    "normalize": lambda: ops.normalize(IMAGES),
    "ohkm_loss": lambda: ops.ohkm_loss(MAPS, MIRRORED, WEIGHTS, 3),
    "oks": lambda: ops.oks(POSES, POSES, AREAS, AREAS, SIGMAS),
    "oks_nms": lambda: ops.oks_nms(POSES, SCORES, AREAS, SIGMAS, 0.5),
    "paste": lambda: ops.paste(IMAGES.permute(0, 3, 1, 2) / 255, TEXELS, BOXES, THETAS, align_corners=True),
    "peak_accuracy": lambda: ops.peak_accuracy(MAPS, ops.decode_heatmaps(MIRRORED, quarter=False)[0]),
    "soft_argmax": lambda: ops.soft_argmax(MAPS),
    "soft_oks_nms": lambda: ops.soft_oks_nms(POSES, SCORES, AREAS, SIGMAS, 0.5),
    "tag_loss": lambda: ops.tag_loss(TAGS, PEOPLE),
    "warp_crops": lambda: ops.warp_crops(
        [*IMAGES.permute(0, 3, 1, 2)], torch.tensor([1, 0]), 1.3 * torch.eye(2, 3).repeat(2, 1, 1), (9, 8)
    ),
}
PLAIN = {"ohkm_loss", "oks", "soft_argmax", "soft_oks_nms"}
"""Ops with one implementation, which is the reference."""
ONLY_TRITON = {"warp_crops"}
"""Ops whose fast path needs a GPU; test_triton_kernels.py runs it."""


@contextmanager
def implementations() -> Iterator[set[str]]:
    """Record the private modules of ops in which a function is called."""
    called: set[str] = set()

    def record(frame: FrameType, event: str, _: object) -> None:
        name = str(frame.f_globals.get("__name__", ""))
        is_function = event == "call" and frame.f_code.co_name != "<module>"
        if is_function and name.startswith("pose_core.ops.") and "._" in name:
            called.add(name.rpartition(".")[2])

    sys.setprofile(record)
    try:
        yield called
    finally:
        sys.setprofile(None)


def tensors(results: object) -> list[torch.Tensor]:
    return [torch.as_tensor(result) for result in (results if isinstance(results, tuple) else (results,))]


def test_every_public_op_has_a_case() -> None:
    assert set(CASES) == set(ops.__all__)


@pytest.mark.parametrize("name", CASES)
def test_the_setting_decides_which_code_runs_and_not_what_comes_out(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # As on a GPU, the kernels are there to be chosen.
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    monkeypatch.setenv("POSE_OPS", "reference")
    with implementations() as called:
        expected = tensors(CASES[name]())
    assert called <= {"_reference"}
    assert called or name in PLAIN
    monkeypatch.delenv("TRITON_INTERPRET")
    monkeypatch.setenv("POSE_OPS", "fast")
    with implementations() as called:
        found = tensors(CASES[name]())
    if name not in PLAIN | ONLY_TRITON:
        assert called == {"_fast"}
    for mine, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("coordinate_loss", [False, True])
def test_the_setting_reaches_loss_and_accuracy_of_training(
    coordinate_loss: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    codec = HeatmapCodec((48, 64), (12, 16), coordinate_loss=coordinate_loss)
    monkeypatch.setenv("POSE_OPS", "reference")
    with implementations() as called:
        codec.loss_and_accuracy(MAPS, torch.cat([JOINTS, WEIGHTS[..., None]], -1))
    assert called == {"_reference"}


def test_ops_on_poses_need_no_torch() -> None:
    code = "import sys; from pose_core.ops import oks, oks_nms, soft_oks_nms; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_dispatch_is_open_to_inspection(monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(OPS) <= set(ops.__all__)
    monkeypatch.setenv("POSE_OPS", "reference")
    assert choose("decode_heatmaps") == "reference"
    assert all(chosen == ("reference", "POSE_OPS") for chosen in paths().values())


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("fastest", "'fastest' is not one of auto, reference, fast, nor OP=PATH"),
        ("auto,", "'' is not one of"),
        ("fuse_flips=numpy", "no op 'fuse_flips'; choose from gaussian_heatmaps, "),
        ("fuse_flip=triton", "fuse_flip has no path 'triton'; choose from reference, numpy, torch"),
        ("oks_nms=", "oks_nms has no path ''; choose from reference, fast"),
    ],
)
def test_a_wrong_setting_names_what_is_possible(value: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSE_OPS", value)
    with pytest.raises(ConfigError, match=message):
        choose("decode_heatmaps")


SEVERAL = [(op, path) for op, ways in OPS.items() if len(ways) > 1 for path in ways]


@pytest.mark.parametrize(("op", "path"), SEVERAL)
def test_every_path_runs_when_it_is_named_and_agrees(op: str, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSE_OPS", "reference")
    expected = tensors(CASES[op]())
    monkeypatch.setenv("POSE_OPS", f"reference, {op}={path}")
    assert choose(op) == path
    assert choose("paste") == "reference"
    CASES[op]()  # what it imports is slow to record
    with implementations() as called:
        found = tensors(CASES[op]())
    assert "_reference" not in called
    for mine, theirs in zip(found, expected, strict=True):
        if op in {"deform_conv", "gaussian_heatmaps"}:  # each path sums, or takes exponentials, in its own way
            torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-5)
        else:
            assert torch.equal(mine, theirs)


def test_every_launch_is_on_its_tensor_s_device() -> None:
    folder = Path(dispatch.__file__).parent
    launches = 0
    for file in folder.glob("*/_triton.py"):
        tree = ast.parse(file.read_text())
        calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Subscript)]
        guarded = {
            id(call)
            for block in ast.walk(tree)
            if isinstance(block, ast.With) and "torch.cuda.device_of(" in ast.unparse(block.items[0])
            for call in ast.walk(block)
        }
        assert all(id(call) in guarded for call in calls), file
        launches += len(calls)
    assert launches == 9


def test_triton_counts_only_if_a_kernel_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    # Without a GPU the probe's launch fails, as it does on one without a compiler.
    if torch.cuda.is_available() or importlib.util.find_spec("triton") is None:
        pytest.skip("needs Triton on a machine without a GPU")
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    dispatch.triton_problem.cache_clear()
    dispatch._works.cache_clear()
    try:
        assert dispatch.triton_problem()
        with pytest.warns(UserWarning, match="plain PyTorch is used, which is slower: "):
            assert not dispatch._works()
    finally:
        dispatch.triton_problem.cache_clear()
        dispatch._works.cache_clear()
