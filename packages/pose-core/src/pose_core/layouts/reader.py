"""Read a split of a data set of any layout."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from pose_core.config import DataConfig
from pose_core.data.diagnostics import Problems
from pose_core.data.images import missing_images
from pose_core.data.skipped import check_missing
from pose_core.data.sources import images_below
from pose_core.errors import UnreadableError
from pose_core.folders import find_data_root
from pose_core.layouts.layout import AnnotatedSet
from pose_core.layouts.table import get_layout, looks_like
from pose_core.reading.json_text import collector_paused
from pose_core.reading.patience import read_patiently
from pose_core.skeleton import get_skeleton
from pose_core.structures import ImageRecord

__all__ = ["AnnotatedSet", "check_evaluated", "find_annotations", "read_dataset"]


_read_before: set[str] = set()


def read_dataset(
    config: DataConfig, split: str, *, problems: Problems | None = None, keep_unlabeled: bool = False
) -> AnnotatedSet:
    """Read ``split`` (``config.train``, ``config.val``, or another) and check that its images exist.

    ``keep_unlabeled`` keeps COCO's and CrowdPose's crowds and unlabeled people, for methods that process whole images.
    A data set of which this process has read a split before may be away for a moment: then it is tried again.
    """
    read = partial(_read, config, split, problems, keep_unlabeled=keep_unlabeled)
    is_known = problems is None and config.root in _read_before
    found = read_patiently(read) if is_known else read()
    remember(config)
    return found


def remember(config: DataConfig) -> None:
    """Note that a split of this data set could be read."""
    _read_before.add(config.root)


def find_annotations(config: DataConfig, split: str) -> Path:
    """Return the annotation file of a split, which must exist."""
    layout, root = get_layout(config.layout), find_data_root(config.root)
    file = layout.annotation_file(root, split)
    if not file.exists():
        remark = looks_like(root, layout, "data.layout")
        raise UnreadableError(
            f"annotation file {file} does not exist; the layout {layout.name!r} expects below {root}:\n"
            f"{layout.expected.replace('<split>', split)}" + (f"\n{remark}" if remark else "")
        )
    return file


def check_evaluated(config: DataConfig, split: str) -> None:
    """Check that the files which evaluation on a split reads exist."""
    layout, root, skeleton = get_layout(config.layout), find_data_root(config.root), get_skeleton(config.skeleton)
    named = AnnotatedSet((), skeleton, layout, root, split, find_annotations(config, split), Problems())
    for file in layout.ground_truth_files(named) if named.has_annotations else ():
        if not file.exists():
            raise UnreadableError(
                f"ground truth {file} does not exist, and evaluation on the split {split!r} needs it; the layout "
                f"{layout.name!r} expects below {root}:\n{layout.expected.replace('<split>', split)}"
            )


def _read(config: DataConfig, split: str, problems: Problems | None, *, keep_unlabeled: bool) -> AnnotatedSet:
    layout, root, skeleton = get_layout(config.layout), find_data_root(config.root), get_skeleton(config.skeleton)
    problems = Problems() if problems is None else problems
    file = find_annotations(config, split)
    with collector_paused(), images_below(root, config.allowed_folders):
        records = layout.read(root, split, skeleton, problems, keep_unlabeled=keep_unlabeled)
        missing = missing_images(records)
    if missing:
        skip = config.on_bad_image == "skip"
        if skip and not problems.keep_going:
            check_missing([record.source for record in missing], len(records), config.max_skipped)
        records = _without(records, missing, skip, problems)
    return AnnotatedSet(records, skeleton, layout, root, split, file, problems)


def _without(
    records: Sequence[ImageRecord], missing: Sequence[ImageRecord], skip: bool, problems: Problems
) -> tuple[ImageRecord, ...]:
    if not skip and not problems.keep_going:
        raise UnreadableError(
            f"image {missing[0].source} does not exist ({len(missing)} of {len(records)} images are missing); fetch "
            "them, or set data.on_bad_image=skip"
        )
    for record in missing:
        (problems.skip if skip else problems.stop)("image missing", record.source, f"image id {record.image_id}")
    missing_ids = {record.image_id for record in missing}
    return tuple(record for record in records if record.image_id not in missing_ids)
