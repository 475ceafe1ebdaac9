"""The sections ASA and STN of a published file: the blocks of pose-asda's configuration."""

from __future__ import annotations

from typing import Any

from pose_core.plugins.convert.published_values import Source, numbers, wholes

IMAGENET = {18: "models/pytorch/imagenet/resnet18-5c106cde.pth", 50: "models/pytorch/imagenet/resnet50-19c8e357.pth"}
"""What the published code fetched for the generator's trunk."""


def uses_parts(values: dict[str, Any]) -> bool:
    """Whether a file is an experiment with pasted parts."""
    return any(key.startswith(("ASA.", "STN.")) for key in values)


def generator_depth(values: dict[str, Any]) -> int:
    """The published code keeps a generator beside each pose network: ResNet-50 in one file, ResNet-18 in the others."""
    return 50 if values.get("MODEL.NAME", "pose_hrnet") == "pose_hrnet" else 18


def part_blocks(source: Source) -> dict[str, Any]:
    """``parts`` and ``generator``; a key that is not given has the published default."""
    if not uses_parts(source.values):
        return {"generator": {"placement": "none"}}
    depth = generator_depth(source.values)
    annotations = source.text("ASA.PART_ANN_FILE", "parts.annotations", "./lip/parts_filter_done/part_anns.json")
    root = source.text("ASA.PART_ROOT_DIR", "parts.root", "./lip/parts_filter_done/").rstrip("/").removeprefix("./")
    annotations = annotations.removeprefix("./")
    parts: dict[str, Any] = {"annotations": annotations}
    if root != annotations.rpartition("/")[0]:
        parts["root"] = root
    has_many_joints = source.values.get("DATASET.DATASET", "mpii") in {"coco", "crowdpose"}
    return {
        "parts": {
            **parts,
            "counts": source.take("ASA.NUM_AUG", "parts.counts", [0, 2, 4, 6, 8], wholes),
            "scale_range": source.take("ASA.SCALE_RANGE", "parts.scale_range", [0.7, 1.3], numbers),
            "erode": list(source.pair("ASA.ERODE_KERNEL", "parts.erode", (13, 13))),
            "blur": list(source.pair("ASA.GAUSSIAN_KERNEL", "parts.blur", (15, 15))),
            "with_half_body": source.flag("ASA.BOTH_HF_SA", "parts.with_half_body", True),
            "fewest_joints": 8 if has_many_joints else 0,
        },
        "generator": {
            "placement": "adversarial",
            "depth": depth,
            "pretrained": IMAGENET[depth],
            "lr": source.number("STN.LR", "generator.lr", 0.01),
            "first": bool(source.whole("STN.STN_FIRST", "generator.first", 0)),
            "steps": source.whole("STN.NG", "generator.steps", 1),
            "pose_steps": source.whole("STN.ND", "generator.pose_steps", 1),
        },
    }
