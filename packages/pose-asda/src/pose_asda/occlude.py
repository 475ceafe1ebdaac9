"""Copy the evaluation images with parts pasted over the people, to evaluate a network on hidden joints.

  pose-asda occlude --cfg synthetic_plain --out data/occluded parts.annotations=data/other-parts/part_anns.json
  pose-asda eval --cfg synthetic_plain --weights best.pt data.root=data/occluded

Each person of the validation split gets --parts parts, each on one of the labeled joints, with a random angle and size
and with edges as in training. Annotations are copied, so hidden joints still count. Use a pool that no network was
trained with. The same pool and --seed give the same images.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from pose_core.cli.arguments import add_config, add_overrides, load
from pose_core.errors import ConfigError, DataError

if TYPE_CHECKING:
    from pose_asda.config import AsdaConfig
    from pose_asda.parts import PartSampler
    from pose_core.topdown.person_table import PersonTable

QUALITY = [cv2.IMWRITE_JPEG_QUALITY, 95]
JITTER = 0.05
"""Largest offset of a part's center from its joint, as a share of the body's diagonal."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``occlude``."""
    add_config(parser)
    parser.add_argument("--parts", type=int, default=2, metavar="N", help="parts on each person (2)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="seed of the random parts and positions (0)")
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="DIR",
        help="empty folder for the copy, a data set of the same layout",
    )
    add_overrides(parser)


def run(args: argparse.Namespace) -> int:
    """Write the copy and print its size."""
    if args.parts < 1:
        raise ConfigError(f"--parts {args.parts}: at least one part per person is needed")
    if args.out.exists() and any(args.out.iterdir()):
        raise ConfigError(f"{args.out} is not empty; give --out another folder, or remove this one")
    config = load(args)
    images, parts = occlude(config, args.out, args.parts, args.seed)  # type: ignore[arg-type]  # load saw the method
    print(f"{images} images, {parts} parts in {args.out}; evaluate with data.root={args.out}")
    return 0


def occlude(config: AsdaConfig, folder: Path, parts: int, seed: int = 0) -> tuple[int, int]:
    """Write the validation split with ``parts`` parts on each person; return the numbers of images and parts."""
    from pose_asda.task import sampler_of
    from pose_core.data.images import open_bgr, read_bytes
    from pose_core.files import whole_file
    from pose_core.folders import find_data_root
    from pose_core.layouts.reader import read_dataset
    from pose_core.skeleton import get_skeleton
    from pose_core.topdown.person_table import tabulate

    sampler = sampler_of(config)
    dataset = read_dataset(config.data, config.data.val)
    root = find_data_root(config.data.root)
    width, height = config.model.input_size
    people = tabulate(dataset.records, get_skeleton(config.data.skeleton).num_joints, width / height)
    pasted = 0
    for number, record in enumerate(dataset.records):
        # A zip file becomes a folder.
        place = Path(record.source.replace(".zip@", "/"))
        inside = place.is_relative_to(root)
        target = (folder / place.relative_to(root)).resolve() if inside else place
        if not inside or not target.is_relative_to(folder.resolve()):
            raise DataError(f"{dataset.annotation_file}: image {record.source} is outside {root}")
        rows = np.flatnonzero(people.image == number)
        if len(rows):
            image = open_bgr(record.source)
            rng = np.random.default_rng((seed, number))
            pasted += sum(paste_on(image, people, row, sampler, parts, rng) for row in rows.tolist())
            content = cv2.imencode(target.suffix, image, QUALITY if target.suffix in {".jpg", ".jpeg"} else [])[1]
        with whole_file(target) as file:
            file.write(content.tobytes() if len(rows) else read_bytes(record.source))
    for truth in dataset.layout.ground_truth_files(dataset):
        if truth.exists():
            with truth.open("rb") as source, whole_file(folder / truth.relative_to(root)) as file:
                shutil.copyfileobj(source, file)
    return len(dataset.records), pasted


def paste_on(
    image: np.ndarray, people: PersonTable, row: int, sampler: PartSampler, parts: int, rng: np.random.Generator
) -> int:
    """Paste on the person of a row, in place; return the number of parts, 0 where no joint is inside the image."""
    from pose_asda.parts import BODY_PADDING

    height, width = image.shape[:2]
    joints = people.joints[row]
    inside = (joints[:, 2] > 0) & (joints[:, :2] >= 0).all(1) & (joints[:, 0] < width) & (joints[:, 1] < height)
    places = joints[inside, :2]
    if not len(places):
        return 0
    body = float(np.hypot(*people.scale[row])) * 200 / BODY_PADDING
    for _ in range(parts):
        part, kind, factor = sampler.choose(rng)
        colors, mask = sampler.shape(part, kind, body, factor)
        middle = places[rng.integers(len(places))] + rng.uniform(-JITTER, JITTER, 2) * body
        matrix = cv2.getRotationMatrix2D((mask.shape[1] / 2, mask.shape[0] / 2), rng.uniform(-90, 90), 1.0)
        matrix[:, 2] += middle - np.array(mask.shape[::-1]) / 2
        colors = cv2.warpAffine(colors, matrix, (width, height))
        mask = cv2.warpAffine(mask, matrix, (width, height))[..., None]
        image[:] = np.rint(image * (1 - mask) + colors * mask).astype(np.uint8)
    return parts
