"""The typed configuration of a run: what a file may say, what each key means, and its default, stated once.

A configuration is data. One YAML file holds one experiment and inherits from nothing; ``key.sub=value`` overrides come
last. Unknown keys and wrong types are errors that name the key, the file and the nearest valid key.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from pose_core.errors import ConfigError

if TYPE_CHECKING:
    from pose_core.method import Method

Size = tuple[Annotated[int, Field(gt=0)], Annotated[int, Field(gt=0)]]
Fraction = Annotated[float, Field(ge=0, le=1)]


class Block(BaseModel):
    """A group of settings: frozen, and strict about its keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class DataConfig(Block):
    """Which images and annotations."""

    layout: Literal["coco", "crowdpose", "mpii", "lsp", "lsp_mpii"] = "coco"
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
    """Pixels as the network sees them: normalised by ImageNet's mean and deviation, or 0…1 as they are."""
    detections: str | None = None
    """Detections JSON for test.boxes=detections; relative to the data root or to here."""
    min_box_score: float = 0.0
    """Detections below this score are dropped."""
    on_bad_image: Literal["stop", "skip"] = "stop"
    """An image that is missing or does not decode: stop with its name, or skip and count it."""


class AugmentConfig(Block):
    """How training samples vary."""

    flip: Fraction = 0.5
    """Probability of mirroring."""
    scale: Fraction = 0.35
    """Scale factor is clip(1 + N(0,1)·scale, 1 − scale, 1 + scale)."""
    rotation: Annotated[float, Field(ge=0)] = 45.0
    """Rotation is clip(N(0,1)·rotation, ±2·rotation) degrees."""
    rotation_probability: Fraction = 0.6
    half_body: Fraction = 0.0
    """Probability of cropping to the upper or lower body."""
    half_body_joints: int = 8
    """Half-body needs more labelled joints than this."""
    half_body_fewest: int = 2
    """Fewest joints of a half that may be cropped to (2 in HRNet, 3 in ASDA)."""

    def still(self) -> AugmentConfig:
        """Settings under which samples never vary."""
        return AugmentConfig(flip=0, scale=0, rotation=0, rotation_probability=0, half_body=0)


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


class HeatmapConfig(Block):
    """Joints to targets and back."""

    stride: Annotated[int, Field(gt=0)] = 4
    """Input pixels per heatmap pixel."""
    sigma: Annotated[float, Field(gt=0)] = 2.0
    """Standard deviation of a target, in heatmap pixels."""
    target: Literal["quantised", "subpixel"] = "quantised"
    """Peak on the nearest pixel, as published, or where the joint is."""
    convention: Literal["published", "unbiased"] = "published"
    """Pixel convention of crop and heatmap; unbiased is UDP."""
    decode: Literal["argmax", "soft_argmax", "dark"] = "argmax"
    quarter: bool = True
    """Move a quarter of a pixel towards the higher neighbour (also after soft-argmax, as published)."""
    beta: Annotated[float, Field(gt=0)] = 160.0
    """Sharpness of soft-argmax."""
    bias: float = 0.0
    """Subtracted from x and y of the final coordinates (1.0 in the original LPN's MPII configuration)."""
    objective: Literal["heatmap", "coordinate"] = "heatmap"
    """Loss on heatmaps, as published; or heatmaps plus the soft-argmax coordinates, an option of ours."""

    @property
    def inset(self) -> float:
        """How far beyond its target's peak a joint lies on average, in heatmap pixels; a method's targets may differ.

        On the nearest pixel that is nothing.
        """
        return 0.0


class TrainConfig(Block):
    """How the network is trained."""

    epochs: Annotated[int, Field(ge=1)] = 210
    iterations: Annotated[int, Field(ge=1)] | None = None
    """Stop after this many optimiser steps, whatever `epochs` says."""
    batch_size: Annotated[int, Field(ge=1)] = 128
    """Samples per optimiser step over all processes together; the learning rate is never scaled by it."""
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
    decoder, where the loader's CPU cores are too few. Pixels differ by a few grey levels; evaluation never does it."""
    validate_every: Annotated[int, Field(ge=0)] = 1
    """Epochs between evaluations; 0 evaluates only at the end."""
    checkpoint_every: Annotated[int, Field(ge=0)] = 0
    """Optimiser steps between checkpoints within an epoch; every epoch's end has one anyway."""
    log_every: Annotated[int, Field(ge=1)] = 100
    """Steps between log lines."""


class TestConfig(Block):
    """How the network is evaluated."""

    __test__ = False  # not a pytest class
    batch_size: Annotated[int, Field(ge=1)] = 128
    """Crops predicted at a time by each process."""
    workers: Annotated[int, Field(ge=0)] = 4
    boxes: Literal["gt", "detections"] = "gt"
    """Where the people's boxes come from."""
    flip: bool = True
    """Average with the mirrored image's prediction."""
    shift_heatmap: bool = True
    """Shift the mirrored heatmap one pixel right before averaging; for the published convention."""
    scale: Annotated[float, Field(gt=0)] = 1.0
    """Enlarges every crop."""
    joint_threshold: float = 0.2
    """A person's score is box score × mean of the joint scores above this."""
    oks_threshold: float = 0.9
    """OKS above which the lower-scored of two poses is suppressed."""
    soft_nms: bool = False
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


class Config(Block):
    """One experiment."""

    method: str
    """The package that trains it, without its prefix: lite, dekr, …"""
    name: str = "experiment"
    """Names the run folder; the file's name by default."""
    note: str = ""
    """What a reader should know: the paper's row, the number to expect, what differs."""
    data: DataConfig = DataConfig()
    augment: AugmentConfig = AugmentConfig()
    model: ModelConfig
    heatmap: HeatmapConfig = HeatmapConfig()
    train: TrainConfig = TrainConfig()
    test: TestConfig = TestConfig()
    run: RunConfig = RunConfig()

    @model_validator(mode="after")
    def _input_fits_stride(self) -> Config:
        width, height = self.model.input_size
        stride = self.heatmap.stride
        if width % stride or height % stride:
            raise ValueError(f"model.input_size [{width}, {height}] must be divisible by heatmap.stride {stride}")
        return self

    @model_validator(mode="after")
    def _decodes_once(self) -> Config:
        if self.train.device_decode and self.train.reduced_decode:
            raise ValueError("train.device_decode decodes every image whole; set train.reduced_decode=false")
        return self

    @property
    def heatmap_size(self) -> tuple[int, int]:
        """(width, height) of the network's output."""
        width, height = self.model.input_size
        return width // self.heatmap.stride, height // self.heatmap.stride


C = TypeVar("C", bound=Config)

_EXPONENT = re.compile(r"[+-]?\d+(\.\d*)?[eE][+-]?\d+")


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML mapping from a file, or a ConfigError that names it."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"config file {path} does not exist") from None
    except OSError as error:
        raise ConfigError(f"config file {path} cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"config file {path} is not valid YAML: {error}") from None
    if not isinstance(content, dict):
        raise ConfigError(f"config file {path} must hold a mapping of keys to values")
    return content


def apply_overrides(content: Mapping[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """Set dotted keys, ``train.lr=1e-3``; values are read as YAML."""
    result: dict[str, Any] = yaml.safe_load(yaml.safe_dump(dict(content)))
    for item in overrides:
        key, found, text = item.partition("=")
        if not found or not key:
            raise ConfigError(f"override {item!r} must have the form key=value, for example train.epochs=10")
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ConfigError(f"override {item!r}: the value is not valid YAML: {error}") from None
        *parents, last = key.split(".")
        block = result
        for parent in parents:
            block = block.setdefault(parent, {})
            if not isinstance(block, dict):
                raise ConfigError(f"override {item!r}: {parent!r} is a value, not a block of settings")
        # YAML 1.1 reads 1e-3 as text.
        block[last] = float(value) if isinstance(value, str) and _EXPONENT.fullmatch(value) else value
    return result


def parse_config(content: Mapping[str, Any], schema: type[C], where: str) -> C:
    """Validate a mapping against a schema; every fault is named with its key and ``where`` it stands."""
    try:
        return schema.model_validate(content)
    except ValidationError as error:
        lines = [_explain(fault, schema) for fault in error.errors()]
        raise ConfigError(f"{where}:\n" + "\n".join(f"  {line}" for line in lines)) from None


def _explain(fault: Any, schema: type[BaseModel]) -> str:
    path = [str(part) for part in fault["loc"]]
    key = ".".join(path) or "the whole"
    if fault["type"] == "extra_forbidden":
        near = nearest_key(key, schema)
        return f"unknown key {key!r}" + (f"; did you mean {near!r}?" if near else "")
    if fault["type"] == "missing":
        return f"{key!r} is required and missing"
    message = fault["msg"].removeprefix("Value error, ")
    if fault["type"] == "value_error" and (not path or isinstance(fault["input"], Mapping)):
        # A rule about several keys names them itself; the whole block's values would hide it.
        return message if not path or message.startswith(f"{key}.") else f"{key}: {message}"
    return f"{key!r} is {fault['input']!r}: {message[:1].lower()}{message[1:]}"


def all_keys(schema: type[BaseModel], prefix: str = "") -> list[str]:
    """Every dotted key a schema knows."""
    keys = []
    for name, field in schema.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            keys += all_keys(kind, f"{prefix}{name}.")
        else:
            keys.append(prefix + name)
    return keys


def nearest_key(key: str, schema: type[BaseModel]) -> str | None:
    """The valid dotted key that looks most like ``key``."""
    keys = all_keys(schema)
    if "." not in key:
        near = get_close_matches(key, {full.partition(".")[0] for full in keys}, n=1, cutoff=0.75)
        if near:
            return near[0]
    near = get_close_matches(key, keys, n=1, cutoff=0.6)
    if near:
        return near[0]
    by_last = {full.rpartition(".")[2]: full for full in keys}
    near = get_close_matches(key.rpartition(".")[2], by_last, n=1, cutoff=0.75)
    return by_last[near[0]] if near else None


def dump_config(config: Config) -> str:
    """The resolved whole as YAML, ready to be read again."""
    text: str = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=110)
    return text


def find_data_root(root: str) -> Path:
    """A data folder as given, or below POSE_DATA when it is relative and not here."""
    path = Path(root).expanduser()
    base = os.environ.get("POSE_DATA")
    if not path.is_absolute() and not path.exists() and base:
        below = Path(base).expanduser()
        for candidate in (below / path, below / path.name):
            if candidate.exists():
                return candidate
        return below / path
    return path


def load_config(name_or_path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Load an experiment: a built-in name, a YAML file of ours, or a published (upper-case) YAML.

    Built-in names are ``coco_lpn50_256x192`` or, where two installed packages share one, ``pose-lite/coco_…``.
    Overrides of a published file may also name its own keys, ``MODEL.NAME=mrfea1_pose_resnet``.
    """
    from pose_core.method import find_builtin_config, get_method  # methods state their schema with our blocks

    path = Path(name_or_path)
    # A folder may well be called like an experiment: runs are.
    if path.suffix in {".yaml", ".yml"} or path.is_file():
        content = read_yaml(path)
        where = f"config file {path}"
        if is_published(content):
            from pose_core.convert import convert_published

            content, overrides = override_published(content, overrides)
            content = convert_published(content, path.name).config
            where = f"config file {path} (converted from the published form)"
    else:
        path = find_builtin_config(str(name_or_path))
        content = read_yaml(path)
        where = f"config {name_or_path}"
    content = apply_overrides(content, overrides)
    content.setdefault("name", path.name.split(".")[0])
    if overrides:
        where += f" with {' '.join(overrides)}"
    method = content.get("method")
    if not isinstance(method, str):
        raise ConfigError(f"{where}: 'method' is missing; it names the package, for example method: lite")
    return parse_config(content, config_schema(get_method(method), content, where), where)


def config_schema(method: Method, content: Mapping[str, Any], where: str) -> type[Config]:
    """The schema of a method's configs; a method of several kinds of tasks chooses by what a file says."""
    from pose_core.method import resolve

    found = resolve(method.config)
    schema: type[Config] = found if isinstance(found, type) else found(content, where)
    return schema


def override_published(content: Mapping[str, Any], overrides: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """Set the published (upper-case) keys among ``overrides``; returns the file's new content and the other ones."""
    published = [item for item in overrides if item.partition("=")[0].isupper()]
    return apply_overrides(content, published), [item for item in overrides if item not in published]


def is_published(content: Mapping[str, Any]) -> bool:
    """Whether a YAML is in the published repositories' upper-case form."""
    return any(isinstance(content.get(key), dict) for key in ("MODEL", "DATASET", "TEST", "TRAIN"))
