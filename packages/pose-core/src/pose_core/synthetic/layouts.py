"""Write synthetic scenes in the layout of a published data set."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from pose_core.errors import ConfigError, DataError
from pose_core.files import write_json
from pose_core.reading.json_text import parse_json
from pose_core.reading.regular import read_regular
from pose_core.synthetic.coco_files import coco_content, crowdpose_content, fake_detections, image_info
from pose_core.synthetic.drawing import Drawn, Recipe, Target, draw_all, image_ids
from pose_core.synthetic.matlab_files import mpii_rows, write_lsp_joints, write_mpii_release, write_mpii_truth

DETECTIONS = {
    "val2017": "COCO_val2017_detections_AP_H_56_person.json",
    "test-dev2017": "COCO_test-dev2017_detections_AP_H_609_person.json",
}
MARKER = ".synthetic.json"
"""A small file in every folder that this module writes; without it a folder's files are somebody else's."""
MAX_MARKER = 1 << 16
"""Largest size of that file in bytes; it has about 100."""
MAX_PEOPLE = 40
MIN_SIDE = 64

Images = list[tuple[str, Drawn]]


@dataclass(frozen=True)
class Written:
    """A data set that was written, with its numbers of images and annotated people by split."""

    folder: Path
    layout: str
    images: dict[str, int] = field(default_factory=dict)
    people: dict[str, int] = field(default_factory=dict)

    def __str__(self) -> str:
        lines = [f"{self.layout} data set in {self.folder}"]
        lines += [f"  {split}: {count} images, {self.people[split]} people" for split, count in self.images.items()]
        return "\n".join(lines)


@dataclass(frozen=True)
class _Job:
    """The arguments of ``write_dataset`` that every layout passes on."""

    folder: Path
    splits: tuple[str, ...]
    recipe: Recipe
    zipped: bool
    workers: int
    progress: bool

    def draw(self, split: str, count: int, folder: str, name: str, *, append: bool = False) -> Images:
        """Draw a split into ``folder``; ``name`` formats an image id."""
        ids = image_ids(self.splits.index(split), count)
        place = self.folder / folder
        target = Target(place, self.zipped, self.folder / "part_masks" / place.name, append)
        names = [name.format(identity) for identity in ids]
        return list(draw_all(self.recipe, ids, names, target, self.workers, self.progress))


def write_dataset(
    folder: str | Path,
    layout: str = "coco",
    images: int = 64,
    people: tuple[int, int] = (1, 4),
    seed: int = 0,
    *,
    val_images: int | None = None,
    size: tuple[int, int] | None = (640, 425),
    split: str | None = None,
    crowds: bool | None = None,
    masks: bool = False,
    zipped: bool = False,
    workers: int = 1,
    progress: bool = False,
    overwrite: bool = False,
) -> Written:
    """Draw people and write images and annotations in a layout.

    Draw ``images`` training images and ``val_images`` for every held-out split (a quarter by default), or only
    ``images`` of one ``split``. ``people`` is the minimum and maximum per image; ``size`` is (width, height), or None
    for the usual sizes of photographs. ``crowds`` (COCO; on by default if images hold more than one person) adds
    crowd regions and people without joints. ``masks`` writes body-part maps to ``part_masks/`` (PNG; values are
    indices into ``PARTS``), ``zipped`` packs images into zip files. Equal arguments write equal bytes, regardless of
    ``workers``; an image depends only on the seed, its id, ``people``, ``size`` and ``crowds``.

    ``folder`` must be new, empty, or one that this function wrote: other files are never touched. Splits that it
    already holds are replaced only with ``overwrite``.
    """
    if layout not in DRAWINGS:
        raise ConfigError(f"layout {layout!r} cannot be drawn; choose one of {', '.join(LAYOUTS)}")
    drawing = DRAWINGS[layout]
    if drawing.alone:
        people, val_images = (1, 1), _lsp_test_count(layout, images, val_images)
    crowds = drawing.crowds and (people[1] > 1 if crowds is None else crowds)
    recipe = Recipe(seed, size, people, crowds, whole=drawing.alone, masks=masks)
    counts = _plan(layout, images, val_images, split)
    _check(recipe, counts)
    _claim(Path(folder), layout, list(counts), overwrite=overwrite)
    job = _Job(Path(folder), drawing.splits, recipe, zipped, workers, progress)
    drawn = drawing.write(job, counts)
    return Written(
        job.folder,
        layout,
        {name: len(pictures) for name, pictures in drawn.items()},
        {name: sum(len(picture.people) for _, picture in pictures) for name, pictures in drawn.items()},
    )


def _claim(folder: Path, layout: str, splits: list[str], *, overwrite: bool) -> None:
    """Mark ``folder`` as ours and note its splits; raise if it holds files that drawing could destroy."""
    marker = folder / MARKER
    held: list[str] = []
    if marker.exists():
        drawn = parse_json(read_regular(marker, "list of drawn people", limit=MAX_MARKER), str(marker))
        noted = drawn.get("splits") if isinstance(drawn, dict) else None
        if not (isinstance(noted, list) and all(isinstance(split, str) for split in noted) and "layout" in drawn):
            raise DataError(f"{marker} is not what drawing people writes there: choose another folder")
        held = noted
        if drawn["layout"] != layout:
            raise ConfigError(
                f"{folder} already holds synthetic people in the layout {drawn['layout']}; choose another folder"
            )
        again = [split for split in splits if split in held]
        if again and not overwrite:
            raise ConfigError(
                f"{folder} already holds the synthetic split{'s' if len(again) > 1 else ''} {', '.join(again)}; choose "
                "another folder, or replace them with --overwrite (overwrite=True in Python)"
            )
    elif folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(
            f"{folder} holds files that are not synthetic people; nothing was written. Choose a new or an empty folder"
        )
    write_json(marker, {"layout": layout, "splits": sorted({*held, *splits})})


def _lsp_test_count(layout: str, images: int, val_images: int | None) -> int:
    """Return LSP's number of test images: half of its file is train, the other half test; LSP-extended has none."""
    expected = images if "test" in DRAWINGS[layout].splits else 0
    if val_images not in {None, expected}:
        rule = "has as many test images as training images" if expected else "has no held-out images"
        raise ConfigError(
            f"{val_images} held-out images cannot be drawn: the layout {layout} {rule}; leave val_images "
            f"(--val-images) out, or set it to {expected}"
        )
    return expected


def _plan(layout: str, images: int, val_images: int | None, split: str | None) -> dict[str, int]:
    """Return the number of images to draw by split."""
    train, *others = splits = DRAWINGS[layout].splits
    if split is not None:
        halves = DRAWINGS[layout].alone and bool(others)
        if split not in splits or halves:
            known = "both halves of LSP's file together" if halves else " or ".join(splits)
            raise ConfigError(f"split {split!r} cannot be drawn for the layout {layout}; choose {known}")
        return {split: images}
    held_out = max(images // 4, 1) if val_images is None else val_images
    plan = {train: images, **dict.fromkeys(others, held_out)}
    plan.pop("test-dev2017", None)
    return plan


def _check(recipe: Recipe, counts: dict[str, int]) -> None:
    if min(counts.values()) < 1:
        raise ConfigError(f"every split needs at least one image; asked for {counts}")
    low, high = recipe.people
    if not 0 <= low <= high <= MAX_PEOPLE or high < 1:
        raise ConfigError(f"people={recipe.people} must be a minimum and maximum per image, at most {MAX_PEOPLE}")
    if recipe.size is not None and min(recipe.size) < MIN_SIDE:
        raise ConfigError(f"size={recipe.size} is too small to draw people in; use {MIN_SIDE} pixels or more")


def _write_coco(job: _Job, counts: dict[str, int]) -> dict[str, Images]:
    seed, annotations = job.recipe.seed, job.folder / "annotations"
    drawn = {}
    for split, count in counts.items():
        is_test = split.startswith("test")
        pictures = job.draw(split, count, f"images/{'test2017' if is_test else split}", "{:012d}.jpg")
        if is_test:
            write_json(annotations / f"image_info_{split}.json", image_info(pictures))
        else:
            content = coco_content(pictures, seed, crowds=job.recipe.crowds)
            write_json(annotations / f"person_keypoints_{split}.json", content)
        if split in DETECTIONS:
            found = fake_detections(pictures, seed)
            write_json(job.folder / "person_detection_results" / DETECTIONS[split], found)
        drawn[split] = pictures
    return drawn


def _write_crowdpose(job: _Job, counts: dict[str, int]) -> dict[str, Images]:
    drawn, contents = _draw_together(job, counts, "{}.jpg"), {}
    for split, pictures in drawn.items():
        contents[split] = crowdpose_content(pictures)
    if {"train", "val"} <= set(contents):
        contents["trainval"] = crowdpose_content([*drawn["train"], *drawn["val"]])
    for split, content in contents.items():
        write_json(job.folder / "json" / f"crowdpose_{split}.json", content)
    return drawn


def _write_mpii(job: _Job, counts: dict[str, int]) -> dict[str, Images]:
    drawn, annotations = _draw_together(job, counts, "{:09d}.jpg"), job.folder / "annot"
    for split, pictures in drawn.items():
        write_json(annotations / f"{split}.json", mpii_rows(pictures, with_joints=split != "test"))
    if "valid" in drawn:
        write_mpii_truth(annotations / "gt_valid.mat", drawn["valid"])
    if len(drawn) == len(job.splits):
        training = [*drawn["train"], *drawn["valid"]]
        write_json(annotations / "trainval.json", mpii_rows(training))
        write_mpii_release(job.folder / "mpii_human_pose_v1_u12_1.mat", training, drawn["test"])
    return drawn


def _write_lsp(job: _Job, counts: dict[str, int]) -> dict[str, Images]:
    """Draw one person per image; number the images of both splits consecutively from 1."""
    extended = "test" not in job.splits
    total = sum(counts.values())
    pictures = job.draw("train", total, "images", "im{:05d}.jpg" if extended else "im{:04d}.jpg")
    write_lsp_joints(job.folder / "joints.mat", pictures, extended=extended)
    return {"train": pictures[: counts["train"]], **({} if extended else {"test": pictures[counts["train"] :]})}


def _draw_together(job: _Job, counts: dict[str, int], name: str) -> dict[str, Images]:
    """Draw splits that share one folder of images."""
    drawn: dict[str, Images] = {}
    for split, count in counts.items():
        drawn[split] = job.draw(split, count, "images", name, append=bool(drawn))
    return drawn


class Drawing(NamedTuple):
    """The splits of a layout and the function that writes it."""

    splits: tuple[str, ...]
    """All splits, the training split first."""
    write: Callable[[_Job, dict[str, int]], dict[str, Images]]
    crowds: bool = False
    """Whether annotations may have crowd regions and people without joints."""
    alone: bool = False
    """Whether every image holds one whole person; a test split is then as large as the training split."""


DRAWINGS = {
    # test-dev2017 is drawn on request only.
    "coco": Drawing(("train2017", "val2017", "test-dev2017"), _write_coco, crowds=True),
    "crowdpose": Drawing(("train", "val", "test"), _write_crowdpose),
    "mpii": Drawing(("train", "valid", "test"), _write_mpii),
    "lsp": Drawing(("train", "test"), _write_lsp, alone=True),
    "lsp_extended": Drawing(("train",), _write_lsp, alone=True),
}
LAYOUTS = tuple(DRAWINGS)
