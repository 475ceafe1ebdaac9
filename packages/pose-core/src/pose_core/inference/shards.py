"""Prediction in shards: what a job of many processes, on one machine or several, does with its inputs.

Every shard is written whole or not at all, so that a job that was killed continues where it stood: the same command
does the shards that are missing. How many processes do them may change from one start to the next. A shard's results do
not depend on the process that makes it, as images share batches within a shard only.
"""

from __future__ import annotations

import itertools
import logging
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from pose_core.digests import file_digest
from pose_core.engine.interfaces import DetectedImage
from pose_core.errors import ConfigError, DataError
from pose_core.files import write_json
from pose_core.inference.pipeline import ahead, map_ahead
from pose_core.inference.recipe import Recipe
from pose_core.inference.shard_inputs import Unit, as_text, find_units, read_frames, read_picture
from pose_core.inference.shard_plan import Plan, Settings, shared_plan
from pose_core.inference.shard_rows import FORMATS, Row, require_pyarrow, shard_file
from pose_core.machine import versions
from pose_core.photos import is_url
from pose_core.plugins.predictors import Predictor
from pose_core.reading.json_text import read_json
from pose_core.topdown.detectors import AnnotatedBoxes, Detector, FileDetector
from pose_core.verbosity import no_bar

Array = np.ndarray

_log = logging.getLogger(__name__)

COUNTED = ("images", "frames", "people", "without_people", "low_people")
"""What the manifest of a shard counts."""
AHEAD = 8
"""Number of decoded pictures that may wait, or a few more than threads read them: photos are large."""


class Origin(NamedTuple):
    """Which picture poses are of: the number and the name of an input of the plan, its size, and of a video the frame.

    ``size`` is width and height, ``time`` in seconds since the video's first frame.
    """

    number: int
    name: str
    size: tuple[int, int]
    frame: int | None = None
    time: float | None = None


def plan_shards(
    recipe: Recipe,
    words: Sequence[str],
    folder: Path,
    *,
    kind: str = "jsonl",
    shard_size: int = 1000,
    listed: Path | None = None,
    min_score: float | None = None,
    main: bool = True,
) -> Plan:
    """Return the plan of a prediction below ``folder``: the one that is there, or a new one.

    ``words`` are files, folders, patterns, URLs, archives (zip, tar) and videos, and ``listed`` is a file with one of
    these on each line. The plan is made by the ``main`` process, and others wait for it. A plan that is there is kept,
    also if a folder has got new files since; if it was made for anything else, a ConfigError says for what.
    """
    if kind not in FORMATS:
        raise ConfigError(f"--format {kind}: give one of {', '.join(FORMATS)}")
    if shard_size < 1:
        raise ConfigError(f"--shard-size {shard_size}: give a number from 1")
    if not words and listed is None:
        raise ConfigError("name at least one image, video, archive, folder, pattern or URL to predict, or give --list")
    if kind == "parquet":
        require_pyarrow()
    settings: Settings = {
        "inputs": [word if is_url(word) else _absolute(Path(word)) for word in words],
        "list": None if listed is None else _list_of(listed),
        "format": kind,
        "shard_size": shard_size,
        "min_score": min_score,
        **recipe.settings(),
    }

    def units() -> Iterator[Unit]:
        for unit in find_units(words, listed, folder):
            if unit.video and recipe.boxes:
                raise ConfigError(
                    f"{unit.label} is a video, and --boxes has no boxes for its frames: use --detector instead"
                )
            yield unit

    return shared_plan(folder, settings, units(), shard_size, main=main)


def _absolute(path: Path) -> str:
    return as_text(os.path.abspath(path.expanduser()))  # noqa: PTH100  without ..


def _list_of(file: Path) -> dict[str, object]:
    try:
        return {"file": _absolute(file), "sha256": file_digest(file.expanduser())}
    except OSError as error:
        raise ConfigError(f"list of inputs {file} cannot be read: {error.strerror}") from None


def predict_shards(
    plan: Plan,
    shards: Iterable[int],
    predictor: Predictor,
    detector: Detector,
    *,
    again: bool = False,
    threads: int = 1,
    processes: int = 1,
    quiet: bool = False,
) -> None:
    """Predict those of some shards that are missing, and with ``again`` also those with inputs that were unreadable.

    So many ``threads`` read images beside the network. Progress is shown, unless ``quiet``, as this process's share of
    what is missing among ``processes``.
    """
    left = min(len(plan.missing()) * plan.shard_size, plan.rows) // processes
    bar = tqdm(total=left, desc="predicting", unit="image", disable=no_bar(elsewhere=quiet), file=sys.stderr)
    with closing(bar):
        for shard in shards:
            if not plan.file(shard).exists() or (again and has_unreadable(plan, shard)):
                predict_shard(plan, shard, predictor, detector, threads=threads, advance=bar.update)
                _log.info("shard %d of %d is complete", shard, plan.shards)


def has_unreadable(plan: Plan, shard: int) -> bool:
    """Return whether some inputs of a complete shard could not be read."""
    return bool(read_json(plan.manifest(shard), "manifest")["unreadable"])


def predict_shard(
    plan: Plan,
    shard: int,
    predictor: Predictor,
    detector: Detector,
    *,
    threads: int = 1,
    advance: Callable[[], object] = lambda: None,
) -> None:
    """Predict one shard, and write it with its manifest, which says what went in and what could not be read.

    So many ``threads`` read images; ``advance`` is called after each.
    """
    counts: Counter[str] = Counter()
    unreadable: list[tuple[str, str]] = []
    names: list[str] = []
    min_score = plan.settings["min_score"]

    def units() -> Iterator[tuple[int, Unit]]:
        for number, unit in plan.units(shard):
            names.append(f"{unit.label} frames {unit.first}+{len(unit.ticks)}" if unit.ticks else unit.label)
            yield number, unit

    with shard_file(plan.file(shard), plan.format, predictor.skeleton) as write:
        for origin, found in predictor.predict_stream(_images(plan, units(), detector, threads, unreadable)):
            poses = replace(found, size=origin.size, source=origin.name)
            if isinstance(min_score, float | int):
                poses = poses[poses.pose_scores >= min_score]
            write(Row(origin.number, poses, origin.frame, origin.time))
            counts["images" if origin.frame is None else "frames"] += 1
            counts["people"] += len(poses)
            counts["without_people"] += not len(poses)
            counts["low_people"] += len(found) - len(poses)
            advance()
        about = {
            "shard": shard,
            **{name: counts[name] for name in COUNTED},
            "unreadable": [{"input": name, "reason": why} for name, why in unreadable],
            "inputs": names,
            "weights": plan.settings["weights"],
            "versions": _versions(),
        }
        write_json(plan.manifest(shard), about)  # first: a shard that exists has its manifest


def _images(
    plan: Plan,
    units: Iterator[tuple[int, Unit]],
    detector: Detector,
    threads: int,
    unreadable: list[tuple[str, str]],
) -> Iterator[DetectedImage[Origin]]:
    """Yield the images of units with people's boxes; names and reasons of others go to ``unreadable``."""
    # Annotated boxes count stored pixels.
    stored = isinstance(detector, FileDetector | AnnotatedBoxes)

    def read(entry: tuple[int, Unit]) -> Array | DataError:
        try:
            return read_picture(entry[1], plan.base, stored=stored)
        except DataError as error:
            return error

    for (video, problem), group in itertools.groupby(units, lambda entry: (entry[1].video, bool(entry[1].problem))):
        if problem:
            unreadable += [(unit.label, unit.problem) for _, unit in group]
        elif video:
            for number, unit in group:
                try:
                    with closing(ahead(read_frames(unit, plan.base), AHEAD)) as frames:
                        for each in frames:
                            origin = Origin(number, unit.label, _size(each.image), each.number, each.time)
                            yield DetectedImage(origin, each.image, *detector(each.image))
                except DataError as error:
                    unreadable.append((unit.label, str(error)))
        else:
            entries, again = itertools.tee(group)
            with ThreadPoolExecutor(threads) as pool:
                images = map_ahead(read, again, pool, max(AHEAD, threads + 2))
                for (number, unit), image in zip(entries, images, strict=True):
                    try:
                        if isinstance(image, DataError):
                            raise image
                        boxes = detector(image, Path(unit.member) if unit.member else plan.base / unit.name)
                    except DataError as error:
                        unreadable.append((unit.label, str(error)))
                    else:
                        yield DetectedImage(Origin(number, unit.label, _size(image)), image, *boxes)


@cache
def _versions() -> dict[str, str]:
    return {"pose-core": version("pose-core"), **versions()}


def _size(image: Array) -> tuple[int, int]:
    return image.shape[1], image.shape[0]
