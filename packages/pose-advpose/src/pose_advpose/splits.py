"""Images held out of one annotation file, such as the original code's 500 test images of COCO's train2014."""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from pose_core.data.numbers import whole_number
from pose_core.errors import ConfigError, DataError
from pose_core.reading.json_text import read_json
from pose_core.reading.regular import read_regular
from pose_core.structures import ImageRecord

if TYPE_CHECKING:
    from pose_advpose.config import SplitConfig

PUBLISHED = "published"
MAX_BYTES = 100_000_000
"""The largest file of ids that is read: COCO's 118,287 training images need less than a megabyte."""
MAX_DIGITS = 18
"""Most digits of an id, which has 64 bits."""
FIRST_FEW = 5
"""Number of ids that a message lists."""


def held_out_ids(split: SplitConfig) -> frozenset[int] | None:
    """Return the ids of the images to evaluate on; None if the config holds nothing out."""
    if split.valid_ids is None:
        return None
    if split.valid_ids == PUBLISHED:
        return published_ids()
    file = Path(split.valid_ids).expanduser()
    if not file.exists():
        raise ConfigError(
            f"split.valid_ids={split.valid_ids}: no such file; name a file with one image id a line, or use "
            f"{PUBLISHED!r} for the 500 images of the original code"
        )
    try:
        text = read_regular(file, "split.valid_ids", limit=MAX_BYTES).decode()
    except UnicodeDecodeError as error:
        raise DataError(f"split.valid_ids={split.valid_ids} cannot be read as text: {error}") from None
    return parse_ids(text, file)


def published_ids() -> frozenset[int]:
    """Return the ids of the 500 images of COCO's train2014 that the original code evaluates on."""
    text = (files("pose_advpose") / "valid_ids.txt").read_text()
    return parse_ids(text, "pose_advpose/valid_ids.txt")


def parse_ids(text: str, file: str | Path) -> frozenset[int]:
    """Parse image ids, one per line; blank lines and comments after # are ignored."""
    lines: dict[int, int] = {}
    for number, line in enumerate(text.splitlines(), 1):
        entry = line.partition("#")[0].strip()
        if not entry:
            continue
        # int() would also accept 1_000 and non-ASCII digits.
        if not (entry.isascii() and entry.isdigit() and len(entry) <= MAX_DIGITS):
            raise DataError(f"{file}, line {number}: {entry[:40]!r} is not an image id; write one number per line")
        image_id = int(entry)
        if image_id in lines:
            raise DataError(
                f"{file}, line {number}: image id {image_id} is on line {lines[image_id]} already; remove one"
            )
        lines[image_id] = number
    if not lines:
        raise DataError(f"{file} contains no image id; write one number per line")
    return frozenset(lines)


def keep_split(
    records: Sequence[ImageRecord], ids: Set[int] | None, *, training: bool, file: Path
) -> tuple[ImageRecord, ...]:
    """Return the images of a split: only ``ids`` for evaluation, all others for training.

    ``file`` is the COCO annotation file of ``records``; every id must be one of its images. As published, training
    skips images without labeled joints.
    """
    if ids is not None:
        _check_known(ids, records, file)
    if not training:
        return tuple(record for record in records if ids is None or record.image_id in ids)
    held_out = ids or frozenset()
    kept = tuple(record for record in records if record.image_id not in held_out and _has_labeled(record))
    if not kept:
        raise DataError(
            f"{file}: none of {len(records)} images is left to train on: split.valid_ids holds out {len(held_out)}, "
            "the others have no labeled people; use another data.train or fewer ids"
        )
    return kept


def _has_labeled(record: ImageRecord) -> bool:
    return any(person.num_labeled for person in record.persons)


def _check_known(ids: Set[int], records: Iterable[ImageRecord], file: Path) -> None:
    missing = ids - {record.image_id for record in records}
    if not missing:
        return
    # With data.on_bad_image=skip, records lack images that the annotation file lists but that are missing.
    unknown = sorted(missing - image_ids_of(file))
    if unknown:
        first = ", ".join(map(str, unknown[:FIRST_FEW])) + (", …" if len(unknown) > FIRST_FEW else "")
        raise DataError(
            f"split.valid_ids: {len(unknown)} of {len(ids)} image ids are not among the images of {file}: {first}; "
            f"set data.train and data.val to the split that holds them (train2014 for {PUBLISHED!r}), or list images "
            "of this file"
        )


def image_ids_of(file: Path) -> set[int]:
    """Return the ids of all images that a COCO annotation file lists."""
    images = read_json(file)["images"]
    return {number for image in images if (number := whole_number(image["id"])) is not None}
