"""Print the installed packages and methods, the devices, and what is missing.

pose doctor
pose doctor -v                 also the path that each numeric operation takes
pose doctor --ops              the measured time of every path of every numeric operation on this machine
pose doctor --networks lpn_18  measure what runs a network fastest on this CPU; without a name print what was measured
pose doctor --licenses         the licenses of all installed packages that the pose packages use
pose doctor --sbom sbom.json   the same packages as a bill of materials, in the format CycloneDX 1.6
"""

from __future__ import annotations

import argparse
import os
import platform
import shlex
from importlib.metadata import PackageNotFoundError, distributions, version
from pathlib import Path

from pose_core.errors import PoseError
from pose_core.folders import cache_home
from pose_core.installation import install_hint, package_hint
from pose_core.plurals import counted
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
    "jinja2": ("report", "writes reports of evaluations"),
    "av": ("video", "reads and writes videos"),
    "onnx": ("export", "writes ONNX files"),
    "onnxruntime": ("export", "checks ONNX files, and runs networks on a CPU"),
    "openvino": ("openvino", "writes OpenVINO files, and runs networks on a CPU"),
    "pyarrow": ("parquet", "writes predictions as Parquet"),
    "ray": ("ray", "predicts on many machines"),
    "h5py": ("h5", "reads HDF5 annotation files"),
    "huggingface-hub": ("hub", "downloads weights from hf://owner/repo/file"),
}
"""Packages with the extra that installs them, and what they are for."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``doctor``."""
    parser.add_argument(
        "--networks",
        nargs="*",
        metavar="NAME",
        help="measure which of PyTorch, ONNX Runtime and OpenVINO runs networks fastest on this machine's CPU, about a "
        "minute for each network (a name or a quoted pattern, 'lpn*'); without names print what was measured",
    )
    parser.add_argument("--licenses", action="store_true", help="print the licenses of the packages in use instead")
    parser.add_argument("--ops", action="store_true", help="print the time of every numeric operation's paths instead")
    parser.add_argument("--measure", action="store_true", help="with --ops: measure anew what was measured here before")
    parser.add_argument("--sbom", metavar="FILE", help="write the packages in use as CycloneDX JSON instead")


def run(args: argparse.Namespace) -> int:
    """Print the report and return 1 if there are problems."""
    if args.licenses or args.sbom:
        _list_packages(args)
        return 0
    if args.measure and not args.ops:
        raise PoseError("--measure needs --ops: pose doctor --ops --measure")
    if args.ops:
        from pose_core.cli.doctor_ops import print_ops

        print_ops(anew=args.measure)
        return 0
    if args.networks is not None:
        from pose_core.cli.doctor_networks import print_networks

        print_networks(args.networks)
        return 0
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
            print(f"  {op:<18}{path:<12}{why:<9}{dispatch.OPS[op].get(path, 'the plain definition')}")
    else:
        kind = "plain reference versions" if setting == "reference" else "fast versions"
        print(f"\nnumeric operations: {kind} (POSE_OPS={setting}; -v lists them, --ops measures them)")

    if torch.cuda.is_available():
        problem = dispatch.triton_problem()
        print(f"Triton kernels on the GPU: {f'not used, plain PyTorch instead; {problem}' if problem else 'work'}")

    print("\nfolders")
    print(f"  POSE_DATA  {os.environ.get('POSE_DATA', 'not set: data roots are searched in the current directory')}")
    print(f"  POSE_HOME  {os.environ.get('POSE_HOME', 'not set: caches are in ~/.cache/pose')}")
    problems += _open_to_others(cache_home())
    for problem in problems:
        print(f"\nproblem: {problem}")
    print("\nno problems" if not problems else "")
    return 1 if problems else 0


def _list_packages(args: argparse.Namespace) -> None:
    """Print the table of licenses, and write the bill of materials."""
    from pose_core.cli import bill_of_materials
    from pose_core.files import write_json

    roots = bill_of_materials.own_packages()
    found = bill_of_materials.components(roots)
    if args.licenses:
        print(bill_of_materials.license_table(found))
        if remarks := bill_of_materials.summary(found):
            print(f"\nto mind:\n{remarks}")
    if args.sbom:
        write_json(args.sbom, bill_of_materials.cyclonedx(found, roots), indent=1)
        print(f"written: {args.sbom}, {counted(len(found), 'package')} of {', '.join(roots)}")


def _open_to_others(folder: Path) -> list[str]:
    """Return a problem if others may write to the folder of caches, and so exchange weights and downloads."""
    if os.name != "posix" or not folder.is_dir() or not folder.stat().st_mode & 0o022:
        return []
    return [
        f"other users may write to {folder}, and so exchange downloaded weights: chmod go-w {shlex.quote(str(folder))}"
    ]


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
