"""``data.on_bad_image=skip`` has a limit, ``data.max_skipped``: most images must be readable."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pose_core.bottomup.dataset import BottomUpDataset
from pose_core.config import DataConfig
from pose_core.data import skipped
from pose_core.data.skipped import SkippedSamples
from pose_core.engine.interfaces import TrainingSet
from pose_core.errors import DataError
from pose_core.layouts.reader import read_dataset
from pose_core.skeleton import SKELETONS
from pose_core.structures import ImageRecord, Person
from pose_core.synthetic import write_dataset
from pose_core.topdown.dataset import TopDownDataset
from pose_core.topdown.device_decode import EncodedCrops
from pose_core.topdown.person_table import read_table
from pose_testing.annotations import write_image

COCO = SKELETONS["coco17"]


def stops_at(limit: float, length: int, batches: Iterable[tuple[int, Sequence[int]]]) -> int | None:
    """Return the number of the batch that is too much."""
    samples = SkippedSamples(limit, length)
    for number, (seen, lost) in enumerate(batches):
        try:
            samples.count(seen, lost, str)
        except DataError:
            return number
    return None


def test_the_share_of_the_latest_samples_counts() -> None:
    some = [(100, [start, start + 1]) for start in range(0, 100_000, 100)]
    assert stops_at(0.1, 100_000, some) is None
    assert stops_at(0.01, 100_000, some) == 10  # 22 of 2000
    # An outage late in an epoch is noticed as soon as one at its start.
    outage = [(100, list(range(start, start + 100))) for start in range(0, 5000, 100)]
    assert stops_at(0.1, 100_000, outage) == 2
    assert stops_at(0.1, 100_000, [(100, [])] * 900 + outage) == 902


def test_a_small_data_set_is_measured_as_a_whole_over_all_epochs() -> None:
    epochs = [(4, [7]), (4, [3]), (4, []), (4, []), (4, [])] * 50  # 2 of 20 samples
    assert stops_at(0.1, 20, epochs) is None
    assert stops_at(0.05, 20, epochs) == 1


def test_one_image_is_always_tolerated_and_everything_with_a_limit_of_one() -> None:
    samples = SkippedSamples(0.0, 10)
    samples.count(4, [0, 1, 2], lambda _: "a.jpg")  # three people of one image
    with pytest.raises(DataError, match=r"4 of 10 samples had to be skipped.*b\.jpg.*data\.max_skipped=0 .*--resume"):
        samples.count(4, [3], lambda index: "b.jpg" if index == 3 else "a.jpg")
    assert stops_at(1.0, 10, [(4, [0, 1, 2, 3])] * 20) is None


def test_it_keeps_no_more_than_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(skipped, "LATEST", 100)
    samples = SkippedSamples(0.1, 1000)
    for _ in range(500):
        samples.count(8, [], str)
    assert len(samples._batches) <= 100 // 8 + 1


def records(folder: Path, bad: int) -> list[ImageRecord]:
    """Return ten images with one person each, the first ``bad`` of which do not decode."""
    joints = np.ones((17, 3), np.float32)
    found = []
    for number in range(10):
        file = folder / f"{number}.jpg"
        write_image(file)
        if number < bad:
            file.write_bytes(b"no picture")
        person = Person(joints, number + 1, box=(0.0, 0.0, 8.0, 8.0), area=64.0)
        found.append(ImageRecord(number + 1, str(file), (person,)))
    return found


def crops(found: list[ImageRecord], limit: float) -> TopDownDataset:
    return TopDownDataset(found, COCO, input_size=(32, 32), on_bad_image="skip", max_skipped=limit)


def whole_images(found: list[ImageRecord], limit: float) -> BottomUpDataset:
    return BottomUpDataset(found, COCO, input_size=32, output_sizes=[8], on_bad_image="skip", max_skipped=limit)


SETS: dict[str, Callable[[list[ImageRecord], float], TrainingSet[Any]]] = {
    "crops": crops,
    "encoded crops": lambda found, limit: EncodedCrops(crops(found, limit)),
    "whole images": whole_images,
}


@pytest.mark.parametrize("make", SETS.values(), ids=SETS)
def test_a_training_set_stops_when_too_many_images_are_bad(
    make: Callable[[list[ImageRecord], float], TrainingSet[Any]], tmp_path: Path
) -> None:
    def send(data: TrainingSet[Any]) -> None:
        for keys in ([5, 0, 6], [1, 7, 8], [2, 3, 4]):
            samples = data.__getitems__(keys) if hasattr(data, "__getitems__") else [data[key] for key in keys]
            data.to_device(data.collate(samples), torch.device("cpu"))

    found = records(tmp_path, bad=3)
    send(make(found, 0.3))
    with pytest.raises(DataError, match=r"2 of 10 samples had to be skipped.*1\.jpg.*data\.max_skipped=0\.1 "):
        send(make(found, 0.1))


def test_a_jpeg_that_only_the_device_finds_damaged_counts(tmp_path: Path) -> None:
    found = records(tmp_path, bad=0)
    for record in found[:2]:
        # Whole by its markers, so that the loader sends it.
        content = Path(record.source).read_bytes()
        Path(record.source).write_bytes(content[:200] + b"\xff\xd9")
    data = EncodedCrops(crops(found, 0.1))
    batch = data.collate(data.__getitems__([0, 1, 5]))
    assert batch.crops.valid.all()
    with pytest.raises(DataError, match="2 of 10 samples had to be skipped"):
        data.to_device(batch, torch.device("cpu"))


def without_images(root: Path, count: int) -> DataConfig:
    write_dataset(root, images=10, val_images=1, people=(1, 1), size=(64, 64), seed=3)
    for image in sorted((root / "images" / "train2017").iterdir())[:count]:
        image.unlink()
    return DataConfig(root=str(root), on_bad_image="skip")


def test_a_split_that_lacks_too_many_images_is_refused(tmp_path: Path) -> None:
    config = without_images(tmp_path, 2)
    message = r"2 of 10 images are missing \(20%\), for example .*\.jpg; data\.max_skipped=0\.1 allows fewer"
    with pytest.raises(DataError, match=message):
        read_dataset(config, "train2017")
    found = read_dataset(config.model_copy(update={"max_skipped": 0.2}), "train2017")
    assert len(found.records) == 8


def test_the_limit_counts_for_cached_people_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pose_core.topdown.person_table.WORTH", 0)
    monkeypatch.setenv("POSE_HOME", str(tmp_path / "home"))
    config = without_images(tmp_path / "data", 2)
    table, _ = read_table(config.model_copy(update={"max_skipped": 0.2}), "train2017", 0.75)
    assert len(table.sources) == 8
    with pytest.raises(DataError, match=re.escape("2 of 10 images are missing")):
        read_table(config, "train2017", 0.75)
