"""Draw many scenes, in one or several processes, and store their image files."""

from __future__ import annotations

import multiprocessing
import time
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from pose_core.files import whole_file
from pose_core.synthetic.annotate import DrawnPerson, Size
from pose_core.synthetic.scene import render_scene
from pose_core.verbosity import no_bar

Array = np.ndarray

COMMON_SIZES = ((640, 480), (640, 427), (480, 640), (500, 375), (640, 360), (427, 640))
"""Usual image sizes of published data sets (width, height), sampled if no size is given."""
SPLIT_STRIDE = 1_000_000
"""The distance between the image ids of splits, so that a scene does not depend on the sizes of other splits."""


@dataclass(frozen=True)
class Recipe:
    """The settings of a data set's scenes. With ``size`` None, the size varies between images."""

    seed: int
    size: Size | None
    people: tuple[int, int]
    crowds: bool = False
    whole: bool = False
    masks: bool = False


@dataclass(frozen=True)
class Drawn:
    """The annotations of a scene; and, until they are stored, the encoded image and part map."""

    image_id: int
    size: Size
    people: list[DrawnPerson]
    crowd: Array | None
    jpeg: bytes
    part_png: bytes | None


@dataclass(frozen=True)
class Target:
    """The place of images: ``folder``, or ``folder.zip`` (with ``append`` if several splits share it).

    ``part_folder`` is for part maps, PNG files whose values are indices into ``PARTS``.
    """

    folder: Path
    zipped: bool
    part_folder: Path
    append: bool = False


def image_ids(split_number: int, count: int) -> range:
    """Return ``count`` image ids, from 1, 1,000,001, 2,000,001 … by split."""
    start = split_number * SPLIT_STRIDE + 1
    return range(start, start + count)


def draw(recipe: Recipe, image_id: int) -> Drawn:
    """Draw and encode one scene."""
    rng = np.random.default_rng([recipe.seed, image_id, 1])
    size = recipe.size or COMMON_SIZES[int(rng.integers(len(COMMON_SIZES)))]
    scene = render_scene(recipe.seed, image_id, size, recipe.people, crowds=recipe.crowds, whole=recipe.whole)
    quality = int(rng.integers(78, 96))
    encoded = cv2.imencode(".jpg", scene.image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    png = cv2.imencode(".png", scene.parts)[1].tobytes() if recipe.masks else None
    return Drawn(image_id, size, scene.people, scene.crowd, encoded.tobytes(), png)


def draw_samples(recipe: Recipe, count: int) -> tuple[list[Drawn], float]:
    """Return the first ``count`` scenes of the first split, and how many of them this process draws in a second."""
    draw(recipe, 1)  # the first is slower
    before = time.perf_counter()
    scenes = [draw(recipe, image_id) for image_id in image_ids(0, count)]
    return scenes, count / (time.perf_counter() - before)


def draw_all(
    recipe: Recipe, ids: range, names: list[str], target: Target, workers: int, progress: bool
) -> Iterator[tuple[str, Drawn]]:
    """Draw and store images ``ids`` under ``names``, and yield them in order."""
    from tqdm import tqdm

    with ExitStack() as stack:
        if workers > 1:
            pool = stack.enter_context(multiprocessing.get_context("spawn").Pool(workers, _one_thread))
            drawn: Iterator[Drawn] = pool.imap(partial(draw, recipe), ids, chunksize=8)
        else:
            drawn = map(partial(draw, recipe), ids)
        archive = stack.enter_context(_archive(target)) if target.zipped else None
        bar = tqdm(zip(names, drawn, strict=True), target.folder.name, len(ids), disable=no_bar(elsewhere=not progress))
        for name, scene in bar:
            _store(target, archive, name, scene)
            yield name, replace(scene, jpeg=b"", part_png=None)  # a large data set would not fit in memory


def _one_thread() -> None:
    cv2.setNumThreads(1)


def _archive(target: Target) -> zipfile.ZipFile:
    target.folder.parent.mkdir(parents=True, exist_ok=True)
    file = target.folder.with_name(f"{target.folder.name}.zip")
    if file.is_symlink():  # it would lead the writing to another file
        file.unlink()
    return zipfile.ZipFile(file, "a" if target.append else "w")  # JPEGs do not compress further


def _store(target: Target, archive: zipfile.ZipFile | None, name: str, drawn: Drawn) -> None:
    if archive is not None:
        # A fixed date: the same arguments write the same bytes.
        archive.writestr(zipfile.ZipInfo(f"{target.folder.name}/{name}", (2026, 1, 1, 0, 0, 0)), drawn.jpeg)
    else:
        with whole_file(target.folder / name, sync=False) as file:
            file.write(drawn.jpeg)
    if drawn.part_png is not None:
        with whole_file((target.part_folder / name).with_suffix(".png"), sync=False) as file:
            file.write(drawn.part_png)
