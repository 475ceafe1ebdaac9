"""Make lsp_mpii.h5, which has MPII and LSP in one file, from the official annotations of the two.

  pose data build-lsp-mpii --mpii data/mpii --lsp data/lsp --out data
  pose data build-lsp-mpii --mpii ~/sets/mpii --lsp ~/sets/lsp --out data --link

The split train has the training people of MPII and LSP, val the test people of LSP, test those of MPII. The file names
images as mpii/images/… and lsp/images/… in its own folder; if the data sets are elsewhere, --link links them there.
"""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

from pose_core.errors import ConfigError
from pose_core.installation import shell_command


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``data build-lsp-mpii``."""
    parser.add_argument("--mpii", required=True, metavar="DIR", help="MPII's folder, with JSON or .mat annotations")
    parser.add_argument("--lsp", required=True, metavar="DIR", help="LSP's folder, with joints.mat and images/")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder to write lsp_mpii.h5 to")
    parser.add_argument(
        "--mpii-train",
        metavar="SPLIT",
        help="MPII's people to train on: train or trainval (train; trainval if the folder has only the .mat release)",
    )
    parser.add_argument("--link", action="store_true", help="link mpii and lsp into --out")
    parser.add_argument("--force", action="store_true", help="replace an existing file")


def run(args: argparse.Namespace) -> int:
    """Write lsp_mpii.h5; refuse to replace an existing file without ``--force``."""
    from pose_core.folders import find_data_root
    from pose_core.layouts.build_lsp_mpii import build, place_images
    from pose_core.layouts.lsp_mpii import ISTRAIN, LSP_MPII

    mpii, lsp, out = find_data_root(args.mpii), find_data_root(args.lsp), Path(args.out).expanduser()
    file = LSP_MPII.annotation_file(out, "train")
    if file.exists() and not args.force:
        raise ConfigError(f"{file} exists; give --force to replace it, or another --out")
    built = build(mpii, lsp, out, mpii_train=args.mpii_train)
    print(built)
    for name, folder in (("mpii", mpii), ("lsp", lsp)):
        line = place_images(out / name, folder, link=args.link)
        if line:
            print(line)
    root = shlex.quote(str(out))
    print(
        f"to check it: {shell_command('pose')} data check --layout lsp_mpii --root {root} --splits {' '.join(ISTRAIN)}"
    )
    return 0
