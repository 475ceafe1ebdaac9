"""Center and area of a person in each system."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pose_core.structures import Person
from pose_dekr.people import describe_bottomup, describe_dekr


def person(labeled: dict[int, tuple[float, float]], **changes: Any) -> Person:
    joints = np.zeros((17, 3), np.float32)
    for joint, (x, y) in labeled.items():
        joints[joint] = (x, y, 2)
    settings = {"box": (9.0, 19.0, 30.0, 40.0), "stated_box": (10.0, 20.0, 40.0, 50.0), "area": 2000.0} | changes
    return Person(joints=joints, annotation_id=1, **settings)


TWO = {0: (10.0, 20.0), 5: (30.0, 60.0)}


@pytest.mark.parametrize("describe", [describe_bottomup, describe_dekr])
def test_the_center_is_the_mean_of_labeled_joints(describe: Any) -> None:
    rows, _ = describe(person(TWO), drop_small=True)
    assert rows.shape == (18, 3)
    assert rows[17].tolist() == [20, 40, 1]
    assert rows[5].tolist() == [30, 60, 2]


@pytest.mark.parametrize("describe", [describe_bottomup, describe_dekr])
def test_small_people_of_coco_have_no_center(describe: Any) -> None:
    for area, seen in ((1023.0, 0), (1024.0, 1)):
        assert describe(person(TWO, area=area), drop_small=True)[0][17, 2] == seen
        assert describe(person(TWO, area=area), drop_small=False)[0][17, 2] == 1


def test_without_joints_bottomup_uses_the_box_and_dekr_nothing() -> None:
    rows, area = describe_bottomup(person({}), drop_small=True)
    assert rows[17].tolist() == [30, 45, 1]
    assert area == 40 * 50
    rows, _ = describe_dekr(person({}), drop_small=True)
    assert not rows.any()
    for area, seen in ((1023.0, 0), (1024.0, 1)):
        rows, _ = describe_dekr(person({}, area=area), drop_small=True, published_area=True)
        assert rows[17].tolist() == [0, 0, seen], "the published code puts it in the image's corner"


def test_areas() -> None:
    assert describe_bottomup(person(TWO), drop_small=True)[1] == 40 * 50
    assert describe_dekr(person(TWO), drop_small=True)[1] == 40 * 50, "20² + 40² is less than the box"
    wide = person({0: (10.0, 20.0), 5: (100.0, 60.0)})
    assert describe_dekr(wide, drop_small=True)[1] == 90**2 + 40**2
    # The published code measured from the image's corner, where unlabeled joints lie.
    assert describe_dekr(wide, drop_small=True, published_area=True)[1] == 100**2 + 60**2
    single = person({3: (5.0, 5.0)}, box=None, stated_box=None)
    assert describe_dekr(single, drop_small=True)[1] == 1
