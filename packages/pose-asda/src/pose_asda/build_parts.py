"""Cut a pool of parts out of segmented people.

  pose-asda build-parts --synthetic 200 --out data/parts
  pose-asda build-parts --images LIP/train_images --labels LIP/train_segmentations --out data/parts
  pose-asda build-parts --coco data/coco/annotations/person_keypoints_train2017.json \\
      --images data/coco/images/train2017 --out data/parts

Label maps are those of LIP (values 0 to 19). Of COCO, the pool takes whole people and, where their joints are labeled,
limbs, half bodies and heads cut out of the person's mask. Skipped are parts of fewer pixels than --smallest, and parts
in several pieces of which the largest has less than the share --largest-piece of the pixels. (The published pool was
filtered, too; how is not known.)
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from pose_asda.parts import ANNOTATIONS
from pose_core.data.images import open_bgr
from pose_core.data.numbers import FAR, number_list, whole_number
from pose_core.data.sources import find_images, image_source
from pose_core.errors import ConfigError, DataError
from pose_core.files import whole_file, write_json
from pose_core.installation import shell_command
from pose_core.reading.images import MAX_BYTES, decode_image
from pose_core.reading.json_text import read_json
from pose_core.reading.regular import read_regular
from pose_core.synthetic import PARTS, write_dataset

Array = np.ndarray

HEAD = (1, 2, 4, 13)
UPPER = (3, 5, 6, 7, 11, 14, 15)
LOWER = (8, 9, 12, 16, 17, 18, 19)
LIP = {
    "Left-arm": (14,), "Right-arm": (15,), "Left-leg": (16,), "Right-leg": (17,), "Upper-body": UPPER,
    "Upper-body-with-head": UPPER + HEAD, "Lower_body": LOWER, "Left-leg-with-shoe": (16, 18),
    "Right-leg-with-shoe": (17, 19), "All": tuple(range(1, 20)), "Hat": (1,), "Hair": (2,), "Sunglasses": (4,),
    "face": (13,), "Head": HEAD, "UpperClothes": (5,), "Dress": (6,), "Coat": (7,), "Socks": (8,), "Pants": (9,),
    "Jumpsuits": (10,), "Scarf": (11,), "Skirt": (12,), "Left-shoe": (18,), "Right-shoe": (19,),
}  # fmt: skip
"""Type of part → the LIP labels that make it up."""


def _numbers(*names: str) -> tuple[int, ...]:
    return tuple(PARTS.index(name) for name in names)


def _limb(side: str, *names: str) -> tuple[int, ...]:
    return _numbers(*(f"{side}_{name}" for name in names))


_ARM, _LEG = ("upper_arm", "forearm", "hand"), ("thigh", "shin")
_UPPER = (*_numbers("torso"), *_limb("left", *_ARM), *_limb("right", *_ARM))
_LOWER = (*_limb("left", *_LEG, "foot"), *_limb("right", *_LEG, "foot"))
SYNTHETIC = {
    "Left-arm": _limb("left", *_ARM), "Right-arm": _limb("right", *_ARM),
    "Left-leg": _limb("left", *_LEG), "Right-leg": _limb("right", *_LEG),
    "Upper-body": _UPPER, "Upper-body-with-head": (*_UPPER, *_numbers("head", "hair")), "Lower_body": _LOWER,
    "Left-leg-with-shoe": _limb("left", *_LEG, "foot"), "Right-leg-with-shoe": _limb("right", *_LEG, "foot"),
    "All": tuple(range(1, len(PARTS))), "Hair": _numbers("hair"), "Head": _numbers("head", "hair"),
    "UpperClothes": _numbers("torso"), "Left-shoe": _limb("left", "foot"), "Right-shoe": _limb("right", "foot"),
}  # fmt: skip
"""Type of part → the parts of synthetic people that make it up."""

COCO_LIMBS = {"Left-arm": (5, 7, 9), "Right-arm": (6, 8, 10), "Left-leg": (11, 13, 15), "Right-leg": (12, 14, 16)}
"""Type of part → the COCO joints along that limb."""
MPII_OF_COCO = [16, 14, 12, 11, 13, 15, -1, -1, -1, -1, 10, 8, 6, 5, 7, 9]
"""For each MPII joint the COCO joint; −1 for pelvis, thorax, neck and head top."""

SegmentedPerson = tuple[str, Array, Mapping[str, Array], list[float]]
"""A name for the files, the image (BGR), masks ``(H, W)`` bool by type, and MPII's 16 joints as x, y, v."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``build-parts``."""
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--synthetic", type=int, metavar="N", help="cut parts out of N synthetic people")
    source.add_argument("--labels", type=Path, metavar="DIR", help="LIP label maps (PNG), named like the images")
    source.add_argument("--coco", type=Path, metavar="FILE", help="COCO keypoint annotations with segmentations")
    parser.add_argument("--images", type=Path, metavar="DIR", help="folder of the images of --labels or --coco")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write the pool to")
    parser.add_argument("--smallest", type=int, default=200, metavar="PIXELS", help="minimum area of a part (200)")
    parser.add_argument(
        "--largest-piece",
        type=float,
        default=0.8,
        metavar="SHARE",
        help="minimum share of a part's area that its largest piece must have (0.8)",
    )
    parser.add_argument("--limit", type=int, metavar="N", help="stop after N people")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="random seed of the synthetic people (0)")


def run(args: argparse.Namespace) -> int:
    """Write the pool and print its size."""
    if args.synthetic is None and args.images is None:
        raise ConfigError("--labels and --coco need the folder of their images: --images DIR")
    if (args.out / ANNOTATIONS).exists():
        raise ConfigError(f"{args.out / ANNOTATIONS} exists; give --out another folder, or remove this one")
    with tempfile.TemporaryDirectory() as scratch:
        if args.synthetic is not None:
            people = synthetic_people(Path(scratch), args.synthetic, args.seed)
        elif args.labels is not None:
            people = labeled_people(args.images, args.labels, LIP)
        else:
            people = coco_people(args.coco, args.images)
        counts = write_pool(people, args.out, args.smallest, args.largest_piece, args.limit)
    for name, count in counts.items():
        print(f"{name:22s} {count}")
    print(
        f"{sum(counts.values())} parts in {args.out}; view them with: {shell_command('pose-asda')} browse-parts "
        f"--pool {args.out}"
    )
    return 0


def write_pool(
    people: Iterator[SegmentedPerson], folder: Path, smallest: int, largest_piece: float, limit: int | None = None
) -> dict[str, int]:
    """Cut and write parts; return the number of each type. Files are BMP, so that black stays black."""
    annotations: dict[str, list[dict[str, Any]]] = {}
    for number, (name, image, masks, joints) in enumerate(people):
        if limit is not None and number >= limit:
            break
        for kind, mask in masks.items():
            cut = cut_part(image, mask, joints, smallest, largest_piece)
            if cut is None:
                continue
            part, moved = cut
            content = cv2.imencode(".bmp", part)[1].tobytes()
            with whole_file(folder / kind / f"{name}.bmp") as file:
                file.write(content)
            annotations.setdefault(kind, []).append({"file_name": f"{name}.bmp", "keypoints": moved})
    if not annotations:
        raise DataError(f"no part passed the filters; nothing written to {folder}; lower --smallest or --largest-piece")
    write_json(folder / ANNOTATIONS, annotations)
    return {kind: len(entries) for kind, entries in annotations.items()}


def cut_part(
    image: Array, mask: Array, joints: list[float], smallest: int, largest_piece: float
) -> tuple[Array, list[float]] | None:
    """Return the part on black, cropped to its bounds plus a pixel, and its joints; None where the filters skip it."""
    area = int(mask.sum())
    if area < max(smallest, 1):
        return None
    _, _, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    if stats[1:, cv2.CC_STAT_AREA].max() < largest_piece * area:
        return None
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    inside = mask[top:bottom, left:right, None]
    # Black is what is not the part, so the part's own black is lifted by one.
    part = np.where(inside, np.maximum(image[top:bottom, left:right], 1), 0).astype(np.uint8)
    part = cv2.copyMakeBorder(part, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    points = np.array(joints, dtype=np.float64).reshape(-1, 3)
    points[:, :2] -= [left - 1, top - 1]
    points[points[:, 2] <= 0] = 0
    return part, [round(float(value), 2) for value in points.ravel()]


def labeled_people(images: Path, labels: Path, unions: Mapping[str, tuple[int, ...]]) -> Iterator[SegmentedPerson]:
    """Yield one person per label map, with the image of the same stem and masks by ``unions`` of labels."""
    by_stem = {path.stem: path for path in images.iterdir()} if images.is_dir() else {}
    maps = sorted(labels.glob("*.png")) if labels.is_dir() else []
    if not maps:
        raise DataError(f"{labels} has no label maps (*.png)")
    for path in maps:
        if path.stem not in by_stem:
            raise DataError(f"label map {path} has no image {path.stem}.* in {images}")
        image = open_bgr(str(by_stem[path.stem]))
        content = read_regular(path, "label map", limit=MAX_BYTES)
        values = decode_image(content, f"label map {path}", cv2.IMREAD_GRAYSCALE)
        if values.shape != image.shape[:2]:
            raise DataError(f"label map {path} is {values.shape[::-1]}, its image {image.shape[1::-1]}")
        yield path.stem, image, {kind: np.isin(values, union) for kind, union in unions.items()}, [0.0] * 48


def synthetic_people(folder: Path, count: int, seed: int) -> Iterator[SegmentedPerson]:
    """Draw synthetic people, one per image, with their part maps, and yield them."""
    written = write_dataset(folder, "mpii", count, (1, 1), seed, val_images=0, split="train", masks=True)
    maps = sorted((written.folder / "part_masks").rglob("*.png"))
    yield from labeled_people(written.folder / "images", maps[0].parent, SYNTHETIC)


def coco_people(annotations: Path, images: Path) -> Iterator[SegmentedPerson]:
    """Yield annotated people that have polygons, with the masks that `cut_by_joints` makes."""
    content = read_json(annotations)
    lists = [content.get(key) for key in ("images", "annotations")] if isinstance(content, dict) else [None]
    if not all(isinstance(each, list) and all(isinstance(entry, dict) for entry in each) for each in lists):
        raise DataError(f"{annotations} is not a COCO annotation file: it needs lists of images and annotations")
    files = {whole_number(image.get("id")): image.get("file_name") for image in content["images"]}
    place = find_images(images)
    for position, entry in enumerate(content["annotations"]):
        number, image_id = whole_number(entry.get("id")), whole_number(entry.get("image_id"))
        if number is None or image_id is None:
            raise DataError(f"{annotations}: entry {position} of 'annotations' has no integer 'id' and 'image_id'")
        polygons = entry.get("segmentation")
        if entry.get("iscrowd") or not isinstance(polygons, list) or not polygons:
            continue
        where = f"{annotations}: annotation {number}"
        if files.get(image_id) is None:
            raise DataError(f"{where} is of image {image_id}, which the file does not list with a file_name")
        corners = [number_list(each) for each in polygons]
        joints = number_list(entry.get("keypoints") or [0] * 51, 51)
        if joints is None or any(each is None or len(each) % 2 for each in corners):
            raise DataError(
                f"{where}: its polygons must be lists of finite x and y within ±{FAR:.0f} pixels, its 'keypoints' 51 "
                "such numbers"
            )
        image = open_bgr(image_source(place, files[image_id]))
        mask = np.zeros(image.shape[:2], np.uint8)
        for each in corners:  # one by one, so that an overlap of two is filled
            if each is not None and len(each):
                cv2.fillPoly(mask, [each.reshape(-1, 2).round().astype(np.int32)], 1)
        points = joints.reshape(-1, 3)
        # The published pool has the 16 joints of MPII, of which COCO lacks four.
        in_mpii = np.vstack([points, np.zeros(3)])[MPII_OF_COCO]
        yield f"{number:012d}", image, cut_by_joints(mask > 0, points), in_mpii.ravel().tolist()


def cut_by_joints(mask: Array, joints: Array) -> dict[str, Array]:
    """Return masks by type from a person's mask ``(H, W)`` and COCO joints ``(17, 3)``, where these are labeled."""
    labeled = joints[:, 2] > 0
    masks = {"All": mask}
    # A limb is about a quarter as wide as the torso is long.
    has_torso = labeled[[5, 6, 11, 12]].all()
    torso = np.linalg.norm(joints[5:7, :2].mean(0) - joints[11:13, :2].mean(0)) if has_torso else 0.0
    for kind, places in COCO_LIMBS.items():
        if torso and labeled[list(places)].all():
            tube = np.zeros(mask.shape, np.uint8)
            line = joints[list(places), :2].round().astype(np.int32)
            cv2.polylines(tube, [line], False, 1, max(int(torso / 3), 1))
            masks[kind] = mask & (tube > 0)
    rows = np.arange(mask.shape[0])[:, None]
    if torso:
        shoulders, hips = joints[5:7, 1].mean(), joints[11:13, 1].mean()
        # A horizontal line separates head, torso and legs only of upright people.
        if hips - shoulders > 0.8 * torso:
            masks["Upper-body-with-head"] = mask & (rows < hips)
            masks["Lower_body"] = mask & (rows >= hips)
            if labeled[0] and joints[0, 1] < shoulders:
                neck = shoulders - 0.3 * (shoulders - joints[0, 1])
                # Narrow enough to exclude most of a raised arm; centered on nose, eyes and ears, also in profile.
                away = np.abs(np.arange(mask.shape[1]) - joints[:5][labeled[:5], 0].mean())
                masks["Head"] = mask & (rows < neck) & (away < 0.45 * torso)
                masks["Upper-body"] = mask & (rows >= neck) & (rows < hips)
    return masks
