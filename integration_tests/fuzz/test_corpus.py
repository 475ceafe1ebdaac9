"""Inputs that once failed, and documents made from scratch, end in a result or in a message of ours."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

RUN = Path(__file__).with_name("run.py")


def test_past_failures_and_valid_files(tmp_path: Path) -> None:
    # In a process of its own: some of these files crashed it.
    done = subprocess.run([sys.executable, RUN, "--replay"], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]


def test_a_few_new_inputs_of_each_kind(tmp_path: Path) -> None:
    kinds = ["coco_both", "skeleton", "image", "lsp_mat", "archive", "vote_cache"]
    words = ["--kinds", *kinds, "--count", "40", "--out", str(tmp_path / "failures")]
    done = subprocess.run([sys.executable, RUN, *words], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    assert f"| all | {40 * len(kinds)} |" in done.stdout
