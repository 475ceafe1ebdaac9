"""The shape of a format: how its files are read, written, and what they cannot hold."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pose_core.data.category_skeleton import DEFAULT_SIGMA, mirror_pairs
from pose_core.skeleton import SKELETONS, Skeleton
from pose_core.structures import ImageRecord


@dataclass(frozen=True)
class Found:
    """What a reader returns; ``notes`` say what of the files is not in the records."""

    records: tuple[ImageRecord, ...]
    skeleton: Skeleton
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Target:
    """Where a format is written: a folder, the name of the split, and the images' names below their folder there."""

    folder: Path
    name: str
    names: tuple[str, ...]


@dataclass(frozen=True)
class Written:
    """The files that were written, and where each image belongs."""

    files: tuple[Path, ...]
    images: tuple[Path, ...]
    """The path of each record's image."""
    layout: str = ""
    """The layout that reads the files below the target's folder; empty if none does."""
    split: str = ""
    notes: tuple[str, ...] = ()


Read = Callable[[Path, str, Skeleton | None], Found]
"""Read a path; a split, if a folder has several, or an empty text for the usual one; joints, if the files name none."""
Write = Callable[[Sequence[ImageRecord], Skeleton, Target], Written]


@dataclass(frozen=True)
class Format:
    """One format. ``lacks`` lists what it cannot hold, by the names of `fit.LOSSES`."""

    name: str
    files: str
    """What a path to read is, for messages."""
    written: str
    """The file or folder that a split is written to, below the target's folder; {} is the split's name."""
    read: Read
    write: Write
    lacks: tuple[str, ...] = ()
    joints: str = ""
    """The name of the one joint set that it can hold; empty for any."""


def skeleton_of(name: str, joints: Sequence[str], limbs: Sequence[tuple[int, int]] = ()) -> Skeleton:
    """Return the built-in skeleton of these joints, or one with mirror pairs by name and COCO's or mean sigmas."""
    known = [skeleton for skeleton in SKELETONS.values() if skeleton.joints == tuple(joints)]
    if known:
        return known[0]
    coco = dict(zip(SKELETONS["coco17"].joints, SKELETONS["coco17"].sigmas, strict=True))
    return Skeleton(
        name=name,
        joints=tuple(joints),
        flip_pairs=tuple(mirror_pairs(joints)),
        limbs=tuple(limbs),
        sigmas=tuple(coco.get(joint, DEFAULT_SIGMA) for joint in joints),
        upper_body=(),
    )
