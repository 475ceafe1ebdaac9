"""Human pose estimation: the library that all method packages share.

Importing this package loads no torch; the names below load what they need when first used.
"""

from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pose_core import data, evaluation, ops
    from pose_core.plugins.experiments import load_config
    from pose_core.plugins.networks import create_model, list_models, load_weights
    from pose_core.plugins.predictors import Predictor
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


def __getattr__(name: str) -> object:
    if name == "data":
        import pose_core.data as data

        return data
    if name == "evaluation":
        import pose_core.evaluation as evaluation

        return evaluation
    if name == "ops":
        import pose_core.ops as ops

        return ops
    module = _defining_module(name)
    if module is None:
        raise AttributeError(f"module 'pose_core' has no attribute {name!r}")
    return getattr(module, name)


def _defining_module(name: str) -> ModuleType | None:
    """Import the module that defines a public name."""
    if name in {"SKELETONS", "Skeleton", "get_skeleton"}:
        from pose_core import skeleton

        return skeleton
    if name in {"ImageRecord", "Person", "Poses"}:
        from pose_core import structures

        return structures
    if name == "load_config":
        from pose_core.plugins import experiments

        return experiments
    if name in {"create_model", "list_models", "load_weights"}:
        from pose_core.plugins import networks

        return networks
    if name == "Predictor":
        from pose_core.plugins import predictors

        return predictors
    return None


def __dir__() -> list[str]:
    return sorted(__all__)
