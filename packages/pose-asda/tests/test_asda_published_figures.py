"""Published figures not covered by other tests: the logged accuracy, and suppression with CrowdPose's sigmas."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pose_asda.convert import CROWDPOSE_SIGMAS
from pose_core.ops import oks_nms, peak_accuracy
from pose_core.skeleton import get_skeleton
from pose_testing.golden import load_golden, uniform

GOLDEN = load_golden("asda/functions")


def maps(key: str) -> torch.Tensor:
    return torch.from_numpy(uniform(key, 4 * 5 * 8 * 6)).reshape(4, 5, 8, 6)


def peaks(heatmaps: torch.Tensor) -> torch.Tensor:
    flat = heatmaps.flatten(2).argmax(-1)
    return torch.stack([flat % heatmaps.shape[-1], flat // heatmaps.shape[-1]], -1)


@pytest.mark.parametrize("case", ["accuracy", "random_case"])
def test_logged_accuracy(case: str) -> None:
    """Compare joint by joint: the published code averages over joints, ours counts all joints together.

    It also divides x by the height and y by the width, which makes no difference on maps as narrow as these.
    """
    golden = GOLDEN["accuracy"] if case == "accuracy" else GOLDEN["accuracy"]["random_case"]
    output, target = maps("acc_out"), maps("acc_tgt")
    if case == "accuracy":
        first = output[0].clone()
        output = target.clone()
        output[0] = first
    wanted = peaks(target)
    shares = []
    for joint in range(5):
        counted = (wanted[:, joint] > 1).all(-1)
        share = peak_accuracy(output[:, joint : joint + 1].float(), wanted[:, joint : joint + 1])
        shares.append(float(share) if counted.any() else -1.0)
    assert shares == pytest.approx(golden["acc"][1:])
    counted = [share for share in shares if share >= 0]
    assert len(counted) == golden["cnt"]
    assert np.mean(counted) == pytest.approx(golden["avg"])


def test_crowdpose_suppression() -> None:
    poses = GOLDEN["oks"]["poses"]
    table = np.array([pose["xy_score"] for pose in poses])[:, :14, :2]
    scores, areas = (np.array([float(pose[name]) for pose in poses]) for name in ("score", "area"))
    sigmas = np.array(CROWDPOSE_SIGMAS)
    assert np.allclose(sigmas[:12], get_skeleton("crowdpose14").sigmas[:12])
    kept = oks_nms(table, scores, areas, sigmas, 0.7)
    assert kept.tolist() == GOLDEN["oks"]["oks_nms_14_joints_crowdpose_sigmas_0.7"]


def test_joints_are_in_the_published_order() -> None:
    short = {"ankle": "ank", "knee": "kne", "hip": "hip", "wrist": "wri", "elbow": "elb", "shoulder": "sho"}
    middle = {"pelvis": "pelv", "thorax": "thor", "upper_neck": "neck", "head_top": "head"}
    joints = get_skeleton("mpii16").joints
    assert [middle.get(joint) or joint[0] + short[joint.split("_")[1]] for joint in joints] == (
        GOLDEN["joints_order"]["mpii"]
    )
