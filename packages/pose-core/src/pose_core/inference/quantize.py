"""ONNX files with eight-bit convolutions, calibrated on a user's images."""

from __future__ import annotations

import contextlib
import logging
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from pose_core.engine.interfaces import Pipeline
from pose_core.errors import ConfigError, DataError
from pose_core.inference.standalone import box_matrix, warp, whole_view
from pose_core.installation import install_hint
from pose_core.photos import read_photo

_log = logging.getLogger(__name__)

Array = np.ndarray
LEAST, MOST = 8, 200
"""Number of images that calibration needs, and that it reads."""
IMAGES = {".jpg", ".jpeg", ".png", ".bmp", ".webp"}


@dataclass(frozen=True)
class Quantized:
    """What quantization did, on images held back: how far keypoints moved, in the network's input pixels."""

    images: int
    median: float
    high: float
    """The 95th percentile."""
    speedup: float
    bytes_before: int
    bytes_after: int

    def __str__(self) -> str:
        return (
            f"eight-bit convolutions, calibrated on {self.images} images: on others keypoints move by "
            f"{self.median:.2f} input pixels (median; 95 % of them by at most {self.high:.2f}); {self.speedup:.1f} "
            f"times as fast here; {self.bytes_before / 1e6:.1f} MB became {self.bytes_after / 1e6:.1f} MB"
        )


def quantize(file: Path, pipeline: Pipeline, folder: str | Path) -> Quantized:
    """Replace a pipeline's ONNX file by one with eight-bit convolutions, except the last, which stay in float.

    Three quarters of the images in ``folder`` set the ranges of values, the others measure the difference. Each should
    show one person as large as a crop does, or for a network for whole images be such an image.
    """
    try:
        from onnxruntime import quantization
        from onnxruntime.quantization import shape_inference
    except ImportError:
        raise ConfigError(f"--int8 needs onnxruntime and onnx: {install_hint('export')}") from None
    inputs = list(_inputs(Path(folder), pipeline))
    if len(inputs) < LEAST:
        raise DataError(f"--calibrate {folder}: has {len(inputs)} readable images; give at least {LEAST}")
    held, used = inputs[::4], [image for number, image in enumerate(inputs) if number % 4]
    found, seconds = _run(file, held)
    before = file.stat().st_size
    with tempfile.TemporaryDirectory(dir=file.parent) as work, _quiet():
        plain, small = Path(work, "plain.onnx"), Path(work, "int8.onnx")
        shape_inference.quant_pre_process(file, plain, skip_symbolic_shape=True)
        quantization.quantize_static(
            plain, small, _Reader(used), quant_format=quantization.QuantFormat.QDQ, per_channel=True,
            op_types_to_quantize=["Conv"], nodes_to_exclude=last_convolutions(plain),
            activation_type=quantization.QuantType.QUInt8, weight_type=quantization.QuantType.QInt8,
        )  # fmt: skip
        moved, fewer_seconds = _run(small, held)
        small.replace(file)
    away = np.concatenate([np.linalg.norm(a - b, axis=-1).ravel() for a, b in zip(found, moved, strict=True)])
    median, high = np.percentile(away, [50, 95])
    return Quantized(len(used), float(median), float(high), seconds / fewer_seconds, before, file.stat().st_size)


def last_convolutions(file: Path) -> list[str]:
    """Return the names of the convolutions that make a network's outputs, and of those that only blur them after."""
    import onnx

    graph = onnx.load(file).graph
    makers = {output: node for node in graph.node for output in node.output}
    shapes = {weight.name: tuple(weight.dims) for weight in graph.initializer}
    names, seen, left = [], set(), [output.name for output in graph.output]
    while left:
        node = makers.get(left.pop())
        if node is None or node.name in seen:
            continue
        seen.add(node.name)
        is_convolution = node.op_type in {"Conv", "ConvTranspose", "DeformConv"}
        if is_convolution:
            names.append(node.name)
        # DARK's Gaussian is a convolution within one channel, after the network's last.
        if not is_convolution or shapes.get(node.input[1], (0, 0))[1] == 1:
            left.extend(node.input)
    return names


class _Reader:
    """Hands images to the calibration, one at a time."""

    def __init__(self, inputs: Sequence[Array]) -> None:
        self.left = iter(inputs)

    def get_next(self) -> dict[str, Array] | None:
        image = next(self.left, None)
        return None if image is None else {"images": image}


def _inputs(folder: Path, pipeline: Pipeline) -> Iterator[Array]:
    """Yield the images of a folder as the pipeline takes them, ``(1, H, W, 3)``."""
    files = [path for path in sorted(folder.rglob("*")) if path.suffix.lower() in IMAGES]
    for path in files[:: max(1, len(files) // MOST)][:MOST]:
        try:
            image = read_photo(str(path))
        except DataError as error:
            _log.warning("%s; it is left out", error)
            continue
        height, width = image.shape[:2]
        settings: dict[str, Any] = dict(pipeline.settings)
        if pipeline.script == "crops":
            box = np.array([0.1 * width, 0.1 * height, 0.8 * width, 0.8 * height])
            yield warp(image, box_matrix(box, settings), settings["input_size"])[None]
        elif pipeline.script == "whole":
            size, matrix = whole_view(width, height, settings)
            yield warp(image, matrix, size)[None]
        else:
            yield cv2.resize(image, settings["input_size"])[None]


def _run(file: Path, inputs: Sequence[Array]) -> tuple[list[Array], float]:
    """Return the keypoints in each input, and the time of the fastest."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    found, times = [], []
    for image in (inputs[0], *inputs):  # the first call allocates
        start = time.perf_counter()
        (keypoints,) = session.run(["keypoints"], {"images": image})
        times.append(time.perf_counter() - start)
        found.append(keypoints)
    return found[1:], min(times[1:])


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence onnxruntime's advice on steps that are done here."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(level)
