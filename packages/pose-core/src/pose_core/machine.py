"""Describe this machine, as far as speed depends on it."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

INSTRUCTIONS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "asimd", "sve", "bf16")
"""The instruction sets that decide how fast numeric libraries run, as Linux names them."""
LIBRARIES = ("torch", "numpy", "opencv-python-headless", "scipy", "onnxruntime", "openvino")


def processor() -> str:
    """Return the processor's name, its instruction sets and the number of cores that this process may use."""
    fields = _cpu_fields()
    name = fields.get("model name") or platform.processor() or platform.machine()
    flags = set((fields.get("flags") or fields.get("Features") or "").split())
    sets = " ".join(each for each in INSTRUCTIONS if each in flags)
    family = fields.get("cpu family")
    series = f" family {family} model {fields.get('model')}" if family else ""
    return f"{name}{series}, {cores()} cores{', ' if sets else ''}{sets}"


def cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def versions() -> dict[str, str]:
    """Return the versions of Python and of the installed libraries that decide the speed."""
    found = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _cpu_fields() -> dict[str, str]:
    """Return the first processor's fields in /proc/cpuinfo; none on systems without it."""
    try:
        text = Path("/proc/cpuinfo").read_text("utf-8", "replace")
    except OSError:
        return {}
    lines = text.partition("\n\n")[0].splitlines()
    return {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
