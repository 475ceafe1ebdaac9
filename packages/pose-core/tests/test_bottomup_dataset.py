"""Whole images: joints move with pixels, masks with regions, and the way of loading changes nothing."""

from __future__ import annotations

import dataclasses
import zipfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from pycocotools import mask
from torch.utils.data import DataLoader

from pose_core.bottomup.config import WarpConfig
from pose_core.bottomup.dataset import BottomUpDataset, Warp, WholeBatch, draw_warp, keep_maps, place_warp
from pose_core.bottomup.ignore_masks import keep_mask
from pose_core.config import DataConfig
from pose_core.data.images import _open_archive
from pose_core.data.sampler import epoch_batches, worker_init
from pose_core.errors import DataError
from pose_core.geometry import Crop, apply_affine
from pose_core.layouts.reader import read_dataset
from pose_core.skeleton import SKELETONS
from pose_core.structures import ImageRecord
from pose_testing.annotations import coco_content, person, write_coco
from pose_testing.batches import equal_batches
from pose_testing.golden import load_golden

COCO = SKELETONS["coco17"]
STILL = WarpConfig(flip=0, rotation=0, scale=(1, 1), shift=0)
CROWD = {"size": [48, 64], "counts": [48 * 32, 48 * 32]}
"""The right half of a 64x48 image, as run lengths down its columns."""


def records(root: Path, content: dict[str, Any]) -> tuple[ImageRecord, ...]:
    write_coco(root, content)
    return read_dataset(DataConfig(root=str(root)), "train2017", keep_unlabeled=True).records


@pytest.fixture
def crowded(tmp_path: Path) -> tuple[ImageRecord, ...]:
    """Return three images: two people; a crowd and a person without joints; no people."""
    content = coco_content(images=3, people=2)
    polygon = [[0.0, 0.0, 8.0, 0.0, 8.0, 48.0, 0.0, 48.0]]
    nothing = {"keypoints": [0] * 51, "num_keypoints": 0}
    content["annotations"] = [
        *content["annotations"][:2],
        person(20, 2),
        person(21, 2, iscrowd=1, segmentation=CROWD, **nothing),
        person(22, 2, segmentation=polygon, **nothing),
    ]
    return records(tmp_path, content)


def dataset(found: tuple[ImageRecord, ...], **options: Any) -> BottomUpDataset:
    return BottomUpDataset(found, COCO, **({"input_size": 64, "output_sizes": (16, 32), "seed": 5} | options))


def test_matrices_are_the_published_ones() -> None:
    for entry in load_golden("dekr/functions")["common"]["train_affine"]:
        scale = np.array([entry["scale"]] * 2)
        crop = Crop(np.array(entry["center"]), scale, tuple(entry["res"]), entry["rot_deg"])
        assert np.allclose(crop.matrix, np.array(entry["matrix"])[:2], rtol=0, atol=1e-12)
        assert (entry["res"][0] / (entry["scale"] * 200)) ** 2 == pytest.approx(entry["area_factor"])


def test_a_sample_says_what_it_is(crowded: tuple[ImageRecord, ...]) -> None:
    data = dataset(crowded)
    assert len(data) == 2, "the image without annotations is left out"
    assert data.num_persons == 4, "a crowd without joints is nobody"
    sample = data[1]
    assert (sample.images.shape, sample.images.dtype) == ((64, 64, 3), torch.uint8)
    assert sample.joints.shape == (2, 2, 17, 3)
    assert sample.keep.shape == (16 * 16 + 32 * 32,)
    assert (int(sample.image_id), int(sample.index), bool(sample.valid)) == (2, 1, True)
    # The 64x48 image fills 64x64 by its short side: x' = (x − 32) · 64/48 + 32.
    scale = 16 / 48
    assert sample.joints[0, 0, 0].tolist() == pytest.approx([(10 - 32) * scale + 8, 5 * scale, 2])
    assert sample.areas.tolist() == pytest.approx([800 * (64 / 48) ** 2] * 2)
    assert not sample.joints[:, 1].any(), "nobody labeled the second person's joints"


def test_the_long_side_may_fill_the_input(crowded: tuple[ImageRecord, ...]) -> None:
    sample = dataset(crowded, augment=STILL.model_copy(update={"fit": "long"}))[0]
    assert sample.joints[0, 0, 0].tolist() == pytest.approx([10 / 4, (5 - 24) / 4 + 8, 2])
    assert not sample.images[:7].any(), "the margin is black"
    masks = keep_maps(sample.keep[None], (16, 32))
    assert not masks[0][0, :1].any(), "nothing is learned beyond the image"
    assert masks[0][0, 3:13].all()


def test_crowds_and_unlabeled_people_are_masked(crowded: tuple[ImageRecord, ...]) -> None:
    expected = np.full((48, 64), 255, np.uint8)
    expected[:, 32:] = 0
    expected[:, :8] = 0
    record = crowded[1]
    assert np.array_equal(keep_mask(record.ignore, 64, 48, "x"), expected)
    shown = {}
    for ignore in ("all", "crowds", "none"):
        sample = dataset(crowded, augment=STILL.model_copy(update={"ignore": ignore, "fit": "long"}))[1]
        shown[ignore] = keep_maps(sample.keep[None], (16, 32))[1][0, 16].tolist()
    assert shown["all"] == [False] * 4 + [True] * 12 + [False] * 16
    assert shown["crowds"] == [True] * 16 + [False] * 16
    assert shown["none"] == [True] * 32


def test_run_lengths_may_be_packed_and_masks_of_other_sizes_fit() -> None:
    packed = mask.frPyObjects(CROWD, 48, 64)
    packed["counts"] = packed["counts"].decode()
    expected = keep_mask([CROWD], 64, 48, "x")
    assert np.array_equal(keep_mask([packed], 64, 48, "x"), expected)
    assert np.array_equal(keep_mask([CROWD], 32, 24, "x"), expected[::2, ::2])
    with pytest.raises(DataError, match=r"image a\.jpg: a segmentation is neither COCO polygons nor run lengths"):
        keep_mask([{"counts": [3]}], 64, 48, "a.jpg")


@pytest.mark.parametrize("flip", [False, True])
def test_joints_follow_pixels(flip: bool, tmp_path: Path) -> None:
    content = coco_content(images=1, people=1, width=200, height=160)
    (found,) = records(tmp_path, content)
    pixels = np.zeros((160, 200, 3), np.uint8)
    spots = {5: (60, 50), 6: (120, 90)}  # left and right shoulder
    for joint, (x, y) in spots.items():
        cv2.circle(pixels, (x, y), 4, (0, 0, 255) if joint == 5 else (0, 255, 0), -1)
    cv2.imwrite(found.source.replace(".jpg", ".png"), pixels)
    joints = found.persons[0].joints.copy()
    for joint, place in spots.items():
        joints[joint, :2] = place
    someone = dataclasses.replace(found.persons[0], joints=joints)
    found = dataclasses.replace(found, source=found.source.replace(".jpg", ".png"), persons=(someone,))
    data = BottomUpDataset(
        [found], COCO, input_size=128, output_sizes=(128,), augment=WarpConfig(flip=float(flip), scale=(1.0, 1.2))
    )
    for epoch in range(4):
        sample = data[(epoch, 0)]
        for joint, channel in ((5, 0), (6, 1)):
            other = {5: 6, 6: 5}[joint] if flip else joint
            seen = sample.images[..., channel].numpy() > 127
            rows, columns = np.nonzero(seen)
            x, y = sample.joints[0, 0, other, :2].tolist()
            assert (columns.mean(), rows.mean()) == pytest.approx((x, y), abs=0.35)


def test_flip_twice_is_identity(crowded: tuple[ImageRecord, ...]) -> None:
    data = dataset(crowded, augment=WarpConfig())
    plain = Warp(1.1, 12.0, (3, -2))
    image = cv2.imread(crowded[0].source)
    once = data._sample(0, image, dataclasses.replace(plain, flip=True), 0)
    as_it_is = data._sample(0, image, plain, 0)
    assert torch.equal(once.images.flip(1), as_it_is.images)
    for level, side in enumerate((16, 32)):
        back = once.joints[level][:, COCO.flip_order.tolist()].clone()
        labeled = back[..., 2] > 0
        back[..., 0] = torch.where(labeled, side - 1 - back[..., 0], 0)
        assert torch.allclose(back, as_it_is.joints[level], atol=1e-5)
        masks = keep_maps(torch.stack([once.keep, as_it_is.keep]), (16, 32))[level]
        assert torch.equal(masks[0].flip(1), masks[1])


def test_the_edge_convention_mirrors_at_the_border(crowded: tuple[ImageRecord, ...]) -> None:
    image = cv2.imread(crowded[0].source)
    at = {}
    for mirror in ("pixel", "edge"):
        data = dataset(crowded, augment=WarpConfig(mirror=mirror))
        at[mirror] = data._sample(0, image, Warp(flip=True), 0).joints[0, 0, :, 0]
    assert torch.allclose(at["edge"], at["pixel"] + 1)


def test_points_beyond_the_joints_keep_their_place(crowded: tuple[ImageRecord, ...]) -> None:
    def with_middle(someone: Any) -> tuple[np.ndarray, float]:
        return np.concatenate([someone.joints, [[32, 24, 1]]]).astype(np.float32), 7.0

    data = dataset(crowded, augment=WarpConfig(flip=1, rotation=0, scale=(1, 1), shift=0), describe=with_middle)
    sample = data[0]
    assert sample.joints.shape == (2, 2, 18, 3)
    assert sample.joints[0, 0, 17].tolist() == pytest.approx([16 - 1 - 8, 8, 1])
    assert sample.areas.tolist() == pytest.approx([7 * (64 / 48) ** 2] * 2)


def test_draws_stay_in_their_ranges() -> None:
    config = WarpConfig(rotation=30, scale=(0.75, 1.5), shift=40)
    draws = [draw_warp(np.random.default_rng(seed), config, 480.0) for seed in range(400)]
    scales, turns = np.array([d.scale for d in draws]), np.array([d.rotation for d in draws])
    shifts = np.array([d.shift for d in draws])
    assert 0.75 <= scales.min() < 0.8 < 1.45 < scales.max() <= 1.5
    assert -30 <= turns.min() < -27 < 27 < turns.max() <= 30
    reach = (40 * 2.4 * scales).astype(int)
    assert (shifts >= -reach[:, None]).all()
    assert (shifts < reach[:, None]).all()
    assert np.abs(shifts).max() > 100
    assert 0.4 < np.mean([d.flip for d in draws]) < 0.6


def test_a_larger_factor_shows_more_of_the_image() -> None:
    near, far = (place_warp(Warp(scale=s), 640, 480, "short", 512) for s in (1.0, 1.5))
    assert np.ptp(apply_affine(near.matrix, np.array([[0, 0], [640, 0.0]]))[:, 0]) == pytest.approx(640 * 512 / 480)
    assert np.ptp(apply_affine(far.matrix, np.array([[0, 0], [640, 0.0]]))[:, 0]) == pytest.approx(640 * 512 / 720)


def test_a_batch_is_padded_and_workers_change_nothing(crowded: tuple[ImageRecord, ...]) -> None:
    data = dataset(crowded * 3, augment=WarpConfig())

    def load(workers: int) -> list[WholeBatch]:
        keys = epoch_batches(len(data), 2, 7, 3)
        loader = DataLoader(
            data, batch_sampler=keys, collate_fn=data.collate, num_workers=workers, worker_init_fn=worker_init
        )
        return list(loader)

    alone, shared = load(0), load(2)
    assert len(alone) == len(shared) == 2
    assert all(equal_batches(a, b) for a, b in zip(alone, shared, strict=True))
    assert alone[0].joints.shape == (3, 2, 2, 17, 3)
    assert not torch.equal(alone[0].images, load(0)[1].images)


def test_people_of_different_numbers_share_a_batch(tmp_path: Path) -> None:
    content = coco_content(images=2, people=3)
    content["annotations"] = content["annotations"][:4]
    data = dataset(records(tmp_path, content))
    batch = data.collate([data[0], data[1]])
    assert batch.joints.shape == (2, 2, 3, 17, 3)
    assert batch.areas[1, 1:].tolist() == [0, 0]
    assert not batch.joints[1, :, 1:].any()
    assert torch.equal(batch.joints[1, :, 0], data[1].joints[:, 0])


def test_an_image_without_people_is_still_learned_from(tmp_path: Path) -> None:
    content = coco_content(images=1, people=0)
    content["annotations"] = [person(1, 1, iscrowd=1, segmentation=CROWD, keypoints=[0] * 51, num_keypoints=0)]
    data = dataset(records(tmp_path, content))
    batch = data.collate([data[0]])
    assert batch.joints.shape == (1, 2, 1, 17, 3)
    assert not batch.joints.any()
    assert batch.keep.any()


def test_colors_are_changed_by_a_hook_in_rgb(crowded: tuple[ImageRecord, ...]) -> None:
    def only_red(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        assert 0 <= rng.random() < 1
        return image * np.array([1, 0, 0], np.uint8)

    for color, place in (("rgb", 0), ("bgr", 2)):
        sample = dataset(crowded, color=color, recolor=only_red)[0]
        plain = dataset(crowded, color=color)[0]
        assert torch.equal(sample.images[..., place], plain.images[..., place])
        assert sample.images.any()
        assert not sample.images[..., [c for c in range(3) if c != place]].any()


def test_zip_members_and_damaged_ones(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    found = records(folder, coco_content())
    archive = tmp_path / "train2017.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for record in found:
            file.write(record.source, f"train2017/{Path(record.source).name}")
    packed = tuple(dataclasses.replace(r, source=f"{archive}@{Path(r.source).name}") for r in found)
    assert equal_batches(dataset(packed)[1], dataset(found)[1])
    with zipfile.ZipFile(archive, "w") as file:
        for number, record in enumerate(found):
            content = Path(record.source).read_bytes()
            file.writestr(Path(record.source).name, content if number == 0 else content[:200])
    _open_archive.cache_clear()
    with pytest.raises(DataError, match=r"train2017.zip@000000000002.jpg does not decode .*data.on_bad_image=skip"):
        dataset(packed)[1]
    tolerant = dataset(packed, on_bad_image="skip")
    batch = tolerant.collate([tolerant[0], tolerant[1]])
    assert batch.valid.tolist() == [True, False]
    assert not batch.images[1].any()
    assert not batch.keep[1].any()
    assert not batch.joints[1].any()


def test_a_backwards_range_is_refused() -> None:
    with pytest.raises(ValueError, match=r"augment.scale=\[1.5, 0.75\] must be two positive numbers in order"):
        WarpConfig(scale=(1.5, 0.75))
