"""What a person has labeled in an annotation tool: the images by their names there, and the people."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pose_core.layouts.formats.people import Box

Array = np.ndarray


@dataclass(frozen=True)
class LabeledPerson:
    """One person: ``joints`` ``(K, 3)`` float64 as in `Person`, and the box, or None if nobody has drawn one."""

    joints: Array
    box: Box | None


@dataclass(frozen=True)
class LabeledImage:
    """One image: its name, address or path in the tool, its size (0, 0 if the tool states none) and its people."""

    name: str
    size: tuple[int, int]
    people: tuple[LabeledPerson, ...]
