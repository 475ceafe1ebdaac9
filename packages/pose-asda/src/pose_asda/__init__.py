"""Adversarial semantic data augmentation: parts of bodies, pasted where they confuse a pose network most."""

from pose_core.plugins.method import Method

METHOD = Method(
    name="asda",
    package="pose_asda",
    summary="adversarial semantic data augmentation of HRNet, SimpleBaseline and hourglass (top-down pose)",
    models={
        **{f"asda_hourglass_{stacks}": ("pose_asda.models:asda_hourglass", {"stacks": stacks}) for stacks in (2, 8)},
        **{f"asda_generator_resnet{depth}": ("pose_asda.generator:generator", {"depth": depth}) for depth in (18, 50)},
    },
    config="pose_asda.config:AsdaConfig",
    task="pose_asda.task:AsdaTask",
    stages="pose_asda.microbenchmarks:stages",
    commands={
        "build-parts": ("pose_asda.build_parts", "cut a pool of parts out of segmented people"),
        "browse-parts": ("pose_asda.browse_parts", "show a pool of parts as a contact sheet"),
        "occlude": ("pose_asda.occlude", "paste parts on a copy of the evaluation images, to see what they do"),
        "plot": ("pose_asda.plot", "training curves of several runs in one picture"),
        "vote": ("pose_asda.vote", "evaluate by a vote over scales and stages"),
        "visualise": ("pose_asda.visualise", "crops, and parts pasted by chance and by the generator"),
    },
)

__all__ = ["METHOD"]
