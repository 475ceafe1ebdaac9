"""Benchmark what a new user waits for: `--help`, listing models, the import, and the first pose.

    python shared/benchmark/run.py --only first_use

Each is a process of its own. The floor of what computes is the import of its libraries, that of the rest the bare
interpreter, of which the fixed limits (0.3 s for `pose --help`, 0.5 s for `import pose_core`) are some multiple.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from bench_pipeline import write_pictures
from cases import Bar, Case

from pose_core.plugins.networks import create_model

LIBRARIES = "import torch, cv2, pydantic"


def process(folder: Path, *words: str) -> Callable[[], object]:
    """Return what runs a command to its end, with caches in a folder of its own."""
    environment = {**os.environ, "POSE_HOME": str(folder / "home")}

    def run() -> None:
        subprocess.run([sys.executable, *words], cwd=folder, env=environment, capture_output=True, check=True)

    return run


def cases(folder: Path) -> Iterator[Case]:
    """Yield the commands of a first session."""
    write_pictures(folder, 1, 480, 640)
    torch.manual_seed(0)
    torch.save(create_model("lpn_18").state_dict(), folder / "lpn.pth")
    yield Case(
        "first commands",
        "processes from start to end",
        {
            "python": process(folder, "-c", "pass"),
            "import pose_core": process(folder, "-c", "import pose_core"),
            "pose --help": process(folder, "-m", "pose_core", "--help"),
            "pose models": process(folder, "-m", "pose_core", "models"),
        },
        (Bar("pose --help", "python", 12), Bar("pose models", "python", 16), Bar("import pose_core", "python", 4)),
        time.perf_counter,
    )
    words = ("predict", "000.jpg", "--cfg", "coco_lpn18_256x192", "--weights", "lpn.pth", "--detector", "whole")
    yield Case(
        "first pose",
        "predict one photo with LPN-18 from a file, from the start of the process to the drawn photo",
        {"predict": process(folder, "-m", "pose_lite", *words), "its libraries": process(folder, "-c", LIBRARIES)},
        (Bar("predict", "its libraries", 1.5),),
        time.perf_counter,
    )
