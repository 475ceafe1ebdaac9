"""The blocks of settings that every experiment has, with the meaning and the default of each key.

A configuration is data: frozen, and strict about its keys. A kind of method adds its own blocks in a subclass of
`Experiment`: see `pose_core.topdown.config` and `pose_core.bottomup.config`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from pose_core.folders import check_folder_name, check_printable

Size = tuple[Annotated[int, Field(gt=0)], Annotated[int, Field(gt=0)]]
Fraction = Annotated[float, Field(ge=0, le=1)]


class Renamed(NamedTuple):
    """Today's name of a key of an earlier version, and today's spelling of its values that changed."""

    key: str
    values: Mapping[str, str | bool] = {}


class Block(BaseModel):
    """A group of settings: frozen, and strict about its keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)
    renamed: ClassVar[Mapping[str, Renamed]] = {}
    """Keys of earlier versions. They are still read, with a note that names today's key."""


class SourceConfig(Block):
    """One of several data sets that a training draws from."""

    name: str | None = None
    """Name in logs, metrics and folders; by default the last folder of the root."""
    layout: str = "coco"
    """The published folder layout, as in data.layout."""
    root: str
    """Folder of the data set, as in data.root."""
    train: str | None = None
    """Name of the training split; by default the layout's usual one."""
    val: str | None = None
    """Name of a split that is evaluated as well; by default none."""
    skeleton: str | None = None
    """Joint set of the annotations: a built-in name, or a YAML file; by default the layout's usual one."""
    joints: dict[str, str | None] = {}
    """The source's joint for some joints of data.skeleton, or null for a joint that is not to be taken from it; the
    others are found by their names."""
    weight: Annotated[float, Field(gt=0, le=100)] = 1.0
    """How often each of the source's samples is drawn in an epoch; 0.5 draws half of them, others in each epoch."""
    allowed_folders: tuple[str, ...] = ()
    """Folders outside the root that names and links of images may lead to, as in data.allowed_folders."""

    @property
    def title(self) -> str:
        """The source's name."""
        return PurePath(self.root).name if self.name is None else self.name


class DataConfig(Block):
    """Images and annotations."""

    layout: str = "coco"
    """The published folder layout; `pose data check` prints what it expects."""
    root: str = "data/coco"
    """Folder of the data set; a relative path is searched in the current directory, then under POSE_DATA."""
    train: str = "train2017"
    """Name of the training split."""
    val: str = "val2017"
    """Name of the split that is evaluated."""
    skeleton: str = "coco17"
    """Joint set: a built-in name, or a YAML file."""
    color: Literal["rgb", "bgr"] = "rgb"
    """Channel order of the network's input; a property of the published weights."""
    pixels: Literal["imagenet", "unit"] = "imagenet"
    """Pixel values of the network's input: normalized by ImageNet's mean and standard deviation, or plain 0…1."""
    detections: str | None = None
    """Detections JSON for test.boxes=detections; relative to the data root or the current directory."""
    allowed_folders: tuple[str, ...] = ()
    """Folders outside the data root that names and links of images may lead to; others are refused."""
    min_box_score: float = 0.0
    """Detections below this score are dropped."""
    on_bad_image: Literal["stop", "skip"] = "stop"
    """An image that is missing or does not decode: stop with its name, or skip and count it."""
    max_skipped: Fraction = 0.1
    """The largest share that on_bad_image=skip skips before it stops nevertheless: of a split's images, if they are
    missing, and of the latest 2000 samples (in a smaller data set, of all), if their images do not decode. One image is
    skipped in any case."""
    sources: tuple[SourceConfig, ...] = ()
    """Data sets to train on together, each a mapping with name, layout, root, train, val, skeleton, joints, weight and
    allowed_folders, of which only root is required: [{root: data/coco}, {root: data/mpii, layout: mpii, weight: 0.5}].
    Their joints are mapped to data.skeleton by name; joints that a source lacks have no loss in its samples. With
    sources, data.train is not read: to train on the main data set as well, list it. data.root, data.layout and data.val
    stay the evaluation that selects the best checkpoint; a source's val split is evaluated besides."""

    @model_validator(mode="after")
    def _sources_have_names(self) -> Self:
        names = [source.title for source in self.sources]
        for name in names:
            try:
                check_folder_name(name)
            except ValueError as error:
                raise ValueError(f"data.sources: the name {name!r} of a source {error}; set its name") from None
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"data.sources: two sources are called {twice}; give each its own name")
        return self


class VariationConfig(Block):
    """Random variation of training samples; each kind of experiment has its own settings."""

    def without_variation(self) -> Self:
        """Return settings under which samples never vary."""
        return self


class ModelConfig(Block):
    """The network."""

    name: str
    """A name that `pose models` lists."""
    input_size: Size = (192, 256)
    """[width, height] in pixels. Names of experiments say height x width: 256x192 is [192, 256]."""
    pretrained: str | None = None
    """File of ImageNet or other weights for the backbone; loaded before training starts."""
    init: Literal["published", "framework"] = "published"
    """Initial weights: the published scheme, or the framework's default."""
    options: dict[str, Any] = {}
    """Keyword arguments for the network's constructor."""


class TrainConfig(Block):
    """Training of the network."""

    epochs: Annotated[int, Field(ge=1)] = 210
    """Passes over the training set."""
    iterations: Annotated[int, Field(ge=1)] | None = None
    """Stop after this many optimizer steps, regardless of `epochs`."""
    batch_size: Annotated[int, Field(ge=1)] = 128
    """Samples per optimizer step over all processes; the learning rate is never scaled by it."""
    batch_per_process: Annotated[int, Field(ge=1)] | None = None
    """Samples per optimizer step of each process, instead of `batch_size`."""
    accumulate: Annotated[int, Field(ge=1)] = 1
    """Split every batch into this many forward passes, to save memory."""
    optimizer: Literal["adam", "adamw", "sgd", "rmsprop"] = "adam"
    """The rule that updates the weights."""
    lr: Annotated[float, Field(gt=0)] = 1e-3
    """Learning rate, before the schedule's factor."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """Zero for Adam in every published experiment: their files state 1e-4, which their code never applied."""
    momentum: float = 0.9
    """Momentum of SGD."""
    nesterov: bool = False
    """Use Nesterov's momentum (SGD)."""
    schedule: Literal["multistep", "cosine", "onecycle", "constant"] = "multistep"
    """The course of the learning rate over the training."""
    milestones: tuple[int, ...] = (170, 200)
    """Epochs after which the learning rate is multiplied by `factor` (multistep)."""
    factor: float = 0.1
    """The learning rate is multiplied by this at each milestone."""
    warmup: Annotated[int, Field(ge=0)] = 0
    """Steps of linear warm-up from a thousandth of the learning rate."""
    clip_norm: Annotated[float, Field(gt=0)] | None = None
    """Largest gradient norm."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """Number format of the network's operations in training; weights and optimizer stay fp32."""
    channels_last: bool = False
    """Store channels last, which makes convolutions faster on many devices."""
    compile: bool = False
    """torch.compile the network."""
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Decay of the exponential moving average that is evaluated and saved; 0 switches it off."""
    sync_bn: bool = False
    """Share batch statistics between processes."""
    workers: Annotated[int, Field(ge=0)] | None = None
    """Loader processes of each training process; no more than there are CPU cores. By default the cores, divided among
    the training processes of this machine: at most 16, fewer where memory is short, none on a single core. The number
    changes no sample."""
    share_decode: bool = False
    """Put the people of one image into the same batch, so that it is decoded once."""
    reduced_decode: bool = False
    """Decode a JPEG at a half, a quarter or an eighth of its size where a crop needs no more (crops, not whole
    images). Pixels differ a little from the full decode's. Never used in evaluation."""
    device_decode: bool = False
    """Send JPEGs as they are, and decode and crop them on the device (crops, not whole images): for a GPU with a
    decoder, where the loader has too few CPU cores. Pixels differ by a few gray levels. Never used in evaluation."""
    validate_every: Annotated[int, Field(ge=0)] = 1
    """Epochs between evaluations; 0 evaluates only at the end."""
    evaluate_on: str | None = None
    """Device of a process that evaluates while training goes on, such as cpu or cuda:1; without it, training waits."""
    checkpoint_every: Annotated[int, Field(ge=0)] = 0
    """Optimizer steps between checkpoints within an epoch; each epoch ends with a checkpoint in any case."""
    keep: Annotated[int, Field(ge=1)] = 2
    """Checkpoints to keep: last.pt, and the ones before it as last-1.pt, …, in case that last.pt is damaged."""
    log_every: Annotated[int, Field(ge=1)] = 100
    """Steps between log lines."""


class EvaluationConfig(Block):
    """Evaluation of the network; each kind of experiment adds its own settings."""

    flip: bool = True
    """Average with the mirrored image's prediction."""
    workers: Annotated[int, Field(ge=0)] | None = None
    """Processes that decode images; no more than there are CPU cores, and by default as in training."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """Number format of the network's operations in evaluation and prediction, also during a training. Published figures
    are fp32's; results say it where it is not. fp16 needs a GPU. Everything after the network stays fp32."""
    compile: bool = False
    """torch.compile the network, on a GPU as CUDA graphs; the first batch of each size is slow."""
    runtime: Literal["auto", "torch", "onnxruntime", "openvino"] = "auto"
    """What computes the network on a CPU: PyTorch, ONNX Runtime or OpenVINO. auto takes the one that was measured to be
    the fastest on this machine (`pose doctor --networks NAME`, or at the start of a long evaluation), if there are
    enough images to make up for its start, and PyTorch otherwise, also in a training, whose figures must not depend on
    times. Outputs are equal to 1e-4 of the largest value; results say where it is not PyTorch."""


class RunConfig(Block):
    """The run's folder, seed and device."""

    dir: str = "runs"
    """Runs are written to dir/<experiment name>. In a file it must be below the current folder; on the command line
    it may be any folder."""
    name: str | None = None
    """Folder name; the config's name by default."""
    seed: int = 1337
    """Seed of the initial weights, the order of samples and their augmentation."""
    device: str = "auto"
    """auto uses a GPU if there is one; or cpu, cuda, cuda:1."""

    @field_validator("dir")
    @classmethod
    def _is_printable(cls, value: str) -> str:
        return check_printable(value)

    @field_validator("name")
    @classmethod
    def _is_folder_name(cls, value: str | None) -> str | None:
        return None if value is None else check_folder_name(value)


class Experiment(Block):
    """The settings of an experiment; the kind of method defines the blocks ``augment``, ``heatmap`` and ``test``."""

    method: str
    """The method that trains it: its package's name without the prefix, for example lite for pose-lite."""
    name: str = "experiment"
    """Name of the run folder; the file's name by default."""
    note: str = ""
    """Remarks for readers: the paper's row, the expected figure, differences from the paper."""
    data: DataConfig = DataConfig()
    augment: VariationConfig = VariationConfig()
    model: ModelConfig
    heatmap: Block = Block()
    train: TrainConfig = TrainConfig()
    test: EvaluationConfig = EvaluationConfig()
    run: RunConfig = RunConfig()

    @field_validator("name")
    @classmethod
    def _is_folder_name(cls, value: str) -> str:
        return check_folder_name(value)

    def without_variation(self) -> Self:
        """Return the same experiment on training samples that never vary."""
        return self.model_copy(update={"augment": self.augment.without_variation()})

    def on_data(self, data: DataConfig) -> Self:
        """Return the same experiment evaluated on another data set, whose people's boxes are known."""
        return self.model_copy(update={"data": data})
