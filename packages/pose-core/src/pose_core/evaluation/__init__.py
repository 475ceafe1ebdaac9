"""The benchmarks' protocols: COCO, CrowdPose, MPII, LSP."""

from pose_core.evaluation.coco import coco_keypoint_ap
from pose_core.evaluation.crowdpose import crowdpose_ap
from pose_core.evaluation.lsp import lsp_pck
from pose_core.evaluation.mpii import mpii_pckh

__all__ = ["coco_keypoint_ap", "crowdpose_ap", "lsp_pck", "mpii_pckh"]
