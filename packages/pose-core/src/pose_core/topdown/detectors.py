"""Boxes of people: from torchvision's detectors by name, a detections file, a data set's annotation, or none.

The file that ``POSE_DETECTORS`` names is a table of one's own detectors, with the columns of ``detectors.csv``: its
``url`` may be a path relative to the table, and its first entry becomes the default.
"""

from __future__ import annotations

import csv
import os
import re
from collections import defaultdict
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from pose_core.config import DataConfig
from pose_core.errors import ConfigError, DataError, WeightsError
from pose_core.geometry import PIXEL_STD
from pose_core.layouts.reader import read_dataset
from pose_core.reading.json_text import read_json
from pose_core.structures import Person
from pose_core.suggestions import did_you_mean
from pose_core.topdown.detections import PERSON, detection_fields

if TYPE_CHECKING:
    import torch

Array = np.ndarray

THRESHOLD = 0.5
"""Minimum score of a box."""


class Detector(Protocol):
    """A person detector: image ``(H, W, 3)`` RGB and its path → boxes ``(N, 4)`` x, y, w, h, scores ``(N,)``."""

    def __call__(self, image: Array, source: Path | None = None) -> tuple[Array, Array]: ...


def whole_image(image: Array, source: Path | None = None) -> tuple[Array, Array]:
    """Return one box that fills the image."""
    height, width = image.shape[:2]
    # The crop's margin is meant for tight boxes of people; the image's border is not one.
    return np.array([[0.1 * width, 0.1 * height, 0.8 * width, 0.8 * height]]), np.ones(1)


class FileDetector:
    """Boxes from a detections JSON; image ids are read from file names: 000000000785.jpg is 785.

    ``low`` counts the boxes that were left out because they scored less than ``threshold``, of the images asked for.
    """

    def __init__(self, path: Path, threshold: float) -> None:
        content = read_json(path, "detections file")
        if not isinstance(content, list):
            raise DataError(f"detections file {path} must hold a list of {{image_id, bbox, score}}")
        self.path, self.threshold, self.low = path, threshold, 0
        self.boxes: dict[int, list[tuple[float, ...]]] = defaultdict(list)
        for row, entry in enumerate(content):
            image_id, box, score, category = detection_fields(entry, row, path)
            if category == PERSON and box[2] > 0 and box[3] > 0:
                self.boxes[image_id].append((*box, score))

    def __call__(self, image: Array, source: Path | None = None) -> tuple[Array, Array]:
        numbers = re.findall(r"\d+", source.stem) if source else []
        if not numbers:
            raise DataError(
                f"detections file {self.path} names images by number, and {source} has none in its name; "
                "omit --boxes, or use --detector"
            )
        # The last number: COCO_val2014_000000000785 is image 785.
        rows = np.array(self.boxes.get(int(numbers[-1]), []), dtype=np.float64).reshape(-1, 5)
        kept = rows[rows[:, 4] >= self.threshold]
        self.low += len(rows) - len(kept)
        return kept[:, :4], kept[:, 4]


class AnnotatedBoxes:
    """The annotated boxes of a split of a data set."""

    def __init__(self, config: DataConfig, split: str) -> None:
        dataset = read_dataset(config, split)
        self.place = f"the split {split} of {dataset.root}"
        self.boxes = {
            Path(record.source).resolve(): np.array(
                [annotated_box(person) for person in record.persons if not person.is_crowd], np.float64
            ).reshape(-1, 4)
            for record in dataset.records
        }

    def __call__(self, image: Array, source: Path | None = None) -> tuple[Array, Array]:
        boxes = None if source is None else self.boxes.get(source.resolve())
        if boxes is None:
            raise DataError(
                f"{source} has no annotated people in {self.place}: set data.root and data.val to the image's data "
                "set, or omit --boxes gt"
            )
        return boxes, np.ones(len(boxes))


def annotated_box(person: Person) -> tuple[float, ...]:
    """Return a person's box; if the layout has a center and a scale instead, the box that is padded to them."""
    if person.box is not None or person.center is None or person.scale is None:
        return person.box or (0.0, 0.0, 0.0, 0.0)
    width, height = (PIXEL_STD * value / 1.25 for value in person.scale)
    return person.center[0] - width / 2, person.center[1] - height / 2, width, height


@dataclass(frozen=True)
class DetectorWeights:
    """A detector of torchvision: its name here and there, and where its weights are."""

    name: str
    network: str
    url: str
    sha256: str
    license: str
    data: str
    metric: str
    note: str


def known_detectors() -> dict[str, DetectorWeights]:
    """Return the detectors that have a name, the default first."""
    tables = [Path(__file__).with_name("detectors.csv")]
    if os.environ.get("POSE_DETECTORS"):
        tables.insert(0, Path(os.environ["POSE_DETECTORS"]).expanduser())
    found: dict[str, DetectorWeights] = {}
    for table in tables:
        for entry in _read_table(table):
            found.setdefault(entry.name, entry)
    return found


def default_detector() -> str:
    """Return the name of the detector that is used where none is named."""
    return next(iter(known_detectors()))


def _read_table(table: Path) -> list[DetectorWeights]:
    names = [each.name for each in fields(DetectorWeights)]
    try:
        rows = list(csv.DictReader(table.read_text("utf-8").splitlines()))
    except OSError as error:
        raise ConfigError(f"the table of detectors {table} cannot be read: {error.strerror}") from None
    entries = []
    for number, row in enumerate(rows, 2):
        values = {name: row.get(name) or "" for name in names}
        if not (values["name"] and values["network"] and values["url"]):
            raise ConfigError(f"{table}, line {number}: 'name', 'network' and 'url' are needed")
        if "://" not in values["url"]:
            values["url"] = (table.parent / values["url"]).resolve().as_uri()
        entries.append(DetectorWeights(**values))
    return entries


def find_detector(name: str) -> DetectorWeights:
    """Return a detector by its name here or in torchvision; ``fasterrcnn`` is the one with a ResNet-50."""
    known = known_detectors()
    by_network = {each.network: each for each in known.values()}
    found = known.get("fasterrcnn_resnet50" if name == "fasterrcnn" else name) or by_network.get(name)
    if found is None:
        hint = did_you_mean(name, known) or "."
        raise ConfigError(f"no detector is named {name!r}{hint} Choose one of whole, {', '.join(known)}")
    return found


class TorchvisionDetector:
    """A detector of torchvision, with its published weights or those of a file."""

    def __init__(self, name: str, weights: Path | None, threshold: float, device: torch.device) -> None:
        import torch
        from torchvision import __version__ as torchvision_version
        from torchvision.models import get_model

        from pose_core.models.store import stored_weights
        from pose_core.models.weights import network_state, read_checkpoint

        about = find_detector(name)
        if weights is None:
            card = {
                "name": about.name,
                "license": about.license,
                "data": about.data,
                "metric": about.metric,
                "note": "person detector of torchvision",
            }
            weights = stored_weights(about.url, about.sha256, card)
        self.device = device
        self.threshold = threshold
        state = network_state(read_checkpoint(weights), str(weights))
        try:
            self.network = get_model(about.network, weights=None, weights_backbone=None).eval()
        except ValueError:
            raise ConfigError(
                f"detector {name}: torchvision {torchvision_version} has no network {about.network}"
            ) from None
        try:
            self.network.load_state_dict(state)
        except RuntimeError as error:
            raise WeightsError(f"{weights} does not fit torchvision's {about.network}: {error}") from None
        self.network.to(device)
        self.torch = torch

    def __call__(self, image: Array, source: Path | None = None) -> tuple[Array, Array]:
        torch = self.torch
        with torch.inference_mode():
            x = torch.from_numpy(np.ascontiguousarray(image)).to(self.device).permute(2, 0, 1).float() / 255
            found = self.network([x])[0]
        corners = found["boxes"]
        extended = (corners[:, 2:] > corners[:, :2]).all(1)
        kept = (found["labels"] == PERSON) & (found["scores"] >= self.threshold) & extended
        corners = corners[kept].cpu().numpy()
        boxes = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], 1)
        return boxes, found["scores"][kept].cpu().numpy()


def build_detector(
    name: str | None = None,
    *,
    weights: str | Path | None = None,
    threshold: float = THRESHOLD,
    device: str | torch.device = "auto",
) -> Detector:
    """Return a detector by name, with its published weights, which are fetched once, or those of a file.

    ``whole`` takes the whole image as one person. Without a name the default detector is built.
    """
    if name == "whole":
        return whole_image
    name = name or default_detector()
    find_detector(name)  # a wrong name is refused before anything slow
    from pose_core.engine.distributed import choose_device

    return TorchvisionDetector(
        name,
        None if weights is None else Path(weights),
        threshold,
        choose_device(device) if isinstance(device, str) else device,
    )
