"""Bottom-up pose by heatmap-guided regression, and DEKR, its successor."""

from pose_core.plugins.method import Method

METHOD = Method(
    name="dekr",
    package="pose_dekr",
    summary="Bottom-Up HRNet and DEKR: everyone in an image by regression from their centres",
    models={
        "bottomup_hrnet_w32": ("pose_dekr.models:bottomup_hrnet", {"width": 32}),
        "bottomup_hrnet_w48": ("pose_dekr.models:bottomup_hrnet", {"width": 48}),
        "bottomup_higher_hrnet_w48": ("pose_dekr.models:bottomup_hrnet", {"width": 48, "higher": True}),
        "dekr_hrnet_w32": ("pose_dekr.models:dekr_hrnet", {"width": 32}),
        "dekr_hrnet_w48": ("pose_dekr.models:dekr_hrnet", {"width": 48}),
    },
    config="pose_dekr.config:DekrConfig",
    task="pose_dekr.task:DekrTask",
    predictor="pose_dekr.predictor:DekrPredictor",
    stages="pose_dekr.microbenchmarks:stages",
    commands={
        "rescore-data": ("pose_dekr.rescore_data", "collect what a scoring network learns from"),
        "rescore-train": ("pose_dekr.rescore_train", "train a scoring network"),
    },
)

__all__ = ["METHOD"]
