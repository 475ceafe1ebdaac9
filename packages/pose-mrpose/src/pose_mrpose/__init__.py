"""Simple multi-resolution representation learning: heatmaps or features of several resolutions above a ResNet."""

from pose_core.plugins.method import Method

_STYLES = (("", "pytorch", (18, 34, 50, 101, 152)), ("_caffe", "caffe", (50, 101, 152)))

METHOD = Method(
    name="mrpose",
    package="pose_mrpose",
    summary="MRHeatNet 1 and 2, MRFeaNet 1 and 2, beside SimpleBaseline (top-down pose)",
    models={
        f"mr{kind}{version}_resnet{depth}{suffix}": (
            f"pose_mrpose.models:mr{kind}",
            {"version": version, "depth": depth, "style": style},
        )
        for kind in ("heat", "fea")
        for version in (1, 2)
        for suffix, style, depths in _STYLES
        for depth in depths
    },
    task="pose_mrpose.task:MRPoseTask",
    commands={"compare": ("pose_mrpose.compare", "one table of several networks: size, cost, speed, accuracy")},
)

__all__ = ["METHOD"]
