"""The benchmarks' protocols (COCO, CrowdPose, MPII, LSP), results from predicted crops, and reports."""

from pose_core.evaluation.coco import coco_keypoint_ap
from pose_core.evaluation.crowdpose import check_crowd_index, crowdpose_ap
from pose_core.evaluation.lsp import lsp_pck
from pose_core.evaluation.mpii import mpii_pckh
from pose_core.evaluation.report import format_coco, format_crowdpose, format_pck, protocol_line
from pose_core.evaluation.rescore import CropResults, coco_results, person_scores

__all__ = [
    "CropResults",
    "check_crowd_index",
    "coco_keypoint_ap",
    "coco_results",
    "crowdpose_ap",
    "format_coco",
    "format_crowdpose",
    "format_pck",
    "lsp_pck",
    "mpii_pckh",
    "person_scores",
    "protocol_line",
]
