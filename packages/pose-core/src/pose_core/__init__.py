"""Human pose estimation: what every method package shares.

Importing this package loads no torch; the names below load what they need when first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pose_core import data, evaluation, ops
    from pose_core.config import load_config
    from pose_core.inference import Predictor
    from pose_core.models.catalog import create_model, list_models
    from pose_core.models.weights import load_weights
    from pose_core.skeleton import SKELETONS, Skeleton, get_skeleton
    from pose_core.structures import ImageRecord, Person, Poses

__all__ = [
    "SKELETONS",
    "ImageRecord",
    "Person",
    "Poses",
    "Predictor",
    "Skeleton",
    "create_model",
    "data",
    "evaluation",
    "get_skeleton",
    "list_models",
    "load_config",
    "load_weights",
    "ops",
]

_HOMES = {
    "SKELETONS": "pose_core.skeleton",
    "Skeleton": "pose_core.skeleton",
    "get_skeleton": "pose_core.skeleton",
    "ImageRecord": "pose_core.structures",
    "Person": "pose_core.structures",
    "Poses": "pose_core.structures",
    "load_config": "pose_core.config",
    "create_model": "pose_core.models.catalog",
    "list_models": "pose_core.models.catalog",
    "load_weights": "pose_core.models.weights",
    "Predictor": "pose_core.inference",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    if name in {"data", "evaluation", "ops", "models", "inference", "visualise"}:
        return import_module(f"pose_core.{name}")
    raise AttributeError(f"module 'pose_core' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
