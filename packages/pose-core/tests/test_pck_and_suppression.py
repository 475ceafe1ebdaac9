"""PCKh, PCK, OKS-NMS, person scores, and the printed tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pose_core.errors import DataError
from pose_core.evaluation import lsp_pck, mpii_pckh
from pose_core.evaluation.report import format_coco, format_crowdpose, format_pck, protocol_line
from pose_core.ops import oks, oks_nms, soft_oks_nms
from pose_core.ops.suppression import _fast, _reference
from pose_core.skeleton import SKELETONS
from pose_core.topdown.scoring import CropResults, coco_results
from pose_testing.golden import load_golden, uniform

ASDA = load_golden("asda/functions")
SIGMAS = np.array(SKELETONS["coco17"].sigmas)


def pck_inputs() -> tuple[np.ndarray, dict[str, np.ndarray]]:
    truth = uniform("pck_gt", 16 * 2 * 7).reshape(16, 2, 7) * 100 + 200
    predicted = truth.transpose(2, 0, 1) + uniform("pck_err", 7 * 16 * 2).reshape(7, 16, 2) * 25 - 1
    first = uniform("pck_hb0", 14).reshape(2, 7) * 20 + 100
    second = first + np.abs(uniform("pck_hb1", 14).reshape(2, 7)) * 40 + 20
    boxes = np.stack([first, second])
    return predicted, {
        "pos_gt_src": truth, "jnt_missing": np.array(ASDA["pckh"]["missing"]), "headboxes_src": boxes,
    }  # fmt: skip


def test_pckh_equals_the_published_one() -> None:
    found = mpii_pckh(*pck_inputs())
    for key, value in ASDA["pckh"]["result"].items():
        assert found[key] == pytest.approx(value, abs=1e-9), key
    assert found["Mean@0.10"] <= found["Mean@0.1"]  # which is taken at 0.11
    assert format_pck(found).splitlines()[0].endswith("| Ankle | Mean | Mean@0.1 |")


def test_lsp_pck_equals_the_published_one() -> None:
    predicted, content = pck_inputs()
    truth = content["pos_gt_src"].transpose(2, 0, 1)
    found = lsp_pck(predicted + 1, truth, content["headboxes_src"].transpose(2, 0, 1))
    for key, value in ASDA["lsp_pck"]["result"].items():
        assert found[key] == pytest.approx(value, abs=1e-9), key


def test_perfect_lsp_predictions_score_hundred() -> None:
    joints = np.random.default_rng(0).uniform(0, 200, (5, 14, 2))
    assert set(lsp_pck(joints, joints).values()) == {100.0}


def test_one_person_and_a_head_without_size(recwarn: pytest.WarningsRecorder) -> None:
    predicted, content = pck_inputs()
    one = {key: value[..., 0] for key, value in content.items()}  # as MATLAB stores a single person
    assert mpii_pckh(predicted[:1], one)["Mean"] >= 0
    one["headboxes_src"] = np.zeros((2, 2))
    assert mpii_pckh(predicted[:1], one)["Mean"] == 0
    assert not recwarn


def test_pck_faults(tmp_path: Path) -> None:
    predicted, content = pck_inputs()
    with pytest.raises(DataError, match="shape"):
        mpii_pckh(predicted[:3], content)
    with pytest.raises(DataError, match=r"'jnt_missing' has the shape \(5, 3\), expected \(16,\)"):
        mpii_pckh(predicted, {**content, "jnt_missing": np.zeros((5, 3))})
    with pytest.raises(DataError, match="differ in their number of people"):
        mpii_pckh(predicted, {**content, "jnt_missing": np.zeros((16, 3))})
    with pytest.raises(DataError, match="14 or 16 joints"):
        lsp_pck(np.zeros((2, 17, 2)), np.zeros((2, 17, 2)))
    del content["headboxes_src"]
    with pytest.raises(DataError, match="headboxes_src"):
        mpii_pckh(predicted, content)
    with pytest.raises(DataError, match=r"gt_valid\.mat does not exist"):
        mpii_pckh(predicted, tmp_path / "gt_valid.mat")
    (tmp_path / "gt_valid.mat").write_text("no matlab")
    with pytest.raises(DataError, match="MATLAB"):
        mpii_pckh(predicted, tmp_path / "gt_valid.mat")


def golden_poses() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    poses = ASDA["oks"]["poses"]
    table = np.array([pose["xy_score"] for pose in poses], dtype=np.float64)
    return table, np.array([float(p["score"]) for p in poses]), np.array([float(p["area"]) for p in poses])


def test_similarity_and_suppression_equal_the_published_ones(ops_path: str) -> None:
    table, scores, areas = golden_poses()
    found = oks(table[:1, :, :2], table[1:, :, :2], areas[:1], areas[1:], SIGMAS)[0]
    assert np.allclose(found, ASDA["oks"]["oks_of_pose0_with_others"], atol=1e-9)
    for threshold, kept in ASDA["oks"]["oks_nms"].items():
        assert oks_nms(table[..., :2], scores, areas, SIGMAS, float(threshold)).tolist() == kept
    for threshold, kept in ASDA["oks"]["soft_oks_nms"].items():
        assert soft_oks_nms(table[..., :2], scores, areas, SIGMAS, float(threshold)).tolist() == kept


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 25), st.floats(0.05, 0.95))
def test_suppression_of_all_images_at_once_equals_one_by_one(seed: int, count: int, threshold: float) -> None:
    rng = np.random.default_rng(seed)
    poses = rng.choice([0, 40, 80], (count, 1, 1)) + rng.normal(0, 6, (count, 17, 2))
    scores = rng.choice([0.3, 0.5, 0.9], count)
    areas, images = rng.uniform(500, 5000, count), rng.integers(0, 4, count)
    arguments = (poses, scores, areas, SIGMAS, threshold, images)
    assert _fast.oks_nms(*arguments).tolist() == _reference.oks_nms(*arguments).tolist()


@pytest.mark.parametrize("threshold", [-0.1, 0.0, 0.3, 0.7, 0.9, 0.99, 1.0])
@pytest.mark.parametrize("room", [50.0, 400.0, 1e6, 1e12])
def test_suppression_is_the_same_however_poses_are_spread(room: float, threshold: float) -> None:
    rng = np.random.default_rng(int(room) % 97)
    for joints, count, images in ((1, 40, 3), (2, 200, 1), (17, 200, 2)):
        people = rng.uniform(0, room, (count // 4, 1, 2)) + rng.normal(0, 40, (count // 4, joints, 2))
        poses = people[rng.integers(0, len(people), count)] + rng.normal(
            0, rng.choice([0, 2, 20], (count, 1, 1)), (count, joints, 2)
        )
        areas = rng.choice([0.0, 1.0], count, p=[0.1, 0.9]) * rng.uniform(100, 3e4, count)
        sigmas, numbers = rng.uniform(0.02, 0.11, joints), rng.integers(-1, images - 1, count)
        arguments = (poses, rng.choice(50, count) / 50, areas, sigmas, threshold, numbers)
        assert _fast.oks_nms(*arguments).tolist() == _reference.oks_nms(*arguments).tolist()


def test_blocks_of_images_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    poses, images = rng.choice([0, 5, 40], (90, 1, 1)) + rng.normal(0, 3, (90, 17, 2)), np.repeat(np.arange(30), 3)
    arguments = (poses, rng.random(90), np.full(90, 2000.0), SIGMAS, 0.5, images)
    whole = _fast.oks_nms(*arguments).tolist()
    assert 30 < len(whole) < 90
    for size in (1, 3, 7):
        monkeypatch.setattr(_fast, "BLOCK", size)
        assert _fast.oks_nms(*arguments).tolist() == whole


@pytest.mark.parametrize(("key", "threshold", "soft"), [("hard0.9", 0.9, False), ("soft0.5", 0.5, True)])
def test_result_entries_equal_the_published_ones(key: str, threshold: float, soft: bool) -> None:
    case = ASDA[f"coco_results_{key}"]
    table, _, _ = golden_poses()
    boxes = np.array(case["boxes"], dtype=np.float64)
    ids = np.array([int(path[-16:-4]) for path in case["paths"]])
    found = CropResults(table, boxes[:, :2], boxes[:, 2:4], boxes[:, 5], ids, np.arange(len(ids)))
    entries = coco_results(found, SIGMAS, joint_threshold=case["in_vis_thre"], oks_threshold=threshold, soft_nms=soft)
    expected = {(row["image_id"], round(row["score"], 9)): row for row in case["results"]}
    assert len(entries) == len(case["results"])
    for entry in entries:
        row = expected[entry["image_id"], round(entry["score"], 9)]
        assert entry["center"] == pytest.approx(row["center"])
        assert entry["keypoints"][:3] == pytest.approx(row["first_keypoint"])


def results_with(scores: np.ndarray, points: np.ndarray | None = None) -> CropResults:
    """Return four people of joint ``scores`` ``(4, 17)``, far apart, in the images 5, 5, 7 and 9."""
    places = np.arange(4)[:, None, None] * 1000 + np.arange(34).reshape(17, 2) * 9.0 if points is None else points
    keypoints = np.concatenate([places, scores[..., None]], -1)
    return CropResults(keypoints, np.ones((4, 2)), np.ones((4, 2)), np.ones(4), np.array([5, 5, 7, 9]), np.arange(4))


def entries_of(found: CropResults, soft: bool = False) -> list[dict[str, Any]]:
    return coco_results(found, SIGMAS, joint_threshold=0.2, oks_threshold=0.9, soft_nms=soft)


@pytest.mark.parametrize("soft", [False, True])
def test_a_joint_whose_score_is_nan_does_not_count(soft: bool, caplog: pytest.LogCaptureFixture) -> None:
    scores = np.full((4, 17), 0.5)
    scores[1, :3], scores[2, 0], scores[3, 1] = np.nan, np.nan, 0.9
    found = {entry["score"] for entry in entries_of(results_with(scores), soft)}
    zeros = {entry["score"] for entry in entries_of(results_with(np.nan_to_num(scores)), soft)}
    assert found == zeros
    assert min(found) == 0.5
    assert [record.getMessage() for record in caplog.records] == [
        "4 joints of 2 people: NaN is their score, so they do not count for the person's score, as in the published "
        "code; the first is in image 5"
    ]


def test_a_person_with_no_score_but_nan_scores_zero() -> None:
    scores = np.full((4, 17), 0.5)
    scores[3] = np.nan
    assert entries_of(results_with(scores))[-1]["score"] == 0


def test_predictions_without_a_finite_position_are_refused() -> None:
    points = np.zeros((4, 17, 2))
    points[2, 4, 1], points[3, 0, 0] = np.nan, np.inf
    with pytest.raises(DataError, match=r"predictions of 2 people have a coordinate .* the first in image 7"):
        entries_of(results_with(np.ones((4, 17)), points))


def test_a_joint_without_a_finite_position_is_missed(caplog: pytest.LogCaptureFixture) -> None:
    predicted, content = pck_inputs()
    lost, far = predicted.copy(), predicted.copy()
    lost[2, 9], lost[2, 3, 1], lost[5, 0, 0] = np.nan, np.inf, np.nan
    far[2, [9, 3]], far[5, 0] = -1e6, -1e6
    assert mpii_pckh(lost, content) == mpii_pckh(far, content)
    truth, boxes = content["pos_gt_src"].transpose(2, 0, 1), content["headboxes_src"].transpose(2, 0, 1)
    assert lsp_pck(lost, truth, boxes) == lsp_pck(far, truth, boxes)
    messages = [record.getMessage() for record in caplog.records]
    assert (
        messages
        == [
            "3 predicted joints without a finite position: counted as missed, as in the published code; the first is "
            "of row 2"
        ]
        * 2
    )


def test_the_familiar_ten_lines() -> None:
    result = dict.fromkeys(("AP", "AP50", "AP75", "APM", "APL", "AR", "AR50", "AR75", "ARM", "ARL"), 0.5)
    lines = format_coco(result, "lpn_50").splitlines()
    assert lines[0] == " Average Precision  (AP) @[ IoU=0.50:0.95 | area=   all | maxDets= 20 ] = 0.500"
    assert lines[9] == " Average Recall     (AR) @[ IoU=0.50:0.95 | area= large | maxDets= 20 ] = 0.500"
    assert lines[10].startswith("| Arch | AP | Ap .5 | AP .75 | AP (M) | AP (L) | AR |")
    assert len(lines) == 13
    assert "medium size" in format_coco({**result, "APM": -1.0, "ARM": -1.0}, "x")
    assert "no annotated person" in format_coco(dict.fromkeys(result, -1.0), "x")
    crowd = dict.fromkeys(("AP", "AP50", "AP75", "AR", "AR50", "AR75", "APE", "APM"), 0.5) | {"APH": -1.0}
    assert "high crowd index" in format_crowdpose(crowd, "x")


def test_the_protocol_line_says_what_a_number_means() -> None:
    line = protocol_line(boxes="ground-truth", flip=True, decode="argmax+quarter", evaluator="COCO AP")
    assert line == "boxes=ground-truth flip=yes decode=argmax+quarter scales=1 evaluator=COCO AP"
    half = protocol_line(boxes="none", flip=False, decode="tags", scales=(2, 1), precision="bf16", evaluator="COCO AP")
    assert half == "boxes=none flip=no decode=tags scales=2,1 precision=bf16 evaluator=COCO AP"
