"""Maps between joint sets, made by names."""

from __future__ import annotations

import numpy as np
import pytest

from pose_core.errors import ConfigError
from pose_core.joint_maps import map_joints, meaning
from pose_core.skeleton import SKELETONS, get_skeleton, list_skeletons


@pytest.mark.parametrize("name", ["LKnee", "knee_l", "left-knee", "L_Knee", "kneeLeft", "Left Knee", "left_knee"])
def test_spellings_of_a_joint_have_one_meaning(name: str) -> None:
    assert meaning(name) == "left_knee"


@pytest.mark.parametrize("name", list_skeletons())
def test_a_joint_set_maps_to_itself(name: str) -> None:
    joints = get_skeleton(name).joints
    assert map_joints(joints, joints).is_identity


def test_values_go_where_their_names_are_and_the_rest_is_unlabeled() -> None:
    mpii, coco = SKELETONS["mpii16"].joints, SKELETONS["coco17"].joints
    found = map_joints(mpii, coco)
    assert found.lacking == ("nose", "left_eye", "right_eye", "left_ear", "right_ear")
    assert found.unused == ("pelvis", "thorax", "upper_neck", "head_top")
    values = np.arange(2 * 16 * 3, dtype=np.float32).reshape(2, 16, 3) + 1
    moved = found.apply(values)
    assert moved.shape == (2, 17, 3)
    assert not moved[:, :5].any()
    assert np.array_equal(moved[:, coco.index("left_wrist")], values[:, mpii.index("left_wrist")])
    back = map_joints(coco, mpii).apply(moved)
    assert np.array_equal(back[:, found.rows[5]], values[:, found.rows[5]])


def test_a_given_pair_wins_and_none_leaves_a_joint_out() -> None:
    crowdpose, mpii = SKELETONS["crowdpose14"].joints, SKELETONS["mpii16"].joints
    assert map_joints(crowdpose, mpii).lacking == ("pelvis", "thorax", "head_top")
    found = map_joints(crowdpose, mpii, {"head_top": "head", "upper_neck": None})
    assert found.lacking == ("pelvis", "thorax", "upper_neck")
    assert found.rows[mpii.index("head_top")] == crowdpose.index("head")


def test_unknown_names_and_sets_without_a_common_joint_are_refused() -> None:
    with pytest.raises(ConfigError, match="'tail' is not one of nose"):
        map_joints(["nose"], ["nose"], {"tail": "nose"})
    with pytest.raises(ConfigError, match="'tail', given for 'nose', is not one of"):
        map_joints(["snout"], ["nose"], {"nose": "tail"})
    with pytest.raises(ConfigError, match="name the pairs"):
        map_joints(["snout"], ["nose"])
