"""Crops that are decoded and cropped on the training device equal those of the loader."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import pytest
import torch
from torch.utils.data import DataLoader

from pose_core.config import DataConfig
from pose_core.data.sampler import epoch_batches
from pose_core.engine.trainer import train
from pose_core.errors import ConfigError, DataError
from pose_core.layouts.reader import read_dataset
from pose_core.plugins.networks import build_network
from pose_core.skeleton import SKELETONS
from pose_core.synthetic import write_dataset
from pose_core.topdown.config import AugmentConfig, TopDownConfig
from pose_core.topdown.dataset import CropBatch, TopDownDataset
from pose_core.topdown.device_decode import EncodedCrops
from pose_core.topdown.task import TopDownTask
from pose_testing.batches import equal_batches

CPU = torch.device("cpu")
STRONG = AugmentConfig(flip=0.5, scale=0.35, rotation=45, half_body=0.5)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("people")
    write_dataset(folder, "coco", images=6, people=(1, 3), seed=2, val_images=2)
    return folder


def people(root: Path, **options: Any) -> TopDownDataset:
    records = read_dataset(DataConfig(root=str(root)), "train2017").records
    return TopDownDataset(records, SKELETONS["coco17"], **({"input_size": (48, 64), "augment": STRONG} | options))


def batches(data: TopDownDataset | EncodedCrops, workers: int = 0) -> list[CropBatch]:
    keys = epoch_batches(len(data), 3, 0, 4, groups=data.groups)
    loader = DataLoader(data, batch_sampler=keys, collate_fn=data.collate, num_workers=workers)
    return [data.to_device(batch, CPU) for batch in loader]


def same_but_for_pixels(first: CropBatch, second: CropBatch) -> bool:
    return equal_batches(first, second, without=["images"])


@pytest.mark.parametrize("color", ["rgb", "bgr"])
@pytest.mark.parametrize("convention", ["published", "unbiased"])
def test_crops_are_those_of_the_loader(root: Path, color: str, convention: str) -> None:
    loaded = people(root, color=color, convention=convention)
    for expected, found in zip(batches(loaded), batches(EncodedCrops(loaded)), strict=True):
        apart = (expected.images.float() - found.images.float()).abs()
        assert apart.mean() < 0.5
        assert expected.images.float().std() > 20
        assert same_but_for_pixels(expected, found)


def test_workers_send_what_one_process_reads(root: Path) -> None:
    data = EncodedCrops(people(root))
    for alone, forked in zip(batches(data), batches(data, workers=1), strict=True):
        assert equal_batches(alone, forked)


def test_an_image_is_sent_once_for_all_its_people(root: Path) -> None:
    data = EncodedCrops(people(root))
    first = int(data.groups[0])
    everyone = [index for index in range(len(data)) if data.groups[index] == first]
    batch = data.__getitems__(everyone * 2)
    assert len(batch.ends) == 1
    assert batch.image_of.tolist() == [0] * len(everyone) * 2


def rewrite(root: Path, target: Path, content: bytes) -> TopDownDataset:
    """Return the data set with one image's file replaced."""
    records = read_dataset(DataConfig(root=str(root)), "train2017").records
    file = target / "other.jpg"
    file.write_bytes(content)
    return TopDownDataset(
        [replace(records[0], source=str(file)), records[1]], SKELETONS["coco17"], input_size=(48, 64), augment=None
    )


def test_other_formats_travel_as_pixels(root: Path, tmp_path: Path) -> None:
    source = read_dataset(DataConfig(root=str(root)), "train2017").records[0].source
    content = cv2.imencode(".png", cv2.imread(source))[1].tobytes()
    loaded = rewrite(root, tmp_path, content)
    keys = list(range(len(loaded)))
    expected = loaded.__getitems__(keys)
    sent = EncodedCrops(loaded).__getitems__(keys)
    assert sent.sizes[0].tolist() != [0, 0]
    assert sent.sizes[1].tolist() == [0, 0]
    found = EncodedCrops(loaded).to_device(sent, CPU)
    assert (expected.images.float() - found.images.float()).abs().mean() < 0.5


def damaged(root: Path) -> bytes:
    """Return a JPEG with only its header and its end marker."""
    content = Path(read_dataset(DataConfig(root=str(root)), "train2017").records[0].source).read_bytes()
    return content[: content.index(b"\xff\xda")] + b"\xff\xd9"


def test_a_damaged_image_is_named(root: Path, tmp_path: Path) -> None:
    data = EncodedCrops(rewrite(root, tmp_path, damaged(root)))
    with pytest.raises(DataError, match=r"image .*other\.jpg does not decode"):
        data.to_device(data[0], CPU)
    cut = EncodedCrops(rewrite(root, tmp_path, damaged(root)[:200]))
    with pytest.raises(DataError, match=r"image .*other\.jpg does not decode"):
        cut.__getitems__([0])


@pytest.mark.parametrize("length", [None, 200])
def test_a_damaged_image_is_skipped_where_asked(root: Path, tmp_path: Path, length: int | None) -> None:
    loaded = rewrite(root, tmp_path, damaged(root)[:length])
    loaded.on_bad_image = "skip"
    expected = loaded.__getitems__(range(len(loaded)))
    data = EncodedCrops(loaded)
    found = data.to_device(data.__getitems__(range(len(loaded))), CPU)
    assert not found.valid[0]
    assert found.valid[-1]
    assert torch.equal(found.valid, expected.valid)
    assert torch.equal(found.joints, expected.joints)
    assert not found.images[0].any()


def test_only_plain_crops_can_be_sent(root: Path) -> None:
    class Colorful(TopDownDataset):
        """A data set that changes pixels in the loader."""

    records = read_dataset(DataConfig(root=str(root)), "train2017").records
    with pytest.raises(ConfigError, match="device_decode"):
        EncodedCrops(Colorful(records, SKELETONS["coco17"], input_size=(48, 64)))


def test_a_task_trains_on_them(root: Path, tmp_path: Path) -> None:
    config = TopDownConfig.model_validate(
        {
            "method": "core",
            "model": {
                "name": "simplebaseline_resnet18", "input_size": [32, 64], "init": "framework", "options": {"width": 8},
            },
            "data": {"root": str(root)},
            "train": {"iterations": 3, "batch_size": 4, "workers": 1, "device_decode": True, "share_decode": True},
            "test": {"batch_size": 8, "workers": 0},
            "run": {"dir": str(tmp_path), "device": "cpu"},
        }
    )  # fmt: skip
    task = TopDownTask(config, build_network)
    assert isinstance(task.training_set(), EncodedCrops)
    result = train(task)
    assert result.step == 3
    assert (result.folder / "last.pt").is_file()
