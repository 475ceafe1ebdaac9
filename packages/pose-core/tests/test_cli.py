"""The command line: help, hints, exit codes."""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from torch.utils.data import DataLoader, Dataset

from pose_core.cli import VERBS, guarded, main, method_main
from pose_core.cli.arguments import split_overrides
from pose_core.cli.data import parse_range
from pose_core.errors import ConfigError, DataError, PoseError
from pose_core.plugins.method import Method
from pose_core.plugins.pages import Entry
from pose_core.suggestions import did_you_mean
from pose_core.verbosity import Verbosity, no_bar, set_verbosity
from pose_testing.methods import installed


def test_help_names_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(verb in text for verb in VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([verb, "--help"]) == 0
    assert len(capsys.readouterr().out.splitlines()) > 3


class Stub(Method):
    name = "stub"
    package = "pose_stub"
    summary = "a method for this test"
    curves: ClassVar = {"loss": "training loss"}
    example = "coco_stub_256x192"


class Documented(Stub):
    def experiments(self) -> dict[str, Entry]:
        return {"one": Entry("one", Path("page.yaml"), {"method": self.name, "model": {"name": "net"}}, {})}


def check_example(text: str, verb: str, example: str) -> None:
    """Check that a command's help has an example of ``--cfg`` if it takes one; predicting needs none."""
    takes = "--cfg NAME|FILE" in text
    assert (f"--cfg {example}" in text) == takes or (verb == "predict" and takes)


@pytest.mark.parametrize("verb", [*(name for name, verb in VERBS.items() if verb.in_methods), "plot"])
def test_a_methods_help_names_its_own_script_and_example(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with installed({"stub": Stub()}):
        assert method_main("stub", [verb, "--help"]) == 0
    text = capsys.readouterr().out
    assert f"\n  pose-stub {verb} " in text or f"\npose-stub {verb} " in text
    assert set(re.findall(r"pose[-_]([a-z]+)", text)) <= {"stub", "core"}
    check_example(text, verb, "coco_stub_256x192")
    assert "%(" not in text


@pytest.mark.parametrize("verb", VERBS)
def test_help_for_all_methods_names_the_examples_package(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with installed({"stub": Stub()}):
        assert main([verb, "--help"]) == 0
    text = capsys.readouterr().out
    check_example(text, verb, "pose-stub/coco_stub_256x192")
    assert "%(" not in text


def test_a_misspelled_verb_is_answered_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trian"]) == 2
    assert "did you mean train" in capsys.readouterr().err


def test_only_the_start_of_a_long_name_is_compared() -> None:
    assert did_you_mean("a" * 100 + "b" * 10**6, ["a" * 100]) == f"; did you mean {'a' * 100}?"
    assert did_you_mean("b", ["a"]) == ""


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("pose 0.")


@pytest.mark.parametrize(
    ("error", "code"), [(PoseError("x"), 1), (ConfigError("x"), 2), (DataError("x"), 3), (ValueError("x"), 1)]
)
def test_errors_become_exit_codes_and_one_message(
    error: Exception, code: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("POSE_DEBUG", raising=False)

    def fail() -> int:
        raise error

    assert guarded(fail) == code
    text = capsys.readouterr().err
    assert text.startswith("error: ")
    assert "Traceback" not in text


class Broken(Dataset[int]):
    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> int:
        raise DataError("image a.jpg\ndoes not decode")


def test_an_error_of_a_loaders_worker_is_one_message_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert guarded(lambda: len(list(DataLoader(Broken(), num_workers=1)))) == 3
    assert capsys.readouterr().err == "error: image a.jpg\ndoes not decode\n"


def test_overrides_may_stand_among_inputs() -> None:
    overrides, inputs = split_overrides(["a.jpg", "test.flip=false", "dir/x=y.png", "name=z"])
    assert overrides == ["test.flip=false", "name=z"]
    assert inputs == ["a.jpg", "dir/x=y.png"]


def test_people_ranges() -> None:
    assert parse_range("1-4", "--people") == (1, 4)
    assert parse_range("3", "--people") == (3, 3)
    with pytest.raises(ConfigError, match="--people"):
        parse_range("4-1", "--people")
    with pytest.raises(ConfigError, match="--people"):
        parse_range("many", "--people")


def test_sigmas_are_estimated_from_repeated_annotations(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    truth = rng.uniform(50, 150, (400, 3, 2))
    files = []
    for annotator in range(4):
        # E[d²/area] = sigma², d over two coordinates.
        noise = rng.normal(size=truth.shape) * np.array([0.02, 0.05, 0.1])[:, None] * 100 / np.sqrt(2)
        points = np.concatenate([truth + noise, np.full((400, 3, 1), 2)], -1).reshape(400, -1)
        content = {
            "categories": [{"id": 1, "name": "bird", "keypoints": ["beak", "wing", "tail"]}],
            "annotations": [{"id": i, "area": 10000.0, "keypoints": row.tolist()} for i, row in enumerate(points)],
        }
        files.append(tmp_path / f"{annotator}.json")
        files[-1].write_text(json.dumps(content))
    assert main(["data", "sigmas", "--annotations", *map(str, files)]) == 0
    values = [float(line.split()[1]) for line in capsys.readouterr().out.splitlines() if line.startswith("  - ")]
    assert values == pytest.approx([0.02, 0.05, 0.1], rel=0.05)


def test_sigmas_need_two_annotators(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "sigmas", "--annotations", str(tmp_path / "one.json")]) == 2
    assert "at least two" in capsys.readouterr().err
    assert main(["data", "sigmas", "--annotations", str(tmp_path / "a.json"), str(tmp_path / "b.json")]) == 3
    assert "does not exist" in capsys.readouterr().err


@pytest.fixture
def _verbosity() -> Iterator[None]:
    """Undo what -v changes for the process."""
    root, last = logging.getLogger(), logging.lastResort
    assert last is not None
    levels, filters = (root.level, last.level), list(last.filters)
    yield
    set_verbosity(Verbosity.NORMAL)
    root.setLevel(levels[0])
    last.setLevel(levels[1])
    last.filters = filters


@pytest.mark.usefixtures("_verbosity")
@pytest.mark.parametrize("words", [["-v", "data", "synth"], ["data", "-v", "synth"], ["data", "synth", "--verbose"]])
def test_verbose_shows_the_traceback(words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*words, "--out", str(tmp_path), "--people", "x"]) == 2
    error = capsys.readouterr().err
    assert "Traceback" in error
    assert error.endswith("error: --people 'x' must be a number or a range, for example 1-4\n")
    assert main(["data", "synth", "--out", str(tmp_path), "--people", "x"]) == 2
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.usefixtures("_verbosity")
def test_information_is_logged_if_verbose() -> None:
    code = (
        "import logging; from pose_core.verbosity import *;"
        "set_verbosity(Verbosity.{});"
        "logging.getLogger('pose_lite.x').info('ours'); logging.getLogger('else').info('theirs');"
        "logging.getLogger('else').warning('warned')"
    )
    said = {
        level: subprocess.run([sys.executable, "-c", code.format(level)], capture_output=True, text=True, check=True)
        for level in ("NORMAL", "VERBOSE", "QUIET")
    }
    assert {level: ran.stderr.split() for level, ran in said.items()} == {
        "NORMAL": ["warned"],
        "VERBOSE": ["ours", "warned"],
        "QUIET": ["warned"],
    }


@pytest.mark.usefixtures("_verbosity")
def test_quiet_draws_no_bars(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seen = []
    monkeypatch.setattr("pose_core.synthetic.drawing.no_bar", lambda **how: seen.append(no_bar(**how)) or True)
    words = ["data", "synth", "--images", "1", "--val-images", "1", "--size", "96x96"]
    assert main([*words, "--out", str(tmp_path / "a")]) == 0
    assert main([*words, "--out", str(tmp_path / "b"), "-q"]) == 0
    assert seen == [None, None, True, True]


def test_a_closed_pipe_is_no_error() -> None:
    run = subprocess.run(
        f"{sys.executable} -m pose_core --help | true; exit ${{PIPESTATUS[0]}}",
        shell=True, executable="/bin/bash", capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode in {0, 141}  # 0 if the pipe took everything before it was closed
    assert run.stderr == ""


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("pose trai", {"train"}),
        ("pose data syn", {"synth"}),
        ("pose data synth --val", {"--val-images"}),
        ("pose data check --layout cr", {"crowdpose"}),
        ("pose data check -q --decode ", {"none", "sample", "all"}),
        ("pose data check --root ", set()),
        ("pose completion fi", {"fish"}),
        ("pose nothing ", set()),
    ],
)
def test_bash_completes(typed: str, completed: set[str], tmp_path: Path) -> None:
    (tmp_path / "pose").write_text(f'#!/bin/sh\nexec {sys.executable} -m pose_core "$@"\n')
    (tmp_path / "pose").chmod(0o755)
    words = " ".join(f"'{word}'" for word in typed.split(" "))
    script = f"""
        eval "$(pose completion bash)"
        complete -p pose >/dev/null || exit 1
        COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); compopt() {{ :; }}
        _pose_complete pose
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    path = f"{tmp_path}:{os.environ['PATH']}"
    run = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True, env={"PATH": path})
    assert set(run.stdout.split()) == completed
    assert run.stderr == ""


def test_settings_and_experiments_are_completed(capsys: pytest.CaptureFixture[str]) -> None:
    with installed({"stub": Documented()}):
        assert main(["__complete", "pose", "train", "--cfg", "pose-stub/o"]) == 0
        assert capsys.readouterr().out.split() == ["pose-stub/one"]
        assert method_main("stub", ["__complete", "pose-stub", "train", "--cfg", "one", "train.ep"]) == 0
        assert capsys.readouterr().out.split() == ["train.epochs="]
        assert main(["__complete", "pose", "train", "--cfg", "x["]) == 0  # not a pattern
        assert capsys.readouterr().out.strip() == ""


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_completion_script_names_every_script(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    with installed({"stub": Stub()}):
        assert main(["completion", shell]) == 0
    text = capsys.readouterr().out
    assert " pose pose-stub" in text
    assert "SCRIPTS" not in text
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=text, text=True, check=True)
