"""Finding poses in images, with a trained network."""

from pose_core.inference.predictor import Predictor

__all__ = ["Predictor"]
