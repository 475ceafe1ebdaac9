"""The table of formats, by name. A new one needs one file next to this one, and one row here."""

from __future__ import annotations

from pose_core.layouts.formats.coco import write_own_coco
from pose_core.layouts.formats.crowdpose import write_crowdpose
from pose_core.layouts.formats.deeplabcut import read_deeplabcut, write_deeplabcut
from pose_core.layouts.formats.format import Format
from pose_core.layouts.formats.label_studio import write_export
from pose_core.layouts.formats.label_studio_export import read_label_studio
from pose_core.layouts.formats.lsp import write_lsp
from pose_core.layouts.formats.mpii import write_mpii
from pose_core.layouts.formats.published import layout_reader, read_coco
from pose_core.layouts.formats.sleap import read_sleap, write_sleap
from pose_core.layouts.formats.yolo import read_yolo, write_yolo

_POINTS_ONLY = ("crowds", "unlabeled", "boxes", "scales", "areas", "crowd_index", "heads")
_ONE_PERSON = ("crowds", "unlabeled", "empty", "hidden", "boxes", "scales", "areas", "crowd_index", "heads", "several")

FORMATS: dict[str, Format] = {
    each.name: each
    for each in (
        Format("coco", "a data set's folder, or a .json file", "annotations/{}.json", read_coco, write_own_coco,
               ("scales", "crowd_index", "heads")),
        Format("crowdpose", "a data set's folder", "json/crowdpose_{}.json", layout_reader("crowdpose"),
               write_crowdpose, ("areas", "scales", "heads"), "crowdpose14"),
        Format("mpii", "a data set's folder", "annot/{}.json", layout_reader("mpii"), write_mpii,
               ("crowds", "unlabeled", "empty", "hidden", "sides", "areas", "crowd_index"), "mpii16"),
        Format("lsp", "a data set's folder", "joints.mat", layout_reader("lsp"), write_lsp, _ONE_PERSON, "lsp14"),
        Format("yolo", "data.yaml, or its folder", "labels/{}", read_yolo, write_yolo,
               ("crowds", "outside", "scales", "areas", "crowd_index", "heads")),
        Format("deeplabcut", ".csv or .h5 files", "labeled-data/{}/CollectedData_pose.csv", read_deeplabcut,
               write_deeplabcut, (*_POINTS_ONLY, "hidden")),
        Format("sleap", "a .json file", "{}.json", read_sleap, write_sleap, _POINTS_ONLY),
        Format("label-studio", "a .json file", "{}.json", read_label_studio, write_export,
               ("crowds", "scales", "areas", "crowd_index", "heads")),
    )
}  # fmt: skip
