"""Check every image of a pool of parts, and draw a contact sheet of some of each type.

pose-asda browse-parts --pool data/parts --each 4 --out parts.png
"""

from __future__ import annotations

import argparse
from pathlib import Path

from pose_asda.parts import ANNOTATIONS, browse_pool, check_pool, read_pool
from pose_core.drawing.sheets import contact_sheet, write_image
from pose_core.errors import DataError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``browse-parts``."""
    parser.add_argument(
        "--pool", type=Path, required=True, metavar="DIR", help="the pool: a folder with part_anns.json"
    )
    parser.add_argument("--each", type=int, default=4, metavar="N", help="parts drawn of each type (4)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="random seed of the choice of parts (0)")
    parser.add_argument(
        "--out", type=Path, default=Path("parts.png"), metavar="FILE", help="image to write (parts.png)"
    )


def run(args: argparse.Namespace) -> int:
    """Check the pool and write the contact sheet."""
    pool = read_pool(args.pool / ANNOTATIONS)
    faults = check_pool(pool)
    if faults:
        raise DataError("\n".join(faults[:10] + [f"… and {len(faults) - 10} more"] * (len(faults) > 10)))
    tiles, captions = browse_pool(pool, args.each, args.seed)
    write_image(args.out, contact_sheet(tiles, captions, columns=8, tile=(150, 150)))
    print(f"{len(pool)} parts of {len(pool.files)} types; written: {args.out}")
    return 0
