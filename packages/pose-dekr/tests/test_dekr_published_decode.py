"""Decoding with test.compat=true against a slow, literal account of the published code, pose by pose.

The account below enlarges every map, pools it, and goes through poses and joints one by one. It shares no code with
pose_dekr.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.optimize import leastsq
from torch import Tensor
from torch.nn import functional as F

from pose_core.skeleton import SKELETONS
from pose_dekr.decode import BottomUpSettings, DekrSettings, decode
from pose_dekr.flip import Fused, forward_flip
from pose_dekr.models import HigherMaps, Maps

COCO = SKELETONS["coco17"]
Array = np.ndarray
Scale = tuple[Tensor, Tensor]
"""Heatmaps (K+1, h, w) and poses (2K, h, w) of one scale."""
MAX_PEOPLE, MAX_ABSORB, WINDOW, SIGMA = 30, 75.0, 6, 2.0


def enlarge(maps: Tensor, width: int, height: int) -> Tensor:
    """Source pixel i at r·i; the last row and column repeated r − 1 times."""
    across, down = width // maps.shape[2], height // maps.shape[1]
    inner = F.interpolate(maps[None], (height - down + 1, width - across + 1), mode="bilinear", align_corners=True)
    return F.pad(inner, (0, across - 1, 0, down - 1), mode="replicate")[0]


def fused_map(scales: Sequence[Scale], width: int, height: int) -> Tensor:
    total = enlarge(scales[0][0], width, height)
    for maps, _ in scales[1:]:
        total = total + enlarge(maps, width, height)
    return total / len(scales)


def pooled_top(maps: Tensor, kernel: int) -> tuple[Tensor, Tensor]:
    """The 30 highest maxima of each map (C, H, W): values and flat pixels; other pixels count as 0."""
    pooled = F.max_pool2d(maps[None], kernel, 1, kernel // 2)[0]
    only = maps * (pooled == maps).to(maps.dtype)
    return only.flatten(1).topk(MAX_PEOPLE, 1)


def centers_of(center: Tensor, poses: Tensor, ratio: float, threshold: float) -> list[tuple[float, Tensor]]:
    """Center value and pose (K, 2), in base pixels, of every peak above the threshold."""
    height, width = center.shape
    side = (height + width) / 2
    kernel = 7 if side > 300 else 5 if side > 200 else 3
    values, pixels = pooled_top(center[None], kernel)
    found = []
    for value, pixel in zip(values[0], pixels[0].tolist(), strict=True):
        if value > threshold:
            row, column = divmod(pixel, width)
            found.append((value, poses[:, row, column].reshape(-1, 2) * ratio))
    return found


def keep(similar: list[list[bool]], merit: list[float]) -> list[int]:
    """The published loop of suppression."""
    ignored: set[int] = set()
    kept = []
    for index in range(len(merit)):
        if index in ignored:
            continue
        cluster = [other for other in range(len(merit)) if similar[index][other] or other == index]
        best = max(cluster, key=lambda other: merit[other])
        if best in ignored:
            continue
        kept.append(best)
        ignored.update(cluster)
    if len(kept) > MAX_PEOPLE:
        kept = sorted(kept, key=lambda index: -merit[index])[:MAX_PEOPLE]
    return kept


def close_joints(first: Tensor, second: Tensor, reach: Tensor | float) -> int:
    return int(((first - second).square().sum(1).sqrt() < reach).sum())


def fit(window: Array, start_value: float, local: tuple[int, int]) -> tuple[Array, bool]:
    """Height, row, column and sigma fitted to a clipped window, and whether the fit converged."""
    height, width = window.shape
    # The fault: a grid of `width` rows and `height` columns for data of `height` rows and `width` columns.
    rows, columns = (axis.reshape(-1).astype(float) for axis in np.mgrid[:width, :height])
    data = window.astype(float).reshape(-1)

    def residual(p: Array) -> Array:
        a, y, x, s = p
        return a * np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / (2 * s**2)) - data

    start = np.array([start_value, local[0], local[1], SIGMA])
    with np.errstate(all="ignore"):
        found, *_, status = leastsq(residual, start, full_output=True, maxfev=300)
    return found, status in (1, 2, 3, 4)


def move_to_peaks(fused: Tensor, people: list[Array], least: float) -> list[Array]:
    """Move every joint (x, y, score, center) to the nearest of the 30 highest maxima if it is nearer than 75 pixels."""
    joints, height, width = fused.shape
    values, pixels = pooled_top(fused, 5)
    values = torch.where(values <= least, 0, values)
    moved = []
    for person in people:
        after = person.copy()
        for joint in range(joints):
            x, y, _, center = person[joint]
            candidates = torch.stack([pixels[joint] % width, pixels[joint] // width], 1)
            distances = (candidates - torch.tensor([x, y])).square().sum(1).sqrt()
            index = int(distances.argmin())
            if distances[index] < MAX_ABSORB:
                after[joint, :2] = candidates[index].numpy()
                after[joint, 2] = center * float(values[joint, index])
            else:
                # The fault: x is taken for the row, y for the column.
                row, column = min(max(int(x), 0), height - 1), min(max(int(y), 0), width - 1)
                after[joint, 2] = center * float(fused[joint, row, column])
        moved.append(after)
    return moved


def refine(fused: Tensor, people: list[Array], adjust: float, *, is_dekr: bool) -> list[Array]:
    joints, height, width = fused.shape
    maps = fused.numpy()
    done: dict[tuple[int, int, int], tuple[float, float, float]] = {}
    refined = []
    for person in people:
        after = person.copy()
        for joint in range(joints):
            x, y, score, center = person[joint]
            if not score > adjust:
                continue
            column, row = int(np.float32(x) + np.float32(0.5)), int(np.float32(y) + np.float32(0.5))
            if is_dekr:
                column, row = min(max(column, 0), width - 1), min(max(row, 0), height - 1)
            elif column <= 0 or row <= 0 or column >= width - 1 or row >= height - 1:
                continue
            if (joint, row, column) not in done:
                top, left = max(row - WINDOW, 0), max(column - WINDOW, 0)
                window = maps[joint, top : row + WINDOW + 1, left : column + WINDOW + 1]
                found, converged = fit(window, float(maps[joint, row, column]), (row - top, column - left))
                if not converged:
                    continue
                done[joint, row, column] = found[2] + left, found[1] + top, found[0]
            after[joint, 0], after[joint, 1], amplitude = done[joint, row, column]
            if not is_dekr:
                after[joint, 2] = amplitude * center
        refined.append(after)
    return refined


def bilinear(fused: Tensor, joint: int, x: float, y: float) -> float:
    _, height, width = fused.shape
    left, top = int(x), int(y)
    if left < 0 or top < 0 or left + 1 >= width or top + 1 >= height:
        return 0.0
    u, v = x - left, y - top
    (a, b), (c, d) = fused[joint, top : top + 2, left : left + 2].tolist()
    return float((a * (1 - u) + b * u) * (1 - v) + (c * (1 - u) + d * u) * v)


def decode_bottomup(scales: Sequence[Scale], full: int, size: tuple[int, int], *, kind: str, adjust: float) -> Array:
    """People (N, K, 4): x, y, joint score, center; ``full`` is the number of scale 1."""
    width, height = size
    fused = fused_map(scales, width, height)[:-1]
    highest = scales[full][0][-1].max()
    found = []
    for number, (maps, poses) in enumerate(scales):
        factor = 1 if number == full else 0.001
        center = factor * maps[-1] / maps[-1].max() * highest
        found += centers_of(center, poses, width / center.shape[1], 0.01 * factor)
    similar = [[close_joints(a, b, 10) > 10 for _, b in found] for _, a in found]
    people = []
    for index in keep(similar, [value for value, _ in found]):
        center, pose = found[index]
        rows = [[x, y, 0, center] for x, y in pose.tolist()]
        people.append(np.array(rows, np.float64))
    if kind == "regression":
        for person in people:
            for joint, (x, y, _, center) in enumerate(person):
                person[joint, 2] = center * bilinear(fused, joint, x, y)
    else:
        people = refine(fused, move_to_peaks(fused, people, 0.01), adjust, is_dekr=False)
    return np.array(people).reshape(len(people), len(fused), 4)


def decode_dekr(scales: Sequence[Scale], full: int, size: tuple[int, int], *, match: bool, adjust: float) -> Array:
    width, height = size
    fused = fused_map(scales, width, height)[:-1]
    by_scale = [centers_of(maps[-1], poses, width / maps.shape[2], 0.01) for maps, poses in scales]
    if not by_scale[full]:
        return np.zeros((0, len(fused), 4))
    highest = max(value for value, _ in by_scale[full])
    found = []
    for number, centers in enumerate(by_scale):
        top = max((value for value, _ in centers), default=0.0)
        for value, pose in centers:
            found.append((value if number == full else value / top * highest * 0.9, pose))
    heat = []
    for _, pose in found:
        at = [
            (min(max(int(np.floor(x)), 0), width - 1), min(max(int(np.floor(y)), 0), height - 1))
            for x, y in pose.tolist()
        ]
        heat.append(torch.stack([fused[joint, row, column] for joint, (column, row) in enumerate(at)]))
    merit = torch.stack([values.mean() for values in heat])
    reach = [0.05 * (pose.amax(0) - pose.amin(0)).square().sum().sqrt() for _, pose in found]
    similar = [[close_joints(a, b, reach[i]) > 8 for _, b in found] for i, (_, a) in enumerate(found)]
    people = []
    for index in keep(similar, merit.tolist()):
        center, pose = found[index]
        rows = [[x, y, float(center * h), 0] for (x, y), h in zip(pose.tolist(), heat[index], strict=True)]
        people.append(np.array(rows, np.float64))
    if match:
        moved = move_to_peaks(fused, people, 0.0)
        for before, after in zip(people, moved, strict=True):
            after[:, 2] = before[:, 2]  # scores do not change
        people = refine(fused, moved, adjust, is_dekr=True)
    return np.array(people).reshape(len(people), len(fused), 4)


def random_maps(kind: str, width: int, height: int, scale: float, seed: int, stride: int = 4) -> Scale:
    """Maps of 17 joints for a base image of a size, and noisy poses around a few people."""
    make = torch.Generator().manual_seed(seed)
    w, h = int(width * scale) // stride, int(height * scale) // stride
    y, x = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
    people = torch.rand(6, 18, 2, generator=make) * torch.tensor([width + 60, height + 60]) - 30
    people = (people * scale / stride)[..., None, None]
    if kind == "diffuse":
        maps = 0.3 * torch.randn(18, h, w, generator=make)
    elif kind == "ties":
        maps = (torch.rand(18, h, w, generator=make) * 6).floor() / 6
    elif kind == "flat":
        maps = torch.full((18, h, w), 0.3)
        maps[::2] = 0
        maps[17, h // 2, w // 2] = 0.7
    elif kind == "edges":
        maps = torch.zeros(18, h, w)
        maps[:, :, -1] = torch.rand(18, h, generator=make)
        maps[:, -1] = torch.rand(18, w, generator=make)
        maps[:, 0, :5] = 0.9
        maps[17] = torch.rand(h, w, generator=make)
    else:
        bells = torch.exp(-((x - people[:, :, 0]) ** 2 + (y - people[:, :, 1]) ** 2) / (2 * (4 / stride * 2) ** 2))
        heights = 0.3 + 0.7 * torch.rand(6, 18, 1, 1, generator=make)
        maps = (bells * heights).amax(0) + 0.004 * torch.randn(18, h, w, generator=make)
    centers = people[:, 17]
    nearest = ((x - centers[:, 0]) ** 2 + (y - centers[:, 1]) ** 2).argmin(0)
    poses = people[:, :17].flatten(1, 2)[nearest, :, 0, 0].permute(2, 0, 1)
    return maps, poses + torch.randn(34, h, w, generator=make)


def differences(found: object, expected: Array) -> tuple[int, float, float]:
    """The number of poses, and the largest difference in pixels and in score."""
    points, scores, totals = found  # type: ignore[misc]
    assert points.shape[:2] == expected.shape[:2], "another number of poses"
    if not len(expected):
        return 0, 0.0, 0.0
    pixels = float(np.abs(points.numpy() - expected[..., :2]).max())
    score = float(np.abs(scores.numpy() - expected[..., 2]).max())
    total = float(np.abs(totals.numpy() - expected[..., 2].mean(1)).max())
    return len(points), pixels, max(score, total)


def check_as_published(outputs: dict[float, Fused], size: tuple[int, int], adjust: float = 0.05) -> int:
    """Compare all four results; return their number of poses."""
    order = sorted(outputs, reverse=True)
    maps = [(outputs[scale].heatmaps, outputs[scale].poses) for scale in order]
    full = order.index(1)
    poses = 0
    for name, settings, expected in (
        (
            "regression",
            BottomUpSettings(use_heatmap=False),
            decode_bottomup(maps, full, size, kind="regression", adjust=adjust),
        ),
        ("final", BottomUpSettings(), decode_bottomup(maps, full, size, kind="final", adjust=adjust)),
        ("dekr", DekrSettings(), decode_dekr(maps, full, size, match=False, adjust=adjust)),
        ("matched", DekrSettings(use_heatmap=True), decode_dekr(maps, full, size, match=True, adjust=adjust)),
    ):
        found = decode(outputs, size, replace(settings, compat=True, adjust_threshold=adjust))
        count, pixels, score = differences(found, expected)
        print(f"{size} {order} {name}: {count} poses, {pixels:.1e} px, score {score:.1e}")
        assert pixels < 1e-3, name
        assert score < 1e-5, name
        poses += count
    return poses


@pytest.mark.parametrize("scales", [(1.0,), pytest.param((2.0, 1.0, 0.5), marks=pytest.mark.slow)])
@pytest.mark.parametrize("size", [(128, 128), (192, 128), (128, 320)])
@pytest.mark.parametrize("kind", ["peaky", "diffuse", "ties", "flat", "edges"])
def test_compat_decodes_as_the_published_code(kind: str, size: tuple[int, int], scales: tuple[float, ...]) -> None:
    outputs = {scale: Fused(*random_maps(kind, *size, scale, seed)) for seed, scale in enumerate(scales)}
    # The fit to a flat window has no solution: where it ends, rounding decides. There, only the peaks are compared.
    assert check_as_published(outputs, size, adjust=1.0 if kind == "flat" else 0.05)


def literal_flip(network: Callable[[Tensor], Maps | HigherMaps], image: Tensor, *, is_dekr: bool) -> Scale:
    """Maps and poses of an image (1, 3, H, W), the mean of those of the image and of its mirror image."""
    order = [*COCO.flip_order.tolist(), 17]

    def mirror(shift: int) -> Tensor:
        result = image.flip(3) if is_dekr else torch.zeros_like(image)
        for column in range(image.shape[3] - shift):
            result[..., column] = image[..., image.shape[3] - 1 - column - shift]
        return result

    def poses_of(offsets: Tensor) -> Tensor:
        poses = torch.empty_like(offsets[0])
        for row in range(poses.shape[1]):
            for column in range(poses.shape[2]):
                poses[0::2, row, column] = column - offsets[0, 0::2, row, column]
                poses[1::2, row, column] = row - offsets[0, 1::2, row, column]
        return poses

    def heat_of(output: Maps | HigherMaps, fine: Tensor | None) -> Tensor:
        if isinstance(output, Maps):
            return output.heatmaps[0]
        assert fine is not None
        coarse = torch.maximum(torch.maximum(output.heatmaps_1[0], output.heatmaps_2[0]), output.heatmaps_3[0])
        coarse = enlarge(coarse, fine.shape[3], fine.shape[2])
        return torch.stack([(coarse[c] + fine[0, c]) / 2 for c in range(17)] + [coarse[17]])

    plain, mirrored, again = network(image), network(mirror(3)), network(mirror(1))
    heat = heat_of(plain, plain.fine if isinstance(plain, HigherMaps) else None)
    other = heat_of(mirrored, again.fine if isinstance(again, HigherMaps) else None)
    heat = torch.stack([(heat[c] + other[order[c]].flip(1)) / 2 for c in range(18)])
    poses, theirs = poses_of(plain.offsets), poses_of(mirrored.offsets)
    width = poses.shape[2]
    joints = []
    for joint in range(17):
        x, y = theirs[2 * order[joint]], theirs[2 * order[joint] + 1]
        joints += [(poses[2 * joint] + (width - 1 - x).flip(1)) / 2, (poses[2 * joint + 1] + y.flip(1)) / 2]
    poses = torch.stack(joints)
    ratio = heat.shape[2] // width
    return heat, (poses * ratio).repeat_interleave(ratio, 1).repeat_interleave(ratio, 2)


@pytest.mark.parametrize("system", ["bottomup", "higher", "dekr"])
def test_flipped_images_decode_as_by_the_published_code(system: str) -> None:
    make = torch.Generator().manual_seed(5)

    def filter_of(outputs: int, side: int, size: float) -> Tensor:
        return size * torch.randn(outputs, 3, side, side, generator=make, dtype=torch.float64)

    heat, offset, fine = filter_of(18, 4, 0.05), filter_of(34, 4, 0.5), filter_of(17, 2, 0.1)

    def network(x: Tensor) -> Maps | HigherMaps:
        h, o = F.conv2d(x, heat, stride=4), F.conv2d(x, offset, stride=4)
        return HigherMaps(h, 0.5 * h, h - 0.1, F.conv2d(x, fine, stride=2), o) if system == "higher" else Maps(h, o)

    outputs = {}
    for scale in (2, 1, 0.5):
        image = torch.randn(1, 3, int(128 * scale), int(192 * scale), generator=make, dtype=torch.float64)
        (found,) = forward_flip(
            network, image, torch.from_numpy(COCO.flip_order), keep_edge=system == "dekr", flip=True
        )
        expected = literal_flip(network, image, is_dekr=system == "dekr")
        assert all(torch.allclose(a, b, rtol=0, atol=1e-12) for a, b in zip(found, expected, strict=True))
        outputs[float(scale)] = Fused(*expected)
    assert check_as_published(outputs, (192, 128))
