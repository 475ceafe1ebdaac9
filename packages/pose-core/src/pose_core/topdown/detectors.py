"""Boxes of people: the whole image, a detections file, or a detector with weights from a file."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path
from typing import Protocol

import numpy as np

from pose_core.data.json_file import read_json
from pose_core.errors import ConfigError, DataError, WeightsError
from pose_core.topdown.detections import PERSON, detection_fields

Array = np.ndarray


class Detector(Protocol):
    """A person detector: image ``(H, W, 3)`` RGB and its path → boxes ``(N, 4)`` x, y, w, h, scores ``(N,)``."""

    def __call__(self, image: Array, source: Path | None = None) -> tuple[Array, Array]: ...


def whole_image(image: Array, source: Path | None = None) -> tuple[Array, Array]:
    """Return one box that fills the image."""
    height, width = image.shape[:2]
    # The crop's margin is meant for tight boxes of people; the image's border is not one.
    return np.array([[0.1 * width, 0.1 * height, 0.8 * width, 0.8 * height]]), np.ones(1)


class FileDetector:
    """Boxes from a detections JSON; image ids are read from file names: 000000000785.jpg is 785."""

    def __init__(self, path: Path, threshold: float) -> None:
        content = read_json(path, "detections file")
        if not isinstance(content, list):
            raise DataError(f"detections file {path} must hold a list of {{image_id, bbox, score}}")
        self.path = path
        self.boxes: dict[int, list[tuple[float, ...]]] = defaultdict(list)
        for row, entry in enumerate(content):
            image_id, box, score = detection_fields(entry, row, path)
            has_extent = box[2] > 0 and box[3] > 0
            if entry.get("category_id", PERSON) == PERSON and score >= threshold and has_extent:
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
        return rows[:, :4], rows[:, 4]


class FasterRCNN:
    """torchvision's Faster R-CNN (ResNet-50 FPN, COCO), with weights from a file."""

    def __init__(self, weights: Path, threshold: float, device: str) -> None:
        import torch
        from torchvision.models.detection import fasterrcnn_resnet50_fpn

        from pose_core.engine.distributed import choose_device
        from pose_core.models.weights import network_state, read_checkpoint

        self.device = choose_device(device)
        self.threshold = threshold
        self.network = fasterrcnn_resnet50_fpn(weights=None, weights_backbone=None).eval().to(self.device)
        state = network_state(read_checkpoint(weights), str(weights))
        try:
            self.network.load_state_dict(state)
        except RuntimeError as error:
            raise WeightsError(f"{weights} does not fit torchvision's fasterrcnn_resnet50_fpn: {error}") from None
        self.torch = torch

    def __call__(self, image: Array, source: Path | None = None) -> tuple[Array, Array]:
        torch = self.torch
        with torch.inference_mode():
            x = torch.from_numpy(np.ascontiguousarray(image)).to(self.device).permute(2, 0, 1).float() / 255
            found = self.network([x])[0]
        kept = (found["labels"] == PERSON) & (found["scores"] >= self.threshold)
        corners = found["boxes"][kept].cpu().numpy()
        boxes = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], 1)
        return boxes, found["scores"][kept].cpu().numpy()


def build_detector(
    kind: str, *, boxes: str | None = None, weights: str | None = None, threshold: float = 0.9, device: str = "auto"
) -> Detector:
    """Return the detector selected on the command line."""
    if boxes is not None:
        return FileDetector(Path(boxes), threshold)
    if kind == "whole":
        return whole_image
    if weights is None:
        raise ConfigError(
            f"--detector {kind} needs --detector-weights FILE (torchvision's fasterrcnn_resnet50_fpn, COCO): "
            "weights are never downloaded automatically"
        )
    return FasterRCNN(Path(weights), threshold, device)
