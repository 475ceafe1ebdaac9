"""What predicts: a network, its weights and how people are found, in a form that other processes build again."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from pose_core.config import Experiment
from pose_core.digests import file_digest
from pose_core.errors import ConfigError, DataError, PoseError
from pose_core.plugins.checkpoints import locate_weights
from pose_core.plugins.predictors import RANDOM, Predictor
from pose_core.topdown.detectors import (
    THRESHOLD,
    AnnotatedBoxes,
    Detector,
    FileDetector,
    build_detector,
    default_detector,
    whole_image,
)


@dataclass(frozen=True)
class Recipe:
    """A network by its experiment and weights, and a detector, for networks that need boxes.

    ``boxes`` is a detections file, or "gt" for the annotated ones of the experiment's validation split; else
    ``detector`` is a name, with its own ``detector_weights``; without it the default detector is used. A detected box
    scores at least ``box_threshold``.
    """

    config: Experiment
    weights: str
    strict: bool = True
    boxes: str | None = None
    detector: str | None = None
    detector_weights: str | None = None
    box_threshold: float = THRESHOLD

    def build(self, device: str | None = None) -> tuple[Predictor, Detector]:
        """Return the predictor and its detector, on the experiment's device or another one."""
        predictor = self.predictor(device)
        return predictor, self.detector_for(predictor) or whole_image

    def predictor(self, device: str | None = None) -> Predictor:
        """Return the predictor, on the experiment's device or another one."""
        device = device or self.config.run.device
        return Predictor.from_config(self.config, weights=self.weights, device=device, strict=self.strict)

    def detector_for(self, predictor: Predictor) -> Detector | None:
        """Return the detector for a predictor; None for a network that finds people itself."""
        if not predictor.needs_boxes:
            if self.boxes or self.detector or self.detector_weights:
                raise ConfigError(
                    f"method {predictor.config.method!r} finds people by itself; remove --boxes and --detector"
                )
            return None
        if self.boxes == "gt":
            return AnnotatedBoxes(predictor.config.data, predictor.config.data.val)
        if self.boxes:
            return FileDetector(Path(self.boxes), self.box_threshold)
        try:
            return build_detector(
                self.detector,
                weights=None if self.detector_weights is None else locate_weights(self.detector_weights),
                threshold=self.box_threshold,
                device=predictor.worker.device,
            )
        except PoseError as error:
            if self.detector or self.detector_weights:
                raise
            raise PoseError(
                f"the default detector of people is not available: {error}\nGive --boxes FILE, --detector-weights "
                "FILE, or --detector whole for photos of one person who fills them"
            ) from None

    def settings(self) -> dict[str, object]:
        """Return what the results depend on, as JSON has it: settings by name, and digests of files."""
        if self.weights == RANDOM:
            raise ConfigError("--weights random is another network in each process: save one, and give its file")
        experiment = self.config.model_dump(mode="json", exclude={"run", "train", "name", "note"})
        found: dict[str, object] = {
            "weights": _digest(locate_weights(self.weights), "weights"),
            "boxes": _digest(Path(self.boxes), "detections file") if self.boxes not in (None, "gt") else self.boxes,
            "detector": None if self.boxes else self.detector or default_detector(),
            "detector_weights": (
                self.detector_weights and _digest(locate_weights(self.detector_weights), "detector weights")
            ),
            "box_threshold": self.box_threshold,
            "config": experiment,
        }
        return dict(json.loads(json.dumps(found)))


def _digest(file: Path, what: str) -> str:
    try:
        return f"sha256:{file_digest(file)}"
    except OSError as error:
        raise DataError(f"{what} {file} cannot be read: {error.strerror}") from None
