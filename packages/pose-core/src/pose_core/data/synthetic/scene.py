"""A scene: clutter behind, people, and things in front of them, with everything known about every person."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np

from pose_core.data.synthetic.figure import Figure, draw_figure
from pose_core.data.synthetic.render import PARTS, Canvas, draw_outfit

Array = np.ndarray
Size = tuple[int, int]

OCCLUDER = 255
"""Owner number of things in front of people."""


@dataclass(frozen=True)
class DrawnPerson:
    """``landmarks`` by name: x, y and COCO's visibility. ``mask`` ``(H, W)`` bool is what is seen of the person."""

    landmarks: dict[str, tuple[float, float, int]]
    mask: Array
    head_box: tuple[float, float, float, float]
    height: float

    @property
    def box(self) -> tuple[float, float, float, float]:
        """Tight around the mask: x, y, w, h."""
        columns, rows = np.flatnonzero(self.mask.any(0)), np.flatnonzero(self.mask.any(1))
        return (
            float(columns[0]),
            float(rows[0]),
            float(columns[-1] - columns[0] + 1),
            float(rows[-1] - rows[0] + 1),
        )


@dataclass(frozen=True)
class Scene:
    """``image`` ``(H, W, 3)`` RGB uint8; ``parts`` ``(H, W)`` uint8 indexes ``PARTS``; ``owner`` is 1 + person."""

    image: Array
    people: list[DrawnPerson] = field(default_factory=list)
    parts: Array = field(default_factory=lambda: np.zeros((0, 0), np.uint8))
    owner: Array = field(default_factory=lambda: np.zeros((0, 0), np.uint8))


NEAR = {
    "shoulder": ("torso", "upper_arm"), "elbow": ("upper_arm", "forearm"), "wrist": ("forearm", "hand"),
    "hip": ("torso", "thigh"), "knee": ("thigh", "shin"), "ankle": ("shin", "foot"),
}  # fmt: skip
"""Parts that may cover a joint without hiding it."""
HEAD_PARTS = {PARTS.index("head"), PARTS.index("hair")}


def render_scene(seed: int, index: int, size: Size = (640, 480), people: tuple[int, int] = (1, 4)) -> Scene:
    """Scene ``index`` of a data set: the same picture for the same numbers, whoever draws it and in whatever order."""
    rng = np.random.default_rng([seed, index, 20261])
    width, height = size
    canvas = Canvas(_background(rng, size))
    count = int(rng.integers(people[0], people[1] + 1))
    figures: list[tuple[Figure, Array]] = []
    for _ in range(count):
        figure = draw_figure(rng)
        figures.append((figure, _placement(rng, figure, size, count)))
    # Larger people stand nearer.
    figures.sort(key=lambda entry: entry[1][0])
    for number, (figure, project) in enumerate(figures, 1):
        canvas.draw_figure(number, figure, draw_outfit(rng), project, rng)
    for _ in range(int(rng.random() < 0.3) * count):
        _draw_thing(rng, canvas, figures[int(rng.integers(count))])
    image = _finish(rng, canvas.image)
    drawn = [
        _describe(number, figure, project, canvas, (width, height))
        for number, (figure, project) in enumerate(figures, 1)
    ]
    return Scene(image, [person for person in drawn if person is not None], canvas.parts, canvas.owner)


def _placement(rng: np.random.Generator, figure: Figure, size: Size, count: int) -> Array:
    """(scale, x, y): a figure's size and where its pelvis stands; mostly inside, sometimes cut by the border."""
    width, height = size
    points = np.stack([point[:2] for point in figure.points.values()])
    extent = np.ptp(points, axis=0) + 0.15
    share = rng.uniform(0.55, 0.95) if count == 1 else rng.uniform(0.4, 0.85) * (1 if count < 4 else 0.85)
    scale = min(share * height / max(extent[1], 1.0), 1.1 * width / extent[0])
    low, high = points.min(0) * scale, points.max(0) * scale
    slack = 0.12 * scale if rng.random() < 0.2 else -0.05 * scale
    spans = [(-low[axis] - slack, (width, height)[axis] - high[axis] + slack) for axis in (0, 1)]
    place = [rng.uniform(a, b) if a < b else (a + b) / 2 for a, b in spans]
    return np.array([scale, *place])


def _background(rng: np.random.Generator, size: Size) -> Array:
    """Gradient, blotches, shapes and limb-like bars: enough to be mistaken for people now and then."""
    width, height = size
    tint = rng.integers(30, 226, 3)
    corners = (tint + rng.normal(0, 35, (2, 2, 3))).astype(np.float32)
    image = cv2.resize(corners, size, interpolation=cv2.INTER_LINEAR)
    blotches = rng.normal(0, 14, (max(height // 24, 2), max(width // 24, 2), 3)).astype(np.float32)
    image += cv2.resize(blotches, size, interpolation=cv2.INTER_CUBIC)
    image = image.clip(0, 255).astype(np.uint8)
    for _ in range(int(rng.integers(6, 22))):
        color = rng.integers(0, 256, 3).tolist()
        kind = rng.random()
        x, y = int(rng.integers(-20, width + 20)), int(rng.integers(-20, height + 20))
        reach = float(rng.uniform(0.04, 0.3)) * height
        if kind < 0.3:
            turn = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(3, 7))))
            shape = np.stack([x + reach * np.cos(turn), y + reach * np.sin(turn)], 1)
            cv2.fillConvexPoly(image, shape.astype(np.int32), color, cv2.LINE_AA)
        elif kind < 0.5:
            axes = (int(reach * rng.uniform(0.3, 1)), int(reach * rng.uniform(0.3, 1)))
            cv2.ellipse(image, (x, y), axes, float(rng.uniform(0, 180)), 0, 360, color, -1, cv2.LINE_AA)
        else:
            turn = rng.uniform(0, 2 * np.pi)
            end = (int(x + 1.5 * reach * np.cos(turn)), int(y + 1.5 * reach * np.sin(turn)))
            cv2.line(image, (x, y), end, color, max(1, int(reach * rng.uniform(0.03, 0.3))), cv2.LINE_AA)
    return image


def _draw_thing(rng: np.random.Generator, canvas: Canvas, entry: tuple[Figure, Array]) -> None:
    """Something in front of a person: a board or a ball over part of the body."""
    figure, project = entry
    names = list(figure.points)
    at = figure.points[names[int(rng.integers(len(names)))]][:2] * project[0] + project[1:]
    reach = float(rng.uniform(0.08, 0.22) * project[0])
    turn = rng.uniform(0, np.pi) + np.array([0, 1.2, np.pi, np.pi + 1.2])
    shape = np.stack([at[0] + reach * np.cos(turn), at[1] + reach * np.sin(turn)], 1).astype(np.int32)
    color = rng.integers(0, 256, 3).tolist()
    if rng.random() < 0.5:
        cv2.fillConvexPoly(canvas.image, shape, color, cv2.LINE_AA)
        cv2.fillConvexPoly(canvas.owner, shape, OCCLUDER)
        cv2.fillConvexPoly(canvas.parts, shape, 0)
    else:
        center = (int(at[0]), int(at[1]))
        cv2.circle(canvas.image, center, int(reach * 0.8), color, -1, cv2.LINE_AA)
        cv2.circle(canvas.owner, center, int(reach * 0.8), OCCLUDER, -1)
        cv2.circle(canvas.parts, center, int(reach * 0.8), 0, -1)


def _finish(rng: np.random.Generator, image: Array) -> Array:
    """Camera: softness, light, noise."""
    if rng.random() < 0.3:
        image = cv2.GaussianBlur(image, (3, 3), float(rng.uniform(0.3, 0.9)))
    grain = rng.integers(-9, 10, (image.shape[0] // 2 + 1, image.shape[1] // 2 + 1), dtype=np.int16)
    grain = cv2.resize(grain, image.shape[1::-1], interpolation=cv2.INTER_NEAREST)
    image = cv2.convertScaleAbs(image, alpha=float(rng.uniform(0.8, 1.15)), beta=float(rng.uniform(0, 12)))
    return cv2.add(image, cv2.merge([grain, grain, grain]), dtype=cv2.CV_8U)


def _describe(number: int, figure: Figure, project: Array, canvas: Canvas, size: Size) -> DrawnPerson | None:
    """What an annotator would write down, or None where nothing of the person is to be seen."""
    mask = canvas.owner == number
    if mask.sum() < 40:
        return None
    flat = {name: point[:2] * project[0] + project[1:] for name, point in figure.points.items()}
    landmarks = {
        name: (float(point[0]), float(point[1]), _visibility(name, point, number, figure, canvas, size))
        for name, point in flat.items()
    }
    center, radius = flat["head"], 0.125 * float(project[0])
    head_box = tuple(float(value) for value in (*(center - 1.05 * radius), *(center + 1.15 * radius)))
    height = float(np.ptp([point[1] for point in flat.values()]))
    return DrawnPerson(landmarks, mask, head_box, height)  # type: ignore[arg-type]


def _visibility(name: str, point: Array, number: int, figure: Figure, canvas: Canvas, size: Size) -> int:
    x, y = int(np.floor(point[0] + 0.5)), int(np.floor(point[1] + 0.5))
    if not (0 <= x < size[0] and 0 <= y < size[1]):
        return 0
    side, _, joint = name.rpartition("_")
    depth = figure.points[name][2] - figure.points["head"][2]
    if joint in {"eye", "ear", "nose"}:
        # The far side of a head cannot be guessed by eye: not labelled, as annotators do.
        if depth < (-0.06 if joint == "ear" else -0.03):
            return 0
        return 2 if canvas.owner[y, x] == number and int(canvas.parts[y, x]) in HEAD_PARTS else 1
    if canvas.owner[y, x] != number:
        return 1
    if joint in NEAR:
        allowed = {PARTS.index(p if p == "torso" else f"{side}_{p}") for p in NEAR[joint]}
        return 2 if int(canvas.parts[y, x]) in allowed else 1
    return 2
