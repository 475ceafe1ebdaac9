"""Segmentations: sound ones are drawn as pycocotools packs them, and damaged ones do not reach it."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask

from pose_core.data.regions import is_region


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32 - 1), st.floats(0, 1))
def test_what_pycocotools_packs_is_sound(height: int, width: int, seed: int, share: float) -> None:
    drawn = np.asfortranarray(np.random.default_rng(seed).random((height, width)) < share, dtype=np.uint8)
    packed = mask.encode(drawn)
    assert is_region({"size": packed["size"], "counts": packed["counts"].decode()})


def test_damaged_text_is_refused_or_can_be_drawn() -> None:
    # pycocotools writes beyond its memory for much of what is refused here, and the process dies.
    rng = random.Random(0)
    drawn = 0
    for _ in range(20_000):
        text = "".join(chr(rng.randrange(33, 127)) for _ in range(rng.randrange(1, 12)))
        region = {"size": [100, 100], "counts": text}
        if is_region(region):
            drawn += 1
            assert mask.decode(region).shape == (100, 100)
    assert drawn > 100


@pytest.mark.parametrize("counts", ["P", "o" * 20, "é", "0\n", "N1", "PPPPPPPP0", [5, -1], [101], [60, 60], 7, None])
def test_faulty_counts_are_refused(counts: object) -> None:
    assert not is_region({"size": [10, 10], "counts": counts})


def test_a_mask_larger_than_any_picture_is_refused() -> None:
    assert not is_region({"size": [100_000, 100_000], "counts": [10**10]})
