"""The Triton kernels against the plain references: on a GPU as compiled, elsewhere under Triton's interpreter.

The interpreter must be asked for before Triton is imported, so without a GPU these tests run in a process of their own
(the last one here starts it).
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from pose_core.ops import (
    decode_flipped,
    decode_heatmaps,
    fuse_flip,
    gaussian_heatmaps,
    heatmap_loss,
    mse_loss,
    normalize,
    paste,
    tag_loss,
    warp_crops,
)
from pose_core.topdown.codec import HeatmapCodec

pytest.importorskip("triton", reason="Triton has no build for this machine")

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
pytestmark = [pytest.mark.gpu] if DEVICE == "cuda" else []
kernel = pytest.mark.skipif(
    DEVICE == "cpu" and not INTERPRETED, reason="no GPU: run under the interpreter by the test at the end of this file"
)


@pytest.fixture
def reference(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Return a monkeypatch; ``setenv("POSE_OPS", "reference")`` on it switches from the kernels to the reference."""
    return monkeypatch


@kernel
@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_normalize(channels_last: bool, dtype: torch.dtype, reference: pytest.MonkeyPatch) -> None:
    images = torch.randint(0, 256, (3, 11, 7, 3), dtype=torch.uint8, device=DEVICE)
    found = normalize(images, dtype=dtype, channels_last=channels_last)
    reference.setenv("POSE_OPS", "reference")
    expected = normalize(images, dtype=dtype, channels_last=channels_last)
    assert found.stride() == expected.stride()
    torch.testing.assert_close(found, expected, rtol=1e-6 if dtype == torch.float32 else 1e-2, atol=1e-6)


def scenes() -> tuple[list[torch.Tensor], torch.Tensor, torch.Tensor]:
    """Return images of two sizes and crops of them: one rotated and mirrored, one beyond the image, one of a corner."""
    make = torch.Generator().manual_seed(5)
    images = [torch.randint(0, 256, (3, *size), dtype=torch.uint8, generator=make) for size in ((31, 45), (20, 17))]
    to_image = torch.tensor(
        [
            [[-1.2, 0.4, 40.3], [0.3, 1.1, 2.7]],
            [[0.7, 0.0, -3.2], [0.0, 0.7, -2.1]],
            [[0.1, 0.0, 15.9], [0.0, 0.1, 18.8]],
        ],
        dtype=torch.float64,
    )
    image_of = torch.tensor([0, 1, 1])
    return [image.to(DEVICE) for image in images], image_of.to(DEVICE), to_image.to(DEVICE)


@kernel
def test_crops(reference: pytest.MonkeyPatch) -> None:
    found = warp_crops(*scenes(), (24, 19))
    reference.setenv("POSE_OPS", "reference")
    expected = warp_crops(*scenes(), (24, 19))
    assert found.shape == (3, 19, 24, 3)
    # Halves may round to either side.
    assert (found.int() - expected.int()).abs().max() <= 1


@kernel
def test_what_is_not_learned_is_one_op_to_the_compiler() -> None:
    from pose_core.ops.decoding import _triton as decoding
    from pose_core.ops.normalizing import _triton as normalizing
    from pose_core.ops.warping import _triton as warping

    images = torch.randint(0, 256, (2, 5, 4, 3), dtype=torch.uint8, device=DEVICE)
    start, sizes = torch.zeros(1, dtype=torch.int64), torch.tensor([[6, 8]], dtype=torch.int32)
    cut = (images.flatten().repeat(2), start, sizes, start, torch.eye(3)[None, :2].contiguous())
    maps = torch.randn(2, 3, 8, 6, device=DEVICE)
    swap = torch.tensor([0, 2, 1], device=DEVICE)
    checks = ("test_schema", "test_faketensor")
    for op, inputs in (
        (warping.warp, (*(column.to(DEVICE) for column in cut), [5, 4])),
        (normalizing.normalize, (images, [0.1] * 3, [0.2] * 3, torch.float32, True)),
        (normalizing.normalize, (images, [0.1] * 3, [0.2] * 3, torch.bfloat16, False)),
        (decoding.peaks, (maps, None, None, False, True)),
        (decoding.peaks, (maps, maps.flip(3), swap, True, False)),
    ):
        assert torch.library.opcheck(op, inputs, test_utils=checks)


@kernel
@pytest.mark.parametrize("shift", [False, True])
@pytest.mark.parametrize("quarter", [False, True])
def test_decoding_with_the_mirror_image(shift: bool, quarter: bool, reference: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    plain, mirrored = torch.randn(2, 3, 5, 37, 31, device=DEVICE)
    mirrored[0, 0] = plain[0, 0] = -1  # no positive value: (0, 0), and the score all the same
    plain[1, 1, 4, 3] = plain[1, 1, 20, 5] = mirrored[1, 2].fill_(0).max() + 9  # a tie: the first counts
    order = torch.tensor([0, 2, 1, 4, 3], device=DEVICE)
    points, scores = decode_flipped(plain, mirrored, order, shift=shift, quarter=quarter)
    reference.setenv("POSE_OPS", "reference")
    fused = fuse_flip(plain, mirrored, order, shift=shift)
    expected, best = decode_heatmaps(fused, quarter=quarter)
    assert torch.equal(points, expected)
    torch.testing.assert_close(scores, best, rtol=1e-6, atol=0)


@kernel
def test_decoding_alone(reference: pytest.MonkeyPatch) -> None:
    maps = torch.randn(2, 4, 64, 48, generator=torch.Generator().manual_seed(1)).to(DEVICE)
    points, scores = decode_heatmaps(maps)
    reference.setenv("POSE_OPS", "reference")
    expected, best = decode_heatmaps(maps)
    assert torch.equal(points, expected)
    assert torch.equal(scores, best)


JOINTS = torch.rand(2, 3, 2, generator=torch.Generator().manual_seed(2), device="cpu") * 60 - 6
WEIGHTS = torch.tensor([[1.0, 0.0, 1.0], [0.4, 1.0, 2.0]])


@kernel
@pytest.mark.parametrize("quantize", [True, False])
def test_the_loss_against_joints_and_its_gradient(quantize: bool, reference: pytest.MonkeyPatch) -> None:
    torch.manual_seed(3)
    joints, weights = JOINTS.to(DEVICE), WEIGHTS.to(DEVICE)
    predicted = torch.randn(2, 3, 16, 12, dtype=torch.float64, device=DEVICE, requires_grad=True)

    def loss(maps: torch.Tensor) -> torch.Tensor:
        return heatmap_loss(maps, joints, weights, 1.5, quantize=quantize, ratio=(0.25, 0.25))

    found = loss(predicted)
    (gradient,) = torch.autograd.grad(found * 3, predicted)
    assert torch.autograd.gradcheck(loss, (predicted,), fast_mode=True)
    single = loss(predicted.detach().float())
    reference.setenv("POSE_OPS", "reference")
    targets, kept = gaussian_heatmaps(joints, weights, (12, 16), 1.5, quantize=quantize, ratio=(0.25, 0.25))
    expected = mse_loss(predicted, targets.double(), kept.double())
    (wanted,) = torch.autograd.grad(expected * 3, predicted)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=0)
    torch.testing.assert_close(gradient, wanted, rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(single.double(), expected, rtol=1e-5, atol=0)


@kernel
def test_the_loss_is_one_op_to_the_compiler() -> None:
    from pose_core.ops.losses import _triton

    places = torch.rand(2, 3, 7, dtype=torch.float64, device=DEVICE)
    maps = torch.randn(2, 3, 8, 8, dtype=torch.float64, device=DEVICE, requires_grad=True)
    weights = torch.ones(2, 3, dtype=torch.float64, device=DEVICE)
    checks = ("test_schema", "test_autograd_registration", "test_faketensor")
    assert torch.library.opcheck(_triton.heatmap_loss, (maps, places, weights, 1.5), test_utils=checks)


@kernel
@pytest.mark.parametrize("target", ["quantized", "subpixel"])
def test_training_takes_the_same_loss_and_accuracy_without_targets(target: str, reference: pytest.MonkeyPatch) -> None:
    torch.manual_seed(4)
    codec = HeatmapCodec((48, 64), (12, 16), sigma=1.5, quantize=target == "quantized")
    joints = torch.cat([JOINTS, WEIGHTS[..., None]], -1).repeat(4, 1, 1).to(DEVICE)
    joints[..., :2] += torch.randn_like(joints[..., :2]) * 8
    # Maps that are right for about half of the joints.
    maps = codec.encode(joints).heatmaps + 0.5 * torch.randn(8, 3, 16, 12, device=DEVICE)
    found = codec.loss_and_accuracy((maps, maps * 2), joints)
    reference.setenv("POSE_OPS", "reference")
    expected = codec.loss_and_accuracy((maps, maps * 2), joints)
    torch.testing.assert_close(found[0], expected[0], rtol=1e-5, atol=0)
    assert 0 < expected[1] < 1
    assert found[1] == expected[1]


Scene = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]


def scene(height: int, width: int, dtype: torch.dtype) -> Scene:
    """Return images, texels, boxes, and thetas of three parts each, one of them missing and one outside its image."""
    make = torch.Generator().manual_seed(5)
    shares = [[[1, 2, 6, 8], [0, 0, 0, 0], [3, 3, 9, 8]], [[0, 0, 10, 10], [4, 1, 5, 7], [2, 2, 8, 7]]]
    boxes = (torch.tensor(shares) * torch.tensor([width, height, width, height]) // 10).int()
    sizes = boxes[..., 2:] - boxes[..., :2]
    texels = torch.rand(int(sizes.prod(-1).sum()), 4, generator=make)
    images = torch.rand(2, 3, height, width, generator=make)
    thetas = torch.eye(2, 3).repeat(2, 3, 1, 1) + 0.15 * torch.randn(2, 3, 2, 3, generator=make)
    thetas[1, 2, :, 2] = 9
    return images.to(DEVICE, dtype), texels.to(DEVICE, dtype), boxes.to(DEVICE), thetas.to(DEVICE, dtype)


@kernel
@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("size", [(11, 10), (20, 18)])  # of one tile, and of four
def test_pasting_and_its_gradients(aligned: bool, size: tuple[int, int], reference: pytest.MonkeyPatch) -> None:
    images, texels, boxes, thetas = scene(*size, torch.float64)
    images.requires_grad_()
    thetas.requires_grad_()
    weights = torch.rand(images.shape, dtype=images.dtype, generator=torch.Generator().manual_seed(6)).to(DEVICE)

    def learn() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        found = paste(images, texels, boxes, thetas, align_corners=aligned)
        return found, *torch.autograd.grad((found * weights).sum(), (images, thetas))

    found = learn()
    single = paste(
        *(t.float() if t.is_floating_point() else t for t in scene(*size, torch.float64)), align_corners=aligned
    )
    reference.setenv("POSE_OPS", "reference")
    expected = learn()
    assert (expected[0] != images).flatten(1).any(1).all()
    assert (expected[2].flatten(2) != 0).any(2).tolist() == [[True, False, True], [True, True, False]]
    for mine, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-11, atol=1e-11)
    torch.testing.assert_close(single.double(), expected[0], rtol=0, atol=1e-4)
    assert single.dtype == torch.float32


@kernel
def test_gradients_of_pasting_are_those_of_finite_differences() -> None:
    images, texels, boxes, thetas = scene(9, 10, torch.float64)
    images.requires_grad_()
    thetas.requires_grad_()

    def pasted(x: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        return paste(x, texels, boxes, places, align_corners=True)

    assert torch.autograd.gradcheck(pasted, (images, thetas), fast_mode=True)


@kernel
def test_pasting_nothing_leaves_images_and_a_gradient() -> None:
    images = torch.rand(2, 3, 5, 6, device=DEVICE)
    thetas = torch.eye(2, 3, device=DEVICE).repeat(2, 1, 1, 1).requires_grad_()
    empty = torch.zeros(2, 1, 4, dtype=torch.int32, device=DEVICE)
    found = paste(images, images.new_zeros(0, 4), empty, thetas, align_corners=False)
    assert torch.equal(found, images)
    (gradient,) = torch.autograd.grad(found.sum(), thetas)
    assert torch.equal(gradient, torch.zeros_like(thetas))


@kernel
def test_pasting_is_one_op_to_the_compiler() -> None:
    from pose_core.ops.pasting import _triton

    images, texels, boxes, thetas = scene(9, 10, torch.float64)
    areas = (boxes[..., 2:] - boxes[..., :2]).prod(-1).flatten().long()
    starts = (areas.cumsum(0) - areas).reshape(2, 3)
    thetas.requires_grad_()
    checks = ("test_schema", "test_autograd_registration", "test_faketensor")
    assert torch.library.opcheck(_triton.composite, (images, texels, boxes, starts, thetas, True), test_utils=checks)


def tagged(dimensions: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return tags and joints of four images: several people with a gap between, one, none, and all at one place."""
    make = torch.Generator().manual_seed(7)
    tags = torch.randn(4, 40, dimensions, dtype=torch.float64, generator=make)
    keypoints = torch.randint(0, 40, (4, 5, 3, 2), generator=make)
    keypoints[..., 1] = torch.rand(4, 5, 3, generator=make) < 0.7
    keypoints[0, 2], keypoints[1, 1:], keypoints[2], keypoints[3, ..., 0] = 0, 0, 0, 11
    keypoints[1, 0, 0, 1] = keypoints[3, :, 0, 1] = 1
    return tags.to(DEVICE), keypoints.to(DEVICE)


@kernel
@pytest.mark.parametrize("dimensions", [1, 2])
def test_tag_loss_and_its_gradient(dimensions: int, reference: pytest.MonkeyPatch) -> None:
    tags, keypoints = tagged(dimensions)
    tags.requires_grad_()
    weights = torch.rand(4, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(8)).to(DEVICE)

    def learn() -> tuple[torch.Tensor, torch.Tensor]:
        found = tag_loss(tags, keypoints)
        return found, *torch.autograd.grad((found * weights).sum(), tags)

    found, half = learn(), tag_loss(tags.detach().bfloat16(), keypoints)
    assert torch.autograd.gradcheck(lambda t: tag_loss(t, keypoints), (tags,), fast_mode=True)
    reference.setenv("POSE_OPS", "reference")
    expected = learn()
    assert (expected[0][0] > 0).all()
    assert (expected[0][1] > 0).tolist() == [False, True]
    assert (expected[0][2:] > 0).tolist() == [[False, False], [True, False]]
    for mine, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-11, atol=1e-13)
    assert half.dtype == torch.float32
    torch.testing.assert_close(half.double(), expected[0], rtol=0, atol=0.02)


@kernel
def test_tag_loss_is_one_op_to_the_compiler() -> None:
    from pose_core.ops.tags import _triton

    tags, keypoints = tagged(1)
    tags.requires_grad_()
    checks = ("test_schema", "test_autograd_registration", "test_faketensor")
    assert torch.library.opcheck(_triton.loss, (tags, keypoints), test_utils=checks)


@pytest.mark.slow
@pytest.mark.skipif(INTERPRETED, reason="this is the interpreter")
@pytest.mark.skipif(DEVICE == "cuda", reason="the kernels ran on the GPU")
def test_under_the_interpreter() -> None:
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", str(Path(__file__))]
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    environment.pop("PYTEST_ADDOPTS", None)
    done = subprocess.run(
        words, env=environment, capture_output=True, text=True, check=False, cwd=Path(__file__).parent
    )
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout
