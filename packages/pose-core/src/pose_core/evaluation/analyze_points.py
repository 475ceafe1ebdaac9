"""The error analysis of one predicted pose per annotated person, as MPII and LSP are scored: by PCK."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from pose_core.evaluation.analysis import CLASSES, Analysis, Cost, Curve, Group, ImageErrors, JointErrors
from pose_core.evaluation.keypoint_errors import GOOD_CLASS, INVERSION, JITTER, KINDS, MISS, SWAP, UNLABELED, counts_of
from pose_core.evaluation.mpii import NOBODY
from pose_core.evaluation.oks_groups import number_of_labeled
from pose_core.skeleton import Skeleton

Array = np.ndarray

MEANINGS = {
    "miss": "the joint is near no annotated place",
    "swap": "the joint is on another annotated person",
    "inversion": "left and right are exchanged",
    "jitter": "the joint is within twice the distance that counts as found",
}
STEPS = 41


def analyze_points(
    points: Array,
    joints: Array,
    size: Array,
    skeleton: Skeleton,
    *,
    image: Array,
    metric: str,
    threshold: float,
    excluded: Sequence[int] = (),
    parts: Mapping[str, Sequence[int]] | None = None,
) -> Analysis:
    """Return what is wrong with points ``(N, K, 2)`` predicted for people with ``joints`` ``(N, K, 3)`` x, y, labeled.

    Distances are relative to each person's ``size`` ``(N,)``; a joint within ``threshold`` is found. ``image`` ``(N,)``
    are the people's image ids. No score or cost includes the joints ``excluded``. ``parts`` name the joints whose
    curves are drawn.
    """
    labeled = joints[..., 2] > 0
    used = labeled & ~np.isin(np.arange(joints.shape[1]), list(excluded))
    present: Array = np.any(points > NOBODY, axis=(1, 2))
    with np.errstate(invalid="ignore"):
        own = _relative(points, joints, size)
    kind = _classify(points, joints, size, skeleton, image, own, threshold)
    kind[~labeled] = UNLABELED
    total = max(int(used.sum()), 1)
    score = 100 * float((used & (kind == GOOD_CLASS)).sum()) / total
    return Analysis(
        metric=metric,
        score=score if used.any() else -1.0,
        curves=_curves(own, used, threshold, {"all": range(joints.shape[1]), **(parts or {})}),
        costs=_costs(kind, used, present, score, total),
        joints=tuple(_joint(kind[:, joint], name) for joint, name in enumerate(skeleton.joints)),
        groups={
            "size": _by_size(kind, used, size),
            "labeled joints": _by_labeled(kind, used, labeled),
            "annotated people in the image": _by_company(kind, used, image),
        },
        calibration=(),
        images=_images(kind, used, present, image),
        notes=(
            f"A joint is found within {threshold:g} of the reference size. Of the places within that distance the "
            "nearest decides: another side's (inversion) or another person's (swap). Jitter is up to twice the "
            "distance.",
            f"A gain is the {metric} after correcting one kind of error alone. Every joint has one kind of error, so "
            "here gains add up.",
        ),
    )


def _relative(points: Array, joints: Array, size: Array) -> Array:
    """Return distances ``(N, K)`` relative to the size; infinite where a point is not finite."""
    distance = np.linalg.norm(points - joints[..., :2], axis=-1) / np.maximum(size, np.spacing(1))[:, None]
    return np.where(np.isfinite(distance), distance, np.inf)


def _classify(
    points: Array, joints: Array, size: Array, skeleton: Skeleton, image: Array, own: Array, threshold: float
) -> Array:
    """Return the class ``(N, K)`` int8 of each joint as if all were labeled."""
    flip = skeleton.flip_order
    mirrored = np.where(flip != np.arange(len(flip)), _to_labeled(points, joints[:, flip], size), np.inf)
    elsewhere = np.full(own.shape, np.inf)
    order = np.argsort(image, kind="stable")
    _, first, count = np.unique(image[order], return_index=True, return_counts=True)
    for number in np.unique(count[count > 1]).tolist():  # images with equally many people together
        rows = order[first[count == number, None] + np.arange(number)]  # (I, number)
        for shift in range(1, number):
            others = np.roll(rows, shift, 1).ravel()
            for places in (joints[others], joints[others][:, flip]):
                elsewhere[rows.ravel()] = np.minimum(
                    elsewhere[rows.ravel()], _to_labeled(points[rows.ravel()], places, size[others])
                )
    nearest = np.minimum(mirrored, elsewhere)
    kind = np.full(own.shape, MISS, np.int8)
    kind[own <= 2 * threshold] = JITTER
    kind[(nearest <= threshold) & (elsewhere < mirrored)] = SWAP
    kind[(nearest <= threshold) & (mirrored <= elsewhere)] = INVERSION
    kind[own <= threshold] = GOOD_CLASS
    return kind


def _to_labeled(points: Array, joints: Array, size: Array) -> Array:
    return np.where(joints[..., 2] > 0, _relative(points, joints, size), np.inf)


def _curves(own: Array, used: Array, threshold: float, parts: Mapping[str, Sequence[int]]) -> tuple[Curve, ...]:
    limits = np.linspace(0, 2 * threshold, STEPS)
    curves = []
    for name, chosen in parts.items():
        distances = own[:, list(chosen)][used[:, list(chosen)]]
        if len(distances):
            share = np.searchsorted(np.sort(distances), limits, "right") / len(distances)
            curves.append(Curve(name, tuple(limits.tolist()), tuple(share.tolist())))
    return tuple(curves)


def _costs(kind: Array, used: Array, present: Array, score: float, total: int) -> tuple[Cost, ...]:
    rows, reached = [], score
    for name, number in KINDS.items():
        wrong = used & (kind == number) & present[:, None]
        gain = 100 * float(wrong.sum()) / total
        reached += gain
        rows.append(Cost(name, int(wrong.sum()), MEANINGS[name], gain, reached))
    lacking = used & ~present[:, None]
    gain = 100 * float(lacking.sum()) / total
    people = int((~present).sum())
    rows.append(Cost("missed", people, "the person has no prediction", gain, reached + gain))
    return tuple(rows)


def _joint(kind: Array, name: str) -> JointErrors:
    counts = counts_of(kind)
    number = sum(counts.values())
    share = counts["good"] / number if number else -1.0
    return JointErrors(name, number, counts, 100 * share if number else -1.0, share)


def _group(kind: Array, used: Array, rows: Array, name: str) -> Group:
    chosen = kind[rows][used[rows]]
    score = 100 * float((chosen == GOOD_CLASS).mean()) if len(chosen) else -1.0
    return Group(name, int(rows.sum()), score, counts=counts_of(kind[rows]))


def _by_size(kind: Array, used: Array, size: Array) -> tuple[Group, ...]:
    if not len(size):
        return ()
    low, high = np.quantile(size, [1 / 3, 2 / 3])
    third = (size > low).astype(int) + (size > high)
    names = (f"smallest third, up to {low:.0f} px", f"middle third, up to {high:.0f} px", "largest third")
    return tuple(_group(kind, used, third == row, name) for row, name in enumerate(names))


def _by_labeled(kind: Array, used: Array, labeled: Array) -> tuple[Group, ...]:
    number, names = number_of_labeled(labeled.sum(1), labeled.shape[1])
    counts = labeled.any(1)
    return tuple(_group(kind, used, (number == row) & counts, name) for row, name in enumerate(names))


def _by_company(kind: Array, used: Array, image: Array) -> tuple[Group, ...]:
    _, inverse, count = np.unique(image, return_inverse=True, return_counts=True)
    company = np.digitize(count[inverse], [2, 4])
    return tuple(_group(kind, used, company == row, name) for row, name in enumerate(("1", "2 or 3", "4 or more")))


def _images(kind: Array, used: Array, present: Array, image: Array) -> tuple[ImageErrors, ...]:
    ids, inverse = np.unique(image, return_inverse=True)

    def total(values: Array) -> Array:
        return np.bincount(inverse, values, minlength=len(ids))

    people, found = total(np.ones(len(image))), total(present)
    hits, number = total((used & (kind == GOOD_CLASS)).sum(1)), total(used.sum(1))
    by_kind = [total((used & (kind == row)).sum(1)) for row in range(len(CLASSES))]
    return tuple(
        ImageErrors(
            image_id=int(ids[row]),
            people=int(people[row]),
            detections=int(found[row]),
            similarity=float(hits[row] / number[row]) if number[row] else float("nan"),
            missed=int(people[row] - found[row]),
            spurious=0,
            counts={name: int(by_kind[place][row]) for place, name in enumerate(CLASSES)},
            lowest_score=float("nan"),
        )
        for row in range(len(ids))
    )
