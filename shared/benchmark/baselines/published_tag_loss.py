"""The tag loss and its gradient by loops over images, people and pairs, as published; where there is a C compiler,
as a compiled routine, too."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

Array = np.ndarray
Routine = Callable[[Array, Array, Array], tuple[Array, Array]]


def tag_loss(tags: Array, keypoints: Array, up: Array) -> tuple[Array, Array]:
    """Push and pull ``(B, 2)`` of ``tags`` ``(B, N, D)`` and ``keypoints`` ``(B, P, K, 2)``; the tags' gradient.

    ``up`` ``(B, 2)`` is the gradient of both.
    """
    output, gradient = np.zeros((len(tags), 2), np.float32), np.zeros_like(tags)
    dimensions = tags.shape[2]
    for number, (own, people, into) in enumerate(zip(tags, keypoints, gradient, strict=True)):
        means, slots, pull = [], [], 0.0
        for person in people:
            places = [int(place) for place, counts in person if counts]
            if not places:
                continue
            values = own[places]
            slots.append(places)
            means.append(values.mean(0))
            pull += float(np.square(values - means[-1]).mean())
        there = len(means)
        pairs, push = max(1, there * (there - 1) / 2), 0.0
        turns = [np.zeros(dimensions, np.float32) for _ in means]
        for p in range(there):
            for q in range(p + 1, there):
                apart = means[p] - means[q]
                close = float(np.exp(-np.square(apart).sum()))
                push += close
                turns[p] -= up[number, 0] * apart * close / pairs
                turns[q] += up[number, 0] * apart * close / pairs
        for places, mean, turn in zip(slots, means, turns, strict=True):
            for place in places:
                into[place] += turn / len(places)
                into[place] += up[number, 1] * 2 * (own[place] - mean) / (dimensions * len(places) * there)
        output[number] = 0.5 * push / pairs, pull / max(1, there)
    return output, gradient


def compiled() -> Routine | None:
    """The same in C; None where nothing compiles it."""
    compiler = shutil.which("cc") or shutil.which("g++")
    if compiler is None:
        return None
    with tempfile.TemporaryDirectory() as scratch:
        library = Path(scratch, "tag_loss.so")
        source = Path(__file__).with_suffix(".c")
        subprocess.run(
            [compiler, "-x", "c", "-O2", "-shared", "-fPIC", str(source), "-o", str(library), "-lm"], check=True
        )
        # The library stays loaded when its file is gone.
        routine = ctypes.CDLL(str(library)).tag_loss
    routine.restype = None

    def pointer(array: Array) -> ctypes.c_void_p:
        return ctypes.c_void_p(array.ctypes.data)

    def run(tags: Array, keypoints: Array, up: Array) -> tuple[Array, Array]:
        batch, places, dimensions = tags.shape
        people, joints = keypoints.shape[1:3]
        # A tensor, as a routine of PyTorch's returns: NumPy's zeros would cost their memory only when they are read.
        gradient = torch.zeros(tags.shape).numpy()
        output = np.zeros((batch, 2), np.float32)
        means, numbers = np.zeros((people, dimensions)), np.zeros(people)
        arrays = (tags, keypoints, up, output, gradient, means, numbers)
        routine(*map(pointer, arrays), *map(ctypes.c_long, (batch, places, dimensions, people, joints)))
        return output, gradient

    return run
