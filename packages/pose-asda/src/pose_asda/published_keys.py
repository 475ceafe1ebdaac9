"""Keys of the published files: those that the published code reads, and the others with what they are about.

A key of `READ` changes the experiment, or is refused. Any other changes nothing, whatever its value. Keys that a file
of its kind does not use are among the others: `unread_keys`.
"""

from __future__ import annotations

from pose_core.plugins.convert.keys import BOXES_ONLY, MEANINGLESS, NOT_READ
from pose_core.plugins.convert.networks import EXTRA, HRNET_TABLES, deconvolutions, layer_keys
from pose_core.plugins.convert.source import Source
from pose_core.suggestions import similar

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
OWN_KEYS = (*PARTS, *GENERATOR, *SWITCHES, *SEARCH, *FINETUNE)
"""Keys that only this repository's files have, or that only it reads."""

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

FOREIGN = ("MODEL.SYNC_BN", "MODEL.STYLE", "TEST.SOFT_ARGMAX", "TEST.BIAS", "DIST_BACKEND", "DIST_URL",
           "MULTIPROCESSING_DISTRIBUTED", "VERBOSE", "MODEL.EXTRA.HEATMAP_SIZE", "MODEL.EXTRA.SIGMA", "RESCORE.",
           "DATASET.OFFSET_RADIUS", "DATASET.MAX_NUM_PEOPLE")  # fmt: skip
"""Beginnings of keys that files of other repositories have, and this one's do not."""

UNREAD = {key: reason for key, reason in MEANINGLESS.items() if key not in (*READ, *FOREIGN)}
"""Keys that set nothing of an experiment, and why: the published code reads them for other things, or never."""


def unread_keys(source: Source, placement: str) -> dict[str, str]:
    """Return keys that change nothing in a file, and why; ``placement`` is that of its parts.

    Those that no top-down file of the kind reads are in `pose_core.plugins.convert.keys`.
    """
    name = str(source.values.get("MODEL.NAME", "pose_hrnet"))
    reasons = dict(UNREAD)
    if name == "pose_hourglass":
        reasons |= dict.fromkeys(("MODEL.PRETRAINED", "MODEL.INIT_WEIGHTS"), HOURGLASS_WEIGHTS)
    if name not in HRNETS:
        reasons |= dict.fromkeys(FINETUNE, "read for HRNet only")
    elif source.values.get("MODEL.INIT_WEIGHTS") is False:
        reasons |= dict.fromkeys(FINETUNE, f"{NOT_READ} with INIT_WEIGHTS false")
    elif source.values.get("MODEL.FINETUNE") is not True:
        reasons["MODEL.HTM_MODEL_PATH"] = f"{NOT_READ} without FINETUNE"
    if source.values.get("DATASET.DATASET") == "lspetmpii":
        reasons["DATASET.ROOT"] = "the published code has fixed folders for LSP and MPII"
    if placement == "adversarial":
        reasons |= dict.fromkeys((*SEARCH, *SWITCHES), f"{NOT_READ} with a generator: of an earlier method")
    else:
        reasons |= dict.fromkeys(SEARCH, "placements are not searched for")
    if placement == "none":
        reasons |= dict.fromkeys((*PARTS, "ASA.THETA_GRAD", "ASA.LOAD_THETA"), "no parts are pasted")
    return reasons | {key: f"{NOT_READ} for {name}" for key in source.values if _is_other_layer(key, name, source)}


def _is_other_layer(key: str, name: str, source: Source) -> bool:
    """Return whether a key of MODEL.EXTRA is neither read for the network nor a mistyped one that is."""
    if not key.startswith(EXTRA):
        return False
    read = LAYERS[name]
    lacking = [each for each in read if EXTRA + each not in source.values]
    layer = key.removeprefix(EXTRA)
    return layer not in read and (layer in layer_keys() or not similar(layer, lacking, cutoff=0.85))
