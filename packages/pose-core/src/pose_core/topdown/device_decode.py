"""Crops whose images are sent to the training device encoded, to be decoded and cropped there.

A worker only reads files and computes the crops' positions. JPEGs go to torchvision's decoder, which uses the hardware
of an NVIDIA GPU; other formats are decoded by the worker and sent as pixels.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import torch
from torch import Tensor

from pose_core.data.images import decode_bgr, jpeg_size, read_annotated
from pose_core.data.sampler import Key, epoch_index
from pose_core.engine.interfaces import TrainingSet
from pose_core.errors import ConfigError, DataError
from pose_core.ops import warp_crops
from pose_core.reading.images import is_decodable
from pose_core.structures import Batch
from pose_core.topdown.dataset import CropBatch, TopDownDataset

_log = logging.getLogger(__name__)


@cache
def _warn_once(text: str) -> None:
    _log.warning("%s", text)


@dataclass(frozen=True)
class EncodedBatch(Batch):
    """A batch of crops with encoded images."""

    content: Tensor
    """``(B,)`` uint8: the images' files, or their pixels ``(h, w, 3)`` RGB, concatenated."""
    ends: Tensor
    """``(M,)`` int64: where each image's content ends."""
    sizes: Tensor
    """``(M, 2)`` int64: height and width of an image sent as pixels, zero for a file."""
    image_of: Tensor
    """``(N,)`` int64: index of each crop's image; −1 if it could not be read."""
    crops: CropBatch
    """The crops, without pixels."""


class EncodedCrops(TrainingSet[EncodedBatch]):
    """The samples of ``people``, decoded by :meth:`to_device`; an image is sent once for all its people.

    The crops equal those of ``people`` up to a few gray levels: decoders round differently, and the device's warp is
    exact while OpenCV's rounds to a 32nd of a pixel.
    """

    def __init__(self, people: TopDownDataset) -> None:
        if type(people) is not TopDownDataset:
            raise ConfigError(
                "train.device_decode is for unchanged crops, and this method changes their pixels "
                "in the loader: set train.device_decode=false"
            )
        self.people, self.mixture = people, people.mixture

    def __len__(self) -> int:
        return len(self.people)

    @property
    def groups(self) -> np.ndarray:
        """Return the number ``(len,)`` of each person's image, for batches that share a decoded image."""
        return self.people.groups

    def __getitem__(self, key: Key) -> EncodedBatch:
        return self.__getitems__([key])

    def __getitems__(self, keys: Iterable[Key]) -> EncodedBatch:
        """Return the batch of these samples."""
        people = self.people
        pairs = [epoch_index(key) for key in keys]
        content: list[np.ndarray] = []
        sizes: list[tuple[int, int]] = []
        crops, image_of = [], []
        numbers: dict[int, tuple[int, int]] = {}
        for epoch, index in pairs:
            image = int(people.groups[index])
            if image not in numbers:
                found, size, width = self._read(index)
                numbers[image] = (len(content) if width else -1, width)
                if width:
                    content.append(found)
                    sizes.append(size)
            number, width = numbers[image]
            crops.append(people.crop(epoch, index, width))
            image_of.append(number)
        indices, shown = np.array([index for _, index in pairs]), np.array(image_of)
        no_pixels = torch.empty(len(pairs), 0, dtype=torch.uint8)
        return EncodedBatch(
            torch.from_numpy(np.concatenate([np.zeros(0, np.uint8), *content])),
            torch.tensor(np.cumsum([len(part) for part in content], dtype=np.int64)),
            torch.tensor(sizes, dtype=torch.int64).view(-1, 2),
            torch.from_numpy(shown),
            people.describe(indices, crops, no_pixels, shown >= 0),
        )

    def to_device(self, batch: EncodedBatch, device: torch.device) -> CropBatch:
        """Return the batch with its pixels, on ``device``."""
        crops = batch.crops.to(device)
        width, height = self.people.input_size
        pixels = torch.zeros(len(batch.image_of), height, width, 3, dtype=torch.uint8, device=device)
        images, broken = self._decode(batch, device)
        shown = batch.image_of.clone()
        for number in broken:
            shown[batch.image_of == number] = -1
        self.people.count(batch.crops.index, shown >= 0)
        kept = (shown >= 0).nonzero()[:, 0].to(device)
        if len(kept):
            cut = warp_crops(images, shown.to(device)[kept], crops.to_image[kept], (width, height))
            pixels[kept] = cut if self.people.color == "rgb" else cut.flip(3)
        if not broken:
            return replace(crops, images=pixels)
        valid = (shown >= 0).to(device)
        return replace(crops, images=pixels, valid=valid, joints=crops.joints * valid[:, None, None])

    def micro_batches(self, batch: EncodedBatch, device: torch.device, parts: int) -> list[Batch]:
        """Return the decoded batch as ``parts`` equal ones: its crops share images."""
        return list(self.to_device(batch, device).split(parts))

    def _read(self, index: int) -> tuple[np.ndarray, tuple[int, int], int]:
        """Return an image's content to send, its size if sent as pixels, and its width; 0 if it could not be read."""
        source = self.people.source(index)
        try:
            content = read_annotated(source, skips=self.people.on_bad_image == "skip")
            size = jpeg_size(content)
            if size is not None and is_decodable(content):
                return np.frombuffer(content, np.uint8), (0, 0), size[0]
            pixels = decode_bgr(content, source)
            return pixels[..., ::-1].ravel(), pixels.shape[:2], pixels.shape[1]
        except DataError as error:
            self._skip(error)
            return np.zeros(0, np.uint8), (0, 0), 0

    def _decode(self, batch: EncodedBatch, device: torch.device) -> tuple[list[Tensor], set[int]]:
        """Return images ``(3, h, w)`` uint8 on ``device``, and the indices of those that cannot be decoded."""
        parts = batch.content.tensor_split(batch.ends[:-1]) if len(batch.ends) else ()
        files = [number for number, (height, _) in enumerate(batch.sizes.tolist()) if not height]
        images: dict[int, Tensor] = {
            number: parts[number].view(height, width, 3).permute(2, 0, 1).contiguous().to(device)
            for number, (height, width) in enumerate(batch.sizes.tolist())
            if height
        }
        broken: set[int] = set()
        try:
            decoded = _decode_jpegs([parts[number] for number in files], device)
            images.update(zip(files, decoded, strict=True))
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            # An image is damaged or not supported by this decoder: OpenCV decodes it, or names it in an error.
            _warn_once(f"torchvision's decoder on {device}: {error}. OpenCV decodes such batches, on the CPU")
            for number in files:
                index = int(batch.crops.index[(batch.image_of == number).nonzero()[0, 0]])
                try:
                    pixels = decode_bgr(parts[number].numpy().tobytes(), self.people.source(index))
                except DataError as error:
                    self._skip(error)
                    broken.add(number)
                    pixels = np.zeros((1, 1, 3), np.uint8)
                planes = np.ascontiguousarray(pixels[..., ::-1].transpose(2, 0, 1))
                images[number] = torch.from_numpy(planes).to(device)
        return [images[number] for number in range(len(parts))], broken

    def _skip(self, error: DataError) -> None:
        if self.people.on_bad_image != "skip":
            raise error
        _log.warning("skipped: %s", error)


def _decode_jpegs(files: list[Tensor], device: torch.device) -> list[Tensor]:
    """Decode files ``(B,)`` to images ``(3, h, w)`` uint8 RGB."""
    if not files:
        return []
    try:
        from torchvision.io import ImageReadMode, decode_jpeg
    except ImportError:
        raise ConfigError("this version of torchvision cannot decode JPEGs; set train.device_decode=false") from None
    with warnings.catch_warnings():
        # It warns about its successor torchcodec, an additional package.
        warnings.simplefilter("ignore", DeprecationWarning)
        decoded: list[Tensor] = decode_jpeg(files, ImageReadMode.RGB, device=device)
    return decoded
