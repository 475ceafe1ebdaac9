"""An evaluated run read back: the record of its evaluation, its data, its predictions and their errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from pose_core.config import DataConfig
from pose_core.engine.evaluation_record import RECORD
from pose_core.engine.metrics import run_names
from pose_core.errors import ConfigError, DataError
from pose_core.evaluation.analysis import Analysis
from pose_core.inference.result_files import read_entries, read_rows
from pose_core.installation import shell_command
from pose_core.layouts.layout import AnnotatedSet
from pose_core.layouts.points import read_points
from pose_core.layouts.reader import read_dataset
from pose_core.reading.json_text import read_json
from pose_core.reading.printable import printable_message
from pose_core.structures import Poses

UNKNOWN = "not recorded"


class DataNamed(BaseModel):
    """The data that an evaluation was of."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    layout: str
    root: str
    split: str
    skeleton: str
    image_ids: tuple[int, ...] | None = None
    """The images that were evaluated, if they are not all of the split."""


class Record(BaseModel):
    """The content of ``evaluation.json``."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)
    results: str
    """Name of the results file in the same folder."""
    metric: str
    value: float
    metrics: dict[str, float]
    report: str
    data: DataNamed
    weights: str | None
    device: str
    versions: dict[str, str]
    git: str | None
    date: str
    config: dict[str, Any]

    def setting(self, *keys: str) -> str:
        """Return a setting of the run as text, whatever the record holds."""
        value: object = self.config
        for key in keys:
            value = value.get(key) if isinstance(value, dict) else None
        return value if isinstance(value, str) else UNKNOWN


@dataclass(frozen=True)
class EvaluatedRun:
    """One run with everything that a report shows of it."""

    name: str
    folder: Path
    results: Path
    """The file of its predictions."""
    record: Record
    found: AnnotatedSet
    analysis: Analysis
    poses: Mapping[int, Poses]
    """Predictions by image id, in order of rising score."""
    without: frozenset[int] = frozenset()
    """Images of the split that were not evaluated."""

    @property
    def unit(self) -> float:
        """The factor that turns the scores of the analysis into percent."""
        return 1.0 if self.found.layout.score_entries is None else 100.0


def read_runs(places: Sequence[Path], root: str | None = None, data: DataConfig | None = None) -> list[EvaluatedRun]:
    """Read and analyze runs, or results files on the split ``data.val``, which must then be given.

    ``root`` is where the runs' data set is now, if it has been moved.
    """
    names = run_names(places)
    return [
        _read_file(place, name, data) if place.is_file() else _read_run(place, name, root)
        for place, name in zip(places, names, strict=True)
    ]


def _read_file(file: Path, name: str, data: DataConfig | None) -> EvaluatedRun:
    """Score and analyze a results file of any tool."""
    if data is None:
        raise ConfigError(f"{file} is a results file: name its data with --layout and --root")
    found = read_dataset(data, data.val)
    layout = found.layout
    if layout.analyze is None or not found.has_annotations:
        raise DataError(f"{file}: {layout.name} {data.val} has no annotations to find errors with")
    analysis = layout.analyze(found, file)  # first, since its messages name the file
    if layout.score_entries is not None:
        scored = layout.score_entries(read_json(file, "results file"), found, name)
    else:
        assert layout.score_points is not None
        ids = sorted(person.annotation_id for record in found.records for person in record.persons)
        scored = layout.score_points(read_points(file, ids), np.array(ids), found, name, file, write=False)
    record = Record(
        results=file.name, metric=scored.name, value=scored.value, metrics=dict(scored.metrics), report=scored.report,
        data=DataNamed(layout=data.layout, root=data.root, split=data.val, skeleton=data.skeleton),
        weights=UNKNOWN, device=UNKNOWN, versions={}, git=UNKNOWN, date=UNKNOWN, config={},
    )  # fmt: skip
    return EvaluatedRun(name, file.parent, file, record, found, analysis, _read_poses(file, found, analysis))


def _read_run(folder: Path, name: str, root: str | None) -> EvaluatedRun:
    file = record_file(folder)
    record = read_record(file)
    found = _read_data(record, file, root)
    results = file.with_name(record.results)
    if not results.is_file():
        raise DataError(f"{results}, the results that {file} names, does not exist; evaluate again")
    if not found.has_annotations:
        raise DataError(f"{folder}: {record.data.split} has no public annotations, so there are no errors to report")
    analyze = found.layout.analyze
    if analyze is None:
        raise DataError(f"{folder}: the layout {found.layout.name} has no error analysis to report")
    without = _left_out(record.data.image_ids, found)
    found = replace(found, records=tuple(each for each in found.records if each.image_id not in without))
    analysis = analyze(found, results, without=without)
    return EvaluatedRun(name, folder, results, record, found, analysis, _read_poses(results, found, analysis), without)


def record_file(folder: Path) -> Path:
    """Return the record of a run's folder, or of a folder of results; raise a DataError if there is none."""
    places = (folder / "results" / RECORD, folder / RECORD)
    found = next((place for place in places if place.is_file()), None)
    if found is not None:
        return found
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder: give the folder of a run, such as runs/NAME")
    best = folder / "best.pt"
    weights = str(best) if best.is_file() else "FILE"
    raise DataError(
        f"{places[0]} does not exist, which an evaluation leaves beside its results; make it with "
        f"`{shell_command('pose')} eval --weights {weights} --out {folder}`"
    )


def read_record(file: Path) -> Record:
    """Read ``evaluation.json``; raise a DataError that names what is wrong with it."""
    try:
        record = Record.model_validate(read_json(file, "record of an evaluation"))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        text = f"{file}: {f'{place!r}: ' if place else ''}{first['msg']}; evaluate again"
        raise DataError(printable_message(text)) from None
    if record.results in {"", ".", ".."} or {"/", "\\", "\0"} & set(record.results):
        raise DataError(f"{file}: 'results' must be the name of a file in the same folder; evaluate again")
    return record


def _read_data(record: Record, file: Path, root: str | None) -> AnnotatedSet:
    settings = record.config.get("data")
    known = settings if isinstance(settings, dict) else {}
    kept = {key: value for key, value in known.items() if key in DataConfig.model_fields}
    given = {
        "layout": record.data.layout,
        "root": record.data.root if root is None else root,
        "val": record.data.split,
        "skeleton": record.data.skeleton,
    }
    try:
        config = DataConfig.model_validate(kept | given)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, ("config", "data", *first["loc"])))
        raise DataError(printable_message(f"{file}: {place!r}: {first['msg']}; evaluate again")) from None
    if root is None and not Path(config.root).is_dir():
        raise DataError(f"{file}: the data set is no longer in {config.root}; give its folder with --root DIR")
    return read_dataset(config, config.val)


def _left_out(image_ids: tuple[int, ...] | None, found: AnnotatedSet) -> frozenset[int]:
    """Return the images of a split that were not evaluated, given those that were."""
    if image_ids is None:
        return frozenset()
    every = {record.image_id for record in found.records}
    if found.layout.score_entries is not None:
        every |= set(found.ground_truth.image_ids.tolist())
    return frozenset(every - set(image_ids))


def _read_poses(results: Path, found: AnnotatedSet, analysis: Analysis) -> Mapping[int, Poses]:
    if results.suffix == ".mat":
        return read_rows(results, found.records, found.skeleton)
    if not any(image.detections for image in analysis.images):
        return {}
    return read_entries(results, found.skeleton)
