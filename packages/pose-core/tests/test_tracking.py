"""Ids of people across frames, and steady keypoints, on six people who cross each other's ways."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pytest

from pose_core.inference.smoothing import Smoother
from pose_core.inference.tracking import Tracker
from pose_core.skeleton import SKELETONS, Skeleton
from pose_core.structures import Poses

COCO = SKELETONS["coco17"]
FIGURE = np.array(
    [
        [0, -0.40], [0.02, -0.42], [-0.02, -0.42], [0.045, -0.41], [-0.045, -0.41], [0.07, -0.30], [-0.07, -0.30],
        [0.08, -0.15], [-0.08, -0.15], [0.09, 0], [-0.09, 0], [0.04, 0], [-0.04, 0], [0.04, 0.24], [-0.04, 0.24],
        [0.04, 0.47], [-0.04, 0.47],
    ]
)  # fmt: skip
"""A standing person of height 1, in the order of the COCO joints."""
SWING = np.array([0, 0, 0, 0, 0, 0, 0, 0.06, -0.06, 0.13, -0.13, 0, 0, -0.08, 0.08, -0.17, 0.17])
"""How far each joint swings, forward and back, once a second."""


class Walk:
    """A person who walks: middle at time 0, velocity, height, and the phase of the swing."""

    def __init__(self, at: Sequence[float], velocity: Sequence[float], height: float, phase: float = 0.0) -> None:
        self.at, self.velocity, self.height, self.phase = np.array(at), np.array(velocity), height, phase

    def joints(self, time: float) -> np.ndarray:
        swing = SWING * np.sin(2 * np.pi * time + self.phase) * np.sign(self.velocity[0])
        return (FIGURE + np.stack([swing, 0 * swing], 1)) * self.height + self.at + self.velocity * time


def six_people(random: np.random.Generator, seconds: float) -> list[Walk]:
    """Return people of whom every other walks to the left, who meet in the middle of the picture and of the time."""
    people = []
    for number in range(6):
        speed = random.uniform(90, 260) * (-1) ** number
        meet, when = 640 + random.uniform(-150, 150), seconds / 2 + random.uniform(-0.6, 0.6)
        at = (meet - speed * when, 360 + random.uniform(-50, 50))
        people.append(Walk(at, (speed, random.uniform(-15, 15)), random.uniform(160, 260), random.uniform(0, 6)))
    return people


def boxes_of(joints: np.ndarray) -> np.ndarray:
    low, high = joints.min(1), joints.max(1)
    return np.concatenate([low, high - low], 1) + 0.08 * np.concatenate([low - high, 2 * (high - low)], 1)


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    shared = (np.minimum(a[:2] + a[2:], b[:2] + b[2:]) - np.maximum(a[:2], b[:2])).clip(0).prod()
    return float(shared / (a[2] * a[3] + b[2] * b[3] - shared))


def seen(
    people: Sequence[Walk], random: np.random.Generator, *, fps: float = 30, seconds: float = 6, missed: float = 0.1,
    hidden: float = 0.45, noise: float = 0.012,
) -> Iterator[tuple[float, Poses, np.ndarray, np.ndarray]]:  # fmt: skip
    """Yield time, the poses found in shuffled order, whose they are, and the true joints of all.

    A tenth is ``missed``, and so are all who are ``hidden`` by somebody nearer; ``noise`` is in sizes of the person.
    """
    nearness = random.permutation(len(people))
    for frame in range(round(seconds * fps)):
        time = frame / fps
        truth = np.array([person.joints(time) for person in people])
        boxes = boxes_of(truth)
        covered = [
            any(overlap(mine, other) > hidden for other in boxes[nearness < rank])
            for mine, rank in zip(boxes, nearness, strict=True)
        ]
        found = ~np.array(covered) & (random.random(len(people)) >= missed)
        whose = random.permutation(np.flatnonzero(found))
        size = np.sqrt(boxes[whose, 2:].prod(1))[:, None, None]
        joints = truth[whose] + random.normal(size=(len(whose), 17, 2)) * noise * size
        scores = random.normal(0.8, 0.1, (len(whose), 17)).clip(0.05, 1)
        yield time, Poses(joints, scores, scores.mean(1), COCO, boxes_of(joints)), whose, truth


def switches(tracker: Tracker, seed: int, fps: float = 30) -> tuple[int, int]:
    """Return how often a person's id changes, and the number of ids given to the six."""
    random = np.random.default_rng(seed)
    last: dict[int, int] = {}
    changes, ids = 0, set()
    for time, poses, whose, _ in seen(six_people(random, 6), random, fps=fps):
        numbers = tracker.update(poses, time).track_ids
        assert numbers is not None
        assert len(set(numbers.tolist())) == len(poses), "no id twice in a frame"
        for person, number in zip(whose.tolist(), numbers.tolist(), strict=True):
            changes += last.get(person, number) != number
            last[person] = number
            ids.add(number)
    return changes, len(ids)


@pytest.mark.parametrize("fps", [30, 10])
def test_six_people_who_cross_keep_their_ids(fps: float) -> None:
    seeds = range(6)
    whole = [switches(Tracker(), seed, fps) for seed in seeds]
    resting = [switches(Tracker(velocity=False), seed, fps) for seed in seeds]
    forgetful = [switches(Tracker(max_gap=0), seed, fps) for seed in seeds]
    print(fps, "whole", whole, "without velocity", resting, "without gaps", forgetful)
    changes = [sum(count for count, _ in runs) for runs in (whole, resting, forgetful)]
    assert changes[0] <= len(seeds), "at most one change for six people"
    assert changes[1] > 3 * changes[0], "velocities help"
    assert changes[2] > 3 * changes[0], "remembering helps"
    assert max(ids for _, ids in whole) <= 9


def pose(x: float, y: float = 100, height: float = 100, skeleton: Skeleton = COCO) -> Poses:
    joints = (FIGURE[: skeleton.num_joints] * height + [x, y])[None]
    return Poses(joints, np.ones(joints.shape[:2]), np.ones(1), skeleton)


def ids(poses: Poses) -> list[int]:
    assert poses.track_ids is not None
    return poses.track_ids.tolist()


def both(*poses: Poses) -> Poses:
    columns = ("keypoints", "scores", "pose_scores")
    return Poses(*(np.concatenate([getattr(each, name) for each in poses]) for name in columns), poses[0].skeleton)


def test_people_come_and_go() -> None:
    tracker = Tracker(max_gap=0.5)
    nobody = pose(0)[:0]
    assert ids(tracker.update(nobody, 0.0)) == []
    assert ids(tracker.update(both(pose(100), pose(300)), 0.1)) == [1, 2]
    assert ids(tracker.update(both(pose(301), pose(500), pose(101)), 0.2)) == [2, 3, 1], "whatever the order"
    for time in (0.3, 0.4, 0.5, 0.6):
        assert ids(tracker.update(pose(302), time)) == [2]
    assert ids(tracker.update(both(pose(101), pose(302)), 0.69)) == [1, 2], "found again in time"
    for time in (0.8, 0.9, 1.0, 1.1, 1.2):
        assert ids(tracker.update(pose(302), time)) == [2]
    assert ids(tracker.update(both(pose(101), pose(302)), 1.3)) == [4, 2], "too late: somebody new"


def test_one_missed_frame_is_forgiven_at_any_frame_rate() -> None:
    tracker = Tracker(max_gap=0.5)
    tracker.update(pose(100), 0.0)
    tracker.update(pose(100)[:0], 2.0)
    assert ids(tracker.update(pose(103), 4.0)) == [1]


def test_repeated_times_do_no_harm() -> None:
    tracker, smoother = Tracker(), Smoother()
    for step, time in enumerate((0.0, 0.0, 0.04, 0.04, 0.08, 0.12)):
        found = tracker.update(pose(100 + 4 * step), time)
        assert ids(found) == [1]
        assert np.abs(smoother.update(found, time).keypoints - found.keypoints).max() < 20


def test_joints_that_are_not_seen_do_not_count() -> None:
    tracker = Tracker()
    tracker.update(pose(100), 0.0)
    wrong = pose(100)
    wrong.keypoints[0, 5:] = 900  # a guess of the network with a low score
    wrong.scores[0, 5:] = 0.05
    assert ids(tracker.update(wrong, 0.04)) == [1]


def test_boxes_decide_where_joints_are_few() -> None:
    two = Skeleton("two", ("left_hand", "right_hand"), ((0, 1),), (), (0.01, 0.01), ())
    tracker = Tracker()
    far = {"boxes": np.array([[80.0, 40, 40, 110]])}
    assert ids(tracker.update(replace(pose(100, skeleton=two), **far), 0.0)) == [1]
    near = {"boxes": np.array([[84.0, 40, 40, 110]])}
    assert ids(tracker.update(replace(pose(104, skeleton=two), **near), 0.04)) == [1], "OKS would be near 0"
    tracker = Tracker()
    level = replace(pose(100, skeleton=two), keypoints=np.array([[[80.0, 50], [120, 50]]]))
    assert ids(tracker.update(level, 0.0)) == [1]
    assert ids(tracker.update(replace(level, keypoints=level.keypoints + 3), 0.1)) == [1], "joints at one height"


def trembling(points: np.ndarray) -> float:
    """Return the root of the mean square of second differences over frames ``(T, K, 2)``."""
    return float(np.sqrt((np.diff(points, 2, axis=0) ** 2).sum(-1).mean()))


def error(points: np.ndarray, truth: np.ndarray) -> float:
    return float(np.sqrt(((points - truth) ** 2).sum(-1).mean()))


def delay(points: np.ndarray, times: np.ndarray, truth: np.ndarray) -> float:
    """Return the seconds by which the truth must be delayed to fit points best."""
    tries = np.arange(0, 0.2, 0.002)
    late = times[:, None] - tries
    fits = [
        sum(
            error(points[:, [joint], axis], np.interp(shifted, times, truth[:, joint, axis])[:, None]) ** 2
            for joint in range(17)
            for axis in range(2)
        )
        for shifted in late.T
    ]
    return float(tries[int(np.argmin(fits))])


def filtered(
    person: Walk, smoother: Smoother, fps: float = 30, still: bool = False
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return times, found, filtered and true joints of one person from the second second on."""
    random = np.random.default_rng(1)
    tracker = Tracker()
    rows = []
    for time, poses, _, truth in seen([person], random, fps=fps, missed=0):
        if still:
            moved = person.joints(0) - truth[0]
            poses, truth = replace(poses, keypoints=poses.keypoints + moved), truth + moved
        poses = tracker.update(poses, time)
        rows.append((time, poses.keypoints[0], smoother.update(poses, time).keypoints[0], truth[0]))
    times, found, steady, true = (np.array(column) for column in zip(*rows[round(fps) :], strict=True))
    return times, found, steady, true


@pytest.mark.parametrize("fps", [60, 30, 15])
def test_smoothing_calms_without_lagging(fps: float) -> None:
    _, found, steady, true = filtered(Walk((640, 360), (0.001, 0), 220), Smoother(), fps, still=True)
    print(
        f"{fps} fps still: {trembling(found):.2f} -> {trembling(steady):.2f}", error(found, true), error(steady, true)
    )
    assert trembling(steady) < 0.4 * trembling(found)
    assert error(steady, true) < 0.7 * error(found, true)
    times, found, steady, true = filtered(Walk((100, 360), (165, 0), 220), Smoother(), fps)
    print(f"walking: {trembling(found):.2f} -> {trembling(steady):.2f}", error(found, true), error(steady, true))
    print("true", trembling(true), "delay", delay(steady, times, true))
    assert trembling(steady) < 0.7 * trembling(found)
    assert error(steady, true) < 1.15 * error(found, true)
    assert delay(steady, times, true) <= 0.01


def test_a_steady_walk_is_not_delayed_at_all() -> None:
    smoother = Smoother(min_cutoff=0.5, speed=0.0)
    for frame in range(150):
        poses = replace(pose(3.0 * frame), track_ids=np.array([1]))
        steady = smoother.update(poses, frame / 30)
    assert np.abs(steady.keypoints - poses.keypoints).max() < 0.05


def test_filtering_depends_on_time_and_not_on_the_frame_rate() -> None:
    def step_response(fps: int) -> float:
        smoother = Smoother(speed=0.0)
        for frame in range(fps + fps // 5):
            bent = replace(pose(100), track_ids=np.array([1]))
            if frame >= fps:
                bent.keypoints[0, 9, 0] += 10  # one wrist jumps
            steady = smoother.update(bent, frame / fps)
        return float(steady.keypoints[0, 9, 0] - pose(100).keypoints[0, 9, 0])

    slow, fast = step_response(30), step_response(240)
    print(slow, fast)
    assert 4 < slow < 9
    assert slow == pytest.approx(fast, rel=0.1)


def test_a_joint_of_falling_score_moves_less() -> None:
    def wrist(score: float) -> float:
        smoother = Smoother()
        for frame in range(30):
            smoother.update(replace(pose(100), track_ids=np.array([1])), frame / 30)
        bent = replace(pose(100), track_ids=np.array([1]))
        bent.keypoints[0, 9, 0] += 20
        bent.scores[0, 9] = score
        return float(smoother.update(bent, 1.0).keypoints[0, 9, 0] - pose(100).keypoints[0, 9, 0])

    assert 0 < wrist(0.05) < 0.15 * wrist(1.0) < 20
    assert wrist(0.05) > 0


def test_filters_start_anew_after_a_gap_and_for_each_track() -> None:
    smoother = Smoother(max_gap=0.5)
    first = replace(pose(100), track_ids=np.array([1]))
    smoother.update(first, 0.0)
    later = replace(pose(160), track_ids=np.array([1]))
    other = replace(pose(160), track_ids=np.array([2]))
    assert np.array_equal(smoother.update(other, 0.1).keypoints, other.keypoints)
    assert not np.allclose(smoother.update(later, 0.4).keypoints, later.keypoints)
    assert np.array_equal(smoother.update(later, 1.0).keypoints, later.keypoints)
    assert smoother.update(later, 1.0).keypoints.dtype == later.keypoints.dtype
    with pytest.raises(ValueError, match="track_ids"):
        smoother.update(pose(1), 2.0)
