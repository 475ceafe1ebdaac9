"""Annotations on their images: a contact sheet, or an HTML page."""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from pose_core.config import DataConfig
from pose_core.data.images import open_image
from pose_core.drawing.sheets import contact_sheet, write_image
from pose_core.drawing.skeletons import HIDDEN, draw_skeleton, palette
from pose_core.errors import ConfigError, DataError
from pose_core.files import write_text
from pose_core.layouts.reader import read_dataset
from pose_core.skeleton import Skeleton
from pose_core.structures import ImageRecord, Person


def browse(data: DataConfig, split: str, target: Path, count: int, seed: int = 0) -> Path:
    """Draw ``count`` random images of a split with their people; the same seed chooses the same images."""
    found = read_dataset(data, split)
    if not found.records:
        raise DataError(f"{found.annotation_file} lists no images to show; choose another split")
    chosen = np.random.default_rng(seed).permutation(len(found.records))[:count]
    records = [found.records[number] for number in sorted(chosen.tolist())]
    images = [draw_record(record, found.skeleton) for record in records]
    captions = [_caption(record) for record in records]
    write_pictures(target, f"{data.layout} {split}", images, captions)
    return target


def write_pictures(
    target: Path,
    title: str,
    images: Sequence[np.ndarray],
    captions: Sequence[str],
    *,
    columns: int = 4,
    tile: tuple[int, int] = (360, 270),
) -> None:
    """Write RGB images with captions as a contact sheet, or as an HTML page, whichever the target's suffix says."""
    if target.suffix.lower() in {".html", ".htm"}:
        write_text(target, _page(title, images, captions))
    elif target.suffix.lower() in {".jpg", ".jpeg", ".png"}:
        write_image(target, contact_sheet(images, captions, columns=columns, tile=tile))
    else:
        raise ConfigError(f"--out {target} must end in .jpg, .jpeg, .png, .htm or .html")


def draw_record(record: ImageRecord, skeleton: Skeleton, longest: int = 800) -> np.ndarray:
    """Return an image ``(H, W, 3)`` RGB with its annotated people, no side longer than ``longest``.

    The image is resized before drawing: lines drawn at full size would vanish in a thumbnail.
    """
    image = open_image(record.source, "rgb")
    zoom = min(1.0, longest / max(image.shape[:2]))
    if zoom < 1:
        image = cv2.resize(image, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_AREA)
    for person in record.persons:
        joints = person.joints * np.array([zoom, zoom, 1], np.float32)
        box = None if person.box is None else tuple(value * zoom for value in person.box)
        draw_person(image, replace(person, joints=joints, box=box), skeleton)
    return image


def draw_person(image: np.ndarray, person: Person, skeleton: Skeleton, *, box: bool = True) -> None:
    """Draw an annotated person into ``image``: hidden joints with a white center, the box as a thin line."""
    labels = person.joints[:, 2]
    if box and person.box is not None:
        x, y, w, h = (round(value) for value in person.box)
        cv2.rectangle(image, (x, y), (x + w, y + h), HIDDEN, 1, cv2.LINE_AA)
    draw_skeleton(image, person.joints[:, :2], labels > 0, skeleton, palette(skeleton), hidden=labels == 1)


def _caption(record: ImageRecord) -> str:
    name = re.split(r"[/\\@]", record.source)[-1]
    count = len(record.persons)
    return f"{name}: {count or 'no'} {'person' if count == 1 else 'people'} annotated"


def _page(title: str, images: Sequence[np.ndarray], captions: Sequence[str]) -> str:
    """Return a self-contained HTML page."""
    figures = []
    for image, caption in zip(images, captions, strict=True):
        data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1].tobytes()
        source = base64.b64encode(data).decode()
        figures.append(
            f'<figure><img src="data:image/jpeg;base64,{source}">'
            f"<figcaption>{html.escape(caption)}</figcaption></figure>"
        )
    style = "body{font:14px sans-serif;background:#fafaf8}figure{display:inline-block;margin:6px}img{height:320px}"
    head = f"<!doctype html><meta charset=utf-8><title>{html.escape(title)}</title><style>{style}</style>"
    return f"{head}<h1>{html.escape(title)}</h1>{''.join(figures)}"
