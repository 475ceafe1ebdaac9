"""LSP and MPII in one HDF5 file, which ``pose data build-lsp-mpii`` builds from the two data sets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from pose_core.data.diagnostics import Problems
from pose_core.data.h5_file import read_people
from pose_core.data.sources import find_images, image_source
from pose_core.errors import DataError
from pose_core.evaluation.report import Evaluation
from pose_core.layouts import lsp, mpii
from pose_core.layouts.layout import AnnotatedSet, Layout
from pose_core.reading.names import check_name
from pose_core.reading.printable import shown
from pose_core.skeleton import Skeleton
from pose_core.structures import ImageRecord, Person

EXPECTED = """\
lsp_mpii.h5                  (imgname, part, center, scale, istrain)
mpii/images/…, lsp/images/…  (the paths in imgname)"""

ISTRAIN = {"train": 1, "val": 2, "test": 0}
"""Values of the field istrain: training people of MPII and LSP, LSP's test people, MPII's test people."""


def annotation_file(root: Path, split: str) -> Path:
    """Return the annotation file, which holds all splits."""
    return root / "lsp_mpii.h5"


def read_lsp_mpii(
    root: Path, split: str, skeleton: Skeleton, problems: Problems, *, keep_unlabeled: bool = False
) -> tuple[ImageRecord, ...]:
    """Read the people of the merged file; ids are rows. Its coordinates are used without a 1-based offset.

    A joint counts as labeled if its x is positive. The scale is padded by 1.25; the center moves down by 15 pixels
    per scale for MPII's people only.
    """
    file = annotation_file(root, split)
    if split not in ISTRAIN:
        raise DataError(f"{file} has no split {split!r}: it holds {', '.join(ISTRAIN)}")
    columns = read_people(file, "a merged LSP and MPII file", skeleton, extra=("istrain",))
    unknown = np.flatnonzero(~np.isin(columns.extra["istrain"], list(ISTRAIN.values())))
    if len(unknown):
        raise DataError(
            f"{file}: 'istrain' is {columns.extra['istrain'][unknown[0]]:g} in row {unknown[0]}, expected 0, 1 or 2; "
            "build it again with `pose data build-lsp-mpii`"
        )
    rows = np.flatnonzero(columns.extra["istrain"] == ISTRAIN[split])
    people: dict[str, list[Person]] = {}
    for row in rows.tolist():
        name, part = columns.names[row], columns.parts[row]
        center, scale = columns.centers[row], float(columns.scales[row])
        seen = part[:, 0] > 0
        fault = mpii.place_fault(center, scale) or mpii.joints_fault(part)
        if fault:
            problems.stop("bad annotation", file, f"{shown(name)}: {fault}", row)
            continue
        if split == "train" and (scale <= 0 or not seen.any()):
            problems.skip("zero-area person", file, f"{name}: scale {scale:g}, {seen.sum()} labeled joints", row)
            continue
        drop = mpii.CENTER_DROP if name.split("/")[0] == "mpii" else 0.0
        middle, size = mpii.correct_center_scale((float(center[0]), float(center[1])), scale, drop=drop, base=0.0)
        joints = np.concatenate([part, np.where(seen, 2, 0)[:, None]], 1).astype(np.float32)
        people.setdefault(name, []).append(Person(joints, row, center=middle, scale=size))
    return tuple(
        ImageRecord(image_id=number, source=source, persons=tuple(persons))
        for number, (source, persons) in enumerate(_with_sources(root, people))
    )


def _with_sources(root: Path, people: dict[str, list[Person]]) -> Iterator[tuple[str, list[Person]]]:
    """Yield image sources below the root with their people; an image folder may be an archive."""
    places: dict[str, Path] = {}
    for name, persons in people.items():
        folder, _, file = check_name(name, f"{root}: image name").rpartition("/")
        if folder not in places:
            places[folder] = find_images(root / folder)
        yield image_source(places[folder], file), persons


def score_points(
    points: np.ndarray, ids: np.ndarray, found: AnnotatedSet, name: str, file: Path, *, write: bool
) -> Evaluation:
    """Score by LSP's PCK; for the test split, which cannot be scored, report how to score MPII's people."""
    scored = lsp.score_points(points, ids, found, name, file, write=write)
    if found.has_annotations:
        return scored
    hint = (
        f"The people of {found.split} are MPII's. For PCKh on MPII's validation people: data.layout=mpii "
        "data.skeleton=mpii16 data.val=valid and MPII's own folder as data.root"
    )
    return replace(scored, report=f"{scored.report}. {hint}")


LSP_MPII = Layout(
    name="lsp_mpii",
    skeleton="lsp_mpii16",
    train="train",
    val="val",
    splits=("train", "val"),
    expected=EXPECTED,
    annotation_file=annotation_file,
    read=read_lsp_mpii,
    score_points=score_points,
    analyze=lsp.analyze_rows,
    has_annotations=mpii.has_annotations,
    scores_missing_images=False,
)
