"""Print the installed packages and methods, the devices, and what is missing.

pose doctor
pose doctor -v     also the implementation that each numeric operation uses
"""

from __future__ import annotations

import argparse
import os
import platform
from importlib.metadata import PackageNotFoundError, distributions, version

from pose_core.installation import install_hint, package_hint
from pose_core.verbosity import is_verbose

NEEDED = (
    "torch",
    "torchvision",
    "numpy",
    "opencv-python-headless",
    "pycocotools",
    "scipy",
    "pydantic",
    "safetensors",
    "tensorboard",
)
OPTIONAL = {
    "matplotlib": ("plot", "draws plots"),
    "av": ("video", "reads and writes videos"),
    "onnx": ("export", "writes ONNX files"),
    "onnxruntime": ("export", "checks ONNX files"),
    "h5py": ("h5", "reads HDF5 annotation files"),
    "huggingface-hub": ("hub", "downloads weights from hf://owner/repo/file"),
}
"""Packages with the extra that installs them, and what they are for."""


def add_arguments(_: argparse.ArgumentParser) -> None:
    """Add no arguments."""


def run(_: argparse.Namespace) -> int:
    """Print the report and return 1 if there are problems."""
    problems = []
    print(f"Python {platform.python_version()} on {platform.system()} {platform.machine()}, {os.cpu_count()} cores")
    print("\npackages")
    for name in NEEDED:
        print(f"  {name:<26}{_version(name) or 'MISSING'}")
        if _version(name) is None:
            problems.append(f"{name} is missing; install pose-core again, which brings it")
    for name, (extra, use) in OPTIONAL.items():
        print(f"  {name:<26}{_version(name) or f'not installed; {use}: {install_hint(extra)}'}")
    print(f"  {'triton':<26}{_version('triton') or 'not installed; comes with builds of PyTorch for GPUs'}")
    wheels = sorted(d.metadata["Name"] for d in distributions() if (d.metadata["Name"] or "").startswith("opencv-"))
    if len(wheels) > 1:
        problems.append(f"several OpenCV packages conflict: {', '.join(wheels)}; keep only opencv-python-headless")

    import torch

    print("\ndevices")
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        print(f"  cuda:{index}  {properties.name}, {properties.total_memory / 2**30:.0f} GiB")
    print(f"  cpu     {torch.get_num_threads()} threads" + ("" if torch.cuda.is_available() else "; no GPU"))

    from pose_core.plugins.method import installed_methods

    print("\nmethods")
    for method in installed_methods().values():
        print(f"  {method.script:<14}{_version(method.script)}  {method.summary} ({len(method.experiments())} configs)")
    if not installed_methods():
        print(f"  none; try: {package_hint('pose-lite')}")

    from pose_core.ops import dispatch

    setting = dispatch.setting()
    if is_verbose():
        print(f"\nnumeric operations (POSE_OPS={setting})")
        for op, (path, why) in dispatch.paths().items():
            print(f"  {op:<20}{path:<10} {why}")
    else:
        kind = "plain reference versions" if setting == "reference" else "fast versions"
        print(f"\nnumeric operations: {kind} (POSE_OPS={setting}; -v lists them)")

    if torch.cuda.is_available():
        problem = dispatch.triton_problem()
        print(f"Triton kernels on the GPU: {f'not used, plain PyTorch instead; {problem}' if problem else 'work'}")

    print("\nfolders")
    print(f"  POSE_DATA  {os.environ.get('POSE_DATA', 'not set: data roots are searched in the current directory')}")
    print(f"  POSE_HOME  {os.environ.get('POSE_HOME', 'not set: caches are in ~/.cache/pose')}")
    for problem in problems:
        print(f"\nproblem: {problem}")
    print("\nno problems" if not problems else "")
    return 1 if problems else 0


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
