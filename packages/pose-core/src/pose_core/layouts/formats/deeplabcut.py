"""DeepLabCut: ``labeled-data/<name>/CollectedData_<scorer>.csv`` and the same table as ``.h5``.

A row is an image; columns are x and y of each body part, of one animal or, with a further line ``individuals`` in the
header, of several. Pixels are 0-based and those of a record: the tool draws the center of the first pixel at 0. Joints
that are not labeled have no numbers. Boxes, areas, hidden joints and people without joints cannot be held.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pose_core.data.images import image_exists
from pose_core.data.numbers import FAR
from pose_core.data.sources import image_source
from pose_core.errors import DataError
from pose_core.files import write_text
from pose_core.layouts.formats.deeplabcut_h5 import LEVELS, read_table, write_table
from pose_core.layouts.formats.format import Found, Target, Written, skeleton_of
from pose_core.layouts.formats.people import exact
from pose_core.plurals import counted
from pose_core.reading.csv_text import read_csv
from pose_core.reading.printable import shown
from pose_core.skeleton import Skeleton
from pose_core.structures import ImageRecord, Person

Array = np.ndarray
Column = tuple[str, str, str]
"""Individual (empty in tables of one animal), body part, and x, y or likelihood."""

SCORER = "pose"
UNIQUE = "single"
"""The individual, in tables of several animals, of body parts that exist once in an image."""
_COORDS = ("x", "y", "likelihood")
_FOLDER = "labeled-data"


@dataclass(frozen=True)
class Table:
    """The cells of a file: images by rows, NaN where there is no number."""

    names: list[str]
    columns: list[Column]
    values: Array
    """``(rows, columns)`` float64."""


def read_deeplabcut(path: Path, split: str, skeleton: Skeleton | None) -> Found:
    """Read a CSV or H5 file; images are found below the project's folder, or beside the file."""
    what = "DeepLabCut's table of labels"
    table = _from_h5(path, what) if path.suffix.lower() in {".h5", ".hdf5"} else _from_csv(path, what)
    unique = dict.fromkeys(part for individual, part, _ in table.columns if individual == UNIQUE)
    table = _without_unique(table)
    parts = list(dict.fromkeys(part for _, part, _ in table.columns))
    if not parts:
        raise DataError(f"{path} has only unique body parts ({', '.join(unique)}), and none of an individual")
    skeleton = skeleton or skeleton_of("animal", parts)
    beyond = [part for part in parts if part not in skeleton.joints]
    if beyond:
        raise DataError(f"{path}: body part {shown(beyond[0])} is not a joint of skeleton {skeleton.name!r}")
    individuals = list(dict.fromkeys(individual for individual, _, _ in table.columns))
    joints = _joints(table, individuals, skeleton, path)
    records, number = [], 0
    for row, name in enumerate(table.names):
        people = []
        for found in joints[row]:
            if found[:, 2].any():
                number += 1
                people.append(Person(found, number))
        records.append(ImageRecord(row + 1, _source(path, name), tuple(people)))
    notes = [f"names of the {counted(len(individuals), 'individual')} are not read"] if len(individuals) > 1 else []
    notes += [f"unique body parts, of no individual: {', '.join(unique)}"] if unique else []
    return Found(tuple(records), skeleton, tuple(notes))


def _without_unique(table: Table) -> Table:
    """Return a table of several animals without the body parts that belong to none of them."""
    kept = [number for number, (individual, _, _) in enumerate(table.columns) if individual != UNIQUE]
    return Table(table.names, [table.columns[number] for number in kept], table.values[:, kept])


def _joints(table: Table, individuals: list[str], skeleton: Skeleton, file: Path) -> Array:
    """Return joints ``(rows, individuals, K, 3)`` float32."""
    joints = np.zeros((len(table.names), len(individuals), skeleton.num_joints, 3))
    places = {name: number for number, name in enumerate(skeleton.joints)}
    joints[..., :2] = np.nan
    for column, (individual, part, coordinate) in enumerate(table.columns):
        if coordinate != "likelihood":
            place = individuals.index(individual), places[part], _COORDS.index(coordinate)
            joints[:, *place] = table.values[:, column]
    labeled = np.isfinite(joints[..., :2]).all(-1)
    joints[..., 2] = np.where(labeled, 2, 0)
    joints[~labeled] = 0
    if np.abs(joints).max(initial=0) > FAR:
        raise DataError(f"{file}: a coordinate is not within ±{FAR:.0f} pixels")
    return joints.astype(np.float32)


def _source(file: Path, name: str) -> str:
    """Return the source of an image: below the folder of the project, or beside the file."""
    folders = [folder.parent for folder in file.absolute().parents if folder.name == _FOLDER]
    if name.split("/")[0] == _FOLDER and folders:
        return image_source(folders[0], name)
    below = image_source(file.parent, name)
    return below if image_exists(below) else image_source(file.parent, name.rpartition("/")[2])


def _from_csv(file: Path, what: str) -> Table:
    rows = read_csv(file, what)
    kinds = [row[0] for row in rows[:4]]
    several = kinds[1:2] == ["individuals"]
    wanted = LEVELS[4 if several else 3]
    if tuple(kinds[: len(wanted)]) != wanted:
        raise DataError(f"{file} is not {what}: its first lines must begin with {', '.join(wanted)}")
    header, body = rows[: len(wanted)], rows[len(wanted) :]
    # The image's path is one cell or, in newer files, three: labeled-data, the video's name, the image's.
    first = next((place for place, cell in enumerate(header[0]) if place and cell), len(header[0]))
    width = len(header[0])
    if any(len(row) != width for row in (*header, *body)):
        raise DataError(f"{file} is not {what}: its lines differ in their number of cells")
    names = ["/".join(part for part in row[:first] if part).replace("\\", "/") for row in body]
    columns = _columns([line[first:] for line in header[1:]], several, file)
    try:
        values = np.array([[float(cell) if cell else np.nan for cell in row[first:]] for row in body])
    except ValueError as reason:
        raise DataError(f"{file} is not {what}: {reason}") from None
    return _checked(Table(names, columns, values.reshape(len(names), len(columns))), file)


def _from_h5(file: Path, what: str) -> Table:
    rows, columns, values = read_table(file, what)
    levels = list(zip(*columns, strict=True))
    if len(levels) not in (3, 4):
        raise DataError(f"{file} is not {what}: its columns have {len(levels)} levels, expected 3 or 4")
    names = ["/".join(row).replace("\\", "/") for row in rows]
    return _checked(Table(names, _columns(levels[1:], len(levels) == 4, file), values), file)


def _columns(levels: Sequence[Sequence[str]], several: bool, file: Path) -> list[Column]:
    individuals, parts, coords = levels if several else ([""] * len(levels[0]), *levels)
    unknown = [name for name in coords if name not in _COORDS]
    if unknown:
        raise DataError(f"{file}: column {shown(unknown[0])} is none of {', '.join(_COORDS)}")
    columns = list(zip(individuals, parts, coords, strict=True))
    if len(set(columns)) < len(columns):
        raise DataError(f"{file}: two columns have the same individual, body part and coordinate; remove one")
    return columns


def _checked(table: Table, file: Path) -> Table:
    """Return a table; raise a DataError if it names no images, or if its columns are not x and y."""
    if any(name.isdigit() or not name for name in table.names):
        raise DataError(f"{file}: its rows are numbers of frames: it holds predictions of a film, not labels of images")
    if len(set(table.names)) < len(table.names):
        raise DataError(f"{file}: an image is in two rows; remove one")
    if len(table.names) * len(table.columns) == 0:
        raise DataError(f"{file} has no labels: {counted(len(table.names), 'row')}, {len(table.columns)} columns")
    return table


def write_deeplabcut(records: Sequence[ImageRecord], skeleton: Skeleton, target: Target) -> Written:
    """Write the table of labels as CSV and H5; the images lie beside it, without further folders."""
    folder = target.folder / _FOLDER / target.name
    files = [name.replace("/", "_") for name in target.names]
    if len(set(files)) < len(files):
        raise DataError("two images would have one name without their folders; rename one")
    most = max(1, *(len(record.persons) for record in records)) if records else 1
    individuals = [f"person{number}" for number in range(1, most + 1)] if most > 1 else [""]
    columns = [(who, part, axis) for who in individuals for part in skeleton.joints for axis in ("x", "y")]
    values = np.full((len(records), most, skeleton.num_joints, 2), np.nan)
    for row, record in enumerate(records):
        for number, person in enumerate(record.persons):
            values[row, number] = np.where(person.joints[:, 2:] > 0, person.joints[:, :2], np.nan)
    rows = [(_FOLDER, target.name, name) for name in files]
    table = np.array([exact(value) if value == value else np.nan for value in values.ravel().tolist()], np.float64)
    table = table.reshape(len(records), len(columns))
    levels = [(SCORER, *column) if most > 1 else (SCORER, *column[1:]) for column in columns]
    written = folder / f"CollectedData_{SCORER}.csv"
    write_text(written, _csv(rows, levels, table))
    write_table(written.with_suffix(".h5"), rows, levels, table)
    people = f" and {most} individuals, person1 to person{most}" if most > 1 else ""
    note = f"in DeepLabCut, the project's config.yaml needs these body parts, scorer: {SCORER}{people}"
    return Written((written, written.with_suffix(".h5")), tuple(folder / name for name in files), notes=(note,))


def _csv(rows: Sequence[tuple[str, ...]], columns: Sequence[tuple[str, ...]], values: Array) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for kind, level in zip(LEVELS[len(columns[0])], zip(*columns, strict=True), strict=True):
        writer.writerow([kind, "", "", *level])
    for row, numbers in zip(rows, values.tolist(), strict=True):
        writer.writerow([*row, *("" if np.isnan(value) else value for value in numbers)])
    return text.getvalue()
