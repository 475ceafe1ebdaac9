"""Reading of the published code's rescore data: a pickled list whose first row is [pose, pose_heatval, oks].

A pickle is read in a process of its own, whose memory and time are limited; what returns is an ``.npz``. The process is
``python -m pose_dekr.rescore_pickle``, from its standard input to its standard output.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import IO

import numpy as np

from pose_core.errors import DataError
from pose_core.plurals import size_text
from pose_core.reading.pickled_numbers import NumbersOnly, PickledArray
from pose_core.reading.reasons import quoted
from pose_core.reading.regular import open_regular

HEADER = ["pose", "pose_heatval", "oks"]
MAX_FILE = 1 << 30
"""Most bytes of a pickle: several times those of the published code for COCO's training images."""
MAX_MEMORY = 4 << 30
"""Bytes of address space that the reading process may take."""
MAX_SECONDS = 120
"""Seconds that it may take: of the processor, and by the clock."""


def is_pickle(path: Path) -> bool:
    """Return whether a file begins like a pickle."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(1) == b"\x80"


def read_pickled(path: Path) -> bytes:
    """Return an ``.npz`` of poses ``(N, K, 2)``, joint scores ``(N, K)`` and OKS ``(N,)``."""
    what = f"rescore data {path}"
    with open_regular(path, "rescore data") as file:
        size = os.fstat(file.fileno()).st_size
        if size > MAX_FILE:
            raise DataError(f"{what} are too large: {size_text(size)}, of at most {size_text(MAX_FILE)}")
        words = [sys.executable, "-P", "-m", __name__]
        # Each thread of a numerical library would take address space of its own.
        one_thread = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        try:
            ended = subprocess.run(
                words, stdin=file, capture_output=True, timeout=MAX_SECONDS, check=False, env=os.environ | one_thread
            )
        except subprocess.TimeoutExpired:
            raise DataError(
                f"{what} cannot be unpickled within {MAX_SECONDS} s: they are no data of the published code"
            ) from None
    if ended.returncode == DataError.exit_code:
        # Before it, Python may have written about objects that were left half made.
        raise DataError(f"{what} {ended.stderr.decode(errors='replace').strip().splitlines()[-1]}")
    if ended.returncode:
        raise DataError(
            f"{what} cannot be unpickled within {size_text(MAX_MEMORY)} of memory and {MAX_SECONDS} s of a processor: "
            "they are damaged, or no data of the published code"
        )
    return ended.stdout


def main() -> int:
    """Read a pickle from the standard input, and write an ``.npz`` to the standard output."""
    _limit()
    try:
        arrays = pickled_arrays(sys.stdin.buffer)
    except DataError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    points, joint_scores, oks = arrays
    np.savez(sys.stdout.buffer, points=points, joint_scores=joint_scores, oks=oks)
    return 0


def _limit() -> None:
    if sys.platform == "win32":  # which has no such limits: the caller's clock remains
        return
    import resource

    for kind, most in (
        (resource.RLIMIT_AS, MAX_MEMORY),
        (resource.RLIMIT_CPU, MAX_SECONDS),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
    ):
        hard = resource.getrlimit(kind)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (most, most))


def pickled_arrays(file: IO[bytes]) -> list[np.ndarray]:
    """Return poses, joint scores and OKS of a pickle, without limits; messages go on after the file's name."""
    try:
        rows = NumbersOnly(file).load()
    except Exception as error:  # a damaged pickle fails in any way
        raise DataError(f"cannot be unpickled: {quoted(error)}") from None
    head = rows[0] if type(rows) is list and len(rows) > 1 else None
    if type(head) is not list or head != HEADER:
        raise DataError(f"are not a list that starts with {HEADER}, followed by poses")
    columns: list[list[np.ndarray]] = [[], [], []]
    for place, row in enumerate(rows[1:], 1):
        if type(row) is not list or len(row) < len(columns):
            raise DataError(f"have no [pose, pose_heatval, oks] in row {place}: a row is not a list of three")
        try:
            for values, cell in zip(columns, row, strict=False):
                values.append(np.asarray(cell.checked() if type(cell) is PickledArray else _plain(cell), np.float64))
        except ValueError as error:
            raise DataError(
                f"have no [pose, pose_heatval, oks] in row {place}: a row is not of numbers: {error}"
            ) from None
    try:
        points, scores, oks = (np.stack(values) for values in columns)
        scores, oks = scores.reshape(points.shape[:2]), oks.reshape(len(points))
    except ValueError as error:
        raise DataError(f"have rows of different shapes: a row is not like the others: {error}") from None
    if points.ndim != 3 or points.shape[2] != 2:
        raise DataError(f"have poses of the shape {points.shape[1:]}, not (joints, 2)")
    return [points, scores, oks]


def _plain(cell: object) -> float | list[object]:
    """Return a number, or lists of numbers at most three deep."""
    flat: list[object] = [cell]
    for _ in range(3):
        flat = [one for each in flat for one in (each if type(each) is list else [each])]
    if not all(type(one) in {int, float} for one in flat):
        raise ValueError("a cell is neither a number nor an array of numbers")
    return cell  # type: ignore[return-value]


if __name__ == "__main__":
    sys.exit(main())
