"""The top-down data set: the content of crops, which does not depend on the way of loading."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from pose_core.config import DataConfig
from pose_core.data.images import decode_bgr
from pose_core.data.sampler import epoch_batches, worker_init
from pose_core.errors import DataError
from pose_core.geometry import apply_affine
from pose_core.layouts.reader import read_dataset
from pose_core.skeleton import SKELETONS
from pose_core.structures import ImageRecord, Person
from pose_core.topdown import dataset as topdown
from pose_core.topdown.config import AugmentConfig
from pose_core.topdown.dataset import CropBatch, TopDownDataset
from pose_testing.annotations import coco_content, person, write_coco
from pose_testing.batches import equal_batches

COCO = SKELETONS["coco17"]
STRONG = AugmentConfig(flip=0.5, scale=0.35, rotation=45, half_body=0.5)


@pytest.fixture
def records(tmp_path: Path) -> tuple[ImageRecord, ...]:
    content = coco_content(images=5, people=2, width=96, height=72)
    for number, annotation in enumerate(content["annotations"]):
        annotation["bbox"] = [5.0 + 3 * number, 4.0 + number, 40.0, 30.0 + number]
        annotation["keypoints"][5] = 0  # joint 1 is not labeled
        annotation["num_keypoints"] = 16
        annotation["keypoints"][8] = 1  # joint 2 is hidden
    write_coco(tmp_path, content)
    return read_dataset(DataConfig(root=str(tmp_path)), "train2017").records


def dataset(records: tuple[ImageRecord, ...], **options: Any) -> TopDownDataset:
    return TopDownDataset(records, COCO, **({"input_size": (48, 64), "seed": 3} | options))


def test_a_sample_says_what_it_is(records: tuple[ImageRecord, ...]) -> None:
    data = dataset(records)
    assert len(data) == 10
    sample = data[3]
    assert sample.images.shape == (64, 48, 3)
    assert (sample.images.dtype, sample.joints.dtype, sample.to_image.dtype) == (
        torch.uint8,
        torch.float32,
        torch.float64,
    )
    assert (int(sample.image_id), int(sample.annotation_id), int(sample.index)) == (2, 21, 3)
    assert (float(sample.box_score), bool(sample.valid)) == (1.0, True)
    np.testing.assert_array_equal(data.groups, np.arange(10) // 2)


def test_joints_are_in_input_pixels_and_return_to_the_image(records: tuple[ImageRecord, ...]) -> None:
    for augment in (None, STRONG):
        data = dataset(records, augment=augment)
        for index in range(len(data)):
            sample = data[(1, index)]
            truth = records[index // 2].persons[index % 2].joints
            back = apply_affine(sample.to_image.numpy(), sample.joints[:, :2].numpy())
            mirrored = np.linalg.det(sample.to_image.numpy()[:, :2]) < 0
            truth = truth[COCO.flip_order] if mirrored else truth
            seen = truth[:, 2] > 0
            np.testing.assert_array_equal(sample.joints[:, 2].numpy(), seen)
            np.testing.assert_allclose(back[seen], truth[seen, :2], atol=1e-4)
            assert not sample.joints[torch.from_numpy(~seen)].any()


def test_a_crop_is_the_published_one(records: tuple[ImageRecord, ...]) -> None:
    """Compare with the published order: flip the image, then solve three points for the matrix and warp."""
    data, checked = dataset(records, augment=STRONG), {True: 0, False: 0}
    for index in range(len(data)):
        sample = data[(2, index)]
        image = cv2.imread(data.source(index))
        inverse = sample.to_image.numpy()
        mirrored = bool(np.linalg.det(inverse[:, :2]) < 0)
        corners = np.array([[24, 32], [24, 8], [0, 8]], np.float64)
        points = apply_affine(inverse, corners)
        if mirrored:
            image = cv2.flip(image, 1)
            points = points * [-1, 1] + [image.shape[1] - 1, 0]
        matrix = cv2.getAffineTransform(points.astype(np.float32), corners.astype(np.float32))
        crop = cv2.warpAffine(image, matrix, (48, 64), flags=cv2.INTER_LINEAR)[..., ::-1]
        difference = np.abs(crop.astype(int) - sample.images.numpy())
        assert difference.max() <= 12  # OpenCV interpolates at 32nds of a pixel
        assert difference.mean() < 0.6
        checked[mirrored] += 1
    assert min(checked.values()) > 0


def test_color_order(records: tuple[ImageRecord, ...]) -> None:
    rgb, bgr = dataset(records)[0], dataset(records, color="bgr")[0]
    assert torch.equal(rgb.images.flip(-1), bgr.images)


def test_boxes_are_padded_and_given_scales_are_not(records: tuple[ImageRecord, ...]) -> None:
    by_box = Person(np.zeros((17, 3), np.float32), 1, box=(10, 10, 30, 40))
    by_scale = Person(np.zeros((17, 3), np.float32), 2, center=(25.0, 30.0), scale=(0.2, 0.2))
    images = (ImageRecord(1, records[0].source, (by_box, by_scale)),)
    samples = dataset(images).__getitems__([0, 1])
    assert samples.center.tolist() == [[25, 30], [25, 30]]
    np.testing.assert_allclose(samples.scale, [[0.1875, 0.25], [0.2, 0.2]], rtol=1e-6)
    wider = dataset(images, test_scale=1.5)[1]
    np.testing.assert_allclose(wider.scale, [0.3, 0.3], rtol=1e-6)
    np.testing.assert_allclose(wider.to_image[0, 0], 60 / 48, rtol=1e-6)


def test_unbiased_crops_measure_between_pixel_centers(records: tuple[ImageRecord, ...]) -> None:
    sample = dataset(records, convention="unbiased")[0]
    left, right = apply_affine(sample.to_image.numpy(), np.array([[0.0, 0.0], [47.0, 0.0]]))
    assert right[0] - left[0] == pytest.approx(200 * float(sample.scale[0]), rel=1e-6)


def test_detected_people_have_no_joints(records: tuple[ImageRecord, ...]) -> None:
    detected = Person(np.zeros((0, 3), np.float32), 7, box=(10, 10, 30, 40), score=0.5)
    sample = dataset((ImageRecord(1, records[0].source, (detected,)),))[0]
    assert sample.joints.shape == (17, 3)
    assert not sample.joints.any()
    assert float(sample.box_score) == 0.5


def test_batches_are_what_single_samples_are(records: tuple[ImageRecord, ...]) -> None:
    data = dataset(records, augment=STRONG)
    keys = [(4, index) for index in (7, 0, 3, 2, 6, 1)]
    batch = data.__getitems__(keys)
    for number, key in enumerate(keys):
        assert equal_batches(batch.sample(number), data[key])
    assert equal_batches(batch, CropBatch.stack([data[key] for key in keys]))
    assert data.collate(batch) is batch
    assert not equal_batches(data[(4, 7)], data[(5, 7)])


def test_an_image_is_decoded_once_per_batch(records: tuple[ImageRecord, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []

    def decode(content: bytes, source: str) -> np.ndarray:
        opened.append(source)
        return decode_bgr(content, source)

    monkeypatch.setattr(topdown, "decode_bgr", decode)
    dataset(records).__getitems__([0, 4, 1, 5, 9])
    assert len(opened) == 3


@pytest.mark.parametrize(("method", "workers"), [("fork", 2), ("spawn", 1)])
def test_workers_change_nothing(records: tuple[ImageRecord, ...], method: str, workers: int) -> None:
    data = dataset(records, augment=STRONG)

    def load(workers: int) -> list[CropBatch]:
        batches = epoch_batches(len(data), 2, 5, 4)
        context = method if workers else None
        loader = DataLoader(
            data,
            batch_sampler=batches,
            collate_fn=data.collate,
            num_workers=workers,
            worker_init_fn=worker_init,
            multiprocessing_context=context,
        )
        return list(loader)

    alone, together = load(0), load(workers)
    assert [len(batch.images) for batch in alone] == [4, 4, 2]
    assert isinstance(together[0], CropBatch)
    assert all(equal_batches(a, b) for a, b in zip(alone, together, strict=True))


def test_a_bad_image_stops_or_is_marked(records: tuple[ImageRecord, ...]) -> None:
    Path(records[1].source).write_bytes(b"not a picture")
    with pytest.raises(DataError, match=r"000000000002\.jpg does not decode"):
        dataset(records)[2]
    data = dataset(records, on_bad_image="skip", augment=STRONG)
    batch = data.__getitems__([0, 2, 3, 4])
    assert batch.valid.tolist() == [True, False, False, True]
    assert not batch.images[1].any()
    assert not batch.joints[1:3].any()
    assert batch.joints[0].any()


def test_a_scale_of_zero_is_refused(records: tuple[ImageRecord, ...]) -> None:
    flat = Person(np.zeros((17, 3), np.float32), 8, center=(1.0, 1.0), scale=(0.0, 0.0))
    with pytest.raises(DataError, match="annotation 8: its scale is 0"):
        dataset((ImageRecord(1, records[0].source, (flat,)),))


def test_a_large_data_set_is_cheap_to_hand_to_workers(records: tuple[ImageRecord, ...]) -> None:
    many = tuple(ImageRecord(i, f"{records[0].source}{i}", records[0].persons) for i in range(2000))
    data = dataset(many)
    per_person = len(pickle.dumps(data)) / len(data)
    assert per_person < 17 * 3 * 4 + 200


def test_an_empty_data_set_has_no_people(records: tuple[ImageRecord, ...]) -> None:
    assert len(dataset(())) == 0
    assert len(dataset((ImageRecord(1, "a.jpg"),))) == 0


def test_custom_joint_sets(tmp_path: Path) -> None:
    (tmp_path / "three.yaml").write_text("joints: [a, b, c]\nsigmas: [0.1, 0.1, 0.1]\n")
    content = coco_content(images=1, people=0)
    content["annotations"] = [person(1, 1, joints=3)]
    write_coco(tmp_path, content)
    found = read_dataset(DataConfig(root=str(tmp_path), skeleton=str(tmp_path / "three.yaml")), "train2017")
    data = TopDownDataset(found.records, found.skeleton, input_size=(48, 64), augment=STRONG)
    assert data[0].joints.shape == (3, 3)


def large_people(folder: Path) -> tuple[ImageRecord, ...]:
    """Return two people in one smooth JPEG, 50 and 400 pixels tall."""
    picture = cv2.resize(np.random.default_rng(0).integers(0, 255, (9, 12, 3), np.uint8), (640, 480))
    cv2.imwrite(str(folder / "a.jpg"), picture, [cv2.IMWRITE_JPEG_QUALITY, 100])
    boxes = ((100.0, 60.0, 40.0, 50.0), (60.0, 40.0, 300.0, 420.0))
    share = np.random.default_rng(1).uniform(0.1, 0.9, (2, 17, 3))
    joints = np.stack([share[i] * [*box[2:], 0] + [*box[:2], 2] for i, box in enumerate(boxes)]).astype(np.float32)
    people = tuple(Person(joints[i], i, box=box, area=1000) for i, box in enumerate(boxes))
    return (ImageRecord(1, str(folder / "a.jpg"), people, 640, 480),)


@pytest.mark.parametrize("convention", ["published", "unbiased"])
@pytest.mark.parametrize("augment", [None, STRONG])
def test_reduced_decoding_moves_nothing(tmp_path: Path, convention: str, augment: AugmentConfig | None) -> None:
    records = large_people(tmp_path)
    whole, reduced = (
        dataset(records, augment=augment, convention=convention, reduced_decode=choice) for choice in (False, True)
    )
    for epoch in range(6):
        for index in range(2):
            expected, found = whole[(epoch, index)], reduced[(epoch, index)]
            assert equal_batches(expected, found, without=["images"])
            apart = (expected.images.float() - found.images.float()).abs()
            assert apart.mean() < 2  # a pixel's shift of such a picture is more
            together = reduced.__getitems__([(epoch, 0), (epoch, 1)]).sample(index)
            # The small person needs the whole image, and gives it to the large one.
            assert torch.equal(together.images, expected.images)


def test_only_large_crops_of_jpegs_are_decoded_smaller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records = large_people(tmp_path)
    asked: list[int] = []

    def decode(content: bytes, source: str, reduce: int = 1) -> np.ndarray:
        asked.append(reduce)
        return decode_bgr(content, source, reduce)

    monkeypatch.setattr(topdown, "decode_bgr", decode)
    data = dataset(records, reduced_decode=True)
    for index in (0, 1):
        data[index]
    assert asked == [1, 8]  # 420 pixels and the margin on 64: 8.2
    cv2.imwrite(str(tmp_path / "a.png"), cv2.imread(str(tmp_path / "a.jpg")))
    (tmp_path / "a.jpg").write_bytes((tmp_path / "a.png").read_bytes())
    data[1]
    assert asked[-1] == 1
