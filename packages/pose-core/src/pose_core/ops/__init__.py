"""Numeric kernels: each has a plain reference, which defines the result, and fast paths that are tested against it.

``POSE_OPS=auto|reference|fast`` selects for all of them and for all callers, ``POSE_OPS=op=path`` for one. Some have
several fast paths: ``pose doctor --ops`` measures them, and prints which is in use and why. Importing this
package does not load torch; each name below loads its module when first used.
"""

from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pose_core.ops.decoding import decode_flipped, decode_heatmaps, peak_accuracy, soft_argmax
    from pose_core.ops.deformable import deform_conv
    from pose_core.ops.flipping import fuse_flip
    from pose_core.ops.heatmaps import gaussian_heatmaps, joint_centers
    from pose_core.ops.losses import heatmap_loss, heatmap_loss_and_accuracy, mse_loss, ohkm_loss
    from pose_core.ops.normalizing import normalize
    from pose_core.ops.pasting import paste
    from pose_core.ops.similarity import oks
    from pose_core.ops.suppression import oks_nms, soft_oks_nms
    from pose_core.ops.tags import tag_loss
    from pose_core.ops.warping import warp_crops

__all__ = [
    "decode_flipped",
    "decode_heatmaps",
    "deform_conv",
    "fuse_flip",
    "gaussian_heatmaps",
    "heatmap_loss",
    "heatmap_loss_and_accuracy",
    "joint_centers",
    "mse_loss",
    "normalize",
    "ohkm_loss",
    "oks",
    "oks_nms",
    "paste",
    "peak_accuracy",
    "soft_argmax",
    "soft_oks_nms",
    "tag_loss",
    "warp_crops",
]


def __getattr__(name: str) -> object:
    home = _home(name)
    if home is None:
        raise AttributeError(f"module 'pose_core.ops' has no attribute {name!r}")
    return getattr(home, name)


def _home(name: str) -> ModuleType | None:
    """Import the module that defines a public name."""
    if name in {"decode_flipped", "decode_heatmaps", "peak_accuracy", "soft_argmax"}:
        from pose_core.ops import decoding

        return decoding
    if name == "deform_conv":
        from pose_core.ops import deformable

        return deformable
    if name == "fuse_flip":
        from pose_core.ops import flipping

        return flipping
    if name in {"gaussian_heatmaps", "joint_centers"}:
        from pose_core.ops import heatmaps

        return heatmaps
    if name in {"heatmap_loss", "heatmap_loss_and_accuracy", "mse_loss", "ohkm_loss"}:
        from pose_core.ops import losses

        return losses
    if name == "normalize":
        from pose_core.ops import normalizing

        return normalizing
    if name == "paste":
        from pose_core.ops import pasting

        return pasting
    if name == "oks":
        from pose_core.ops import similarity

        return similarity
    if name in {"oks_nms", "soft_oks_nms"}:
        from pose_core.ops import suppression

        return suppression
    if name == "tag_loss":
        from pose_core.ops import tags

        return tags
    if name == "warp_crops":
        from pose_core.ops import warping

        return warping
    return None


def __dir__() -> list[str]:
    return sorted(__all__)
