"""Arguments that say which data set a command reads."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pose_core.config import DataConfig


class Later:
    """Choices of an option, listed only when a value is checked or printed, so that other commands start fast."""

    def __init__(self, names: Callable[[], Iterable[str]]) -> None:
        self.names = names

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())


def all_layouts() -> list[str]:
    """Return the names of the layouts."""
    from pose_core.layouts.table import LAYOUTS

    return list(LAYOUTS)


def add_layout(parser: argparse.ArgumentParser, names: Callable[[], Iterable[str]], default: str) -> None:
    """Add ``--layout``."""
    parser.add_argument(
        "--layout",
        choices=Later(names),
        default=default,
        metavar="LAYOUT",
        help="published layout of the folder: %(choices)s (%(default)s)",
    )


def add_where(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    """Add ``--layout``, ``--root``, ``--skeleton`` and ``--allow``."""
    add_layout(parser, all_layouts, "coco")
    parser.add_argument("--root", required=required, metavar="DIR", help="the data set's folder")
    parser.add_argument("--skeleton", metavar="NAME|FILE", help="joint set (the layout's own)")
    parser.add_argument(
        "--allow",
        nargs="+",
        default=(),
        metavar="DIR",
        help="folders outside the root that names and links of images may lead to (data.allowed_folders)",
    )


def data_config(args: argparse.Namespace) -> DataConfig:
    """Return the data set that the arguments name."""
    from pose_core.config import DataConfig
    from pose_core.layouts.table import get_layout

    layout = get_layout(args.layout)
    return DataConfig(
        layout=layout.name,
        root=args.root,
        skeleton=args.skeleton or layout.skeleton,
        allowed_folders=tuple(args.allow),
    )
