"""Keys of the published files: those that the published code reads, and the others with what they are about.

A key of `READ` changes the experiment, or is refused. Any other changes nothing, whatever its value. Keys that a file
of its kind does not use are among the others: `unread_keys`.
"""

from __future__ import annotations

from pose_core.plugins.convert.keys import BOXES_ONLY, MEANINGLESS
from pose_core.plugins.convert.networks import EXTRA, HRNET_TABLES, deconvolutions
from pose_core.plugins.convert.source import Source

HRNETS = ("pose_hrnet", "pose_hrnet2")
"""The same network, with different generators."""
PLAIN = ("pose_hrnet", "pose_resnet")
"""Networks whose files without parts other repositories have, too."""
NETWORKS = (*HRNETS, "pose_resnet", "pose_hourglass")

PARTS = (
    "ASA.NUM_AUG", "ASA.SCALE_RANGE", "ASA.PART_ANN_FILE", "ASA.PART_ROOT_DIR", "ASA.ERODE_KERNEL",
    "ASA.GAUSSIAN_KERNEL", "ASA.BOTH_HF_SA",
)  # fmt: skip
GENERATOR = ("STN.LR", "STN.STN_FIRST", "STN.NG", "STN.ND")
SWITCHES = {"ASA.USE_SA": True, "ASA.THETA_GRAD": True, "ASA.LOAD_THETA": False}
"""Keys of an earlier method, which searched for placements, with the values that it has without them: whether parts are
pasted, whether the probabilities of their placements are learned, whether they are loaded."""
SEARCH = ("ASA.INTERVAL", "ASA.LR", "ASA.NUM_MODELS", "ASA.THETA_PATH", "ASA.BETA1", "ASA.BETA2")
"""Other keys of the earlier method: settings of its search."""
HOURGLASS = {"NSTACKS": ("stacks", 2), "NMODULES": ("modules", 1), "NCHANNELS": ("channels", 256),
             "NREDUCTIONS": ("depth", 4)}  # fmt: skip
"""Keys of MODEL.NET → keyword of `asda_hourglass` and its default."""
HOURGLASS_WEIGHTS = "the published code loads no weights into an hourglass, which starts from PyTorch's random ones"
FINETUNE = ("MODEL.FINETUNE", "MODEL.HTM_MODEL_PATH")

READ = (
    "DATA_DIR", "GPUS", "WORKERS", "PRINT_FREQ", "MODEL.NAME", "MODEL.INIT_WEIGHTS", "MODEL.PRETRAINED",
    "MODEL.NUM_JOINTS", "MODEL.TARGET_TYPE", "MODEL.IMAGE_SIZE", "MODEL.HEATMAP_SIZE", "MODEL.SIGMA", *FINETUNE,
    "LOSS.USE_TARGET_WEIGHT", "LOSS.USE_DIFFERENT_JOINTS_WEIGHT",
    "DATASET.ROOT", "DATASET.DATASET", "DATASET.TRAIN_SET", "DATASET.TEST_SET", "DATASET.SELECT_DATA", "DATASET.FLIP",
    "DATASET.SCALE_FACTOR", "DATASET.ROT_FACTOR", "DATASET.PROB_HALF_BODY", "DATASET.NUM_JOINTS_HALF_BODY",
    "DATASET.COLOR_RGB",
    "TRAIN.LR_FACTOR", "TRAIN.LR_STEP", "TRAIN.LR", "TRAIN.OPTIMIZER", "TRAIN.MOMENTUM", "TRAIN.WD", "TRAIN.NESTEROV",
    "TRAIN.BEGIN_EPOCH", "TRAIN.END_EPOCH", "TRAIN.BATCH_SIZE_PER_GPU", "TRAIN.SHUFFLE",
    "TEST.BATCH_SIZE_PER_GPU", "TEST.FLIP_TEST", "TEST.POST_PROCESS", "TEST.SHIFT_HEATMAP", *BOXES_ONLY,
    *PARTS, *GENERATOR, *SWITCHES, *(f"MODEL.NET.{key}" for key in HOURGLASS),
)  # fmt: skip
"""Keys that the published code reads, besides those of `LAYERS`."""

LAYERS = {
    **dict.fromkeys(HRNETS, (*HRNET_TABLES["hrnet_w32"], "PRETRAINED_LAYERS")),
    "pose_resnet": (*deconvolutions(3), "NUM_LAYERS"),
    "pose_hourglass": (),
}
"""Keys of MODEL.EXTRA that the published code reads, by MODEL.NAME."""

OTHER_NETWORKS = ("GCN.", "NON_LOCAL.", "FUSE.")
"""Sections of a network that is not supported here."""
FOREIGN = ("MODEL.SYNC_BN", "MODEL.STYLE", "TEST.SOFT_ARGMAX", "TEST.BIAS", "DIST_BACKEND", "DIST_URL",
           "MULTIPROCESSING_DISTRIBUTED", "VERBOSE", "MODEL.EXTRA.HEATMAP_SIZE", "MODEL.EXTRA.SIGMA", "RESCORE.",
           "DATASET.OFFSET_RADIUS", "DATASET.MAX_NUM_PEOPLE")  # fmt: skip
"""Beginnings of keys that files of other repositories have, and this one's do not."""

UNREAD = {key: reason for key, reason in MEANINGLESS.items() if key not in (*READ, *FOREIGN)} | {
    "DATASET.HYBRID_JOINTS_TYPE": "a part of the name of the published output folder",
}
"""Keys that set nothing of an experiment, and why: the published code reads them for other things, or never."""


def unread_keys(source: Source, placement: str) -> dict[str, str]:
    """Return the keys of a file that change nothing in it, and why; ``placement`` is that of its parts."""
    name = str(source.values.get("MODEL.NAME", "pose_hrnet"))
    reasons = dict(UNREAD)
    if name == "pose_hourglass":
        reasons |= dict.fromkeys(("MODEL.PRETRAINED", "MODEL.INIT_WEIGHTS"), HOURGLASS_WEIGHTS)
    elif source.values.get("MODEL.INIT_WEIGHTS") is False:
        reasons |= dict.fromkeys(("MODEL.PRETRAINED", *FINETUNE), "read with MODEL.INIT_WEIGHTS only")
    if name not in HRNETS:
        reasons |= dict.fromkeys(FINETUNE, "read for HRNet only")
    elif source.values.get("MODEL.FINETUNE") is not True:
        reasons["MODEL.HTM_MODEL_PATH"] = "read with MODEL.FINETUNE only"
    if source.values.get("DATASET.DATASET", "mpii") not in {"coco", "crowdpose"}:
        reasons |= dict.fromkeys(BOXES_ONLY, "about boxes and OKS, which this data set is not evaluated with")
    if source.values.get("DATASET.DATASET") == "lspetmpii":
        reasons["DATASET.ROOT"] = "the published code has fixed folders for LSP and MPII"
    if placement == "adversarial":
        reasons |= dict.fromkeys(
            (*SEARCH, *SWITCHES), "of an earlier method; never read where a generator places parts"
        )
    else:
        unused = "no parts are pasted" if placement == "none" else "parts are placed at random"
        reasons |= dict.fromkeys((*SEARCH, *GENERATOR), unused)
        if placement == "none":
            reasons |= dict.fromkeys((*PARTS, "ASA.THETA_GRAD", "ASA.LOAD_THETA"), unused)
    found = {key: reasons[key] for key in source.values if key in reasons}
    for key in source.values:
        if key.startswith(EXTRA) and key.removeprefix(EXTRA) not in LAYERS[name]:
            found[key] = f"never read for {name}"
        elif key.startswith(OTHER_NETWORKS) or (key.startswith("MODEL.NET.") and name != "pose_hourglass"):
            found[key] = "about a network that this file does not have"
    return found
