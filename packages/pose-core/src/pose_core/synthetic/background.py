"""Backgrounds: meadows, streets, rooms and clutter, with distractors that resemble limbs."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np

from pose_core.synthetic.wardrobe import HAIR, SKIN, sample_color

Array = np.ndarray
Generator = np.random.Generator
_BITS = 3


def draw_background(rng: Generator, size: tuple[int, int]) -> tuple[Array, float]:
    """Return a background ``(H, W, 3)`` uint8 RGB of ``size`` (width, height), and the row of the horizon."""
    width, height = size
    image = np.empty((height, width, 3), np.uint8)
    horizon = height * rng.uniform(0.45, 0.72)
    place = (_meadow, _street, _room, _clutter)[int(rng.choice(4, p=(0.27, 0.25, 0.28, 0.2)))]
    place(rng, image, horizon)
    for _ in range(int(rng.integers(1, 7))):
        _distractor(rng, image)
    return image, horizon


def _fill(image: Array, top: Array, bottom: Array, rows: slice) -> None:
    """Draw a vertical gradient over ``rows``."""
    count = len(range(*rows.indices(len(image))))
    shade = np.linspace(0, 1, max(count, 1), dtype=np.float32)[:count, None]
    column = top * (1 - shade) + bottom * shade
    image[rows] = np.clip(column, 0, 255).astype(np.uint8)[:, None]


def _tone(rng: Generator, base: tuple[float, float, float], spread: float = 22) -> Array:
    return np.clip(np.array(base) + rng.normal(0, spread, 3), 0, 255)


def _polygon(image: Array, points: Array, color: Array | tuple[float, float, float]) -> None:
    scaled = np.rint(np.asarray(points) * (1 << _BITS)).astype(np.int32)
    cv2.fillPoly(image, [scaled], [float(value) for value in color], cv2.LINE_AA, _BITS)


def _box(image: Array, left: float, top: float, right: float, bottom: float, color: Array) -> None:
    cv2.rectangle(image, (int(left), int(top)), (int(right), int(bottom)), [float(v) for v in color], -1)


def _blob(image: Array, center: tuple[float, float], axes: tuple[float, float], color: Array, turn: float = 0) -> None:
    cv2.ellipse(
        image, (int(center[0]), int(center[1])), (max(int(axes[0]), 1), max(int(axes[1]), 1)), turn, 0, 360,
        [float(v) for v in color], -1, cv2.LINE_AA,
    )  # fmt: skip


def _meadow(rng: Generator, image: Array, horizon: float) -> None:
    """Draw sky, clouds, hills, trees and grass."""
    height, width = image.shape[:2]
    sky, grass = _tone(rng, (150, 196, 232)), _tone(rng, (112, 158, 84), 26)
    _fill(image, sky, sky * 0.4 + 150, slice(0, int(horizon)))
    for _ in range(int(rng.integers(0, 5))):
        x, y, r = rng.uniform(0, width), rng.uniform(0, horizon * 0.7), rng.uniform(0.04, 0.1) * height
        for shift in (-1.1, 0, 1.0):
            _blob(image, (x + shift * r, y + abs(shift) * r * 0.3), (r * 1.3, r * 0.7), np.array([240, 243, 247]))
    columns = np.linspace(0, width, 13)
    for layer in range(int(rng.integers(1, 4))):
        waves = rng.uniform(0.02, 0.09) * height * np.sin(columns / width * rng.uniform(3, 9) + rng.uniform(0, 6))
        ridge = horizon - (2 - layer) * 0.05 * height + waves
        outline = np.concatenate([np.stack([columns, ridge], 1), [[width, height], [0, height]]])
        _polygon(image, outline, np.clip(grass * (0.75 + 0.1 * layer) + (22, 18, 30), 0, 255))
    _fill(image, grass * 0.9, np.clip(grass * 1.12, 0, 255), slice(int(horizon + 0.03 * height), height))
    for _ in range(int(rng.integers(1, 6))):
        x, base = rng.uniform(0, width), horizon + rng.uniform(0.0, 0.12) * height
        tall = rng.uniform(0.2, 0.55) * height
        _box(image, x - tall * 0.035, base - tall * 0.5, x + tall * 0.035, base, _tone(rng, (104, 78, 54), 12))
        leaves = _tone(rng, (74, 122, 66), 24)
        for _ in range(4):
            at = (x + rng.normal(0, tall * 0.12), base - tall * rng.uniform(0.5, 0.9))
            _blob(image, at, (tall * 0.2, tall * 0.18), leaves * rng.uniform(0.85, 1.15))


def _street(rng: Generator, image: Array, horizon: float) -> None:
    """Draw facades with windows, a sidewalk and poles."""
    height, width = image.shape[:2]
    sky, road = _tone(rng, (186, 204, 220)), _tone(rng, (134, 132, 132), 14)
    _fill(image, sky, sky * 0.6 + 90, slice(0, int(horizon)))
    x = -rng.uniform(0, 0.2) * width
    while x < width:
        wide, top = rng.uniform(0.14, 0.34) * width, rng.uniform(-0.1, 0.35) * height
        wall = np.array(sample_color(rng, (0.05, 0.5)))
        _box(image, x, top, x + wide, horizon, wall)
        pane = _tone(rng, (90, 108, 128), 30)
        columns, rows = int(rng.integers(2, 5)), int(rng.integers(2, 5))
        step_x, step_y = wide / columns, (horizon - top) / (rows + 0.5)
        for column in range(columns):
            for row in range(rows):
                left, upper = x + (column + 0.25) * step_x, top + (row + 0.3) * step_y
                _box(image, left, upper, left + step_x * 0.5, upper + step_y * 0.55, pane)
        x += wide
    _fill(image, road * 1.12, road * 0.9, slice(int(horizon), height))
    for _ in range(int(rng.integers(2, 6))):
        bottom = rng.uniform(-0.5, 1.5) * width
        top_point = width / 2 + (bottom - width / 2) * 0.4
        line = [[top_point, horizon], [top_point + 2, horizon], [bottom + 6, height], [bottom, height]]
        _polygon(image, np.array(line), road * 0.8)
    for _ in range(int(rng.integers(0, 4))):
        x = rng.uniform(0, width)
        _box(
            image, x, rng.uniform(0, 0.4) * height, x + width * 0.012, horizon + 0.06 * height, _tone(rng, (70, 72, 78))
        )


def _room(rng: Generator, image: Array, horizon: float) -> None:
    """Draw a wall, floor boards, framed pictures, a window and furniture."""
    height, width = image.shape[:2]
    wall, floor = np.array(sample_color(rng, (0.05, 0.45))) * 0.5 + 100, _tone(rng, (158, 124, 92), 26)
    _fill(image, wall, wall * 0.9, slice(0, int(horizon)))
    if rng.random() < 0.4:
        stripe, step = wall * rng.uniform(0.86, 0.96), int(width * rng.uniform(0.03, 0.09)) + 3
        for x in range(0, width, 2 * step):
            _box(image, x, 0, x + step, horizon, stripe)
    _fill(image, floor * 0.92, np.clip(floor * 1.1, 0, 255), slice(int(horizon), height))
    vanish = rng.uniform(0.2, 0.8) * width
    for x in np.linspace(-width, 2 * width, 22):
        top = vanish + (x - vanish) * 0.45
        cv2.line(image, (int(top), int(horizon)), (int(x), height), (floor * 0.82).tolist(), 1, cv2.LINE_AA)
    _box(image, 0, horizon - 0.015 * height, width, horizon, np.clip(wall * 1.15, 0, 255))
    for _ in range(int(rng.integers(1, 5))):
        w, h = rng.uniform(0.08, 0.22, 2) * (width, height)
        x, y = rng.uniform(0, width - w), rng.uniform(0, max(horizon * 0.75 - h, 1))
        _box(image, x, y, x + w, y + h, _tone(rng, (226, 220, 208)))
        inside = image[int(y + 3) : int(y + h - 3), int(x + 3) : int(x + w - 3)]
        if inside.size:
            _fill(inside, np.array(sample_color(rng)), np.array(sample_color(rng)), slice(None))
    for _ in range(int(rng.integers(0, 4))):
        w, h = rng.uniform(0.1, 0.35) * width, rng.uniform(0.12, 0.4) * height
        x, base = rng.uniform(-0.1, 0.95) * width, horizon + rng.uniform(0.02, 0.12) * height
        wood = np.array(sample_color(rng, (0.2, 0.7))) * 0.8
        _box(image, x, base - h, x + w, base, wood)
        _box(image, x + w * 0.06, base - h * 0.92, x + w * 0.94, base - h * 0.52, wood * 0.86)
        _box(image, x + w * 0.06, base - h * 0.46, x + w * 0.94, base - h * 0.08, wood * 0.86)


def _clutter(rng: Generator, image: Array, horizon: float) -> None:
    """Draw overlapping shapes on a gradient."""
    height, width = image.shape[:2]
    _fill(image, np.array(sample_color(rng)), np.array(sample_color(rng)), slice(None))
    for _ in range(int(rng.integers(8, 22))):
        color = np.array(sample_color(rng))
        x, y, r = rng.uniform(0, width), rng.uniform(0, height), rng.uniform(0.04, 0.22) * height
        if rng.random() < 0.5:
            _blob(image, (x, y), (r, r * rng.uniform(0.3, 1)), color, rng.uniform(0, 180))
        else:
            turn = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(3, 7))))
            _polygon(image, np.stack([x + r * np.cos(turn), y + r * np.sin(turn)], 1), color)


def _distractor(rng: Generator, image: Array) -> None:
    """Draw a bent bar or a ball in the colors of skin, hair or cloth."""
    height, width = image.shape[:2]
    kind = rng.random()
    color = (
        SKIN[int(rng.integers(len(SKIN)))] if kind < 0.3
        else HAIR[int(rng.integers(len(HAIR)))] if kind < 0.4
        else sample_color(rng)
    )  # fmt: skip
    at = rng.uniform(0, 1, 2) * (width, height)
    if rng.random() < 0.2:
        radius = rng.uniform(0.015, 0.05) * height
        _blob(image, (float(at[0]), float(at[1])), (radius, radius * 1.2), np.array(color))
        return
    turn, thick = rng.uniform(0, 2 * np.pi), max(int(rng.uniform(0.008, 0.035) * height), 1)
    for _ in range(int(rng.integers(1, 4))):
        end = at + rng.uniform(0.06, 0.22) * height * np.array([np.cos(turn), np.sin(turn)])
        cv2.line(image, at.astype(int).tolist(), end.astype(int).tolist(), color, thick, cv2.LINE_AA)
        at, turn = end, turn + rng.uniform(-1.5, 1.5)


@cache
def grain() -> Array:
    """Return a fixed ``(512, 512)`` int16 tile of noise of standard deviation 16, cropped at random for every image."""
    return np.rint(np.random.default_rng(7).normal(0, 16, (512, 512))).astype(np.int16)


def cut_grain(rng: Generator, size: tuple[int, int]) -> Array:
    """Return ``(H, W)`` int16 noise of standard deviation 16; large images repeat the tile."""
    width, height = size
    x, y = (int(value) for value in rng.integers(0, 512, 2))
    rows, columns = (np.arange(y, y + height) % 512), (np.arange(x, x + width) % 512)
    return np.asarray(grain()[rows][:, columns])
