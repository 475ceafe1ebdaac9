"""The error analysis of points scored by PCK: every constructed error is recovered, and gains add up to the score."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pose_core.config import DataConfig
from pose_core.evaluation import analyze_points, mpii_pckh
from pose_core.evaluation.analysis import CLASSES, Analysis
from pose_core.evaluation.mpii import EXCLUDED
from pose_core.layouts.reader import read_dataset
from pose_core.layouts.table import get_layout
from pose_core.skeleton import SKELETONS
from pose_core.synthetic import write_dataset

MPII = SKELETONS["mpii16"]
KINDS = ("good", "jitter", "inversion", "swap", "miss", "missed")


def constructed(count: int = 120) -> tuple[np.ndarray, np.ndarray, list[str], np.ndarray]:
    """Return joints, points with one error in the first person of each image, the errors, and people's images."""
    rng = np.random.default_rng(0)
    joints = np.concatenate([rng.permuted(np.arange(16))[None, :, None] * [40, 25], np.ones((1, 16, 1))], 2)
    joints = np.repeat(joints, 2 * count, 0).astype(float)
    joints[1::2, :, 0] += 1000
    points, kinds = joints[..., :2].copy(), []
    for row in range(0, 2 * count, 2):
        kind, joint = KINDS[row // 2 % len(KINDS)], int(rng.choice([0, 1, 2, 3, 4, 5, 10, 11, 12, 13, 14, 15]))
        kinds.append(kind)
        if kind == "jitter":
            points[row, joint, 0] += 15  # 1.5 times the distance that counts
        elif kind == "inversion":
            points[row, joint] = joints[row, MPII.flip_order[joint], :2]
        elif kind == "swap":
            points[row, joint] = joints[row + 1, joint, :2]
        elif kind == "miss":
            points[row, joint] -= 500
        elif kind == "missed":
            points[row] = -1e6
    return joints, points, kinds, np.repeat(np.arange(count), 2)


def analyzed(joints: np.ndarray, points: np.ndarray, image: np.ndarray) -> Analysis:
    return analyze_points(
        points, joints, np.full(len(joints), 20.0), MPII, image=image, metric="PCKh@0.5", threshold=0.5,
        excluded=EXCLUDED,
    )  # fmt: skip


def test_every_constructed_error_is_recovered_and_gains_add_up() -> None:
    joints, points, kinds, image = constructed()
    found = analyzed(joints, points, image)
    for kind, row in zip(kinds, found.images, strict=True):
        wrong = {name: row.counts[name] for name in CLASSES[1:] if row.counts[name]}
        assert row.missed == (kind == "missed")
        if kind != "missed":
            assert wrong == ({} if kind == "good" else {kind: 1}), kind
    assert {cost.name: cost.count for cost in found.costs} == dict.fromkeys(KINDS[1:], 20)
    assert found.score + sum(cost.gain for cost in found.costs) == pytest.approx(100)
    assert found.costs[-1].progressive == pytest.approx(100)


def test_joints_that_no_score_includes_cost_nothing() -> None:
    joints, points, _, image = constructed(12)
    points = joints[..., :2].copy()
    points[:, list(EXCLUDED)] += 300
    found = analyzed(joints, points, image)
    assert found.score == 100
    assert not any(cost.count for cost in found.costs)
    assert found.joints[EXCLUDED[0]].counts["miss"] == len(joints)


def test_the_score_is_that_of_pckh() -> None:
    rng = np.random.default_rng(1)
    joints = np.concatenate([rng.uniform(0, 400, (60, 16, 2)), rng.integers(0, 2, (60, 16, 1))], 2)
    points = joints[..., :2] + rng.normal(0, 12, (60, 16, 2))
    heads = np.stack([np.zeros((2, 60)), np.full((2, 60), 30.0)])
    truth = {
        "pos_gt_src": (joints[..., :2] + 1).transpose(1, 2, 0),
        "jnt_missing": 1 - joints[..., 2].T,
        "headboxes_src": heads,
    }
    size = np.full(60, np.linalg.norm([30, 30]) * 0.6)
    found = analyze_points(
        points, joints, size, MPII, image=np.arange(60), metric="PCKh@0.5", threshold=0.5, excluded=EXCLUDED
    )
    assert found.score == pytest.approx(mpii_pckh(points, truth)["Mean"], abs=1e-9)


@pytest.mark.parametrize("layout", ["mpii", "lsp"])
def test_a_results_file_is_analyzed_with_the_layout_that_wrote_it(layout: str, tmp_path: Path) -> None:
    write_dataset(tmp_path, layout=layout, images=6, people=(1, 1) if layout == "lsp" else (1, 3), seed=3)
    usual = get_layout(layout)
    found = read_dataset(DataConfig(layout=layout, root=str(tmp_path), skeleton=usual.skeleton), usual.val)
    people = [person for record in found.records for person in record.persons]
    points = np.stack([person.joints[:, :2] for person in people]).astype(float)
    points[0] = points[0][found.skeleton.flip_order]
    ids = np.array([person.annotation_id for person in people])
    file = tmp_path / "results" / "pred.mat"
    file.parent.mkdir()
    assert usual.score_points is not None
    assert usual.analyze is not None
    scored = usual.score_points(points, ids, found, "model", file, write=True)
    analysis = usual.analyze(found, file)
    assert analysis.score == pytest.approx(scored.value, abs=1e-3)  # the file holds single precision
    assert analysis.score < 100
    by_name = {cost.name: cost.count for cost in analysis.costs}
    assert by_name["inversion"] > by_name["miss"]
    assert len(analysis.images) == len(found.records)
