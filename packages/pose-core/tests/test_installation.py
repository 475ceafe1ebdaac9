import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from pose_core import installation
from pose_core.installation import SCRIPTS, install_hint, package_hint, shell_command


def test_script_on_the_path_is_named_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("UV_RUN_RECURSION_DEPTH", raising=False)
    monkeypatch.setenv("PATH", str(Path(sys.prefix, SCRIPTS)) + os.pathsep + os.environ["PATH"])
    assert shell_command("pose") == "pose"


def test_script_under_uv_run_is_started_by_uv_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV_RUN_RECURSION_DEPTH", "1")
    assert shell_command("pose-lite") == "uv run pose-lite"


def test_script_that_is_not_on_the_path_is_named_by_its_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # Another environment's script of the same name comes first on the PATH.
    (tmp_path / "pose").write_text("#!/bin/sh\n")
    (tmp_path / "pose").chmod(0o755)
    monkeypatch.delenv("UV_RUN_RECURSION_DEPTH", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    command = shell_command("pose")
    done = subprocess.run([*shlex.split(command), "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("pose ")


def test_hint_of_an_extra_names_its_packages_and_no_index_is_needed_for_ours() -> None:
    hint = install_hint("export")
    assert " install " in hint
    assert {word.split(">")[0] for word in shlex.split(hint)} >= {"onnx", "onnxscript", "onnxruntime"}
    assert "pose-core" not in hint


def test_unknown_extra_is_refused() -> None:
    with pytest.raises(ValueError, match="no extra 'nothing'"):
        install_hint("nothing")


@pytest.mark.parametrize(
    ("origin", "expected"),
    [
        ('{"url": "file://HERE/pose-core", "dir_info": {"editable": true}}', "-e HERE/pose-lite"),
        ('{"url": "file://HERE/pose-core", "dir_info": {}}', " HERE/pose-lite"),
        ('{"url": "file:///elsewhere/pose-core", "dir_info": {}}', " pose-lite"),
        ('{"url": "file://HERE/pose_core-1-py3-none-any.whl", "archive_info": {}}', " HERE/pose_lite-*.whl"),
        (None, " pose-lite"),
    ],
)
def test_method_package_is_installed_from_where_the_core_came(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, origin: str | None, expected: str
) -> None:
    (tmp_path / "pose-lite").mkdir()

    class Core:
        def read_text(self, name: str) -> str | None:
            return origin and origin.replace("HERE", str(tmp_path))

    monkeypatch.setattr(installation, "Distribution", type("D", (), {"from_name": staticmethod(lambda name: Core())}))
    monkeypatch.chdir("/")
    monkeypatch.setattr(installation, "find_spec", lambda name: None)
    assert package_hint("pose-lite").endswith(expected.replace("HERE", str(tmp_path)))
    assert package_hint("pose-lite").startswith("uv pip install --python ")
