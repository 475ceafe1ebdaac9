"""Crops made on the device equal those of OpenCV's warp of the same image and matrix."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from pose_core.geometry import Crop
from pose_core.ops import warp_crops

SIZE = (48, 64)


@pytest.mark.parametrize("mirror", [None, 90])
@pytest.mark.parametrize("rotation", [0.0, 33.0])
def test_a_crop_is_opencv_s(rotation: float, mirror: int | None) -> None:
    make = np.random.default_rng(0)
    image = cv2.GaussianBlur(make.integers(0, 256, (70, 90, 3), np.uint8), (0, 0), 2)
    # Reaches beyond the image on two sides.
    crop = Crop(np.array([20.3, 40.8]), np.array([0.3, 0.4]), SIZE, rotation, mirror)
    expected = cv2.warpAffine(image, crop.matrix, SIZE, flags=cv2.INTER_LINEAR)
    planes = torch.from_numpy(image).permute(2, 0, 1).contiguous()
    found = warp_crops([planes], torch.zeros(1, dtype=torch.int64), torch.from_numpy(crop.inverse)[None], SIZE)[0]
    apart = np.abs(found.numpy().astype(int) - expected.astype(int))
    assert expected.any()
    assert apart.max() <= 6  # a 32nd of a pixel, on the step from the image to the black beyond
    assert apart.mean() < 0.25


def test_the_identity_copies_and_a_shift_moves() -> None:
    image = torch.randint(0, 256, (3, 7, 9), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    matrices = torch.tensor([[[1.0, 0, 0], [0, 1, 0]], [[1, 0, 2], [0, 1, -1]]])
    plain, moved = warp_crops([image], torch.zeros(2, dtype=torch.int64), matrices, (9, 7))
    assert torch.equal(plain, image.permute(1, 2, 0))
    assert torch.equal(moved[1:, :7], plain[:-1, 2:])
    assert not moved[0].any()
    assert not moved[:, 7:].any()
