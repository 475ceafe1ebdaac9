"""Arguments for the prediction of videos."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pose_core.inference.video_results import VideoOptions


def add_video_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that apply to videos, streams and cameras; see `video_options`."""
    group = parser.add_argument_group("videos, streams and cameras")
    group.add_argument("--fps", type=float, metavar="N", help="frames to predict per second (default: all)")
    group.add_argument("--frames-limit", type=int, metavar="N", help="stop after N frames")
    group.add_argument("--seconds", type=float, metavar="S", help="stop after S seconds of video")
    group.add_argument(
        "--track",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="give every person an id that is kept from frame to frame (default: on)",
    )
    group.add_argument("--smooth", action="store_true", help="steady the keypoints over time (One Euro filter)")
    group.add_argument(
        "--frames", action="store_true", help="also write a JSON file and a drawn image for every single frame"
    )


def video_options(args: argparse.Namespace) -> VideoOptions:
    """Return the settings that the arguments give."""
    from pose_core.inference.video_results import VideoOptions

    return VideoOptions(
        fps=args.fps,
        frames_limit=args.frames_limit,
        seconds=args.seconds,
        track=args.track,
        smooth=args.smooth,
        frames=args.frames,
    )
