"""Networks of the open-mmlab zoo: associative embedding on HRNet and ResNet, HigherHRNet, the hourglass."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pose_advpose.config import EmbeddingConfig
from pose_advpose.content import EmbeddingContent
from pose_advpose.grouping import find_candidates
from pose_advpose.hrnet import HigherMaps
from pose_advpose.predictor import EmbeddingPredictor
from pose_core.bottomup.resize import resize_for_test
from pose_core.errors import ConfigError
from pose_core.models.flops import count_parameters
from pose_core.plugins.experiments import load_config
from pose_core.plugins.networks import create_model
from pose_core.skeleton import SKELETONS
from pose_testing.networks import check_zoo

COCO = SKELETONS["coco17"]


@pytest.mark.parametrize(
    ("golden", "name", "options"),
    [
        ("ae_hrnet_w32_coco", "ae_hrnet_w32", {}),
        ("mm0_higherhrnet_w32_coco", "higherhrnet_w32", {}),
        pytest.param("mm0_hourglass_ae_coco", "hg_ae_posenet_stack4", {"outputs": 34}, marks=pytest.mark.slow),
    ],
)
def test_outputs_equal_the_zoo_s(golden: str, name: str, options: dict[str, Any], tmp_path: Path) -> None:
    error = check_zoo(golden, create_model(name, num_joints=17, **options), tmp_path / "zoo.pth")
    print(f"{golden}: largest relative error {error:.2e}")
    assert error <= 1e-9


@pytest.mark.parametrize(("width", "parameters"), [(32, 28_645_331), (48, 63_827_139)])
def test_higherhrnet_has_the_published_size(width: int, parameters: int) -> None:
    with torch.device("meta"):
        assert count_parameters(create_model(f"higherhrnet_w{width}")) == parameters


PEOPLE = np.array([[[100.13 + 12.21 * j, 80.37 + 9.17 * ((5 * j) % 17)] for j in range(17)] for _ in range(2)])
PEOPLE[1] += [230.0, 40.0]
"""Two people ``(2, 17, 2)`` in an image of 640x480."""


class Drawn(nn.Module):
    """Draws the maps of the people, wherever they are in the input; the mirror image's maps are mirrored."""

    def __init__(self, matrix: np.ndarray, *, higher: bool, unbiased: bool) -> None:
        super().__init__()
        self.points = torch.from_numpy(PEOPLE @ matrix[:, :2].T + matrix[:, 2])
        self.higher, self.unbiased = higher, unbiased

    def maps(self, size: tuple[int, int], inputs: tuple[int, int], sigma: float) -> tuple[Tensor, Tensor]:
        """Return heatmaps and tags ``(17, h, w)``."""
        height, width = size
        if self.unbiased:
            at = self.points * torch.tensor([(width - 1) / (inputs[1] - 1), (height - 1) / (inputs[0] - 1)])
        else:
            at = self.points * (width / inputs[1]) - 0.5
        y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        squares = (x - at[..., 0, None, None]) ** 2 + (y - at[..., 1, None, None]) ** 2
        heat = torch.exp(-squares / (2 * sigma**2)).amax(0)
        return heat, torch.tensor([0.0, 4.0])[squares.argmin(0)]

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        height, width = x.shape[2:]
        coarse = torch.cat(self.maps((height // 4, width // 4), (height, width), 2))
        fine = self.maps((height // 2, width // 2), (height, width), 4)[0]
        order = torch.from_numpy(COCO.flip_order)
        mirrored = coarse.unflatten(0, (2, -1))[:, order].flatten(0, 1).flip(2)
        both = torch.stack([coarse, mirrored]).float()[: len(x)]
        if not self.higher:
            return (both,)
        return HigherMaps(both, torch.stack([fine, fine[order].flip(2)]).float()[: len(x)])


@pytest.mark.parametrize("size", [(640, 480), (480, 640)])
@pytest.mark.parametrize("higher", [False, True])
@pytest.mark.parametrize("convention", ["published", "unbiased"])
def test_people_are_found_where_they_are(size: tuple[int, int], higher: bool, convention: str) -> None:
    overrides = [f"test.convention={convention}", "model.init=framework"]
    config = load_config("pose-advpose/coco_higherhrnet_w32_512", overrides)
    assert isinstance(config, EmbeddingConfig)
    matrix = resize_for_test(size, 512, 1.0, convention).matrix
    if size[0] < size[1]:
        matrix = matrix @ np.array([[0.0, 1, 0], [1, 0, 0], [0, 0, 1]])
    network = Drawn(matrix, higher=higher, unbiased=convention == "unbiased")
    predictor = EmbeddingPredictor(nn.Identity(), config, COCO, torch.device("cpu"))
    predictor.network = network
    found = predictor.predict_image(np.zeros((size[1], size[0], 3), np.uint8))
    assert found.keypoints.shape == (2, 17, 2)
    expected = PEOPLE if size[0] > size[1] else PEOPLE[..., ::-1]
    order = found.keypoints[:, 0, 0].argsort() if size[0] > size[1] else found.keypoints[:, 0, 1].argsort()
    error = found.keypoints[order] - expected
    print(np.abs(error).max(), error.mean((0, 1)))
    # Resized bilinearly, a map has its peaks on the pixels that it had before: four or two of the input's apart.
    assert np.abs(error).max() < (1.25 if higher else 2.25)
    assert np.abs(error.mean((0, 1))).max() < 0.3


@pytest.mark.parametrize("convention", ["published", "unbiased"])
def test_the_exported_pipeline_has_the_predictor_s_peaks(convention: str) -> None:
    config = load_config("pose-advpose/coco_higherhrnet_w32_512", [f"test.convention={convention}"])
    assert isinstance(config, EmbeddingConfig)
    predictor = EmbeddingPredictor(nn.Identity(), config, COCO, torch.device("cpu"))
    network = Drawn(np.eye(2, 3), higher=True, unbiased=convention == "unbiased")
    pipeline = predictor.pipeline(network, flip=True)
    peaks = pipeline(torch.zeros(1, 384, 640, 3, dtype=torch.uint8))
    assert peaks.heatmaps.shape == (17, 384, 640)
    assert peaks.tags.shape == (2, 17, 384, 640)
    for joint in range(17):
        found = peaks.keypoints[joint, peaks.scores[joint] > 0].numpy()
        assert len(found) == 2
        assert np.abs(found[found[:, 0].argsort()] - PEOPLE[:, joint]).max() < 1.5


def test_a_peak_is_the_highest_of_its_window() -> None:
    maps = torch.zeros(1, 12, 12)
    maps[0, 4, 4], maps[0, 4, 6], maps[0, 11, 11], maps[0, 11, 0] = 0.9, 0.8, 0.7, 0.6
    tags = torch.zeros(1, 1, 12, 12)
    places = [find_candidates(maps, tags, 0.1, 30, window).places.tolist() for window in (3, 5)]
    assert places == [[[4, 4], [6, 4], [11, 11], [0, 11]], [[4, 4], [11, 11], [0, 11]]]


def test_higherhrnet_is_not_trained() -> None:
    config = load_config("pose-advpose/coco_higherhrnet_w32_512")
    assert isinstance(config, EmbeddingConfig)
    content = EmbeddingContent(config)
    images = torch.zeros(1, 64, 64, 3, dtype=torch.uint8)
    network = Drawn(np.eye(2, 3), higher=True, unbiased=False)
    batch = SimpleNamespace(images=images, joints=torch.zeros(1, 1, 1, 17, 3))
    with pytest.raises(ConfigError, match="HigherHRNet only predicts"):
        content(network, batch)  # type: ignore[arg-type]  # the fields that are read


def test_unbiased_maps_need_the_input_s_size() -> None:
    with pytest.raises(ConfigError, match=r"test\.convention=unbiased needs test\.fit=short"):
        load_config("pose-advpose/coco_hgpose_ae_stack4_512x512", ["test.convention=unbiased"])
