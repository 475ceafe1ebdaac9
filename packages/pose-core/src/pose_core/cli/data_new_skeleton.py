"""Write the skeleton file of your own joints from a COCO file's categories.

  pose data new-skeleton my/train.json --annotations anna.json ben.json --out mine.yaml
  pose data new-skeleton my/train.json --sigmas default --out mine.yaml

Names and limbs come from the category, left and right joints are found by their names. AP needs the joints' OKS sigmas:
--annotations estimates them from people annotated several times, one file per annotator with the same annotation ids.
--sigmas coco takes COCO's, for joints that COCO has; --sigmas default also takes their mean for the others, and AP is
then comparable only with figures made with the same file.
"""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

from pose_core.errors import ConfigError
from pose_core.installation import shell_command


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``data new-skeleton``."""
    parser.add_argument("file", type=Path, metavar="FILE", help="a COCO-style annotation file")
    parser.add_argument("--category", metavar="NAME", help="the category, if several have keypoints")
    sigmas = parser.add_mutually_exclusive_group()
    sigmas.add_argument(
        "--annotations",
        nargs="+",
        type=Path,
        default=[],
        metavar="FILE",
        help="COCO keypoint files of the same people, one per annotator, to estimate the sigmas from",
    )
    sigmas.add_argument("--sigmas", choices=["default", "coco"], help="take COCO's sigmas instead")
    parser.add_argument(
        "--out", type=Path, default=Path("skeleton.yaml"), metavar="FILE", help="YAML file to write (skeleton.yaml)"
    )
    parser.add_argument("--force", action="store_true", help="replace an existing file")


def run(args: argparse.Namespace) -> int:
    """Write the file; refuse to replace an existing one without ``--force``."""
    from pose_core.data.category_skeleton import skeleton_file
    from pose_core.data.repeat_annotations import read_repeated
    from pose_core.files import write_text
    from pose_core.folders import own_root
    from pose_core.plurals import counted
    from pose_core.skeleton import estimate_sigmas, read_skeleton

    if not args.annotations and args.sigmas is None:
        raise ConfigError(
            "AP needs OKS sigmas: estimate them with --annotations FIRST.json SECOND.json, the same people annotated "
            "twice, or take defaults with --sigmas default"
        )
    if len(args.annotations) == 1:
        raise ConfigError("--annotations needs at least two files, one per annotator of the same people")
    if args.out.suffix not in {".yaml", ".yml"}:
        raise ConfigError(f"--out {args.out} must end in .yaml, so that data.skeleton can name it")
    if args.out.exists() and not args.force:
        raise ConfigError(f"{args.out} exists; give --force to replace it, or another --out")
    estimates = None
    if args.annotations:
        repeated, areas, names = read_repeated(args.annotations)
        estimates = dict(zip(names, estimate_sigmas(repeated, areas).tolist(), strict=True))
        people = counted(len(repeated), "person", "people")
        print(f"sigmas estimated from {people} annotated {len(args.annotations)} times")
    write_text(args.out, skeleton_file(args.file, args.category, args.sigmas or "default", estimates))
    made = read_skeleton(args.out)
    pairs = ", ".join(f"{made.joints[a]} and {made.joints[b]}" for a, b in made.flip_pairs)
    print(f"written: {args.out}, {made.num_joints} joints, {counted(len(made.limbs), 'limb')}")
    print(f"left and right: {pairs}" if pairs else "left and right: none found by name; list them in flip_pairs")
    root, split, made_file = (shlex.quote(str(each)) for each in (own_root(args.file), args.file.name, args.out))
    print(
        f"to check it: {shell_command('pose')} data check --root {root} --splits {split} --skeleton {made_file}\n"
        f"to train with it, add these settings: data.root={root} data.train={split} data.skeleton={made_file}"
    )
    return 0
