"""Build lsp_mpii.h5, MPII and LSP in one file, from their official annotations.

Split train holds the training people of MPII and LSP, val LSP's test people, and test MPII's test people. Image paths
are mpii/images/… and lsp/images/…, relative to the file's folder.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from pose_core.data.diagnostics import Problems
from pose_core.data.h5_file import encode_names, import_h5py
from pose_core.data.sources import split_source
from pose_core.errors import ConfigError, DataError
from pose_core.files import whole_file
from pose_core.geometry import PIXEL_STD
from pose_core.layouts.layout import Layout
from pose_core.layouts.lsp import LSP
from pose_core.layouts.lsp_mpii import ISTRAIN, LSP_MPII
from pose_core.layouts.mpii import CENTER_DROP, MPII, PADDING
from pose_core.skeleton import SKELETONS
from pose_core.structures import Person
from pose_core.verbosity import no_bar

Array = np.ndarray

JOINTS = SKELETONS[LSP_MPII.skeleton].joints
RENAMED = {"neck": "upper_neck"}
"""MPII's joint names by LSP's, where they differ."""
UNLABELED = -1.0
"""Stored as x and y of a joint that is not labeled: x is not positive."""
NOWHERE = -2.0
"""Center x, 0-based, of people without a position, which files write as −1."""


class Part(NamedTuple):
    """One split of one data set, and the split of the merged file that it becomes."""

    layout: Layout
    root: Path
    split: str
    becomes: str

    @property
    def annotation_file(self) -> Path:
        """The split's annotation file."""
        return self.layout.annotation_file(self.root, self.split)


class Row(NamedTuple):
    """One person's row in the file; pixels are 0-based."""

    name: str
    part: Array
    """``(16, 2)``."""
    visible: Array
    """``(16,)``: 1 where a joint is labeled and not hidden."""
    center: tuple[float, float]
    scale: float
    """Without padding, in units of 200 pixels."""
    istrain: int
    outside: int
    """The number of labeled joints at x ≤ 0, which readers treat as not labeled."""


@dataclass(frozen=True)
class Built:
    """The counts and problems of a file that was written."""

    file: Path
    people: dict[Part, int]
    nowhere: int
    outside: int
    problems: Problems

    def __str__(self) -> str:
        lines = [f"written: {self.file}"]
        for part, count in self.people.items():
            source = f"{part.layout.name} {part.split} ({part.annotation_file})"
            lines.append(f"  {part.becomes:<5} {count:>6} people of {source}")
        if not any(part.becomes == "test" for part in self.people):
            lines.append("  test       no people: MPII's test annotations are missing")
        if any(part.layout is MPII and part.split == "trainval" for part in self.people):
            lines.append("  train holds MPII's trainval: no MPII people remain for validation")
        if self.nowhere:
            lines.append(f"skipped: {self.nowhere} people whose annotation has no position")
        if self.outside:
            lines.append(f"{self.outside} labeled joints have x ≤ 0, which in this file means not labeled")
        if self.problems:
            lines += self.problems.summary().splitlines()
        return "\n".join(lines)


def build(mpii: Path, lsp: Path, out: Path, *, mpii_train: str | None = None) -> Built:
    """Write ``lsp_mpii.h5`` to the folder ``out``: fields imgname, part, center, scale, visible, istrain."""
    import_h5py("writing lsp_mpii.h5")
    problems = Problems()
    rows: list[Row] = []
    counts: dict[Part, int] = {}
    nowhere = 0
    for part in tqdm(find_parts(mpii, lsp, mpii_train), "reading", unit="split", leave=False, disable=no_bar()):
        found = list(read_part(part, problems))
        kept = [row for row in found if row is not None]
        nowhere += len(found) - len(kept)
        counts[part] = len(kept)
        rows += kept
    write(out, rows)
    return Built(LSP_MPII.annotation_file(out, "train"), counts, nowhere, sum(row.outside for row in rows), problems)


def find_parts(mpii: Path, lsp: Path, mpii_train: str | None) -> list[Part]:
    """Return the parts in the order of the file; MPII's test people only if their annotations are present."""
    if mpii_train is None:
        # The official release does not divide its people into train and valid.
        has_release_alone = (
            not MPII.annotation_file(mpii, "train").exists() and MPII.annotation_file(mpii, "trainval").suffix == ".mat"
        )
        mpii_train = "trainval" if has_release_alone else "train"
    if mpii_train not in {"train", "trainval"}:
        raise ConfigError(f"--mpii-train {mpii_train!r} must be train or trainval: the others are not training splits")
    parts = [
        Part(MPII, mpii, mpii_train, "train"),
        Part(LSP, lsp, "train", "train"),
        Part(LSP, lsp, "test", "val"),
    ]
    if MPII.annotation_file(mpii, "test").exists():
        parts.append(Part(MPII, mpii, "test", "test"))
    return parts


def read_part(part: Part, problems: Problems) -> Iterator[Row | None]:
    """Yield the people of a part; None for a person whose annotation has no position."""
    skeleton = SKELETONS[part.layout.skeleton]
    columns = [JOINTS.index(RENAMED.get(name, name)) for name in skeleton.joints]
    for record in part.layout.read(part.root, part.split, skeleton, problems):
        path, member = split_source(record.source)
        name = f"{part.layout.name}/images/{member or Path(path).name}"
        for person in record.persons:
            place = raw_place(person)
            if place is None:
                yield None
                continue
            labeled = person.joints[:, 2] > 0
            joints, visible = np.full((len(JOINTS), 2), UNLABELED), np.zeros(len(JOINTS))
            joints[columns] = np.where(labeled[:, None], person.joints[:, :2], UNLABELED)
            visible[columns] = person.joints[:, 2] == 2
            outside = int((labeled & (person.joints[:, 0] <= 0)).sum())
            yield Row(name, joints, visible, *place, ISTRAIN[part.becomes], outside)


def raw_place(person: Person) -> tuple[tuple[float, float], float] | None:
    """Return center and scale as stored in files, before a reader moves the center down and pads the scale.

    LSP annotates neither: its people get those of the box around their joints, which readers do not move.
    """
    if person.center is not None and person.scale is not None:
        x, y = person.center
        if x == NOWHERE:
            return None
        scale = person.scale[0] / PADDING
        return (x, y - CENTER_DROP * scale), scale
    if person.box is None:
        raise DataError(f"annotation {person.annotation_id} has no center and scale, and no box to compute them from")
    x, y, width, height = person.box
    return (x + width / 2, y + height / 2), max(width, height) / PIXEL_STD


def write(out: Path, rows: Sequence[Row]) -> None:
    """Write the file atomically."""
    if not rows:
        raise DataError("lsp_mpii.h5 is not written: no people were read from the annotations of MPII and LSP")
    names, parts, visible, centers, scales, splits, _ = zip(*rows, strict=True)
    content = BytesIO()
    with import_h5py("writing lsp_mpii.h5").File(content, "w") as opened:
        opened["imgname"] = encode_names(names)
        opened["part"] = np.stack(parts)
        opened["visible"] = np.stack(visible)
        opened["center"] = np.array(centers, np.float64)
        opened["scale"] = np.array(scales, np.float64)
        opened["istrain"] = np.array(splits, np.int64)
    with whole_file(LSP_MPII.annotation_file(out, "train")) as opened:
        opened.write(content.getvalue())


def place_images(name: Path, folder: Path, *, link: bool) -> str:
    """If ``link``, link the path ``name`` that the file uses to a data set's ``folder``; return a message to show."""
    if name.exists() and name.resolve() == folder.resolve():
        return ""
    command = f"ln -s {folder.resolve()} {name}"
    if not link:
        return f"images are expected in {name / 'images'}: {command} (or --link --force)"
    try:
        name.symlink_to(folder.resolve(), target_is_directory=True)
    except FileExistsError:
        raise DataError(f"{name} exists and is not {folder}: move it away, then run {command}") from None
    except OSError as error:
        raise DataError(f"cannot link {name} to {folder}: {error.strerror}; run {command} yourself") from None
    return f"linked: {name} to {folder.resolve()}"
