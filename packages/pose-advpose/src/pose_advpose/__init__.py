"""Stacked hourglass, associative embedding, and self-adversarial training of both."""

from pose_core.plugins.method import Method

METHOD = Method(
    name="advpose",
    package="pose_advpose",
    summary="stacked hourglass and associative embedding, and their training against a critic",
    models={
        **{f"hg_stack{stacks}": ("pose_advpose.models:hourglass", {"stacks": stacks}) for stacks in (1, 2, 4, 8)},
        **{f"hg_ae_stack{stacks}": ("pose_advpose.models:hourglass_ae", {"stacks": stacks}) for stacks in (1, 2, 4)},
        # The original code's name for the same network.
        "hg_ae_posenet_stack4": ("pose_advpose.models:hourglass_ae", {"stacks": 4}),
        "advpose_discriminator": ("pose_advpose.models:critic", {"stacks": 4, "modules": 2, "channels": 256}),
        "advpose_ae_discriminator": ("pose_advpose.models:critic", {"stacks": 4, "modules": 1, "channels": 128}),
    },
    families={
        "hg_stack": ("pose_advpose.models:hourglass", "stacks"),
        "hg_ae_stack": ("pose_advpose.models:hourglass_ae", "stacks"),
        "hg_ae_posenet_stack": ("pose_advpose.models:hourglass_ae", "stacks"),
    },
    config="pose_advpose.config:schema",
    task="pose_advpose.task:make_task",
    predictor="pose_advpose.task:choose_predictor",
    stages="pose_advpose.microbenchmarks:stages",
    commands={
        "build-lsp-mpii": (
            "pose_advpose.build_lsp_mpii",
            "make lsp_mpii.h5 of the official annotations of MPII and LSP",
        ),
        "browse-heatmaps": ("pose_advpose.browse_heatmaps", "targets, predictions, and what the critic makes of both"),
        "plot": ("pose_advpose.plot", "training curves of several runs in one picture"),
    },
    switches={
        "no-adversarial": ("adversarial.use=false", "advpose, advpose-ae: the same network and data without the critic")
    },
)

__all__ = ["METHOD"]
