"""The blocks of settings that every experiment has: what each key means and its default, stated once.

A configuration is data: frozen, and strict about its keys. A kind of method adds its own blocks in a subclass of
`Experiment`: see `pose_core.topdown.config` and `pose_core.bottomup.config`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field

Size = tuple[Annotated[int, Field(gt=0)], Annotated[int, Field(gt=0)]]
Fraction = Annotated[float, Field(ge=0, le=1)]


class Renamed(NamedTuple):
    """What a key of an earlier version is called today, and its values that have another spelling today."""

    key: str
    values: Mapping[str, str | bool] = {}


class Block(BaseModel):
    """A group of settings: frozen, and strict about its keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)
    renamed: ClassVar[Mapping[str, Renamed]] = {}
    """Keys of earlier versions. They are still read, with a note that names today's key."""


class DataConfig(Block):
    """Which images and annotations."""

    layout: str = "coco"
    """The published folder layout; `pose data check` prints what it expects."""
    root: str = "data/coco"
    """Folder of the data set; a relative path is looked for here, then under POSE_DATA."""
    train: str = "train2017"
    """Name of the training split."""
    val: str = "val2017"
    """Name of the split that is evaluated."""
    skeleton: str = "coco17"
    """Joint set: a built-in name, or a YAML file."""
    color: Literal["rgb", "bgr"] = "rgb"
    """Channel order the network sees; a property of the published weights."""
    pixels: Literal["imagenet", "unit"] = "imagenet"
    """Pixels as the network sees them: normalized by ImageNet's mean and deviation, or 0…1 as they are."""
    detections: str | None = None
    """Detections JSON for test.boxes=detections; relative to the data root or to here."""
    min_box_score: float = 0.0
    """Detections below this score are dropped."""
    on_bad_image: Literal["stop", "skip"] = "stop"
    """An image that is missing or does not decode: stop with its name, or skip and count it."""


class VariationConfig(Block):
    """How training samples vary; each kind of experiment has its own settings."""

    def without_variation(self) -> Self:
        """Return settings under which samples never vary."""
        return self


class ModelConfig(Block):
    """Which network."""

    name: str
    """A name that `pose models` lists."""
    input_size: Size = (192, 256)
    """[width, height] in pixels. Names of experiments say height x width: 256x192 is [192, 256]."""
    pretrained: str | None = None
    """File of ImageNet or other weights for the trunk; loaded before training starts."""
    init: Literal["published", "framework"] = "published"
    """Initial weights: the published scheme, or the framework's default."""
    options: dict[str, Any] = {}
    """Keyword arguments for the network's constructor."""


class TrainConfig(Block):
    """How the network is trained."""

    epochs: Annotated[int, Field(ge=1)] = 210
    iterations: Annotated[int, Field(ge=1)] | None = None
    """Stop after this many optimizer steps, whatever `epochs` says."""
    batch_size: Annotated[int, Field(ge=1)] = 128
    """Samples per optimizer step over all processes together; the learning rate is never scaled by it."""
    accumulate: Annotated[int, Field(ge=1)] = 1
    """Split every batch into this many forward passes, to save memory."""
    optimizer: Literal["adam", "adamw", "sgd", "rmsprop"] = "adam"
    lr: Annotated[float, Field(gt=0)] = 1e-3
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """Zero for Adam in every published experiment: their files state 1e-4, which their code never applied."""
    momentum: float = 0.9
    nesterov: bool = False
    schedule: Literal["multistep", "cosine", "onecycle", "constant"] = "multistep"
    milestones: tuple[int, ...] = (170, 200)
    """Epochs after which the learning rate is multiplied by `factor` (multistep)."""
    factor: float = 0.1
    warmup: Annotated[int, Field(ge=0)] = 0
    """Steps of linear warm-up from a thousandth of the learning rate."""
    clip_norm: Annotated[float, Field(gt=0)] | None = None
    """Largest gradient norm."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    channels_last: bool = False
    compile: bool = False
    """torch.compile the network."""
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Decay of the exponential moving average that is evaluated and saved; 0 switches it off."""
    sync_bn: bool = False
    """Share batch statistics between processes."""
    workers: Annotated[int, Field(ge=0)] = 4
    """Loader processes for each training process."""
    share_decode: bool = False
    """Put the people of one image into the same batch, so that it is decoded once."""
    reduced_decode: bool = False
    """Decode a JPEG at a half, a quarter or an eighth of its size where a crop needs no more (crops, not whole
    images). Pixels differ a little from the full decode's; evaluation never does it."""
    device_decode: bool = False
    """Send JPEGs as they are, and decode and crop them on the device (crops, not whole images): for a GPU with a
    decoder, where the loader's CPU cores are too few. Pixels differ by a few gray levels; evaluation never does it."""
    validate_every: Annotated[int, Field(ge=0)] = 1
    """Epochs between evaluations; 0 evaluates only at the end."""
    checkpoint_every: Annotated[int, Field(ge=0)] = 0
    """Optimizer steps between checkpoints within an epoch; every epoch's end has one anyway."""
    log_every: Annotated[int, Field(ge=1)] = 100
    """Steps between log lines."""


class EvaluationConfig(Block):
    """How the network is evaluated; each kind of experiment adds settings of its own."""

    flip: bool = True
    """Average with the mirrored image's prediction."""
    workers: Annotated[int, Field(ge=0)] = 4
    """Processes that decode images."""
    compile: bool = False
    """torch.compile the network, on a GPU as CUDA graphs; the first batch of each size is slow."""


class RunConfig(Block):
    """Where a run lives."""

    dir: str = "runs"
    """Runs are written to dir/<experiment name>."""
    name: str | None = None
    """Folder name; the config's name by default."""
    seed: int = 1337
    device: str = "auto"
    """auto takes a GPU where there is one; or cpu, cuda, cuda:1."""


class Experiment(Block):
    """What every experiment says; the blocks ``augment``, ``heatmap`` and ``test`` are those of its kind of method."""

    method: str
    """The package that trains it, without its prefix: lite, dekr, …"""
    name: str = "experiment"
    """Names the run folder; the file's name by default."""
    note: str = ""
    """What a reader should know: the paper's row, the number to expect, what differs."""
    data: DataConfig = DataConfig()
    augment: VariationConfig = VariationConfig()
    model: ModelConfig
    heatmap: Block = Block()
    train: TrainConfig = TrainConfig()
    test: EvaluationConfig = EvaluationConfig()
    run: RunConfig = RunConfig()

    def without_variation(self) -> Self:
        """Return the same experiment on training samples that never vary."""
        return self.model_copy(update={"augment": self.augment.without_variation()})

    def on_data(self, data: DataConfig) -> Self:
        """Return the same experiment evaluated on another data set, whose people's boxes are known."""
        return self.model_copy(update={"data": data})
