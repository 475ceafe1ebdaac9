"""The codec: decoding inverts encoding, in every convention."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pose_core.config import ModelConfig
from pose_core.ops import normalize
from pose_core.topdown.codec import HeatmapCodec, heatmap_accuracy
from pose_core.topdown.config import HeatmapConfig, TopDownConfig

points = st.lists(st.tuples(st.floats(30, 160), st.floats(30, 220)), min_size=1, max_size=5)


def joints(rows: list[tuple[float, float]]) -> torch.Tensor:
    return torch.tensor([[(x, y, 1.0) for x, y in rows]])


@settings(max_examples=40, deadline=None)
@given(points, st.sampled_from(["published", "unbiased"]))
def test_subpixel_targets_and_dark_give_the_same_point_back(rows: list[tuple[float, float]], convention: str) -> None:
    codec = HeatmapCodec((192, 256), (48, 64), 2.0, quantize=False, convention=convention, decode_method="dark")
    found, scores = codec.decode(codec.encode(joints(rows)).heatmaps)
    assert (found[0] - torch.tensor(rows)).abs().max() < 0.05  # input pixels: a hundredth of a heatmap pixel
    assert (scores > 0.8).all()


@settings(max_examples=40, deadline=None)
@given(points)
def test_published_targets_and_argmax_come_within_half_a_heatmap_pixel(rows: list[tuple[float, float]]) -> None:
    codec = HeatmapCodec((192, 256), (48, 64), 2.0, quarter=False)
    found, scores = codec.decode(codec.encode(joints(rows)).heatmaps)
    assert (found[0] - torch.tensor(rows)).abs().max() <= 2.001
    assert (scores == 1).all()


def test_stacks_add_up_and_the_last_decides() -> None:
    codec = HeatmapCodec((64, 64), (16, 16))
    first, second = torch.rand(2, 3, 16, 16), torch.rand(2, 3, 16, 16)
    where = torch.tensor([[[20.0, 20.0, 1.0]] * 3] * 2)
    total, _ = codec.loss([first, second], where)
    assert total.item() == pytest.approx(codec.loss(first, where)[0].item() + codec.loss(second, where)[0].item())
    assert torch.equal(codec.decode([first, second])[0], codec.decode(second)[0])


def test_the_coordinate_objective_pulls_towards_the_joint() -> None:
    codec = HeatmapCodec((64, 64), (16, 16), coordinate_loss=True)
    plain = HeatmapCodec((64, 64), (16, 16))
    where = torch.tensor([[[40.0, 20.0, 1.0]]])
    heatmaps = torch.zeros(1, 1, 16, 16, requires_grad=True)
    loss, _ = codec.loss(heatmaps, where)
    assert loss > plain.loss(heatmaps, where)[0]
    loss.backward()
    assert heatmaps.grad is not None
    assert heatmaps.grad[0, 0, 5, 10] < heatmaps.grad[0, 0, 12, 2]
    assert codec.loss(codec.encode(where).heatmaps, where)[0] < loss


def test_accuracy_of_the_targets_themselves_is_one() -> None:
    codec = HeatmapCodec((64, 64), (16, 16))
    targets = codec.encode(torch.tensor([[[40.0, 20.0, 1.0], [30.0, 50.0, 1.0]]]))
    assert heatmap_accuracy(targets.heatmaps, targets) == 1
    assert heatmap_accuracy(torch.zeros(1, 2, 16, 16), targets) == 0


def test_a_codec_follows_its_config() -> None:
    config = TopDownConfig(
        method="lite",
        model=ModelConfig(name="lpn_18", input_size=(96, 128)),
        heatmap=HeatmapConfig(sigma=1.5, target="subpixel", convention="unbiased", decode="dark"),
    )
    codec = HeatmapCodec.from_config(config)
    assert codec.heatmap_size == (24, 32)
    assert not codec.quantize
    assert codec.ratio == pytest.approx((23 / 95, 31 / 127))


def test_images_are_normalized_in_stored_order() -> None:
    images = torch.randint(0, 256, (2, 5, 4, 3), dtype=torch.uint8)
    x = normalize(images)
    assert x.shape == (2, 3, 5, 4)
    expected = (images[1, 3, 2, 0].item() / 255 - 0.485) / 0.229
    assert x[1, 0, 3, 2].item() == pytest.approx(expected, abs=1e-6)
    last = normalize(images, channels_last=True)
    assert last.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(last, x)
