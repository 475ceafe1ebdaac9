"""A skeleton file for the joints that a COCO-style annotation file declares."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from pose_core.data.numbers import shown
from pose_core.errors import DataError
from pose_core.reading.json_text import read_json
from pose_core.skeleton import SKELETONS

DEFAULT_SIGMA = 0.067
"""The mean of COCO's sigmas, for joints that COCO does not have."""
LONGEST_NAME = 100
"""Most characters of the name of a joint or a category."""
MOST_JOINTS = 1000
"""Most joints of a category: the largest joint sets in use, of whole bodies, have 133."""
_SIDES = {"left": "right", "Left": "Right", "LEFT": "RIGHT", "l": "r", "L": "R"}
_UPPER = ("nose", "eye", "ear", "head", "neck", "shoulder", "elbow", "wrist", "hand", "chest", "thorax")


def skeleton_file(file: Path, category: str | None = None) -> str:
    """Return the text of a skeleton file: the names and limbs of a category's keypoints, mirror pairs by name."""
    chosen = _category(file, category)
    joints: list[str] = chosen["keypoints"]
    content: dict[str, Any] = {"name": chosen["name"], "joints": joints}
    content["flip_pairs"] = [
        [name, other] for name in joints for other in joints if other != name and other == mirror_name(name)
    ]
    limbs = chosen.get("skeleton") or []
    if not isinstance(limbs, list) or not all(_is_limb(each, len(joints)) for each in limbs):
        raise DataError(
            f"{file}: category {content['name']!r} has a 'skeleton' that is not a list of pairs of joint numbers, "
            f"1 to {len(joints)}"
        )
    content["limbs"] = [[joints[a - 1], joints[b - 1]] for a, b in limbs]
    content["upper_body"] = [name for name in joints if any(part in name.lower() for part in _UPPER)]
    coco = dict(zip(SKELETONS["coco17"].joints, SKELETONS["coco17"].sigmas, strict=True))
    lines = [
        f"# The joints of category {content['name']!r} in {file.name!r}. Please check flip_pairs (left and right",
        "# joints) and upper_body (for augment.half_body), which are guessed from the names.",
        yaml.safe_dump(content, sort_keys=False, allow_unicode=True, default_flow_style=None, width=100).rstrip(),
        "# WARNING: these OKS sigmas are defaults, so AP on this data cannot be compared to other figures. Estimate",
        "# your own from people annotated twice: pose data sigmas --annotations first.json second.json",
        f"# Joints that COCO has, too, have COCO's sigmas; the others have their mean, {DEFAULT_SIGMA}:",
        f"# {', '.join(name for name in joints if name not in coco) or 'none'}.",
        "sigmas:",
        *(f"  - {coco.get(name, DEFAULT_SIGMA):.3f}  # {name}" for name in joints),
    ]
    return "\n".join(lines) + "\n"


def _is_limb(pair: object, joints: int) -> bool:
    return isinstance(pair, list) and len(pair) == 2 and all(type(end) is int and 1 <= end <= joints for end in pair)


def mirror_name(joint: str) -> str | None:
    """Return the right joint's name for a left one, ``left_knee`` or ``knee_L``; None for any other name."""
    words = re.split(r"([^A-Za-z]+|(?<=[a-z])(?=[A-Z]))", joint)
    for number, word in enumerate(words):
        if word in _SIDES:
            return "".join([*words[:number], _SIDES[word], *words[number + 1 :]])
    return None


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
