"""A skeleton file for the joints that a COCO-style annotation file declares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import yaml

from pose_core.errors import DataError
from pose_core.joint_maps import meaning
from pose_core.reading.json_text import read_json
from pose_core.reading.printable import shown
from pose_core.skeleton import MAX_SIGMA, MIN_SIGMA, SKELETONS, Skeleton

DEFAULT_SIGMA = 0.067
"""The mean of COCO's sigmas, for joints that COCO does not have."""
LONGEST_NAME = 100
"""Most characters of the name of a joint or a category."""
MOST_JOINTS = 1000
"""Most joints of a category: the largest joint sets in use, of whole bodies, have 133."""
_OTHER_SIDE = {"left": "right", "l": "r"}
_UPPER = ("nose", "eye", "ear", "head", "neck", "shoulder", "elbow", "wrist", "hand", "chest", "thorax")


def skeleton_file(
    file: Path,
    category: str | None = None,
    sigmas: Literal["default", "coco"] = "default",
    estimates: Mapping[str, float] | None = None,
) -> str:
    """Return the text of a skeleton file: the names and limbs of a category's keypoints, mirror pairs by name.

    OKS sigmas are ``estimates`` by joint. Without any they are COCO's; for joints that COCO does not have, the mean of
    COCO's (``default``), or an error (``coco``).
    """
    chosen = _category(file, category)
    joints: list[str] = chosen["keypoints"]
    content: dict[str, Any] = {"name": chosen["name"], "joints": joints}
    pairs = mirror_pairs(joints)
    content["flip_pairs"] = [[joints[a], joints[b]] for a, b in pairs]
    limbs = chosen.get("skeleton") or []
    if not isinstance(limbs, list) or not all(_is_limb(each, len(joints)) for each in limbs):
        raise DataError(
            f"{file}: category {content['name']!r} has a 'skeleton' that is not a list of pairs of joint numbers, "
            f"1 to {len(joints)}"
        )
    content["limbs"] = [[joints[a - 1], joints[b - 1]] for a, b in limbs]
    content["upper_body"] = [name for name in joints if any(part in name.lower() for part in _UPPER)]
    remarks, values = _defaults(file, joints, sigmas) if estimates is None else _estimated(file, joints, estimates)
    limb_pairs = tuple((a - 1, b - 1) for a, b in limbs)
    Skeleton(
        chosen["name"], tuple(joints), tuple(pairs), limb_pairs, tuple(map(float, values)), ()
    )  # refuses odd names
    lines = [
        f"# The joints of category {content['name']!r} in {file.name!r}. Please check flip_pairs (left and right",
        "# joints) and upper_body (for augment.half_body), which are guessed from the names.",
        yaml.safe_dump(content, sort_keys=False, allow_unicode=True, default_flow_style=None, width=100).rstrip(),
        *remarks,
        "sigmas:",
        *(f"  - {value}  # {name}" for name, value in zip(joints, values, strict=True)),
    ]
    return "\n".join(lines) + "\n"


def _defaults(file: Path, joints: Sequence[str], sigmas: str) -> tuple[list[str], list[str]]:
    """Return remarks and sigmas as texts: COCO's, and their mean for other joints if ``sigmas`` is "default"."""
    known = dict(zip(map(meaning, SKELETONS["coco17"].joints), SKELETONS["coco17"].sigmas, strict=True))
    others = [name for name in joints if meaning(name) not in known]
    if sigmas == "coco" and others:
        raise DataError(
            f"{file}: COCO has no sigma for {', '.join(others[:10])}{', …' if len(others) > 10 else ''}; estimate them "
            "with --annotations, or take the mean of COCO's for them with --sigmas default"
        )
    remarks = [
        "# WARNING: these OKS sigmas are defaults, so AP on this data cannot be compared to other figures. Estimate",
        "# your own from people annotated twice: pose data sigmas --annotations first.json second.json",
        f"# Joints that COCO has, too, have COCO's sigmas; the others have their mean, {DEFAULT_SIGMA}:",
        f"# {', '.join(others) or 'none'}.",
    ]
    if sigmas == "coco":
        remarks = ["# COCO's OKS sigmas."]
    return remarks, [f"{known.get(meaning(name), DEFAULT_SIGMA):.3f}" for name in joints]


def _estimated(file: Path, joints: Sequence[str], estimates: Mapping[str, float]) -> tuple[list[str], list[str]]:
    """Return remarks and estimated sigmas as texts."""
    lacking = [name for name in joints if name not in estimates]
    if lacking:
        raise DataError(
            f"{file}: no sigma was estimated for {', '.join(lacking[:10])}{', …' if len(lacking) > 10 else ''}; give "
            "repeated annotations of the joints of this category"
        )
    values = [round(estimates[name], 4) for name in joints]
    same = [name for name, value in zip(joints, values, strict=True) if not MIN_SIGMA <= value <= MAX_SIGMA]
    if same:
        raise DataError(
            f"no sigma can be estimated for {', '.join(same[:10])}{', …' if len(same) > 10 else ''}: the annotations "
            "are identical, or far apart; give files of different annotators of the same people"
        )
    return ["# OKS sigmas estimated from people annotated several times."], [f"{value:.4f}" for value in values]


def mirror_pairs(joints: Sequence[str]) -> list[tuple[int, int]]:
    """Return the numbers of left and right joints that have one name but for the side, ``left_knee`` or ``kneeL``."""
    places: dict[str, int] = {}
    for number, name in enumerate(joints):
        places.setdefault(meaning(name), number)
    pairs = []
    for name, left in places.items():
        side, _, rest = name.partition("_")
        mirrored = "_".join(filter(None, [_OTHER_SIDE.get(side, ""), rest]))
        if side in _OTHER_SIDE and mirrored in places:
            pairs.append((left, places[mirrored]))
    return pairs


def _is_limb(pair: object, joints: int) -> bool:
    return isinstance(pair, list) and len(pair) == 2 and all(type(end) is int and 1 <= end <= joints for end in pair)


def named_categories(content: object, file: Path) -> list[dict[str, Any]]:
    """Return the categories of a COCO mapping that have joints; their names are texts that differ and can be shown."""
    listed = content.get("categories") if isinstance(content, dict) else None
    named = [each for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []
    named = [each for each in named if isinstance(each.get("keypoints"), list) and each["keypoints"]]
    if not named:
        raise DataError(f"{file} has no category with a list of 'keypoints', the names of the joints; add them")
    for category in named:
        names, title = category["keypoints"], category.setdefault("name", file.stem)
        for name in (title, *names):
            if not isinstance(name, str) or not name.isprintable() or not 0 < len(name) <= LONGEST_NAME:
                raise DataError(
                    f"{file}: category {shown(title)} has the name {shown(name)}; names of categories and joints must "
                    f"be printable texts of 1 to {LONGEST_NAME} characters"
                )
        if len(set(names)) < len(names) or len(names) > MOST_JOINTS:
            fault = "two joints of one name" if len(names) <= MOST_JOINTS else f"more than {MOST_JOINTS} joints"
            raise DataError(f"{file}: category {title!r} has {fault}; give each joint its own name")
    return named


def _category(file: Path, name: str | None) -> dict[str, Any]:
    named = named_categories(read_json(file), file)
    chosen = [each for each in named if name is None or each["name"] == name]
    if len({tuple(each["keypoints"]) for each in chosen}) != 1:
        have = ", ".join(repr(each["name"]) for each in named)
        wanted = "several categories have keypoints" if name is None else f"no category is named {name!r}"
        raise DataError(f"{file}: {wanted}; choose one with --category: {have}")
    return chosen[0]
