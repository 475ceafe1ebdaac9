"""Golden vectors: outputs of the published implementations, and the arithmetic rule that fills their inputs."""

from __future__ import annotations

import gzip
import json
import math
import zlib
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

FOLDER = Path(__file__).resolve().parents[3] / "golden"


def uniform(key: str, n: int) -> np.ndarray:
    """Return ``n`` numbers in [−1, 1), float64: splitmix64 of ``crc32(key) · 2³² + i``."""
    start = np.uint64(zlib.crc32(key.encode()) << 32)
    x = start + np.arange(n, dtype=np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    x ^= x >> np.uint64(31)
    return (x >> np.uint64(11)).astype(np.float64) / 2.0**53 * 2 - 1


def fill_state_dict(entries: Iterable[tuple[str, tuple[int, ...]]]) -> dict[str, np.ndarray]:
    """Return weights filled by the rule for published keys and shapes, float64."""
    return {key: _fill(key, tuple(shape)) for key, shape in entries}


def _fill(key: str, shape: tuple[int, ...]) -> np.ndarray:
    count = math.prod(shape)
    if key.endswith("num_batches_tracked"):
        return np.zeros(shape, np.int64)
    u = uniform(key, count).reshape(shape)
    if key.endswith("running_var"):
        return 1 + 0.5 * np.abs(u)
    if key.endswith("running_mean"):
        return 0.1 * u
    if len(shape) >= 2:
        return math.sqrt(6 / (count / shape[0])) * 0.7 * u
    return 1 + 0.1 * u if key.endswith("weight") else 0.1 * u


@cache
def load_golden(name: str) -> Any:
    """Return the content of ``<name>.json.gz`` in the golden folder, for example ``lite/lpn_18``."""
    with gzip.open(FOLDER / f"{name}.json.gz") as file:
        return json.load(file)


def relative_error(output: np.ndarray, expected: dict[str, Any]) -> float:
    """Return the largest error at the recorded places of an output, relative to its largest magnitude."""
    assert list(output.shape) == list(expected["shape"])
    found = output.reshape(-1)[np.array(expected["at"])]
    return float(np.abs(found - np.array(expected["values"])).max() / expected["absmax"])
