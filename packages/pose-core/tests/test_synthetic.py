"""Synthetic people: equal seeds give equal files, and the annotations match the images."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from pose_core.data.diagnostics import Problems
from pose_core.errors import ConfigError
from pose_core.layouts.mpii import read_mpii
from pose_core.layouts.table import get_layout
from pose_core.skeleton import SKELETONS
from pose_core.structures import ImageRecord
from pose_core.synthetic import LAYOUTS, PARTS, render_scene, write_dataset
from pose_core.synthetic.annotate import annotate
from pose_core.synthetic.coco_files import crowd_index, mask_polygons, run_lengths
from pose_core.synthetic.figure import LANDMARKS, pose_figure, sample_build
from pose_core.synthetic.paint import Canvas
from pose_core.synthetic.render import draw_figure
from pose_core.synthetic.wardrobe import sample_outfit

SMALL = (160, 120)


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def load(path: Path) -> Any:
    return json.loads(path.read_text())


def read(layout: str, root: Path, split: str, skeleton: str) -> tuple[ImageRecord, ...]:
    """Read a split's records and check that no problem would stop training."""
    problems = Problems()
    records = get_layout(layout).read(root, split, SKELETONS[skeleton], problems)
    assert not problems.stopping
    return records


def standing(yaw: float, seed: int = 0) -> tuple[Canvas, Any, Any]:
    """Draw a standing person turned by ``yaw`` degrees; return canvas, figure and annotation."""
    rng = np.random.default_rng(seed)
    figure = pose_figure(rng, sample_build(rng), "stand", 200, yaw)
    figure.points[:, :2] += (120, 130)
    canvas = Canvas.on(np.full((260, 240, 3), 120, np.float32))
    draw_figure(canvas, figure, sample_outfit(rng), 1)
    return canvas, figure, annotate(canvas, figure, 1)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_equal_arguments_write_equal_bytes(layout: str, tmp_path: Path) -> None:
    for name in ("first", "second"):
        write_dataset(tmp_path / name, layout, images=3, seed=5, size=SMALL, masks=True)
    first = files(tmp_path / "first")
    assert first == files(tmp_path / "second")
    assert len(first) > 5
    write_dataset(tmp_path / "other", layout, images=3, seed=6, size=SMALL, masks=True)
    assert first != files(tmp_path / "other")


def test_number_of_workers_changes_nothing(tmp_path: Path) -> None:
    for workers in (1, 2):
        write_dataset(tmp_path / str(workers), images=10, val_images=2, size=SMALL, workers=workers, zipped=True)
    assert files(tmp_path / "1") == files(tmp_path / "2")


def test_a_scene_does_not_depend_on_how_many_there_are(tmp_path: Path) -> None:
    write_dataset(tmp_path / "few", images=2, val_images=1, size=SMALL)
    write_dataset(tmp_path / "many", images=4, val_images=2, size=SMALL)
    few, many = files(tmp_path / "few"), files(tmp_path / "many")
    pictures = [name for name in few if name.endswith(".jpg")]
    assert len(pictures) == 3
    assert all(few[name] == many[name] for name in pictures)


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 2**31), st.integers(0, 10**9), st.tuples(st.integers(64, 300), st.integers(64, 300)),
    st.integers(1, 5),
)  # fmt: skip
def test_annotations_agree_with_the_picture(seed: int, index: int, size: tuple[int, int], most: int) -> None:
    scene = render_scene(seed, index, size, (1, most), crowds=True)
    width, height = size
    assert scene.image.shape == (height, width, 3)
    assert scene.image.dtype == np.uint8
    assert len(scene.people) <= most
    total = np.zeros((height, width), int)
    for person in scene.people:
        mask = person.full_mask
        total += mask
        assert person.area == mask.sum() > 0
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        assert person.box == (columns[0], rows[0], np.ptp(columns) + 1, np.ptp(rows) + 1)
        assert (scene.parts[mask] > 0).all()
        for name in SKELETONS:
            joints = person.joints(name)
            labeled = joints[:, 2] > 0
            assert joints.shape == (SKELETONS[name].num_joints, 3)
            assert np.isin(joints[:, 2], (0, 1, 2)).all()
            assert (joints[~labeled] == 0).all()
            inside = (joints[:, :2] > -0.5) & (joints[:, :2] < np.array(size) - 0.5 + 1e-3)
            assert inside[labeled].all()
            for x, y, visible in np.rint(joints[labeled]):
                if visible == 2:  # seen: the person's own pixels are there
                    near = mask[max(int(y) - 2, 0) : int(y) + 3, max(int(x) - 2, 0) : int(x) + 3]
                    assert near.any()
    assert total.max() <= 1
    assert scene.parts.max() < len(PARTS)
    assert ((scene.parts > 0) == ((scene.owner > 0) & (scene.owner < 255))).all()


def test_left_is_on_the_right_of_the_image_for_people_facing_the_camera() -> None:
    for yaw, expected in ((0, 1), (180, -1)):
        _, figure, _ = standing(yaw)
        for joint in ("shoulder", "hip", "eye", "ear", "knee"):
            assert np.sign(figure[f"left_{joint}"][0] - figure[f"right_{joint}"][0]) == expected, (yaw, joint)


def test_face_is_labeled_only_where_it_can_be_seen() -> None:
    rows = {name: LANDMARKS.index(name) for name in ("nose", "left_eye", "right_eye", "left_ear", "right_ear")}
    for seed in range(5):
        _, _, front = standing(0, seed)
        _, _, back = standing(180, seed)
        assert (front.landmarks[[rows["nose"], rows["left_eye"], rows["right_eye"]], 2] == 2).all()
        assert (back.landmarks[[rows["nose"], rows["left_eye"], rows["right_eye"]], 2] == 0).all()
    _, _, side = standing(90, 3)  # its left side is away from us
    assert side.landmarks[rows["left_ear"], 2] == 0
    assert side.landmarks[rows["right_ear"], 2] == 2


def test_joints_lie_on_their_body_parts() -> None:
    """Check for many people that a visible wrist is on a hand or forearm of its side, and so on."""
    for seed in range(8):
        canvas, _, person = standing(20 * seed - 60, seed)
        for side in ("left", "right"):
            x, y, visible = person.landmarks[LANDMARKS.index(f"{side}_wrist")]
            part = PARTS[int(canvas.part[round(y), round(x)])]
            if visible == 2:
                assert part in {f"{side}_forearm", f"{side}_hand"}
        x, y, _ = person.landmarks[LANDMARKS.index("head_center")]
        assert PARTS[int(canvas.part[round(y), round(x)])] in {"head", "hair"}
        assert person.head_box[0] < x < person.head_box[0] + person.head_box[2]


def test_an_object_in_front_hides_joints_but_keeps_them_labeled() -> None:
    canvas, figure, before = standing(0)
    knee = LANDMARKS.index("left_knee")
    assert before.landmarks[knee, 2] == 2
    x, y = (int(value) for value in figure.points[knee, :2])
    canvas.owner[y - 8 : y + 9, x - 8 : x + 9] = 255
    after = annotate(canvas, figure, 1)
    assert after is not None
    assert after.landmarks[knee, 2] == 1
    assert after.area < before.area
    canvas.owner[canvas.owner == 1] = 0
    assert annotate(canvas, figure, 1) is None


def test_every_part_is_drawn_in_some_image() -> None:
    seen = set()
    for index in range(12):
        seen |= set(np.unique(render_scene(0, index, (320, 240), (2, 2)).parts).tolist())
    assert seen == set(range(len(PARTS)))


def test_polygons_and_run_lengths_are_the_mask() -> None:
    for index in range(10):
        for person in render_scene(1, index, (320, 240), (1, 3)).people:
            mask = person.full_mask
            encoded = coco_mask.merge(coco_mask.frPyObjects(mask_polygons(person), *mask.shape))
            drawn = coco_mask.decode(encoded).astype(bool)
            assert (drawn & mask).sum() / (drawn | mask).sum() > 0.93
            lengths = coco_mask.frPyObjects({"size": list(mask.shape), "counts": run_lengths(mask)}, *mask.shape)
            assert (coco_mask.decode(lengths).astype(bool) == mask).all()
    corner = np.ones((3, 2), bool)
    assert run_lengths(corner) == [0, 6]
    assert run_lengths(~corner) == [6]


def test_coco_files_are_read_and_score_themselves_perfectly(tmp_path: Path) -> None:
    written = write_dataset(tmp_path, images=16, val_images=60, people=(1, 4), size=None, seed=2)
    assert written.images == {"train2017": 16, "val2017": 60}
    truth = COCO(str(tmp_path / "annotations/person_keypoints_val2017.json"))
    annotations = truth.loadAnns(truth.getAnnIds())
    people = [one for one in annotations if not one["iscrowd"]]
    crowds = [one for one in annotations if one["iscrowd"]]
    assert any(one["num_keypoints"] == 0 for one in people)
    assert crowds
    assert all(truth.annToMask(one).sum() == one["area"] for one in crowds)
    assert len({(image["width"], image["height"]) for image in truth.dataset["images"]}) > 3
    for image in truth.dataset["images"]:
        stored = cv2.imread(str(tmp_path / "images/val2017" / image["file_name"]))
        assert stored.shape[:2] == (image["height"], image["width"])
    results = [
        {"image_id": one["image_id"], "category_id": 1, "keypoints": one["keypoints"], "score": 1.0}
        for one in people
        if one["num_keypoints"]
    ]
    scorer = COCOeval(truth, truth.loadRes(results), "keypoints")
    scorer.evaluate()
    scorer.accumulate()
    scorer.summarize()
    assert scorer.stats[0] == pytest.approx(1)
    records = read("coco", tmp_path, "val2017", "coco17")
    assert sum(len(record.persons) for record in records) == len(results)


def test_detections_find_most_people_with_some_false_positives(tmp_path: Path) -> None:
    write_dataset(tmp_path, images=1, val_images=60, people=(1, 3), size=(320, 240), crowds=False)
    content = load(tmp_path / "annotations/person_keypoints_val2017.json")
    found = load(tmp_path / "person_detection_results/COCO_val2017_detections_AP_H_56_person.json")
    assert set(found[0]) == {"image_id", "category_id", "bbox", "score"}
    assert all(0 < one["score"] <= 1 and min(one["bbox"][2:]) > 0 for one in found)
    overlaps = []
    for person in content["annotations"]:
        boxes = [one["bbox"] for one in found if one["image_id"] == person["image_id"]]
        overlaps.append(coco_mask.iou(boxes, [person["bbox"]], [0]).max() if boxes else 0)
    share = np.mean(np.array(overlaps) > 0.7)
    assert 0.85 < share < 1
    assert len(found) > len(content["annotations"])


def test_test_split_has_images_without_annotations(tmp_path: Path) -> None:
    written = write_dataset(tmp_path, images=3, split="test-dev2017", size=SMALL)
    assert written.images == {"test-dev2017": 3}
    content = load(tmp_path / "annotations/image_info_test-dev2017.json")
    assert "annotations" not in content
    assert len(list((tmp_path / "images/test2017").iterdir())) == len(content["images"]) == 3
    assert len(read("coco", tmp_path, "test-dev2017", "coco17")) == 3


def test_zip_files_hold_the_images(tmp_path: Path) -> None:
    write_dataset(tmp_path / "coco", images=3, val_images=1, size=SMALL, zipped=True)
    with zipfile.ZipFile(tmp_path / "coco/images/train2017.zip") as archive:
        assert archive.namelist() == [f"train2017/{number:012d}.jpg" for number in (1, 2, 3)]
    write_dataset(tmp_path / "mpii", "mpii", images=3, val_images=1, size=SMALL, zipped=True)
    with zipfile.ZipFile(tmp_path / "mpii/images.zip") as archive:
        assert len(archive.namelist()) == 5


def test_masks_are_part_maps_of_the_images(tmp_path: Path) -> None:
    write_dataset(tmp_path, images=2, val_images=1, size=SMALL, masks=True)
    stored = cv2.imread(str(tmp_path / "part_masks/train2017/000000000002.png"), cv2.IMREAD_UNCHANGED)
    assert (stored == render_scene(0, 2, SMALL, (1, 4), crowds=True).parts).all()


def test_crowdpose_files_have_crowd_indices_and_no_areas(tmp_path: Path) -> None:
    write_dataset(tmp_path, "crowdpose", images=12, people=(1, 5), size=(320, 240), seed=1)
    train, val, both = (load(tmp_path / f"json/crowdpose_{split}.json") for split in ("train", "val", "trainval"))
    assert len(both["images"]) == len(train["images"]) + len(val["images"])
    assert all(0 <= image["crowdIndex"] <= 1 for image in train["images"])
    assert any(image["crowdIndex"] > 0 for image in train["images"])
    assert all("area" not in one and len(one["keypoints"]) == 42 for one in train["annotations"])
    records = read("crowdpose", tmp_path, "trainval", "crowdpose14")
    assert len(records) == 15


def test_crowd_index_counts_strangers_in_a_box() -> None:
    people = render_scene(3, 1, (320, 240), (1, 1)).people
    assert crowd_index(people) == 0
    assert crowd_index([people[0], people[0]]) == 1


def test_mpii_json_release_and_truth_say_the_same(tmp_path: Path) -> None:
    from scipy.io import loadmat

    write_dataset(tmp_path, "mpii", images=6, val_images=3, people=(1, 3), size=(320, 240), seed=4)
    skeleton = SKELETONS["mpii16"]
    valid = load(tmp_path / "annot/valid.json")
    truth = loadmat(tmp_path / "annot/gt_valid.mat")
    count = len(valid)
    assert truth["pos_gt_src"].shape == (16, 2, count)
    assert truth["headboxes_src"].shape == (2, 2, count)
    assert [str(name[0]) for name in truth["dataset_joints"][0]][9] == "head"
    for row, person in enumerate(valid):
        seen = np.array(person["joints_vis"]) > 0
        assert (truth["jnt_missing"][:, row] == ~seen).all()
        assert np.allclose(truth["pos_gt_src"][seen, :, row], np.array(person["joints"])[seen], atol=0.006)
        assert (np.array(person["joints"])[~seen] == -1).all()
    heads = np.linalg.norm(truth["headboxes_src"][1] - truth["headboxes_src"][0], axis=0)
    assert (heads > 5).all()

    (tmp_path / "annot/trainval.json").rename(tmp_path / "trainval.json")
    released = [person for record in read_mpii(tmp_path, "trainval", skeleton, Problems()) for person in record.persons]
    (tmp_path / "trainval.json").rename(tmp_path / "annot/trainval.json")
    from_json = [
        person for record in read_mpii(tmp_path, "trainval", skeleton, Problems()) for person in record.persons
    ]
    assert len(released) == len(from_json) > count
    for one, other in zip(released, from_json, strict=True):
        assert ((one.joints[:, 2] > 0) == (other.joints[:, 2] > 0)).all()
        labeled = one.joints[:, 2] > 0
        assert np.allclose(one.joints[labeled, :2], other.joints[labeled, :2], atol=0.006)
        assert one.center == pytest.approx(other.center)
        assert one.head_box is not None
    assert "joints" not in load(tmp_path / "annot/test.json")[0]


@pytest.mark.parametrize("layout", ["lsp", "lsp_extended"])
def test_lsp_files_hold_whole_people(layout: str, tmp_path: Path) -> None:
    from scipy.io import loadmat

    written = write_dataset(tmp_path, layout, images=6, size=SMALL)
    joints = loadmat(tmp_path / "joints.mat")["joints"]
    assert joints.shape == ((3, 14, 12) if layout == "lsp" else (14, 3, 6))
    assert written.images == ({"train": 6, "test": 6} if layout == "lsp" else {"train": 6})
    by_person = joints.transpose(2, 1, 0) if layout == "lsp" else joints.transpose(2, 0, 1)
    assert (by_person[..., :2] > 0.5).all()
    assert (by_person[..., 0] < SMALL[0] + 0.5).all()
    assert 0 < by_person[..., 2].mean() < 1
    records = read("lsp", tmp_path, "train", "lsp14")
    assert len(records) == 6
    assert all(Path(record.source).exists() for record in records)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"layout": "coc"}, "coc"),
        ({"images": 0}, "at least one image"),
        ({"people": (3, 1)}, "minimum and maximum"),
        ({"people": (1, 500)}, "at most"),
        ({"size": (40, 40)}, "too small"),
        ({"split": "valid"}, "train2017"),
        ({"layout": "lsp", "split": "train"}, "halves"),
        ({"layout": "lsp", "val_images": 7}, "val_images"),
    ],
)
def test_wrong_requests_are_refused(arguments: dict[str, Any], says: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=says):
        write_dataset(tmp_path / "data", **arguments)
    assert not (tmp_path / "data").exists()


def test_nothing_is_written_into_a_folder_of_other_files(tmp_path: Path) -> None:
    own = tmp_path / "annotations" / "person_keypoints_train2017.json"
    own.parent.mkdir()
    own.write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(ConfigError, match="holds files that are not synthetic people; nothing was written"):
            write_dataset(tmp_path, images=1, val_images=1, size=SMALL, overwrite=overwrite)
    assert own.read_text() == "mine"
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == [own.name]
    with pytest.raises(ConfigError, match="holds files"):
        write_dataset(own, images=1, val_images=1, size=SMALL)


def test_own_splits_are_replaced_only_if_asked(tmp_path: Path) -> None:
    def write(**more: Any) -> None:
        write_dataset(tmp_path, images=2, split="val2017", size=SMALL, **more)

    write()
    before = files(tmp_path)
    with pytest.raises(ConfigError, match=r"already holds the synthetic split val2017; .*--overwrite"):
        write(seed=1)
    assert files(tmp_path) == before
    write(seed=1, overwrite=True)
    assert files(tmp_path) != before
    write_dataset(tmp_path, images=1, split="train2017", size=SMALL)  # another split needs no permission
    with pytest.raises(ConfigError, match=r"splits train2017, val2017"):
        write_dataset(tmp_path, images=1, val_images=1, size=SMALL)
    with pytest.raises(ConfigError, match="in the layout coco"):
        write_dataset(tmp_path, "crowdpose", images=1, val_images=1, size=SMALL, overwrite=True)
