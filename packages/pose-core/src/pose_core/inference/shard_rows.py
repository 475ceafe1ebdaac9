"""The rows of a shard: a line of JSON or a row of Parquet for every picture and frame, also of those with nobody."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from pose_core.errors import ConfigError, PoseError
from pose_core.files import whole_file
from pose_core.installation import install_hint
from pose_core.skeleton import Skeleton
from pose_core.structures import Poses

Array = np.ndarray

FORMATS = ("jsonl", "parquet")
GROUP = 512
"""Rows of Parquet that are written together."""


@dataclass(frozen=True)
class Row:
    """The poses in a picture, the input ``number`` of the plan, or in one ``frame`` of a video at ``time`` seconds."""

    number: int
    poses: Poses
    frame: int | None = None
    time: float | None = None

    def to_json(self) -> bytes:
        """Return a line: the input's number, the frame, and what `Poses.to_dict` returns."""
        about: dict[str, object] = {"input": self.number}
        if self.frame is not None and self.time is not None:
            about |= {"frame": self.frame, "time": round(self.time, 6)}
        return json.dumps({**about, **self.poses.to_dict()}, separators=(",", ":")).encode() + b"\n"


def require_pyarrow() -> ModuleType:
    """Return PyArrow; raise a ConfigError that says how to install it."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise ConfigError(f"Parquet needs PyArrow: {install_hint('parquet')}; or use --format jsonl") from None
    return pyarrow


@contextmanager
def shard_file(path: Path, kind: str, skeleton: Skeleton) -> Iterator[Callable[[Row], None]]:
    """Open a shard for the block, which gets a function that writes a row; it exists when the block has succeeded.

    Another job may have written the same shard meanwhile and removed what was unfinished: then that one stays.
    """
    writer = _parquet_rows if kind == "parquet" else _json_rows
    is_new = not path.exists()
    try:
        with whole_file(path) as file, writer(file, skeleton) as write:
            yield write
    except PoseError as error:
        if not (is_new and isinstance(error.__context__, FileNotFoundError) and path.exists()):
            raise


@contextmanager
def _json_rows(file: Any, skeleton: Skeleton) -> Iterator[Callable[[Row], None]]:
    def write(row: Row) -> None:
        file.write(row.to_json())

    yield write


@contextmanager
def _parquet_rows(file: Any, skeleton: Skeleton) -> Iterator[Callable[[Row], None]]:
    pa = require_pyarrow()
    schema = parquet_schema(skeleton)
    waiting: list[Row] = []

    with pa.parquet.ParquetWriter(file, schema) as writer:

        def write(row: Row) -> None:
            waiting.append(row)
            if len(waiting) == GROUP:
                writer.write_batch(pa.record_batch(columns(waiting), schema=schema))
                waiting.clear()

        yield write
        if waiting:
            writer.write_batch(pa.record_batch(columns(waiting), schema=schema))


def parquet_schema(skeleton: Skeleton) -> Any:
    """Return the columns of a shard; their metadata name the joints."""
    pa = require_pyarrow()
    number, joints = pa.float32(), skeleton.num_joints
    return pa.schema(
        {
            "input": pa.int64(),
            "image": pa.string(),
            "frame": pa.int64(),
            "time": pa.float64(),
            "width": pa.int32(),
            "height": pa.int32(),
            "pose_scores": pa.list_(number),
            "boxes": pa.list_(pa.list_(number, 4)),
            "keypoints": pa.list_(pa.list_(pa.list_(number, 2), joints)),
            "scores": pa.list_(pa.list_(number, joints)),
        },
        metadata={"skeleton": skeleton.name, "joints": json.dumps(skeleton.joints)},
    )


def columns(rows: Sequence[Row]) -> list[Any]:
    """Return rows as arrays of `parquet_schema`, one for each column, copied from the poses' arrays as they are."""
    pa = require_pyarrow()
    poses = [row.poses for row in rows]
    joints = poses[0].skeleton.num_joints
    offsets = pa.array(np.cumsum([0, *(len(each) for each in poses)]), pa.int32())

    def flat(parts: Sequence[Array]) -> Any:
        return pa.array(np.concatenate([np.asarray(part, np.float32).ravel() for part in parts]))

    def people(values: Any, mask: Any = None) -> Any:
        return pa.ListArray.from_arrays(offsets, values, mask=mask)

    fixed = pa.FixedSizeListArray.from_arrays
    no_boxes = np.array([each.boxes is None for each in poses])
    boxes = [np.zeros((len(each), 4)) if each.boxes is None else each.boxes for each in poses]
    return [
        pa.array([row.number for row in rows], pa.int64()),
        pa.array([each.source for each in poses], pa.string()),
        pa.array([row.frame for row in rows], pa.int64()),
        pa.array([row.time for row in rows], pa.float64()),
        pa.array([each.size[0] if each.size else None for each in poses], pa.int32()),
        pa.array([each.size[1] if each.size else None for each in poses], pa.int32()),
        people(flat([each.pose_scores for each in poses])),
        people(fixed(flat(boxes), 4), pa.array(no_boxes)),
        people(fixed(fixed(flat([each.keypoints for each in poses]), 2), joints)),
        people(fixed(flat([each.scores for each in poses]), joints)),
    ]
