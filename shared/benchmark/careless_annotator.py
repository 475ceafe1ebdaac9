"""A stand-in for a careless annotator of synthetic people, and one for the person who corrects the labels.

python shared/benchmark/careless_annotator.py damage  --root data/people --images 70
python shared/benchmark/careless_annotator.py correct --root data/people --file worst/annotations/FILE.json
python shared/benchmark/careless_annotator.py choose  --root data/people --count 50 --out random.json

``damage`` writes annotations/careless.json: the training annotations, in some images with left and right swapped, with
joints that are far off, or with a person left out, and careless_images.json, which says what was done to each.
``correct`` replaces the people of a file's images by the true ones, as somebody would who draws them again. ``choose``
writes a file of random images of careless.json, to compare with.
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path
from typing import Any

from pose_core.files import write_json
from pose_core.reading.json_text import read_json
from pose_core.skeleton import get_skeleton

KINDS = ("swapped", "moved", "missing")
MOVED = 5
"""The number of joints of a person that are moved."""


def truth_file(root: Path) -> Path:
    return root / "annotations" / "person_keypoints_train2017.json"


def damage(content: dict[str, Any], count: int, seed: int) -> dict[int, str]:
    """Damage the people of ``count`` images in place; return what was done by image id."""
    rng = random.Random(seed)
    by_image: dict[int, list[dict[str, Any]]] = {}
    for annotation in content["annotations"]:
        by_image.setdefault(annotation["image_id"], []).append(annotation)
    done: dict[int, str] = {}
    dropped: set[int] = set()
    for number, image_id in enumerate(rng.sample(sorted(by_image), count)):
        people, kind = by_image[image_id], KINDS[number % len(KINDS)]
        if kind == "missing" and len(people) == 1:
            kind = "moved"
        if kind == "missing":
            dropped.add(rng.choice(people)["id"])
        for person in people:
            if kind == "swapped":
                swap(person)
            elif kind == "moved":
                move(person, rng)
        done[image_id] = kind
    content["annotations"] = [each for each in content["annotations"] if each["id"] not in dropped]
    return done


def swap(person: dict[str, Any]) -> None:
    """Take each of a person's joints for the one of the other side."""
    triples = [person["keypoints"][start : start + 3] for start in range(0, len(person["keypoints"]), 3)]
    person["keypoints"] = [value for joint in get_skeleton("coco17").flip_order for value in triples[int(joint)]]


def move(person: dict[str, Any], rng: random.Random) -> None:
    """Move some labeled joints of a person to other places in its box."""
    values, (x, y, width, height) = person["keypoints"], person["bbox"]
    labeled = [start for start in range(0, len(values), 3) if values[start + 2]]
    for start in rng.sample(labeled, min(MOVED, len(labeled))):
        values[start] = round(x + rng.random() * width, 2)
        values[start + 1] = round(y + rng.random() * height, 2)


def correct(content: dict[str, Any], truth: dict[str, Any]) -> int:
    """Replace the people of a file's images by the true ones, by the images' names; return the number of images."""
    known = {Path(image["file_name"]).name: image["id"] for image in truth["images"]}
    ids = {known[Path(image["file_name"]).name]: image["id"] for image in content["images"]}
    category = content["categories"][0]["id"]
    content["annotations"] = [
        {**person, "image_id": ids[person["image_id"]], "category_id": category}
        for person in truth["annotations"]
        if person["image_id"] in ids
    ]
    return len(ids)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["damage", "correct", "choose"])
    parser.add_argument("--root", type=Path, required=True, help="a folder of `pose data synth`")
    parser.add_argument("--images", type=int, default=70, help="images to damage")
    parser.add_argument("--file", type=Path, help="the file to correct, in place")
    parser.add_argument("--count", type=int, default=50, help="images to choose")
    parser.add_argument("--out", type=Path, help="the file of the chosen images")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    careless = args.root / "annotations" / "careless.json"
    if args.what == "damage":
        content = read_json(truth_file(args.root))
        done = damage(content, args.images, args.seed)
        for image in content["images"]:
            image["file_name"] = f"train2017/{image['file_name']}"
        write_json(careless, content)
        write_json(args.root / "careless_images.json", {str(key): kind for key, kind in sorted(done.items())})
        print(f"written: {careless}, damaged: {json.dumps({kind: list(done.values()).count(kind) for kind in KINDS})}")
    elif args.what == "correct":
        content = read_json(args.file)
        count = correct(content, read_json(truth_file(args.root)))
        write_json(args.file, content)
        print(f"corrected: {count} images of {args.file}")
    else:
        content = read_json(careless)
        images = random.Random(f"choose {args.seed}").sample(content["images"], args.count)
        chosen = {image["id"] for image in images}
        content["images"] = images
        content["annotations"] = [each for each in content["annotations"] if each["image_id"] in chosen]
        write_json(args.out, content)
        print(f"written: {args.out}, {args.count} random images")


if __name__ == "__main__":
    main()
