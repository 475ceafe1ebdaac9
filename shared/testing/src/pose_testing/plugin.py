"""Settings that affect rounding: ``POSE_TEST_ONEDNN=0`` switches oneDNN off; the test header prints them.

Tests do not wait for files that they have removed, and do not see what was measured on this machine: it is in the
user's folder of caches, and they have one of their own.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile

import pytest

VARIABLES = ("ATEN_CPU_CAPABILITY", "MKL_CBWR", "OMP_NUM_THREADS", "POSE_TEST_ONEDNN")


def pytest_configure() -> None:
    if "POSE_HOME" not in os.environ:
        os.environ["POSE_HOME"] = tempfile.mkdtemp(prefix="pose-tests-")
        atexit.register(shutil.rmtree, os.environ["POSE_HOME"], ignore_errors=True)
    value = os.environ.get("POSE_TEST_ONEDNN", "1")
    if value not in ("0", "1"):
        raise pytest.UsageError(f"POSE_TEST_ONEDNN is {value!r}; it is 0 or 1")
    if value == "0":
        import torch

        torch.backends.mkldnn.enabled = False  # type: ignore[assignment]  # a descriptor


def pytest_report_header() -> str:
    found = [f"{name}={os.environ[name]}" for name in VARIABLES if name in os.environ]
    return f"arithmetic: {', '.join(found) or 'as it comes'}"


@pytest.fixture(autouse=True)
def no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pose_core.reading.patience.WAITS", (0.001,) * 3)
