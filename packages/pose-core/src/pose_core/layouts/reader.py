"""Read a split of a data set, whatever its layout."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pose_core.config import DataConfig
from pose_core.data.diagnostics import Problems
from pose_core.data.images import missing_images
from pose_core.data.json_file import collector_paused
from pose_core.errors import DataError
from pose_core.folders import find_data_root
from pose_core.layouts import coco, crowdpose, lsp, mpii
from pose_core.skeleton import Skeleton, get_skeleton
from pose_core.structures import ImageRecord

EXPECTED = {
    "coco": coco.EXPECTED,
    "crowdpose": crowdpose.EXPECTED,
    "mpii": mpii.EXPECTED,
    "lsp": lsp.EXPECTED,
    "lsp_mpii": lsp.EXPECTED_MERGED,
}
"""What each layout looks like below its root."""


@dataclass(frozen=True)
class AnnotatedSet:
    """A split that was read: its images, whose joints they carry, and where they came from."""

    records: tuple[ImageRecord, ...]
    skeleton: Skeleton
    layout: str
    split: str
    annotation_file: Path
    problems: Problems = field(default_factory=Problems, compare=False)

    @property
    def num_persons(self) -> int:
        return sum(len(record.persons) for record in self.records)

    @property
    def has_annotations(self) -> bool:
        """False for test splits, whose annotations are kept by an evaluation server (in the merged file: MPII's)."""
        if self.layout == "coco":
            return not self.annotation_file.name.startswith("image_info")
        if self.layout in {"mpii", "lsp_mpii"}:
            return "test" not in self.split
        return True


def read_dataset(
    config: DataConfig, split: str, *, problems: Problems | None = None, everyone: bool = False
) -> AnnotatedSet:
    """Read ``split`` (``config.train``, ``config.val``, or another) and see that its images are there.

    ``everyone`` keeps COCO's and CrowdPose's crowds and unlabelled people, for methods that look at whole images.
    """
    root = find_data_root(config.root)
    skeleton = get_skeleton(config.skeleton)
    problems = Problems() if problems is None else problems
    file = annotation_file(config.layout, root, split)
    if not file.exists():
        raise DataError(
            f"annotation file {file} does not exist; the layout {config.layout!r} expects below {root}:\n"
            f"{EXPECTED[config.layout].replace('<split>', split)}"
        )
    with collector_paused():
        records = read_records(config.layout, root, split, skeleton, problems, everyone=everyone)
        gone = missing_images(records)
    if gone:
        records = _without(records, gone, config.on_bad_image == "skip", problems)
    return AnnotatedSet(records, skeleton, config.layout, split, file, problems)


def annotation_file(layout: str, root: Path, split: str) -> Path:
    """Where a layout keeps the annotations of a split."""
    if layout == "coco":
        return coco.annotation_file(root, split)
    if layout == "crowdpose":
        return crowdpose.annotation_file(root, split)
    if layout == "mpii":
        return mpii.annotation_file(root, split)
    if layout == "lsp":
        return lsp.annotation_file(root, split)
    return lsp.merged_annotation_file(root, split)


def read_records(
    layout: str, root: Path, split: str, skeleton: Skeleton, problems: Problems, *, everyone: bool = False
) -> tuple[ImageRecord, ...]:
    """The images of a split as its annotation file has them."""
    if layout == "coco":
        return coco.read_coco(root, split, skeleton, problems=problems, everyone=everyone)
    if layout == "crowdpose":
        return crowdpose.read_crowdpose(root, split, skeleton, problems=problems, everyone=everyone)
    if layout == "mpii":
        return mpii.read_mpii(root, split, skeleton, problems=problems)
    if layout == "lsp":
        return lsp.read_lsp(root, split, skeleton, problems=problems)
    return lsp.read_lsp_mpii(root, split, skeleton, problems=problems)


def _without(
    records: Sequence[ImageRecord], gone: Sequence[ImageRecord], skip: bool, problems: Problems
) -> tuple[ImageRecord, ...]:
    if not skip and not problems.keep_going:
        raise DataError(
            f"image {gone[0].source} does not exist ({len(gone)} of {len(records)} images are missing); fetch the "
            "rest, or set data.on_bad_image=skip"
        )
    for record in gone:
        (problems.skip if skip else problems.stop)("image missing", record.source, f"image id {record.image_id}")
    lacking = {record.image_id for record in gone}
    return tuple(record for record in records if record.image_id not in lacking)
