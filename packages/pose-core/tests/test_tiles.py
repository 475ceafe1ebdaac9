"""Panoramas: predicted in tiles of bounded size, with every person found once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pose_core.bottomup.config import BottomUpConfig, WholeTestConfig
from pose_core.bottomup.evaluate import predict_images
from pose_core.bottomup.predictor import BottomUpPredictor, People, View, Views, render_tiles, render_views
from pose_core.bottomup.resize import resize_for_test
from pose_core.bottomup.tiles import MAX_ASPECT, TILE_ASPECT, cut_tiles
from pose_core.config import ModelConfig
from pose_core.geometry import apply_affine, invert_affine
from pose_core.layouts.layout import AnnotatedSet
from pose_core.layouts.table import get_layout
from pose_core.skeleton import SKELETONS
from pose_core.structures import ImageRecord

COCO = SKELETONS["coco17"]
SIDE = 64
"""The network's input."""
RADIUS = 24
"""Pixels of an image around a person's middle that are bright: more than half of the overlap of two tiles."""


def one_view(width: int, height: int) -> list[View]:
    resize = resize_for_test((width, height), SIDE)
    return [View(resize.size, resize.matrix)]


class Discs(BottomUpPredictor):
    """A predictor that takes every bright disc for a person, its joints on a circle; a part of a disc scores less."""

    @property
    def views(self) -> Views:
        return one_view

    def find(self, images: Sequence[Tensor], views: Sequence[View]) -> Mapping[str, People]:
        (image,), (view,) = images, views
        self.shapes.append(tuple(image.shape))
        _, _, boxes, middles = cv2.connectedComponentsWithStats((image[0, 0] > 0).numpy().astype(np.uint8))
        angle = np.arange(17) * 2 * np.pi / 17
        circle = np.stack([np.cos(angle), np.sin(angle)], 1)
        points = [middle + circle * box[2:4] / 2 for box, middle in zip(boxes[1:], middles[1:], strict=True)]
        back = apply_affine(invert_affine(view.matrix), np.array(points).reshape(-1, 17, 2))
        areas = torch.from_numpy(boxes[1:, 4].astype(np.float32))
        return {"": People(torch.from_numpy(back), areas[:, None].expand(-1, 17), areas)}


def discs() -> Discs:
    config = BottomUpConfig(
        method="discs", model=ModelConfig(name="none", input_size=(SIDE, SIDE)), test=WholeTestConfig(workers=0)
    )
    predictor = Discs(nn.Identity(), config, COCO, torch.device("cpu"))
    predictor.shapes = []
    return predictor


def panorama(width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
    """Return an image with discs at irregular distances, and their middles ``(N, 2)``, in order along the image."""
    rng = np.random.default_rng(0)
    long, short = max(width, height), min(width, height)
    along = np.cumsum(rng.uniform(2.2 * RADIUS, 3 * RADIUS, long)).round()
    along = along[along < long - RADIUS]
    middles = np.stack([along, rng.uniform(RADIUS, short - RADIUS, len(along)).round()], 1)
    if height > width:
        middles = middles[:, ::-1]
    image = np.zeros((height, width, 3), np.uint8)
    for x, y in middles.astype(int).tolist():
        cv2.circle(image, (x, y), RADIUS, (255, 255, 255), -1)
    return image, middles


def check_found(points: np.ndarray, middles: np.ndarray) -> None:
    """Check that every person is found once and in its place."""
    found = points.mean(1)
    order = (
        np.lexsort((found[:, 1], found[:, 0]))
        if np.ptp(middles[:, 0]) > np.ptp(middles[:, 1])
        else found[:, 1].argsort()
    )
    assert len(found) == len(middles)
    assert np.abs(found[order] - middles).max() < 2


@pytest.mark.parametrize("size", [(5000, 100), (100, 5000), (33000, 80), (900, 110)])
def test_every_person_of_a_panorama_is_found_once(size: tuple[int, int]) -> None:
    image, middles = panorama(*size)
    assert len(middles) > 10
    predictor = discs()
    check_found(predictor.predict_image(image).keypoints, middles)
    assert len(predictor.shapes) > 1
    assert max(np.prod(shape[2:]) for shape in predictor.shapes) <= TILE_ASPECT * SIDE * SIDE


def test_a_panorama_is_evaluated_as_it_is_predicted(tmp_path: Path) -> None:
    image, middles = panorama(3000, 100)
    cv2.imwrite(str(tmp_path / "long.png"), image)
    records = (ImageRecord(7, str(tmp_path / "long.png")),)
    found = AnnotatedSet(records, COCO, get_layout("coco"), tmp_path, "val", tmp_path / "val.json")
    predictor = discs()
    ((_, entries),), unread = predict_images(predictor, predictor.config, found)
    assert not unread
    assert {entry["image_id"] for entry in entries} == {7}
    check_found(np.array([entry["keypoints"] for entry in entries]).reshape(-1, 17, 3)[..., :2], middles)


@pytest.mark.parametrize("size", [(640, 480), (480, 640), (100, 100 * MAX_ASPECT), (100 * MAX_ASPECT, 100), (1, 1)])
def test_ordinary_images_are_rendered_whole_as_published(size: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8)
    ((rendered, views),) = render_tiles(image, one_view)
    expected = one_view(*size)
    assert [view.size for view in views] == [view.size for view in expected]
    assert all(np.array_equal(view.matrix, whole.matrix) for view, whole in zip(views, expected, strict=True))
    assert all(np.array_equal(a, b) for a, b in zip(rendered, render_views(image, expected), strict=True))


@pytest.mark.parametrize("size", [(20000, 400), (400, 20000), (20000, 1), (1, 300), (801, 100), (65000, 3)])
def test_tiles_cover_the_image_and_are_bounded(size: tuple[int, int]) -> None:
    tiles = cut_tiles(*size)
    axis = int(size[1] > size[0])
    short = max(min(size), 32)
    assert all(tile.axis == axis and max(tile.size) <= TILE_ASPECT * min(tile.size) for tile in tiles)
    starts = np.array([tile.corner[axis] for tile in tiles])
    ends = starts + [tile.size[axis] for tile in tiles]
    assert starts[0] == 0
    assert ends[-1] == max(size)
    assert (ends[:-1] - starts[1:] >= short - 1).all(), "a person of the short side's size is whole in one of them"
    own = np.array([tile.own for tile in tiles])
    assert (own[:-1, 1] > own[1:, 0]).all()
    assert own[0, 0] == -np.inf
    assert own[-1, 1] == np.inf


def test_the_worst_image_takes_a_bounded_input() -> None:
    areas = [np.prod(resize_for_test(tile.size, 512).size) for tile in cut_tiles(20000, 400)]
    assert max(areas) <= 4 * 512 * 512
    assert np.prod(resize_for_test((20000, 400), 512).size) == 50 * 512 * 512
