"""The images whose correction would pay most: what they are ranked by, what is said about them, what is written."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from pose_core.config import DataConfig
from pose_core.data.images import open_image
from pose_core.engine.interfaces import DetectedImage, PosePredictor
from pose_core.errors import DataError
from pose_core.inference.findings import ImageFinding
from pose_core.inference.relabel import corrected_file, photo_records, split_of, write_worst
from pose_core.inference.worst import CRITERIA, find_worst
from pose_core.layouts.reader import AnnotatedSet, read_dataset
from pose_core.skeleton import SKELETONS
from pose_core.structures import ImageRecord, Person, Poses
from pose_core.synthetic import write_dataset
from pose_core.topdown.detectors import annotated_box

COCO = SKELETONS["coco17"]
SIGMAS = np.array(COCO.sigmas)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> AnnotatedSet:
    root = tmp_path_factory.mktemp("people")
    write_dataset(root, layout="coco", images=6, val_images=1, people=(2, 2), size=(200, 160), seed=3)
    return read_dataset(DataConfig(layout="coco", root=str(root)), "train2017", keep_unlabeled=True)


class Oracle(PosePredictor):
    """Predict the true people of an image in whatever view it is shown: mirrored, or in the middle of a canvas.

    ``change`` may change an image's prediction, given its number, the view, and its poses in the image's own pixels.
    """

    def __init__(
        self,
        truth: tuple[ImageRecord, ...],
        *,
        needs_boxes: bool,
        change: Callable[[int, str, Poses], Poses] | None = None,
    ) -> None:
        self.needs_boxes, self.change = needs_boxes, change
        self.skeleton, self.device = COCO, torch.device("cpu")
        self.truth = [(record, open_image(record.source)) for record in truth]
        self.boxes: list[np.ndarray] = []

    def predict_stream(self, images: Iterable[DetectedImage[Any]]) -> Iterator[tuple[Any, Poses]]:
        for key, image, boxes, _ in images:
            self.boxes.append(boxes)
            yield key, self._predict(image)

    def _predict(self, image: np.ndarray) -> Poses:
        for number, (record, pixels) in enumerate(self.truth):
            height, width = pixels.shape[:2]
            people = [person for person in record.persons if person.num_labeled]
            joints = np.stack([person.joints[:, :2] for person in people]).astype(np.float64)
            scores = np.tile(np.where(people[0].joints[:, 2] > 0, 0.9, 0.1), (len(people), 1))
            plain = Poses(joints, scores, np.full(len(people), 0.8), COCO)
            if image.shape == pixels.shape and (image == pixels).all():
                return self._changed(number, "plain", plain)
            if image.shape == pixels.shape and (image == pixels[:, ::-1]).all():
                poses = self._changed(number, "mirrored", plain)
                mirrored = (poses.keypoints * [-1, 1] + [width - 1, 0])[:, COCO.flip_order]
                return replace(poses, keypoints=mirrored, scores=poses.scores[:, COCO.flip_order])
            left, top = (image.shape[1] - width) // 2, (image.shape[0] - height) // 2
            if left > 0 and (image[top : top + height, left : left + width] == pixels).all():
                poses = self._changed(number, "smaller", plain)
                return replace(poses, keypoints=poses.keypoints + np.array([left, top]))
        raise AssertionError("this image is none of the split, in no known view")

    def _changed(self, number: int, view: str, poses: Poses) -> Poses:
        return poses if self.change is None else self.change(number, view, poses)

    def predict_batch(self, batch: Any) -> list[tuple[np.ndarray, Poses]]:
        raise AssertionError("images are ranked by predict_stream alone")


def with_person(record: ImageRecord, row: int, person: Person | None) -> ImageRecord:
    """Return an image with one of its people replaced, or left out."""
    people = list(record.persons)
    people[row : row + 1] = [] if person is None else [person]
    return replace(record, persons=tuple(people))


def swapped(person: Person) -> Person:
    return replace(person, joints=person.joints[COCO.flip_order])


def moved(person: Person, joints: list[int]) -> Person:
    labels = person.joints.copy()
    labels[joints, :2] += 60
    return replace(person, joints=labels)


def names(findings: list[ImageFinding], truth: tuple[ImageRecord, ...]) -> list[int]:
    order = {record.image_id: number for number, record in enumerate(truth)}
    return [order[finding.record.image_id] for finding in findings]


@pytest.mark.parametrize("needs_boxes", [True, False])
def test_true_labels_have_no_error_and_views_agree(found: AnnotatedSet, needs_boxes: bool) -> None:
    oracle = Oracle(found.records, needs_boxes=needs_boxes)
    findings = find_worst(oracle, found.records)
    assert names(findings, found.records) == list(range(6))  # equal ones keep their order
    for each in findings:
        assert (each.error, each.score, each.disagreement) == pytest.approx((0, 0.8, 0), abs=1e-5)
        assert each.extra == ()
        assert each.reasons() == ["scores 0.80, views agree to OKS 1.00"]
    assert {len(boxes) for boxes in oracle.boxes} == ({2} if needs_boxes else {0})


def test_boxes_follow_the_views(found: AnnotatedSet) -> None:
    oracle = Oracle(found.records[:1], needs_boxes=True)
    find_worst(oracle, found.records[:1])
    plain, mirrored, smaller = oracle.boxes
    assert plain.tolist() == [list(annotated_box(person)) for person in found.records[0].persons]
    assert mirrored[:, 0] + mirrored[:, 2] + plain[:, 0] == pytest.approx(199)
    assert smaller[:, 2:] == pytest.approx(1.25 * plain[:, 2:])
    middle = plain[:, :2] + plain[:, 2:] / 2
    assert smaller[:, :2] + smaller[:, 2:] / 2 == pytest.approx(middle + np.array([25, 20]))


def test_wrong_labels_come_first_and_are_named(found: AnnotatedSet) -> None:
    truth = found.records
    labeled = list(truth)
    labeled[4] = with_person(truth[4], 0, swapped(truth[4].persons[0]))
    limbs = np.flatnonzero(truth[2].persons[1].joints[:, 2] > 0).tolist()[-3:]
    labeled[2] = with_person(truth[2], 1, moved(truth[2].persons[1], limbs))
    findings = find_worst(Oracle(truth, needs_boxes=False), labeled, by=["error"])
    assert set(names(findings, truth)[:2]) == {2, 4}
    reasons = {number: each.reasons() for number, each in zip(names(findings, truth), findings, strict=True)}
    assert reasons[4][0].startswith("person 1: left and right seem swapped (OKS 0.")
    assert all(COCO.joints[joint] in reasons[2][0] for joint in limbs)
    assert reasons[2][0].startswith("person 2: ")
    assert all(each.error == pytest.approx(0, abs=1e-5) for each in findings[2:])


def test_people_left_out_and_people_not_found(found: AnnotatedSet) -> None:
    truth = found.records
    labeled = list(truth)
    labeled[1] = with_person(truth[1], 0, None)

    def blind(number: int, view: str, poses: Poses) -> Poses:
        return poses[1:] if number == 5 else replace(poses, pose_scores=poses.pose_scores + (number == 1) * 0.1)

    findings = find_worst(Oracle(truth, needs_boxes=False, change=blind), labeled, by=["error"])
    by_number = dict(zip(names(findings, truth), findings, strict=True))
    assert set(names(findings, truth)[:2]) == {1, 5}
    assert by_number[1].reasons()[0] == "1 person found without annotation (score 0.90)"
    assert by_number[1].error == pytest.approx(0.5)
    assert by_number[5].reasons()[0] == "person 1 was not found by the network"
    assert (by_number[5].error, by_number[5].score, by_number[5].disagreement) == pytest.approx((0.5, 0.4, 0.5))


def test_a_person_in_a_crowd_is_no_missing_label(found: AnnotatedSet) -> None:
    person = found.records[0].persons[0]
    crowd = replace(person, is_crowd=True, joints=np.zeros_like(person.joints))
    labeled = [with_person(found.records[0], 0, crowd)]
    better = lambda number, view, poses: replace(poses, pose_scores=np.array([0.9, 0.8]))  # noqa: E731
    (finding,) = find_worst(Oracle(found.records[:1], needs_boxes=False, change=better), labeled)
    assert finding.extra == ()
    assert finding.error == pytest.approx(0, abs=1e-5)


def test_each_measure_ranks_by_itself(found: AnnotatedSet) -> None:
    truth = found.records

    def change(number: int, view: str, poses: Poses) -> Poses:
        if number == 3:
            poses = replace(poses, pose_scores=poses.pose_scores - 0.5)
        if number == 0 and view != "plain":
            poses = replace(poses, keypoints=poses.keypoints + 30)
        return poses

    labeled = [*truth[:5], with_person(truth[5], 0, swapped(truth[5].persons[0]))]
    firsts = {}
    for criterion in CRITERIA:
        findings = find_worst(Oracle(truth, needs_boxes=True, change=change), labeled, by=[criterion])
        firsts[criterion] = names(findings, truth)[0]
    assert firsts == {"error": 5, "score": 3, "disagreement": 0}
    findings = find_worst(Oracle(truth, needs_boxes=True, change=change), labeled)
    assert set(names(findings, truth)[:3]) == {0, 3, 5}
    assert "the views disagree" in findings[names(findings, truth).index(0)].reasons()[0]


def test_photos_have_no_error_and_get_labels(found: AnnotatedSet, tmp_path: Path) -> None:
    photos = photo_records(Path(found.records[0].source).parent)
    assert len(photos) == 6
    findings = find_worst(Oracle(found.records, needs_boxes=False), photos, by=["score", "disagreement"])
    assert all(len(each.poses) == len(each.extra) == 2 for each in findings)
    assert write_worst(findings, COCO, tmp_path, count=6).prelabeled == 12
    labeled = read_dataset(DataConfig(layout="coco", root=str(tmp_path)), "person_keypoints_default.json").records
    truth = {Path(record.source).name: record for record in found.records}
    for record in labeled:
        assert len(record.persons) == 2
        labels = [person for person in truth[Path(record.source).name].persons if person.num_labeled]
        for person, true in zip(record.persons, labels, strict=True):
            seen = person.joints[:, 2] > 0
            assert seen.sum() > 3
            assert person.joints[seen, :2] == pytest.approx(true.joints[seen, :2], abs=0.01)


def test_an_image_without_people_is_the_last(found: AnnotatedSet) -> None:
    def blind(number: int, view: str, poses: Poses) -> Poses:
        return poses[:0] if number == 0 else poses

    labeled = [replace(found.records[0], persons=()), *found.records[1:]]
    findings = find_worst(Oracle(found.records, needs_boxes=False, change=blind), labeled)
    assert names(findings, found.records)[-1] == 0
    assert math.isnan(findings[-1].error)
    assert findings[-1].reasons() == ["nobody annotated, nobody found"]


def test_images_that_do_not_decode_stop_or_are_left_out(found: AnnotatedSet, tmp_path: Path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"none")
    records = [replace(found.records[0], source=str(broken)), found.records[1]]
    oracle = Oracle(found.records, needs_boxes=True)
    with pytest.raises(DataError, match=r"broken.jpg does not decode"):
        find_worst(oracle, records)
    assert names(find_worst(oracle, records, skips=True), found.records) == [1]


def test_a_folder_without_photos_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has no image"):
        photo_records(tmp_path)


def test_the_folder_has_what_the_tools_need(found: AnnotatedSet, tmp_path: Path) -> None:
    truth = found.records
    labeled = [*truth[:4], with_person(truth[4], 0, swapped(truth[4].persons[0])), truth[5]]
    blank = replace(truth[4].persons[1], joints=np.zeros_like(truth[4].persons[1].joints))
    labeled[4] = with_person(labeled[4], 1, blank)
    findings = find_worst(Oracle(truth, needs_boxes=False), labeled, by=["error"])
    written = write_worst(findings, COCO, tmp_path, count=2)
    content = json.loads((tmp_path / "annotations" / "person_keypoints_default.json").read_text())
    assert content["images"][0]["file_name"] == Path(truth[4].source).name
    assert len(content["images"]) == written.count == 2
    assert {image["id"] for image in content["images"]} < {record.image_id for record in truth}
    mine = [each for each in content["annotations"] if each["image_id"] == truth[4].image_id]
    as_annotated = np.array(mine[0]["keypoints"]).reshape(-1, 3)
    assert as_annotated == pytest.approx(labeled[4].persons[0].joints, abs=0.01)  # not the prediction: it has labels
    drafted = np.array(mine[1]["keypoints"]).reshape(-1, 3)
    seen = drafted[:, 2] > 0
    assert seen.sum() > 5
    assert drafted[seen, :2] == pytest.approx(truth[4].persons[1].joints[seen, :2], abs=0.01)
    assert written.prelabeled == 1
    assert mine[1]["id"] == truth[4].persons[1].annotation_id
    for image in content["images"]:
        copy = tmp_path / "images" / image["file_name"]
        assert (open_image(str(copy)).shape[1], open_image(str(copy)).shape[0]) == (image["width"], image["height"])
    assert len(json.loads((tmp_path / "label_studio.json").read_text())) == 2
    assert "KeyPointLabels" in (tmp_path / "label_studio.xml").read_text()
    assert len(list((tmp_path / "drawn").iterdir())) == 2
    assert cv2.imread(str(tmp_path / "sheet.jpg")).std() > 5
    with (tmp_path / "ranking.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["written"] for row in rows] == ["1", "1", "0", "0", "0", "0"]
    assert "seem swapped" in rows[0]["why"]
    assert float(rows[0]["error"]) == pytest.approx(findings[0].error, abs=1e-4)
    assert Path(truth[4].source).name in written.table(3).splitlines()[1]


def test_predictions_replace_labels_only_if_asked_for(found: AnnotatedSet, tmp_path: Path) -> None:
    truth = found.records
    labeled = [with_person(truth[0], 0, swapped(truth[0].persons[0]))]
    findings = find_worst(Oracle(truth, needs_boxes=False), labeled)
    written = write_worst(findings, COCO, tmp_path, count=9, prelabel=True)
    content = json.loads((tmp_path / "annotations" / "person_keypoints_default.json").read_text())
    joints = np.array(content["annotations"][0]["keypoints"]).reshape(-1, 3)
    seen = joints[:, 2] > 0
    assert joints[seen, :2] == pytest.approx(truth[0].persons[0].joints[seen, :2], abs=0.01)
    assert (written.prelabeled, written.count) == (2, 1)


def test_images_of_one_name_keep_their_folders(tmp_path: Path, found: AnnotatedSet) -> None:
    records = []
    for number in (0, 1):
        copy = tmp_path / "in" / f"cam{number}" / "frame.jpg"
        copy.parent.mkdir(parents=True)
        copy.write_bytes(Path(found.records[number].source).read_bytes())
        records.append(replace(found.records[number], source=str(copy)))
    findings = find_worst(Oracle(found.records, needs_boxes=False), records)
    write_worst(findings, COCO, tmp_path / "out", count=2)
    content = json.loads((tmp_path / "out" / "annotations" / "person_keypoints_default.json").read_text())
    assert [image["file_name"] for image in content["images"]] == ["cam0/frame.jpg", "cam1/frame.jpg"]
    assert (tmp_path / "out" / "images" / "cam1" / "frame.jpg").is_file()


def test_a_corrected_split_is_found_by_its_name(tmp_path: Path) -> None:
    write_dataset(tmp_path, layout="coco", images=2, val_images=1, people=(1, 1), size=(120, 90))
    data = DataConfig(layout="coco", root=str(tmp_path))
    split = read_dataset(data, "train2017")
    target = corrected_file(split)
    target.parent.mkdir()
    target.write_bytes(split.annotation_file.read_bytes())
    again = read_dataset(data, split_of(split, target))
    assert [record.source for record in again.records] == [record.source for record in split.records]
    assert corrected_file(split) == tmp_path / "annotations" / "corrected-2" / "train2017.json"
    assert corrected_file(again).parent.name == "corrected"  # below the first one
