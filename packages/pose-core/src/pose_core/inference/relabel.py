"""A folder of the worst images: to look at, and to correct in an annotation tool."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from pose_core.data.images import open_image, read_bytes
from pose_core.data.sources import split_source
from pose_core.drawing.sheets import PAPER, add_header, contact_sheet, write_image
from pose_core.errors import DataError
from pose_core.files import whole_file, write_text
from pose_core.inference.findings import SEEN, ImageFinding
from pose_core.inference.sheets import side_colors
from pose_core.layouts.browse import draw_record
from pose_core.layouts.formats.coco import write_coco
from pose_core.layouts.formats.label_studio import write_tasks
from pose_core.layouts.formats.pictures import with_sizes
from pose_core.layouts.layout import AnnotatedSet
from pose_core.photos import SUFFIXES
from pose_core.plurals import counted
from pose_core.skeleton import Skeleton
from pose_core.structures import ImageRecord, Person

Array = np.ndarray

ANNOTATIONS = Path("annotations", "person_keypoints_default.json")
"""The file that CVAT imports, and the name that it exports."""
LONGEST = 600
"""Longest side of an image in ``drawn``, in pixels."""


@dataclass(frozen=True)
class WorstFolder:
    """A folder that was written: the findings in order, and how many of them are in it."""

    folder: Path
    findings: Sequence[ImageFinding]
    count: int
    prelabeled: int
    """People in the folder whose joints are predictions."""

    def table(self, rows: int) -> str:
        """Return the first rows of the ranking, with reasons."""
        names = [_base_name(finding.record.source) for finding in self.findings[:rows]]
        wide = max(map(len, names), default=5)
        lines = [f"{'':>4}  {'image':<{wide}}  error  score  disagreement  why"]
        for number, (name, finding) in enumerate(zip(names, self.findings, strict=False), 1):
            values = f"{finding.error:5.2f}  {finding.score:5.2f}  {finding.disagreement:12.2f}"
            lines.append(f"{number:>4}  {name:<{wide}}  {values}  {'; '.join(finding.reasons()[:2])}")
        return "\n".join(lines).replace("  nan", "    -")

    def __str__(self) -> str:
        labels = f", {counted(self.prelabeled, 'person', 'people')} with predicted joints" if self.prelabeled else ""
        return (
            f"written: {self.folder}, the worst {self.count} of {counted(len(self.findings), 'image')}{labels}\n"
            f"to look at them: {self.folder / 'sheet.jpg'}, {self.folder / 'drawn'}, {self.folder / 'ranking.csv'}\n"
            f"to correct them: in CVAT, a task of {self.folder / 'images'} with {self.folder / ANNOTATIONS} imported "
            f"as COCO Keypoints 1.0; or in Label Studio, {self.folder / 'label_studio.json'}"
        )


def corrected_file(found: AnnotatedSet) -> Path:
    """Return a new file for the corrected annotations of a split, of which the images are found by its name."""
    place = found.annotation_file.parent
    stem = found.name if re.fullmatch(r"[\w.-]+", found.name) else found.annotation_file.stem
    names = ("corrected", *(f"corrected-{number}" for number in range(2, 1000)))
    return next(file for name in names if not (file := place / name / f"{stem}.json").exists())


def split_of(found: AnnotatedSet, file: Path) -> str:
    """Return the split that names an annotation file: relative to the root or its annotations, else a path."""
    for base in (found.root / "annotations", found.root):
        if file.is_relative_to(base):
            return file.relative_to(base).as_posix()
    return str(file)


def photo_records(folder: Path) -> tuple[ImageRecord, ...]:
    """Return the images of a folder and the folders below it, without annotations."""
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    if not files:
        raise DataError(f"folder {folder} has no image ({', '.join(sorted(SUFFIXES))})")
    return tuple(ImageRecord(number, str(path)) for number, path in enumerate(files, 1))


def write_worst(
    findings: Sequence[ImageFinding], skeleton: Skeleton, folder: Path, *, count: int, prelabel: bool = False
) -> WorstFolder:
    """Write the first ``count`` findings to a folder: images, annotations for the tools, drawings and the ranking.

    People without labeled joints get those of their prediction, if they were found; with ``prelabel`` all people do.
    Predictions without an annotated person become people.
    """
    chosen = findings[:count]
    names = _unique_names([finding.record.source for finding in chosen])
    unused = 1 + max((p.annotation_id for each in findings for p in each.record.persons), default=0)
    records: list[ImageRecord] = []
    prelabeled = 0
    pairs: list[Array] = []
    for finding, name in zip(chosen, names, strict=True):
        record, drafted = labeled_record(finding, unused, prelabel=prelabel)
        unused += len(finding.extra)
        prelabeled += drafted
        copy = folder / "images" / name
        with whole_file(_made(copy), sync=False) as file:
            file.write(read_bytes(finding.record.source))
        records.append(replace(record, source=str(copy)))
        pairs.append(draw_finding(finding, skeleton))
        write_image(_made(folder / "drawn" / f"{len(pairs):03d}-{Path(name).stem}.jpg"), pairs[-1], sync=False)
    records = with_sizes(records)
    write_coco(records, skeleton, _made(folder / ANNOTATIONS), images=folder / "images")
    write_tasks(records, skeleton, folder / "label_studio.json", images=folder)
    if pairs:
        captions = [f"{row}. {'; '.join(finding.reasons())}"[:110] for row, finding in enumerate(chosen, 1)]
        height, width = pairs[0].shape[:2]
        sheet = contact_sheet(pairs, captions, columns=2, tile=(720, round(720 * height / width)))
        header = ["left: annotation (hidden joints have a white center); right: prediction"]
        write_image(folder / "sheet.jpg", add_header(sheet, "", header, side_colors()))
    write_text(folder / "ranking.csv", _ranking(findings, len(chosen)))
    return WorstFolder(folder, findings, len(chosen), prelabeled)


def labeled_record(finding: ImageFinding, unused: int, *, prelabel: bool) -> tuple[ImageRecord, int]:
    """Return an image with the people to correct, and how many of them have predicted joints.

    New people have the ids from ``unused`` on.
    """
    predicted = dict(finding.pairs)
    people: list[Person] = []
    drafted = 0
    for person in finding.record.persons:
        match = predicted.get(person.annotation_id)
        joints = person.joints if match is None else _predicted_joints(finding, match)
        if joints[:, 2].any() and match is not None and (prelabel or not person.num_labeled):
            person = replace(person, joints=joints)
            drafted += 1
        people.append(person)
    for number, match in enumerate(finding.extra):
        joints = _predicted_joints(finding, match)
        if joints[:, 2].any():
            score = float(finding.poses.pose_scores[match])
            people.append(Person(joints, unused + number, score=score))
            drafted += 1
    return replace(finding.record, persons=tuple(people)), drafted


def _predicted_joints(finding: ImageFinding, number: int) -> Array:
    """Return a prediction as joints ``(K, 3)``; those that score little or lie outside of the image are not labeled."""
    width, height = finding.size
    points = finding.poses.keypoints[number]
    inside = ((points >= 0) & (points <= [width - 1, height - 1])).all(1)
    labeled = inside & (finding.poses.scores[number] >= SEEN)
    return np.where(labeled[:, None], np.column_stack([points, np.full(len(points), 2)]), 0).astype(np.float32)


def draw_finding(finding: ImageFinding, skeleton: Skeleton) -> Array:
    """Return the annotation beside the prediction, ``(H, W, 3)`` RGB."""
    truth = draw_record(finding.record, skeleton, LONGEST)
    image = open_image(finding.record.source, "rgb")
    height, width = truth.shape[:2]
    zoom = np.array([width / image.shape[1], height / image.shape[0]])
    small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    shown = replace(finding.poses, keypoints=finding.poses.keypoints * zoom)
    return np.hstack([truth, np.full((height, 4, 3), PAPER, np.uint8), shown.draw(small, SEEN)])


def _ranking(findings: Sequence[ImageFinding], written: int) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["place", "image", "image_id", "written", "mean_rank", "error", "score", "disagreement", "why"])
    for place, each in enumerate(findings, 1):
        numbers = [f"{value:.4f}" if value == value else "" for value in (each.error, each.score, each.disagreement)]
        row = [place, each.record.source, each.record.image_id, int(place <= written), f"{each.rank:.1f}", *numbers]
        writer.writerow([*row, "; ".join(each.reasons())])
    return text.getvalue()


def _unique_names(sources: Sequence[str]) -> list[str]:
    """Return a name for each image's copy: its own, below the name of its folder if several have the same."""
    names = [_base_name(source) for source in sources]
    often = Counter(names)
    return [
        name if often[name] == 1 else f"{Path(split_source(source)[0]).parent.name or 'images'}/{name}"
        for source, name in zip(sources, names, strict=True)
    ]


def _base_name(source: str) -> str:
    path, member = split_source(source)
    return Path(path if member is None else member).name


def _made(file: Path) -> Path:
    """Return a file whose folder exists."""
    file.parent.mkdir(parents=True, exist_ok=True)
    return file
