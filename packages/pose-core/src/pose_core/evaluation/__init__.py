"""The evaluation protocols of COCO, CrowdPose, MPII and LSP, and their reports."""

from pose_core.evaluation.analyze import analyze
from pose_core.evaluation.analyze_points import analyze_points
from pose_core.evaluation.coco import coco_keypoint_ap
from pose_core.evaluation.crowdpose import check_crowd_index, crowdpose_ap
from pose_core.evaluation.lsp import lsp_pck
from pose_core.evaluation.mpii import mpii_pckh
from pose_core.evaluation.report import format_coco, format_crowdpose, format_pck, protocol_line

__all__ = [
    "analyze",
    "analyze_points",
    "check_crowd_index",
    "coco_keypoint_ap",
    "crowdpose_ap",
    "format_coco",
    "format_crowdpose",
    "format_pck",
    "lsp_pck",
    "mpii_pckh",
    "protocol_line",
]
