"""Flip fusion and decoding against the published figures."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pose_core.bottomup.resize import resize_for_test
from pose_core.errors import ConfigError
from pose_core.plugins.experiments import load_config
from pose_core.skeleton import SKELETONS
from pose_dekr.decode import BottomUpSettings, DekrSettings, absorb, check_scales, decode, suppress
from pose_dekr.fit import fit_gaussians
from pose_dekr.flip import Fused, forward_flip, mirror_poses, offsets_to_poses, up_interpolate
from pose_dekr.grid import average, local_maxima, peaks
from pose_dekr.models import HigherMaps, Maps
from pose_dekr.predictor import DekrPredictor
from pose_testing.golden import load_golden, relative_error, uniform

ORDER = torch.from_numpy(SKELETONS["coco17"].flip_order)
CLIPPED = [1, 6, 8, 9, 13, 14]
"""Joints of person 0 in case 2 whose windows are not square at the border: the published fit transposes them."""


def filled(key: str, *shape: int) -> torch.Tensor:
    return torch.from_numpy(uniform(key, int(np.prod(shape))).reshape(shape))


def golden(*path: str) -> Any:
    content = load_golden("dekr/functions")
    for key in path:
        content = content[key]
    return content


def network(higher: bool) -> Any:
    heat, offset, fine = 0.2 * filled("Wh", 18, 3, 4, 4), filled("Wo", 34, 3, 4, 4), 0.2 * filled("W2", 17, 3, 2, 2)

    def run(x: torch.Tensor) -> Maps | HigherMaps:
        h, o = F.conv2d(x, heat, stride=4), F.conv2d(x, offset, stride=4)
        return HigherMaps(h, 0.5 * h, h - 0.1, F.conv2d(x, fine, stride=2), o) if higher else Maps(h, o)

    return run


@pytest.mark.parametrize(
    ("keys", "names", "higher", "keep_edge"),
    [
        (("bottom_up", "flip_fusion_1x"), ("fused_heatmap", "fused_poses"), False, False),
        (("bottom_up", "flip_fusion_higher"), ("fused_heatmap", "fused_poses"), True, False),
        (("dekr", "flip_fusion"), ("heatmap", "posemap"), False, True),
    ],
)
def test_flip_fusion(keys: tuple[str, ...], names: tuple[str, str], higher: bool, keep_edge: bool) -> None:
    image = filled("image", 1, 3, 32, 48)
    (found,) = forward_flip(network(higher), image, ORDER, keep_edge=keep_edge)
    errors = [relative_error(v[None].numpy(), golden(*keys, n)) for v, n in zip(found, names, strict=True)]
    print(keys, errors)
    assert max(errors) < 1e-12


def test_poses_of_offsets() -> None:
    poses = offsets_to_poses(3 * filled("off", 1, 34, 5, 6))
    assert relative_error(poses.numpy(), golden("dekr", "offset_to_pose", "poses")) < 1e-12
    assert torch.allclose(mirror_poses(mirror_poses(poses, ORDER), ORDER), poses, rtol=0, atol=1e-12)


def test_up_interpolate() -> None:
    content, x = golden("common", "up_interpolate"), filled("up", 1, 2, 3, 4)
    for size, output in (("size_hw", "output"), ("size2_hw", "output2"), ("size_same_hw", "output_same")):
        found = up_interpolate(x, tuple(content[size]))[0]
        assert np.allclose(found.numpy(), content[output], rtol=0, atol=1e-12)


def test_resize() -> None:
    for case in golden("common", "test_resize"):
        height, width = case["image_hw"]
        found = resize_for_test((width, height), case["input_size"], case["scale"])
        assert list(found.size) == case["resized_wh"]
        assert np.allclose(found.matrix, case["matrix"], rtol=0, atol=1e-4)
        assert np.allclose(found.inverse, case["inverse"], rtol=0, atol=1e-3)


@cache
def scene(case: int) -> tuple[dict[float, Fused], tuple[int, int]]:
    content = golden("dekr", f"decode_case{case}")
    outputs = {}
    for scale in content["scales"]:
        side, factor = int(32 * scale), scale / 4
        y, x = np.mgrid[:side, :side].astype(float)

        def bell(at: list[float], amplitude: float, sigma: float, x: np.ndarray = x, y: np.ndarray = y) -> np.ndarray:
            return amplitude * np.exp(-((x - at[0]) ** 2 + (y - at[1]) ** 2) / (2 * sigma**2))

        people = content["people_in_base_pixels"]
        centers = [np.array(p["center"]) * factor for p in people]
        heat = np.zeros((18, side, side))
        for person, center in zip(people, centers, strict=True):
            for j, joint in enumerate(person["joints"]):
                at = np.array(joint) * factor
                heat[j] = np.maximum(heat[j], bell(at, person["joint_amp"][j], 1.5))
            heat[17] = np.maximum(heat[17], bell(center, person["center_amp"], 1.0))
        for amplitude, *at in content["extra_center_peaks"]:
            heat[17] = np.maximum(heat[17], bell(np.array(at) * factor, amplitude, 1.0))
        nearest = np.argmin([(x - c[0]) ** 2 + (y - c[1]) ** 2 for c in centers], 0)
        table = np.array([np.array(p["joints"]).reshape(-1) * factor for p in people])
        poses = table[nearest].transpose(2, 0, 1) + 0.2 * uniform(f"noise{case}_{scale}", 34 * side**2).reshape(
            34, side, side
        )
        outputs[float(scale)] = Fused(torch.from_numpy(heat), torch.from_numpy(poses))
    return outputs, tuple(content["base_size"])


def difference(found: torch.Tensor, expected: Any) -> float:
    values = np.array(expected)[..., : found.shape[-1]] if found.dim() == 3 else np.array(expected)
    assert found.shape == values.shape
    return float(np.abs(found.numpy() - values).max())


@pytest.mark.parametrize("case", [1, 2])
def test_decode_dekr(case: int) -> None:
    content = golden("dekr", f"decode_case{case}")
    outputs, size = scene(case)
    grid = average([outputs[s].heatmaps for s in sorted(outputs, reverse=True)], size)
    y, x = torch.meshgrid(torch.arange(size[1]), torch.arange(size[0]), indexing="ij")
    full = grid.at(torch.arange(18)[:, None, None], x, y)
    assert relative_error(full[None].numpy(), content["heatmap_avg"]) < 1e-12
    found = decode(outputs, size, DekrSettings())
    errors = [
        difference(found.points, content["nms_poses"]),
        difference(found.joint_scores, np.array(content["nms_poses"])[..., 2]),
        difference(found.scores, content["scores"]),
    ]
    absorbed, _ = absorb(grid, found.points, DekrSettings(), threshold=0.0)
    assert difference(absorbed, content["absorbed"]) == 0
    matched = decode(outputs, size, DekrSettings(use_heatmap=True, compat=True))
    fitted = difference(matched.points, content["matched"])
    print(case, errors, fitted)
    assert max(errors) < 1e-9
    assert fitted < 1e-6  # pixels; where the fit stops depends on rounding


@pytest.mark.parametrize("case", [1, 2])
def test_decode_bottomup(case: int) -> None:
    content = golden("bottom_up", f"decode_case{case}")
    outputs, size = scene(case)
    regression = decode(outputs, size, BottomUpSettings(use_heatmap=False))
    expected = np.array(content["kpts_nms_use_heatmap_false"]["kpts"])
    errors = [
        difference(regression.points, expected),
        difference(regression.joint_scores, expected[..., 2]),
        difference(regression.scores, content["regression_scores"]),
    ]
    final = decode(outputs, size, BottomUpSettings(use_heatmap=True, compat=True))
    final_values = np.array(content["final"])
    fitted = [
        difference(final.points, final_values),
        difference(final.joint_scores, final_values[..., 2]),
    ]
    print(case, errors, fitted)
    assert max(errors) < 1e-7  # the published sampling is in float32
    assert max(fitted) < 1e-6  # pixels; where the fit stops depends on rounding


@pytest.mark.parametrize("settings", [DekrSettings, BottomUpSettings])
def test_fits_near_the_border_find_the_joint_unless_compat(settings: type[DekrSettings | BottomUpSettings]) -> None:
    outputs, size = scene(2)
    ours = decode(outputs, size, settings(use_heatmap=True))
    theirs = decode(outputs, size, settings(use_heatmap=True, compat=True))
    moved = (ours.points - theirs.points).norm(dim=2) > 1e-3
    oblong = moved[0].nonzero()[:, 0].tolist()
    # Bottom-Up fits nothing on the border itself.
    assert oblong == (CLIPPED if settings is DekrSettings else [6, 9, 14])
    assert not moved[1:].any()
    truth = torch.tensor(golden("dekr", "decode_case2")["people_in_base_pixels"][0]["joints"])[oblong]
    errors = [float((found.points[0, oblong] - truth).norm(dim=1).mean()) for found in (ours, theirs)]
    assert errors[0] < errors[1] / 2, errors


def test_far_joints_keep_their_position_and_have_the_value_of_their_own_pixel() -> None:
    content = golden("bottom_up", "absorb_fallback")
    y, x = np.mgrid[:20, :200]
    maps = [
        np.where(x >= 120, 0.55 + 0.45 * uniform(f"fb{c}", 4000).reshape(20, 200), 1e-4 * (1 + x + 200 * y))
        for c in (0, 1)
    ]
    grid = average([torch.from_numpy(np.stack(maps))], (200, 20))
    people = torch.tensor(content["kpts_x_y_score"], dtype=torch.float64)
    points, heat = absorb(grid, people[..., :2], BottomUpSettings(compat=True), threshold=0.01)
    expected = np.array(content["result"])
    assert np.allclose(points.numpy(), expected[..., :2], rtol=0, atol=1e-12)
    assert np.allclose((heat * people[..., 2]).numpy(), expected[..., 2], rtol=0, atol=1e-12)
    _, own = absorb(grid, people[..., :2], BottomUpSettings(), threshold=0.01)
    far = np.array(content["fallback_score_if_x_and_y_were_not_swapped"])
    scores = (own * people[..., 2]).numpy()
    assert np.allclose(scores[0], far[0], rtol=0, atol=1e-12)
    assert np.allclose(scores[1, 1], far[1, 1], rtol=0, atol=1e-12)


@pytest.mark.parametrize("ratio", [1, 2, 4, 8])
def test_sparse_peaks_are_those_of_the_enlarged_map(ratio: int) -> None:
    maps = torch.rand(3, 12, 14, dtype=torch.float64, generator=torch.Generator().manual_seed(ratio))
    size = (14 * ratio, 12 * ratio)
    large = up_interpolate(maps[None], (size[1], size[0]))[0]
    is_peak = local_maxima(large, 5) & (large > 0.3)
    places, heights = peaks(average([maps], size), 168, 0.3)
    for channel in range(3):
        ours = {(int(x), int(y)) for (x, y), h in zip(places[channel], heights[channel], strict=True) if h > 0}
        theirs = {(int(x), int(y)) for y, x in is_peak[channel].nonzero()}
        # Repeated grid lines make further peaks at the edge.
        edge = (13 * ratio, 11 * ratio)
        ours, theirs = ({(x, y) for x, y in found if x < edge[0] and y < edge[1]} for found in (ours, theirs))
        assert ours
        assert ours == theirs


def test_the_highest_sparse_peaks_are_found_though_others_hide_them() -> None:
    make = torch.Generator().manual_seed(0)
    maps = 0.1 * torch.rand(3, 80, 90, generator=make)
    # Around each of these peaks four pixels exceed their direct neighbors, but not this peak in the corner.
    for row, column in [(4 + 12 * r, 5 + 12 * c) for r in range(3) for c in range(4)]:
        maps[0, row - 1 : row + 2, column - 1 : column + 2] = torch.tensor([[1, 0.9, 1], [0.9, 1.9, 0.9], [1, 0.9, 1]])
    maps[1, 50:] = 0
    maps[2] = torch.nan
    places, heights = peaks(average([maps], (360, 320)), 30, 0.0)
    large = up_interpolate(maps[None], (320, 360))[0]
    expected = torch.where(local_maxima(large, 5), large, 0)[:2, :317, :357].flatten(1).topk(30).values
    assert torch.equal(heights[:2], expected)
    for channel in range(2):
        x, y = (places[channel] // 4).unbind(1)
        assert torch.equal(maps[channel, y, x], heights[channel])
    assert (heights[0] == 1.9).sum() == 12
    assert not heights[2].any()
    empty = peaks(average([-maps], (360, 320)), 30, 0.0)
    assert not empty[1].any()


@pytest.mark.parametrize("ratio", [1, 2, 4, 8])
def test_windows_hold_the_values_of_their_pixels(ratio: int) -> None:
    make = torch.Generator().manual_seed(ratio)
    maps = torch.rand(3, 9, 11, dtype=torch.float64, generator=make)
    grid = average([maps], (11 * ratio, 9 * ratio))
    x, y = (torch.randint(0, most * ratio, (200,), generator=make) for most in (11, 9))
    channel = torch.randint(0, 3, (200,), generator=make)
    reach = torch.arange(-6, 7)
    columns, rows = (x[:, None] + reach).clamp(0, 11 * ratio - 1), (y[:, None] + reach).clamp(0, 9 * ratio - 1)
    expected = grid.at(channel[:, None, None], columns[:, None, :], rows[:, :, None])
    torch.testing.assert_close(grid.windows(channel, x, y, 6), expected, rtol=0, atol=1e-12)


def test_local_maxima_equal_max_pooling() -> None:
    maps = torch.rand(2, 9, 11, generator=torch.Generator().manual_seed(1))
    for kernel in (3, 5, 7):
        pooled = F.max_pool2d(maps[None], kernel, 1, kernel // 2)[0]
        assert torch.equal(local_maxima(maps, kernel), pooled == maps)


def test_fits_find_gaussians_in_clipped_windows() -> None:
    make = torch.Generator().manual_seed(0)
    truth = torch.rand(50, 4, generator=make, dtype=torch.float64)
    truth = truth * torch.tensor([0.8, 3, 3, 2.0]) + torch.tensor([0.1, -1.5, -1.5, 1.5])
    reach = torch.arange(-6, 7, dtype=torch.float64)
    y, x = reach[:, None] - truth[:, 1, None, None], reach - truth[:, 2, None, None]
    windows = truth[:, 0, None, None] * torch.exp(-(y**2 + x**2) / (2 * truth[:, 3, None, None] ** 2))
    valid_y, valid_x = (reach > -3).expand(50, -1), (reach < 5).expand(50, -1)
    found, good = fit_gaussians(windows, valid_y, valid_x, windows[:, 6, 6], 2.0)
    assert good.all()
    assert torch.allclose(found, truth, rtol=0, atol=1e-6)


def test_fits_that_diverge_are_told_apart_without_a_warning() -> None:
    noise = torch.randn(40, 13, 13, generator=torch.Generator().manual_seed(2))
    noise[0], noise[1] = torch.nan, 0
    valid = torch.ones(40, 13, dtype=torch.bool)
    found, good = fit_gaussians(noise, valid, valid, noise[:, 6, 6], 2.0)
    assert good.tolist() == found.isfinite().all(1).tolist()
    assert not good[0]
    assert good[2:].any()


def suppress_in_order(similar: np.ndarray, merit: np.ndarray) -> list[int]:
    """The published suppression, pose by pose."""
    ignored: set[int] = set()
    kept = []
    for index in range(len(merit)):
        if index in ignored:
            continue
        cluster = [other for other in range(len(merit)) if similar[index, other] or other == index]
        best = max(cluster, key=lambda other: merit[other])
        if best in ignored:
            continue
        kept.append(best)
        ignored.update(cluster)
    return kept


@pytest.mark.parametrize("share", [0.0, 0.03, 0.15, 0.5, 1.0])
def test_suppression_equals_the_published_loop(share: float) -> None:
    rng = np.random.default_rng(int(100 * share))
    for people in (0, 1, 2, 7, 40, 90):
        for _ in range(20):
            similar = rng.random((people, people)) < share  # not symmetric, as DEKR's is not
            merit = rng.integers(0, 30, people) / 30  # with ties
            kept = suppress(torch.from_numpy(similar), torch.from_numpy(merit), 1000)
            assert kept.tolist() == suppress_in_order(similar, merit)
    best = suppress(torch.zeros(4, 4, dtype=torch.bool), torch.tensor([0.1, 0.4, 0.2, 0.4]), 3)
    assert best.tolist() == [1, 3, 2]


def test_an_image_without_people_decodes_to_no_poses() -> None:
    empty = Fused(torch.zeros(4, 16, 16), torch.zeros(6, 16, 16))
    for settings in (BottomUpSettings(), BottomUpSettings(use_heatmap=False), DekrSettings(use_heatmap=True)):
        assert (
            len(
                decode(
                    {1.0: empty, 2.0: Fused(*(F.interpolate(t[None], scale_factor=2)[0] for t in empty))},
                    (64, 64),
                    settings,
                ).scores
            )
            == 0
        )


def test_a_scale_without_a_positive_center_has_no_people() -> None:
    negative = Fused(-torch.rand(4, 16, 16, generator=torch.Generator().manual_seed(0)), torch.zeros(6, 16, 16))
    assert not len(decode({1.0: negative}, (64, 64), BottomUpSettings()).scores)
    person = Fused(F.pad(torch.ones(4, 1, 1), (8, 7, 8, 7)), torch.zeros(6, 16, 16))
    smaller = Fused(*(maps[:, ::2, ::2].contiguous() for maps in negative))
    outputs = {1.0: person, 0.5: smaller}
    assert len(decode(outputs, (64, 64), BottomUpSettings(use_heatmap=False, nms_distance=0)).scores) == 1
    # The published code divides by the scale's negative maximum: its lowest pixels become peaks.
    compat = BottomUpSettings(use_heatmap=False, nms_distance=0, compat=True)
    assert len(decode(outputs, (64, 64), compat).scores) > 1


def test_bad_scale_lists_are_refused() -> None:
    with pytest.raises(ConfigError, match="0 is not a positive number"):
        check_scales([0, 1])
    with pytest.raises(ConfigError, match="lack 1"):
        check_scales([0.5, 2])
    assert check_scales([0.5, 1, 2]) == (2.0, 1.0, 0.5)


class Corner(nn.Module):
    """A network that sees one person at the last white pixel, all joints in its center."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 18, 4, 4)
        nn.init.constant_(self.layer.weight, 0.01)
        nn.init.zeros_(self.layer.bias)

    def forward(self, x: torch.Tensor) -> Maps:
        heat = self.layer(x)
        return Maps(heat, torch.zeros_like(heat).repeat(1, 2, 1, 1)[:, :34])


def test_bfloat16_does_not_round_positions() -> None:
    image = np.zeros((64, 2048, 3), np.uint8)
    image[40:44, 1948:1952] = 255
    found = []
    for precision in ("fp32", "bf16"):
        words = ["model.input_size=[64, 64]", "data.layout=coco", "data.skeleton=coco17", "test.flip=false"]
        config = load_config("pose-dekr/synthetic_dekr", [*words, f"test.precision={precision}"])
        predictor = DekrPredictor(Corner(), config, SKELETONS["coco17"], torch.device("cpu"))
        found.append(predictor.predict_image(image).keypoints[0])
    assert np.abs(found[0] - [1948, 40]).max() < 4
    assert np.abs(found[1] - found[0]).max() < 0.01
