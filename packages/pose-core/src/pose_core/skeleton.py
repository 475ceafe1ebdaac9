"""Joint sets: names, mirror pairs, limbs and OKS sigmas, built in or read from a user's YAML file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np

from pose_core.errors import ConfigError
from pose_core.reading.printable import shown
from pose_core.reading.yaml_text import read_yaml_file
from pose_core.suggestions import did_you_mean

__all__ = ["SKELETONS", "Color", "Skeleton", "estimate_sigmas", "get_skeleton", "list_skeletons", "read_skeleton"]

Color = tuple[int, int, int]

MAX_JOINTS = 1000
"""The most joints of a skeleton; DeepFashion2's has 294."""
MAX_NAME = 100
"""Characters of the longest name of a joint or skeleton."""
MIN_SIGMA, MAX_SIGMA = 1e-4, 10.0
"""The range of OKS sigmas; published ones are 0.007 to 0.107."""

LEFT_COLOR: Color = (252, 152, 60)
RIGHT_COLOR: Color = (60, 140, 252)
MIDDLE_COLOR: Color = (240, 60, 140)


@dataclass(frozen=True)
class Skeleton:
    """One joint set.

    ``sigmas`` are the per-joint constants of object keypoint similarity, in COCO's convention:
    similarity is exp(−d² / (2·area·(2·sigma)²)) for a joint at distance d from the annotation.
    """

    name: str
    joints: tuple[str, ...]
    flip_pairs: tuple[tuple[int, int], ...]
    limbs: tuple[tuple[int, int], ...]
    sigmas: tuple[float, ...]
    upper_body: tuple[int, ...]

    def __post_init__(self) -> None:
        count = len(self.joints)
        where = f"skeleton {self.name[:MAX_NAME]!r}"
        if not 1 <= count <= MAX_JOINTS:
            raise ConfigError(f"{where}: {count} joints; give 1 to {MAX_JOINTS}")
        for name in (self.name, *self.joints):
            if not name.strip() or not name.isprintable() or len(name) > MAX_NAME:
                raise ConfigError(f"{where}: a name is {shown(name)}; give 1 to {MAX_NAME} visible characters")
        if len(set(self.joints)) != count:
            raise ConfigError(f"{where}: joint names repeat; give every joint its own name")
        if len(self.sigmas) != count:
            raise ConfigError(
                f"{where}: {count} joints but {len(self.sigmas)} OKS sigmas; give one positive number per joint"
            )
        for joint, sigma in zip(self.joints, self.sigmas, strict=True):
            if not MIN_SIGMA <= sigma <= MAX_SIGMA:
                raise ConfigError(
                    f"{where}: the OKS sigma of {shown(joint)} is {sigma:g}; OKS sigmas must be positive numbers, "
                    f"{MIN_SIGMA:g} to {MAX_SIGMA:g}"
                )
        used = [i for pair in (*self.flip_pairs, *self.limbs) for i in pair] + list(self.upper_body)
        if used and not 0 <= min(used) <= max(used) < count:
            raise ConfigError(f"{where}: flip_pairs, limbs and upper_body must hold joint indices 0 to {count - 1}")
        mirrored = [i for pair in self.flip_pairs for i in pair]
        if len(set(mirrored)) != len(mirrored):
            raise ConfigError(f"{where}: a joint is in two flip pairs; list every pair once")
        if len(set(self.upper_body)) != len(self.upper_body):
            raise ConfigError(f"{where}: a joint is in upper_body twice")

    @property
    def num_joints(self) -> int:
        """The number of joints."""
        return len(self.joints)

    @cached_property
    def flip_order(self) -> np.ndarray:
        """The index ``(K,)`` that swaps left and right: ``mirrored = joints[flip_order]``."""
        order = np.arange(self.num_joints)
        for left, right in self.flip_pairs:
            order[left], order[right] = right, left
        return order

    @cached_property
    def lower_body(self) -> tuple[int, ...]:
        """The joints that are not in ``upper_body``."""
        return tuple(i for i in range(self.num_joints) if i not in self.upper_body)

    def joint_color(self, joint: int) -> Color:
        """Return a joint's RGB color by body side, which makes a mirrored prediction easy to see."""
        name = self.joints[joint]
        if name.startswith("left"):
            return LEFT_COLOR
        return RIGHT_COLOR if name.startswith("right") else MIDDLE_COLOR

    def limb_color(self, limb: tuple[int, int]) -> Color:
        """Return a limb's RGB color by body side."""
        first, second = (self.joint_color(j) for j in limb)
        return first if first == second else MIDDLE_COLOR


def _coco_sigmas() -> dict[str, float]:
    """Return COCO's published constants by body part."""
    return {
        "nose": 0.026, "eye": 0.025, "ear": 0.035, "shoulder": 0.079, "elbow": 0.072,
        "wrist": 0.062, "hip": 0.107, "knee": 0.087, "ankle": 0.089,
    }  # fmt: skip


def _sigmas_by_part(joints: Sequence[str], extra: dict[str, float]) -> tuple[float, ...]:
    by_part = _coco_sigmas() | extra
    return tuple(by_part[name.split("_")[-1]] for name in joints)


_COCO = (
    "nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder", "left_elbow",
    "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle",
    "right_ankle",
)  # fmt: skip
_CROWDPOSE = (
    "left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_hip",
    "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle", "head", "neck",
)  # fmt: skip
_MPII = (
    "right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle", "pelvis", "thorax", "upper_neck",
    "head_top", "right_wrist", "right_elbow", "right_shoulder", "left_shoulder", "left_elbow", "left_wrist",
)  # fmt: skip
_LSP = (
    "right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle", "right_wrist", "right_elbow",
    "right_shoulder", "left_shoulder", "left_elbow", "left_wrist", "neck", "head_top",
)  # fmt: skip
_MPII_PAIRS = ((0, 5), (1, 4), (2, 3), (10, 15), (11, 14), (12, 13))
_MPII_LIMBS = (
    (0, 1), (1, 2), (2, 6), (3, 6), (3, 4), (4, 5), (6, 7), (7, 8), (8, 9), (10, 11), (11, 12), (12, 7), (13, 7),
    (13, 14), (14, 15),
)  # fmt: skip

# CrowdPose's evaluator gives head and neck the shoulder's constant. MPII and LSP define no OKS:
# their torso and head joints use the constants of the nearest COCO or CrowdPose body part.
_TORSO_SIGMAS = {"pelvis": 0.107, "thorax": 0.079, "neck": 0.079, "head": 0.079, "top": 0.079}
_MPII_SIGMAS = _sigmas_by_part(_MPII, _TORSO_SIGMAS)

FURTHER = Path(__file__).parent / "skeletons"
"""Joint sets of data sets on which trained weights exist: whole bodies, hands, faces, animals, clothes."""

SKELETONS: dict[str, Skeleton] = {
    skeleton.name: skeleton
    for skeleton in (
        Skeleton(
            name="coco17",
            joints=_COCO,
            flip_pairs=tuple((i, i + 1) for i in range(1, 17, 2)),
            limbs=(
                (15, 13), (13, 11), (11, 5), (12, 14), (14, 16), (12, 6), (3, 1), (1, 2), (1, 0), (0, 2), (2, 4),
                (9, 7), (7, 5), (5, 6), (6, 8), (8, 10), (11, 12),
            ),
            sigmas=_sigmas_by_part(_COCO, {}),
            upper_body=tuple(range(11)),
        ),
        Skeleton(
            name="crowdpose14",
            joints=_CROWDPOSE,
            flip_pairs=tuple((i, i + 1) for i in range(0, 12, 2)),
            limbs=(
                (12, 13), (13, 0), (13, 1), (0, 2), (2, 4), (1, 3), (3, 5), (0, 6), (1, 7), (6, 7), (6, 8), (8, 10),
                (7, 9), (9, 11),
            ),
            sigmas=_sigmas_by_part(_CROWDPOSE, _TORSO_SIGMAS),
            upper_body=(0, 1, 2, 3, 4, 5, 12, 13),
        ),
        Skeleton("mpii16", _MPII, _MPII_PAIRS, _MPII_LIMBS, _MPII_SIGMAS, tuple(range(7, 16))),
        Skeleton("lsp_mpii16", _MPII, _MPII_PAIRS, _MPII_LIMBS, _MPII_SIGMAS, tuple(range(7, 16))),
        Skeleton(
            name="lsp14",
            joints=_LSP,
            flip_pairs=((0, 5), (1, 4), (2, 3), (6, 11), (7, 10), (8, 9)),
            limbs=(
                (0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (6, 7), (7, 8), (8, 9), (9, 10), (10, 11), (12, 13), (8, 12),
                (9, 12), (2, 8), (3, 9),
            ),
            sigmas=_sigmas_by_part(_LSP, _TORSO_SIGMAS),
            upper_body=tuple(range(6, 14)),
        ),
    )
}  # fmt: skip


def get_skeleton(name_or_path: str | Path) -> Skeleton:
    """Return a built-in joint set by name, or read a user's own from a YAML file."""
    text = str(name_or_path)
    if text in SKELETONS:
        return SKELETONS[text]
    if text.endswith((".yaml", ".yml")):
        return read_skeleton(text)
    names = list_skeletons()
    if text in names:
        return _further_skeleton(text)
    hint = did_you_mean(text, names) or "."
    raise ConfigError(f"no skeleton named {text!r}{hint} Built in: {', '.join(names)}; or give a .yaml file")


def list_skeletons() -> list[str]:
    """Return the names of all built-in joint sets: those of `SKELETONS`, and those with a file in the package."""
    return [*SKELETONS, *sorted(file.stem for file in FURTHER.glob("*.yaml"))]


@cache
def _further_skeleton(name: str) -> Skeleton:
    return read_skeleton(FURTHER / f"{name}.yaml")


def read_skeleton(path: str | Path) -> Skeleton:
    """Read a joint set from YAML.

    Required: ``joints`` (names) and ``sigmas`` (one per joint; ``pose data sigmas`` estimates them from repeated
    annotations). Optional, by joint name: ``flip_pairs``, ``limbs``, ``upper_body``, and ``name``.
    """
    file = Path(path)
    content: Any = read_yaml_file(file, "skeleton file")
    if not isinstance(content, dict):
        raise ConfigError(f"skeleton file {file} must hold a mapping with the keys joints and sigmas")
    known = {"name", "joints", "sigmas", "flip_pairs", "limbs", "upper_body"}
    for key in content:
        if key not in known:
            raise ConfigError(f"skeleton file {file}: unknown key {shown(key)}{did_you_mean(key, known)}")
    joints = content.get("joints")
    if not isinstance(joints, list) or not joints:
        raise ConfigError(f"skeleton file {file}: 'joints' must be a list of names")
    sigmas = content.get("sigmas")
    if not isinstance(sigmas, list):
        raise ConfigError(
            f"skeleton file {file}: 'sigmas' is missing. AP needs the joint set's own OKS sigmas: list one per joint, "
            "or estimate them from images annotated twice with `pose data sigmas`"
        )
    names = [_text(joint, f"skeleton file {file}: joint {number}") for number, joint in enumerate(joints, 1)]
    positions = {name: position for position, name in enumerate(names)}

    def index(joint: object, key: str) -> int:
        found = positions.get(_text(joint, f"skeleton file {file}: a joint in '{key}'"))
        if found is None:
            raise ConfigError(f"skeleton file {file}: '{key}' names {shown(joint)}, which is not among the joints")
        return found

    def rows(key: str) -> list[Any]:
        found = content.get(key)
        if found is not None and not isinstance(found, list):
            raise ConfigError(f"skeleton file {file}: '{key}' must be a list")
        return found or []

    def pairs(key: str) -> tuple[tuple[int, int], ...]:
        if not all(isinstance(row, list) and len(row) == 2 for row in rows(key)):
            raise ConfigError(f"skeleton file {file}: '{key}' must be a list of pairs of joint names")
        return tuple((index(a, key), index(b, key)) for a, b in rows(key))

    try:
        if any(isinstance(sigma, bool) for sigma in sigmas):
            raise TypeError
        values = tuple(float(sigma) for sigma in sigmas)
    except (TypeError, ValueError):
        raise ConfigError(f"skeleton file {file}: 'sigmas' must be numbers, one per joint") from None
    return Skeleton(
        name=_text(content.get("name", file.stem), f"skeleton file {file}: 'name'"),
        joints=tuple(names),
        flip_pairs=pairs("flip_pairs"),
        limbs=pairs("limbs"),
        sigmas=values,
        upper_body=tuple(index(joint, "upper_body") for joint in rows("upper_body")),
    )


def _text(value: object, what: str) -> str:
    """Return a name, which may be a whole number in YAML."""
    if not isinstance(value, str | int) or isinstance(value, bool):
        raise ConfigError(f"{what} is {shown(value)}, not a name; write it in quotes")
    return str(value)


def estimate_sigmas(repeated: np.ndarray, areas: np.ndarray) -> np.ndarray:
    """Estimate OKS sigmas from people annotated several times, as COCO did.

    ``repeated`` is ``(people, annotators, K, 3)`` with visibility last, ``areas`` is ``(people,)`` in square pixels.
    Return ``(K,)``: σ² = E[d²/s²], with d the distance of an annotation from the true position and s² the area. The
    true position is estimated by the mean over annotators, which takes one degree of freedom.
    """
    if repeated.ndim != 4 or repeated.shape[1] < 2:
        raise ConfigError("estimating sigmas needs at least two annotations of every person: (people, ≥2, joints, 3)")
    points, seen = repeated[..., :2], repeated[..., 2:] > 0
    number = seen.sum(1)
    mean = (points * seen).sum(1) / np.maximum(number, 1)
    squares = (((points - mean[:, None]) ** 2) * seen).sum((1, 3)) / areas[:, None]
    freedom = np.maximum(number[..., 0] - 1, 0)
    total = freedom.sum(0)
    if (total == 0).any():
        lacking = np.flatnonzero(total == 0).tolist()
        raise ConfigError(
            f"joints {lacking} have fewer than two annotations on every person: their sigmas cannot be estimated"
        )
    return np.asarray(np.sqrt(np.where(freedom > 0, squares, 0).sum(0) / total), dtype=np.float64)
