"""The scoring network, which predicts a pose's OKS from its shape and its joints' scores."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pose_core.errors import ConfigError, DataError, WeightsError
from pose_core.evaluation.coco import AREAS, MAX_DETECTIONS, oks_of_pairs, pair_up
from pose_core.evaluation.keypoint_files import Source, read_detections, read_ground_truth, read_source
from pose_core.files import whole_file
from pose_core.models.weights import load_weights, network_state, read_checkpoint
from pose_core.models.zoo import zoo_generation
from pose_core.reading.arrays import read_npz
from pose_core.skeleton import SKELETONS
from pose_dekr.rescore_pickle import is_pickle, read_pickled

# In the published order. The body's size is measured by the tenth and the twelfth, regardless of what they link.
LINKS: dict[int, tuple[tuple[int, int], ...]] = {
    17: (
        (0, 1), (0, 2), (1, 2), (1, 3), (2, 4), (3, 5), (4, 6), (5, 6), (5, 7), (5, 11), (6, 8), (6, 12), (7, 9),
        (8, 10), (11, 12), (11, 13), (12, 14), (13, 15), (14, 16),
    ),
    14: (
        (12, 13), (13, 0), (13, 1), (0, 2), (1, 3), (2, 4), (3, 5), (0, 6), (1, 7), (6, 8), (7, 9), (8, 10), (9, 11),
        (6, 7), (0, 1),
    ),
}  # fmt: skip
NORM_LINKS = (9, 11)
HIDDEN = 256
MAX_COORDINATE = 1e6
"""Largest coordinate of a joint in training data, in pixels: far outside any image."""


def links_of(num_joints: int) -> Tensor:
    """Return the links ``(L, 2)`` between joints that the features are computed from."""
    if num_joints not in LINKS:
        raise ConfigError(f"the scoring network supports COCO's 17 and CrowdPose's 14 joints, not {num_joints}")
    return torch.tensor(LINKS[num_joints])


def pose_features(points: Tensor, joint_scores: Tensor) -> Tensor:
    """Compute features ``(N, 3·L + K)``, float32, of poses ``(N, K, 2)`` in image pixels and scores ``(N, K)``."""
    points = points.float()
    first, second = links_of(points.shape[1]).to(points.device).T
    apart = points[:, first] - points[:, second]
    lengths = apart.square().sum(2).sqrt()
    norm = lengths[:, NORM_LINKS].mean(1, keepdim=True)
    norm = torch.where(norm < 1, 1, norm)
    return torch.cat([(apart / norm[..., None]).flatten(1), lengths / norm, joint_scores.float()], 1)


class ScoreNet(nn.Module):
    """Three linear layers: features ``(N, F)`` → scores ``(N,)``, which may be negative."""

    def __init__(self, num_joints: int, hidden: int = HIDDEN) -> None:
        super().__init__()
        self.num_joints = num_joints
        self.l1 = nn.Linear(3 * len(links_of(num_joints)) + num_joints, hidden)
        self.l2 = nn.Linear(hidden, hidden)
        self.l3 = nn.Linear(hidden, 1)
        for layer in (self.l1, self.l2, self.l3):
            nn.init.kaiming_uniform_(layer.weight, a=1)
            nn.init.zeros_(layer.bias)

    def forward(self, features: Tensor) -> Tensor:
        scores: Tensor = self.l3(F.relu(self.l2(F.relu(self.l1(features)))))
        return scores[:, 0]


ZOO_PREFIX = "head.rescore_net."
"""DEKR's files of the open-mmlab zoo, since mmpose 1.x, hold their scoring network under this prefix."""


def load_score_net(weights: str | Path | Mapping[str, Any], num_joints: int) -> ScoreNet:
    """Load a scoring network from its weights file, or from a file of the open-mmlab zoo that also holds DEKR."""
    network = ScoreNet(num_joints)
    if isinstance(weights, Mapping):
        source, content = "the given state dict", dict(weights)
    else:
        source, content = str(weights), read_checkpoint(weights)
    state = network_state(content, source)
    inner = {key.removeprefix(ZOO_PREFIX): value for key, value in state.items() if key.startswith(ZOO_PREFIX)}
    if not inner and zoo_generation(state) is not None:
        raise WeightsError(
            f"{source} holds no scoring network: of the open-mmlab zoo, only DEKR's files since mmpose 1.x do; "
            "set rescore.use=false"
        )
    load_weights(network, inner or weights)
    return network.eval()


def rescore(network: ScoreNet, points: Tensor, joint_scores: Tensor, scores: Tensor) -> Tensor:
    """Multiply scores ``(N,)`` of poses ``(N, K, 2)`` in image pixels by the network's predictions."""
    with torch.no_grad():
        predicted = network(pose_features(points, joint_scores).to(network.l1.weight.dtype))
    return torch.nan_to_num(predicted, nan=0.0) * scores


class RescoreData(NamedTuple):
    """Training data: ``points`` ``(N, K, 2)``, ``joint_scores`` ``(N, K)``, and the labels ``oks`` ``(N,)``."""

    points: np.ndarray
    joint_scores: np.ndarray
    oks: np.ndarray


def make_rescore_data(
    ground_truth: Source, detections: Source, num_joints: int, *, area_of_box: float | None = None
) -> RescoreData:
    """Pair each detection with its OKS to the person that it matches best.

    Each is included once per area range (all, medium, large), where people of other sizes are matched only if there is
    no person in the range. CrowdPose has ``area_of_box`` 0.53. Detections on images without annotations are skipped.
    """
    skeleton = SKELETONS["coco17" if num_joints == 17 else "crowdpose14"]
    links_of(num_joints)
    truth = read_ground_truth(ground_truth, num_joints, area_of_box=area_of_box)
    content, name = read_source(detections, "detections")
    if not isinstance(content, list | tuple) or not content:
        raise DataError(f"{name} contains no results to learn from: run evaluation on the training split first")
    best = list(_best_of_images(content, name))
    found = read_detections(best, truth, max_detections=MAX_DETECTIONS)
    table = np.array([record["keypoints"] for record in best], float).reshape(len(best), num_joints, 3)
    if len(found.image) != len(best):
        raise DataError(f"{name} has results of another category than the ground truth's: remove them")
    pairs = pair_up(truth, found)
    similarity = oks_of_pairs(truth, found, pairs, np.array(skeleton.sigmas))
    rows, labels = [], []
    for low, high in AREAS.values():
        hidden = truth.ignore | (truth.area < low) | (truth.area > high)
        counts = np.zeros(len(best), bool)
        counts[pairs.detection[~hidden[pairs.person]]] = True
        # People in the range take precedence; among these the highest similarity counts.
        chosen = ~hidden[pairs.person] | ~counts[pairs.detection]
        values = np.full(len(best), -np.inf)
        np.maximum.at(values, pairs.detection[chosen], similarity[chosen])
        has = np.isfinite(values)
        rows.append(np.flatnonzero(has))
        labels.append(values[has])
    order = np.concatenate(rows)
    return RescoreData(table[order, :, :2], table[order, :, 2], np.concatenate(labels))


def _best_of_images(records: Sequence[dict[str, Any]], name: str) -> Iterator[dict[str, Any]]:
    """Yield the best results of each image, sorted by image id and descending score."""
    try:
        ordered = sorted(records, key=lambda record: (record["image_id"], -record["score"]))
    except (KeyError, TypeError) as error:
        raise DataError(f"{name}: a result lacks image_id or score ({error})") from None
    image, count = None, 0
    for record in ordered:
        count = count + 1 if record["image_id"] == image else 1
        image = record["image_id"]
        if count <= MAX_DETECTIONS:
            yield record


def save_rescore_data(data: RescoreData, path: str | Path) -> None:
    """Write the data to an ``.npz`` file atomically; create its folder."""
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(file) as opened:
        np.savez(opened, **data._asdict())


def read_rescore_data(path: str | Path) -> RescoreData:
    """Read what `save_rescore_data` wrote."""
    file = Path(path)
    if not file.exists():
        raise DataError(f"rescore data {path} does not exist: make it with pose-dekr rescore-data")
    if is_pickle(file):
        raise DataError(
            f"rescore data {path} is a pickle of the published code: convert it once, pose-dekr rescore-convert "
            f"{shlex.quote(str(path))} --out {shlex.quote(str(file.with_name(f'{file.stem}.npz')))}"
        )
    return _checked(file, "rescore data", str(path))


def convert_rescore_data(pickled: Path, out: Path) -> RescoreData:
    """Write the published code's pickle as `save_rescore_data` writes it, and return it."""
    data = _checked(read_pickled(pickled), "rescore data", str(pickled))
    save_rescore_data(data, out)
    return data


def _checked(source: Path | bytes, what: str, name: str) -> RescoreData:
    """Read data from an ``.npz`` file or its bytes; check shapes, types and values."""
    where = f"{what} {name}"
    found = read_npz(source, what if isinstance(source, Path) else where, RescoreData._fields)
    points, scores, oks = (found[field] for field in RescoreData._fields)
    poses = len(oks) if oks.ndim == 1 else 0
    if points.ndim != 3 or points.shape[::2] != (poses, 2) or scores.shape != points.shape[:2] or not poses:
        raise DataError(
            f"{where}: shapes {points.shape}, {scores.shape} and {oks.shape} are not those of poses (N, K, 2), joint "
            "scores (N, K) and OKS (N,): make it again with pose-dekr rescore-data"
        )
    for field, low, high in (("points", -MAX_COORDINATE, MAX_COORDINATE), ("joint_scores", -1e6, 1e6), ("oks", 0, 1)):
        values = found[field]
        if values.dtype.kind != "f":
            raise DataError(f"{where}: {field!r} must be of floats, not of {values.dtype}")
        wrong = ~((values >= low) & (values <= high))  # NaN, too
        if wrong.any():
            row = int(np.argwhere(wrong)[0][0])
            raise DataError(f"{where}: {field!r} of pose {row} is {values[wrong][0]:g}, not from {low:g} to {high:g}")
    return RescoreData(points, scores, oks)


def train_score_net(
    data: RescoreData, *, epochs: int = 20, batch: int = 1024, learning_rate: float = 1e-3, seed: int = 0
) -> tuple[ScoreNet, list[float]]:
    """Train a scoring network as published, with a seed; return it and the mean loss of each epoch.

    An OKS of exactly 1 is replaced by 0: it comes from people without labeled joints.
    """
    count = len(data.oks)
    if not count:
        raise DataError("rescore data contain no pose to learn from")
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = ScoreNet(data.points.shape[1])
    features = pose_features(torch.from_numpy(data.points), torch.from_numpy(data.joint_scores))
    labels = torch.from_numpy(np.where(data.oks == 1, 0, data.oks)).float()
    optimizer = torch.optim.Adam(network.parameters(), lr=learning_rate)
    size = min(batch, count)
    losses = []
    for _ in range(epochs):
        order = torch.randperm(count, generator=generator)
        total = 0.0
        steps = count // size
        for rows in order[: steps * size].split(size):  # type: ignore[no-untyped-call]
            loss = F.mse_loss(network(features[rows]), labels[rows])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            total += loss.item()
        losses.append(total / steps)
    return network.eval(), losses
