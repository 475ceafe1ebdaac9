"""Prediction, results on disk, detectors, drawing."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torchvision.models.detection import fasterrcnn_resnet50_fpn

from pose_core.config import ModelConfig
from pose_core.drawing.boxes import draw_boxes
from pose_core.drawing.heatmaps import heatmap_overlay, heatmap_sheet
from pose_core.drawing.sheets import contact_sheet, fit, write_image
from pose_core.drawing.skeletons import draw_skeleton, palette
from pose_core.errors import ConfigError, DataError, WeightsError
from pose_core.inference.inputs import Input, plan_targets
from pose_core.inference.results import predict_paths
from pose_core.inference.sheets import prediction_sheet
from pose_core.layouts.browse import browse, draw_person
from pose_core.plugins.predictors import Predictor
from pose_core.skeleton import SKELETONS
from pose_core.structures import Person, Poses
from pose_core.synthetic import write_dataset
from pose_core.topdown.config import CropTestConfig, HeatmapConfig, TopDownConfig
from pose_core.topdown.crops import CropSettings, predict_crops
from pose_core.topdown.detectors import FileDetector, build_detector, whole_image
from pose_core.topdown.predictor import TopDownPredictor

COCO = SKELETONS["coco17"]


class Spot(nn.Module):
    """A network that returns a Gaussian for each joint at a position that depends on the image's brightness."""

    def forward(self, x: Tensor) -> Tensor:
        weight = (x.mean(1, keepdim=True) > 1).float()
        small = nn.functional.avg_pool2d(weight, 4)
        return small.expand(-1, 17, -1, -1)


def config(**test: object) -> TopDownConfig:
    return TopDownConfig(
        method="lite",
        model=ModelConfig(name="lpn_18", input_size=(64, 64)),
        heatmap=HeatmapConfig(quarter=False),
        test=CropTestConfig(batch_size=2, **test),  # type: ignore[arg-type]
    )


def predictor_of(config: TopDownConfig) -> Predictor:
    return Predictor(TopDownPredictor(Spot(), config, COCO, torch.device("cpu")))


def bright_spot(x: int, y: int, size: tuple[int, int] = (120, 160)) -> np.ndarray:
    image = np.zeros((*size, 3), np.uint8)
    cv2.rectangle(image, (x - 4, y - 4), (x + 4, y + 4), (255, 255, 255), -1)
    return image


@pytest.mark.parametrize("flip", [True, False])
def test_a_keypoint_is_found_where_it_is_in_the_image(flip: bool) -> None:
    predictor = predictor_of(config(flip=flip, shift_heatmap=False))
    poses = predictor(bright_spot(70, 50), np.array([[30.0, 10.0, 80.0, 80.0]]))
    assert poses.keypoints.shape == (1, 17, 2)
    # A heatmap pixel is four input pixels, and the crop shows 100 image pixels on 64.
    assert np.abs(poses.keypoints[0] - [70, 50]).max() < 8
    assert poses.pose_scores[0] > 0.5


def test_boxes_are_predicted_in_batches_and_none_gives_none() -> None:
    predictor = predictor_of(config())
    boxes = np.array([[10.0, 10, 40, 40], [20, 20, 60, 60], [30, 10, 50, 80]])
    whole = predictor(bright_spot(50, 40), boxes)
    for index, box in enumerate(boxes):
        alone = predictor(bright_spot(50, 40), box[None])
        assert np.allclose(whole.keypoints[index], alone.keypoints[0], atol=1e-4)
    assert len(predictor(bright_spot(50, 40), np.zeros((0, 4)))) == 0


def test_a_box_score_weighs_the_person() -> None:
    predictor = predictor_of(config())
    one = predictor(bright_spot(50, 40), np.array([[10.0, 10, 80, 80, 1.0]]))
    half = predictor(bright_spot(50, 40), np.array([[10.0, 10, 80, 80, 0.5]]))
    assert half.pose_scores[0] == pytest.approx(one.pose_scores[0] / 2)


def test_wrong_inputs_are_refused() -> None:
    predictor = predictor_of(config())
    with pytest.raises(DataError, match="boxes"):
        predictor(np.zeros((10, 10, 3), np.uint8), np.zeros((2, 3)))
    with pytest.raises(DataError, match="no extent"):
        predictor(np.zeros((10, 10, 3), np.uint8), np.array([[1.0, 2.0, 0.0, 4.0]]))
    with pytest.raises(DataError, match=r"nowhere\.jpg does not exist"):
        predictor("nowhere.jpg", detector="whole")


def test_flipping_equals_predicting_the_mirror_image() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 17, 4, 4), nn.Sigmoid()).eval()
    images = torch.randint(0, 256, (3, 64, 64, 3), dtype=torch.uint8)
    identity = np.broadcast_to(np.eye(2, 3), (3, 2, 3))
    settings = CropSettings.from_config(config(flip=True, shift_heatmap=False), COCO)
    found = predict_crops(network, images, identity, settings)
    mirrored = predict_crops(network, images.flip(2), identity, settings)[:, COCO.flip_order.tolist()]
    # The published convention mirrors about (W − 1)/2 in heatmap pixels.
    expected = mirrored.copy()
    expected[..., 0] = (15 - mirrored[..., 0] / 4) * 4
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_results_are_written_beside_nothing_and_bad_images_are_counted(tmp_path: Path) -> None:
    images = tmp_path / "in"
    (images / "deep").mkdir(parents=True)
    cv2.imwrite(str(images / "a.jpg"), bright_spot(50, 40))
    cv2.imwrite(str(images / "deep" / "b.png"), bright_spot(50, 40))
    (images / "c.jpg").write_bytes(b"no picture")
    predictor = predictor_of(config())
    summary = predict_paths(predictor, [images], tmp_path / "out", detector=whole_image)
    assert (summary.images, summary.people, len(summary.unreadable)) == (2, 2, 1)
    assert "c.jpg" in str(summary)
    content = json.loads((tmp_path / "out" / "deep" / "b.json").read_text())
    assert set(content["people"][0]["keypoints"]) == set(COCO.joints)
    assert cv2.imread(str(tmp_path / "out" / "a.jpg")).shape == (120, 160, 3)
    assert "was taken as one person" in str(summary)
    with pytest.raises(ConfigError, match="next to the input"):
        predict_paths(predictor, [images / "a.jpg"], images, detector=whole_image)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="has no image"):
        predict_paths(predictor, [tmp_path / "empty"], tmp_path / "out", detector=whole_image)
    with pytest.raises(DataError, match=r"film\.mp4 does not exist"):
        predict_paths(predictor, [tmp_path / "film.mp4"], tmp_path / "out", detector=whole_image)


def found_boxes(image: np.ndarray, source: Path | None = None) -> tuple[np.ndarray, np.ndarray]:
    return np.array([[10.0, 20, 30, 40], [60.5, 10, 40, 60]]), np.array([0.3, 0.8])


def test_people_who_score_less_are_left_out_and_counted(
    make_predictor: Callable[[], Predictor], tmp_path: Path
) -> None:
    for name in ("a", "b"):
        cv2.imwrite(str(tmp_path / f"{name}.png"), bright_spot(50, 40))
    images = [tmp_path / "a.png", tmp_path / "b.png"]
    for limit, kept in ((None, 2), (0.3, 2), (0.31, 1), (0.9, 0)):
        out = tmp_path / f"out_{limit}"
        summary = predict_paths(make_predictor(), images, out, detector=found_boxes, min_score=limit)
        scores = [person["score"] for person in json.loads((out / "b.json").read_text())["people"]]
        assert scores == [0.3, 0.8][2 - kept :]
        assert (summary.people, summary.low_people) == (2 * kept, 2 * (2 - kept))
        said = f"people scored less than --min-score {limit} and were left out"
        assert (said in str(summary)) == (kept < 2)


def test_a_table_has_a_row_for_each_person_of_all_images(
    make_predictor: Callable[[], Predictor], tmp_path: Path
) -> None:
    images = tmp_path / "in"
    (images / "deep").mkdir(parents=True)
    for name in ("a,b.png", "deep/c.png"):
        cv2.imwrite(str(images / name), bright_spot(50, 40))
    (images / "d.jpg").write_bytes(b"no picture")
    predict_paths(make_predictor(), [images], tmp_path / "out", detector=found_boxes, csv=True)
    with (tmp_path / "out" / "poses.csv").open(newline="") as opened:
        rows = list(csv.DictReader(opened))
    assert [row["image"] for row in rows] == [str(images / "a,b.png")] * 2 + [str(images / "deep" / "c.png")] * 2
    columns = ["image", "pose_score", "box_x", "box_y", "box_width", "box_height"]
    columns += [f"{joint}_{value}" for joint in COCO.joints for value in ("x", "y", "score")]
    assert list(rows[0]) == columns
    assert [float(row["pose_score"]) for row in rows] == [0.3, 0.8, 0.3, 0.8]
    assert [float(rows[1][f"box_{name}"]) for name in ("x", "y", "width", "height")] == [60.5, 10, 40, 60]
    assert [float(rows[1][f"right_ankle_{name}"]) for name in ("x", "y", "score")] == [80.5, 40, 1]
    assert not list(tmp_path.glob("out/**/*.csv"))[1:]


def test_boxes_are_drawn_on_request(make_predictor: Callable[[], Predictor], tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), bright_spot(50, 40))
    for out, boxes in (("plain", False), ("boxed", True)):
        predict_paths(make_predictor(), [tmp_path / "a.png"], tmp_path / out, detector=found_boxes, boxes=boxes)
    plain, boxed = (cv2.imread(str(tmp_path / out / "a.jpg")).astype(int) for out in ("plain", "boxed"))
    changed = np.abs(plain - boxed).max(2) > 60
    assert changed[20:60, 10].all()  # the left side of the first box
    assert changed[20, 10:40].all()
    assert not changed[80:].any()
    assert boxed[40, 10, 1] > boxed[40, 10, [0, 2]].max() + 60  # green
    wild = np.zeros((20, 20, 3), np.uint8)
    draw_boxes(wild, np.array([[-1e12, 5, 2e12, 5]]))
    assert wild[5].any()


def test_no_result_replaces_another_or_an_input(tmp_path: Path) -> None:
    names = ["one/a.jpg", "two/a.jpg", "two/a.png", "out/a.jpg"]
    files = [tmp_path / name for name in names]
    inputs = [Input(str(file), "image", file, Path(file.name)) for file in files]
    for file in files:
        file.parent.mkdir(exist_ok=True)
        file.touch()
    targets = plan_targets(inputs[:3], tmp_path / "new")
    assert [target.name for target in targets] == ["a", "a_2", "a_3"]
    with pytest.raises(ConfigError, match="next to the input"):
        plan_targets(inputs, tmp_path / "out")


def test_earlier_results_are_no_inputs(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.jpg"), bright_spot(50, 40))
    predictor = predictor_of(config())
    for _ in range(2):
        summary = predict_paths(predictor, [tmp_path], tmp_path / "predictions", detector=whole_image)
        assert summary.images == 1
    assert sorted(path.name for path in tmp_path.rglob("*.*")) == ["a.jpg", "a.jpg", "a.json"]


def test_images_are_pooled_into_batches_and_come_back_in_order() -> None:
    predictor = predictor_of(config())
    rng = np.random.default_rng(0)
    images = [bright_spot(int(x), int(y)) for x, y in rng.integers(30, 90, (20, 2))]
    counts = rng.integers(0, 4, 20).tolist()
    boxes = [rng.uniform(10, 60, (count, 4)) for count in counts]
    stream = predictor.predict_stream(
        (number, image, box, np.ones(len(box))) for number, (image, box) in enumerate(zip(images, boxes, strict=True))
    )
    for expected, (number, poses) in enumerate(stream):
        assert number == expected
        alone = predictor(images[number], boxes[number])
        assert len(poses) == counts[number]
        assert np.allclose(poses.keypoints, alone.keypoints, atol=1e-4)
        assert np.allclose(poses.pose_scores, alone.pose_scores, atol=1e-5)
    assert number == 19
    several = list(predictor.predict_many(images[:5], detector="whole"))
    assert np.allclose(several[3].keypoints, predictor(images[3], detector="whole").keypoints, atol=1e-4)


def test_a_damaged_detections_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "dets.json"
    good = {"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4], "score": 0.9}
    for content in ({"a": 1}, [[1]], [good, good | {"bbox": [1, 2, 3]}], [good | {"score": None}]):
        file.write_text(json.dumps(content))
        with pytest.raises(DataError, match=r"dets\.json"):
            FileDetector(file, 0.5)
    file.write_text(json.dumps([good | {"bbox": [1, 2, 0, 4]}]))
    boxes, _ = FileDetector(file, 0.5)(np.zeros((9, 9, 3), np.uint8), Path("1.jpg"))
    assert boxes.shape == (0, 4)


def test_faster_rcnn_takes_weights_from_a_file_and_names_a_wrong_one(tmp_path: Path) -> None:
    network = fasterrcnn_resnet50_fpn(weights=None, weights_backbone=None)
    torch.save(network.state_dict(), tmp_path / "good.pth")
    torch.save(nn.Linear(2, 2).state_dict(), tmp_path / "wrong.pth")
    detector = build_detector("fasterrcnn", weights=str(tmp_path / "good.pth"), threshold=0.0, device="cpu")
    boxes, scores = detector(bright_spot(50, 40, (64, 64)))
    assert boxes.shape == (len(scores), 4)
    assert (boxes[:, 2:] >= 0).all()
    with pytest.raises(WeightsError, match=r"wrong\.pth"):
        build_detector("fasterrcnn", weights=str(tmp_path / "wrong.pth"))
    with pytest.raises(WeightsError, match=r"none\.pth"):
        build_detector("fasterrcnn", weights=str(tmp_path / "none.pth"))


def test_detectors(tmp_path: Path) -> None:
    boxes, scores = whole_image(np.zeros((100, 200, 3), np.uint8))
    assert boxes.tolist() == [[20, 10, 160, 80]]
    assert scores.tolist() == [1]
    entries = [
        {"image_id": 785, "category_id": 1, "bbox": [1, 2, 3, 4], "score": 0.95},
        {"image_id": 785, "category_id": 1, "bbox": [5, 6, 7, 8], "score": 0.3},
        {"image_id": 785, "category_id": 2, "bbox": [5, 6, 7, 8], "score": 0.99},
    ]
    file = tmp_path / "dets.json"
    file.write_text(json.dumps(entries))
    detector = FileDetector(file, 0.9)
    found, _ = detector(np.zeros((9, 9, 3), np.uint8), Path("x/000000000785.jpg"))
    assert found.tolist() == [[1, 2, 3, 4]]
    found, _ = detector(np.zeros((9, 9, 3), np.uint8), Path("x/COCO_val2014_000000000785.jpg"))
    assert found.tolist() == [[1, 2, 3, 4]]
    with pytest.raises(DataError, match="by number"):
        detector(np.zeros((9, 9, 3), np.uint8), Path("portrait.jpg"))
    assert detector.low == 2, "once for each of the two images"


def pose(points: np.ndarray, scores: np.ndarray | None = None) -> Poses:
    return Poses(points[None], (np.ones(17) if scores is None else scores)[None], np.ones(1), COCO)


def test_drawing_colors_joints_and_leaves_low_scores_out() -> None:
    rng = np.random.default_rng(0)
    points = rng.uniform(20, 180, (17, 2))
    image = np.zeros((200, 200, 3), np.uint8)
    drawn = pose(points).draw(image)
    assert not image.any()
    x, y = points[9].round().astype(int)
    assert drawn[y, x].any()
    assert not pose(points, np.zeros(17)).draw(image).any()
    lost = points.copy()
    lost[3] = np.nan
    pose(lost).draw(image)
    pose(points * 1e7).draw(image)


def test_published_styles_color_joints_and_limbs() -> None:
    chunhua, xiaochu = palette(COCO, "chunhua"), palette(COCO, "xiaochu")
    limbs = {limb: (chunhua.limbs[i], xiaochu.limbs[i]) for i, limb in enumerate(COCO.limbs)}
    assert limbs[11, 5] == ((252, 176, 243), (255, 255, 51))
    assert limbs[14, 16] == ((0, 176, 240), (0, 109, 45))
    assert limbs[9, 7] == ((255, 255, 0), (217, 95, 14))
    assert limbs[8, 10] == ((169, 209, 142), (0, 0, 255))
    assert limbs[0, 2] == ((240, 2, 127), (240, 2, 127))
    assert chunhua.joints[0] == (240, 2, 127)
    assert xiaochu.joints[13:] == [(228, 26, 28), (49, 163, 84), (252, 176, 243), (0, 176, 240)]
    for one in (chunhua, xiaochu):
        assert (len(one.joints), len(one.limbs)) == (17, 17)
    with pytest.raises(ConfigError, match="chunhua"):
        palette(COCO, "baroque")
    with pytest.raises(ConfigError, match="17 COCO joints"):
        palette(SKELETONS["mpii16"], "chunhua")


def test_left_and_right_differ_in_color() -> None:
    points = np.stack([np.linspace(20, 180, 17), np.full(17, 50.0)], -1)
    drawn = pose(points).draw(np.zeros((100, 200, 3), np.uint8))
    left, right = drawn[50, 70], drawn[50, 80]
    assert tuple(left) == COCO.joint_color(5)
    assert tuple(right) == COCO.joint_color(6)


def test_hidden_joints_have_a_white_center() -> None:
    joints = np.zeros((17, 3), np.float32)
    joints[5], joints[6] = (50, 50, 2), (120, 50, 1)
    joints[11], joints[12] = (50, 140, 2), (120, 140, 2)
    image = np.zeros((200, 200, 3), np.uint8)
    draw_person(image, Person(joints, 1, (40, 40, 90, 110)), COCO)
    assert tuple(image[50, 50]) == COCO.joint_color(5)
    assert tuple(image[50, 120]) == (255, 255, 255)
    alone = np.zeros((200, 200, 3), np.uint8)
    draw_skeleton(alone, joints[:, :2], joints[:, 2] == 1, COCO, palette(COCO))
    assert alone[50, 120].any()
    assert not alone[50, 50].any()


def test_a_contact_sheet_shows_every_tile(tmp_path: Path) -> None:
    tiles = [np.full((40, 80, 3), value, np.uint8) for value in (10, 100, 200)]
    sheet = contact_sheet(tiles, ["one", "two", "three"], columns=2, tile=(80, 60))
    assert all((sheet == value).all(-1).sum() >= 80 * 40 * 0.9 for value in (10, 100, 200))
    assert fit(tiles[0], (30, 60)).shape == (60, 30, 3)
    write_image(tmp_path / "s.png", sheet)
    assert np.array_equal(cv2.imread(str(tmp_path / "s.png"))[..., ::-1], sheet)


def test_heatmaps_over_an_image() -> None:
    image = np.full((64, 48, 3), 128, np.uint8)
    heatmap = np.zeros((16, 12))
    assert np.array_equal(heatmap_overlay(image, heatmap), image)
    heatmap[8, 6] = 1
    overlay = heatmap_overlay(image, heatmap)
    assert (overlay[34, 26] != 128).any()
    assert (overlay[2, 2] == 128).all()
    assert heatmap_sheet(image, np.stack([heatmap] * 5), ["a"] * 5, columns=3).shape[2] == 3


def test_browsing_and_prediction_sheets(tmp_path: Path) -> None:
    write_dataset(tmp_path / "d", layout="coco", images=4, val_images=3, people=(1, 2), size=(160, 120))
    settings = config()
    data = settings.data.model_copy(update={"root": str(tmp_path / "d")})
    for name in ("sheet.jpg", "page.html"):
        target = browse(data, "train2017", tmp_path / name, 3)
        assert target.stat().st_size > 2000
    with pytest.raises(ConfigError, match=r"\.html"):
        browse(data, "train2017", tmp_path / "sheet.pdf", 3)
    predictor = predictor_of(settings)
    prediction_sheet(predictor, settings.model_copy(update={"data": data}), tmp_path / "p.jpg", count=3)
    assert cv2.imread(str(tmp_path / "p.jpg")).std() > 5


def test_poses_slice_and_serialize() -> None:
    poses = Poses(np.zeros((3, 17, 2)), np.ones((3, 17)), np.array([0.1, 0.9, 0.5]), COCO, np.ones((3, 4)))
    assert len(poses[poses.pose_scores > 0.4]) == 2
    assert [len(one) for one in poses] == [1, 1, 1]
    entry = poses.to_coco(7)[1]
    assert entry["image_id"] == 7
    assert len(entry["keypoints"]) == 51
    assert entry["score"] == pytest.approx(0.9)
    json.dumps(entry)
