"""A file of someone else's chooses neither where a run is written nor what its files are called."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from pose_core.benchmark.accuracy import read_run
from pose_core.config import Experiment, dump_config, parse_config
from pose_core.downloads import file_name
from pose_core.engine.checkpoint import save_checkpoint
from pose_core.engine.run_folder import run_path
from pose_core.errors import ConfigError
from pose_core.folders import check_folder_name, leads_outside
from pose_core.layouts.layout import AnnotatedSet
from pose_core.layouts.table import get_layout
from pose_core.plugins.checkpoints import config_of
from pose_core.plugins.experiments import load_config
from pose_core.plugins.method import Method
from pose_core.skeleton import get_skeleton
from pose_testing.methods import installed

BASE = {"method": "stub", "model": {"name": "hrnet_w18_small_v1"}}
NO_NAMES = [
    "../../x", "/abs", "a/b", "a\\b", "..", ".", "", "C:x", "a\0b", "a\x1b[31m", "a\nb", "a\u202eb", "NUL", "com1.txt",
    "x.", "x ", "é" * 101,
]  # fmt: skip
REFUSED = r"'(run\.)?name' is |holds a character that cannot be shown"
OUTSIDE = ["/abs", "../x", "a/../../x", "..", "C:\\x", "C:x", "\\\\server\\share", "a\\..\\..\\x"]


class Stub(Method):
    name = "stub"
    package = "pose_stub"
    summary = "a method for this test"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Install a method, and return the current folder, which has a folder above it that is the test's, too."""
    package = tmp_path / "site" / "pose_stub" / "experiments"
    package.mkdir(parents=True)
    (package.parent / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path / "site")
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    with installed({"stub": Stub()}):
        yield folder
    sys.modules.pop("pose_stub", None)


def written(path: Path, **more: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump({**BASE, **more}))
    return path


@pytest.mark.parametrize("name", NO_NAMES)
def test_a_run_s_name_is_one_plain_folder_name(name: str, here: Path) -> None:
    for content in ({"name": name}, {"run": {"name": name}}):
        with pytest.raises(ConfigError, match=REFUSED):
            load_config(written(here / "mine.yaml", **content))
    with pytest.raises(ConfigError, match=REFUSED):
        load_config(written(here / "mine.yaml"), [f"run.name={yaml.safe_dump(name).removesuffix(chr(10) + '...')}"])
    config = load_config(written(here / "mine.yaml")).model_copy(update={"name": name})  # passes no schema
    with pytest.raises(ConfigError, match=r"set another with run\.name="):
        run_path(config)


@pytest.mark.parametrize("name", ["coco_lpn50_256x192", "hrnet_w32.coco", "größe 2", "a=b", ".hidden", "x" * 200, "e5"])
def test_ordinary_names_stay_as_they_are(name: str, here: Path) -> None:
    assert run_path(load_config(written(here / "mine.yaml", run={"name": name}))) == Path("runs", name)


@given(st.text(max_size=12) | st.sampled_from(NO_NAMES))
def test_a_checked_name_never_leaves_its_folder(name: str) -> None:
    try:
        check_folder_name(name)
    except ValueError:
        return
    path = os.path.normpath(os.path.join("/runs", name))  # noqa: PTH118
    assert os.path.split(path) == ("/runs", name)
    assert not leads_outside(name)


@pytest.mark.parametrize("folder", OUTSIDE)
def test_only_the_command_line_chooses_a_folder_outside(folder: str, here: Path) -> None:
    file = written(here / "mine.yaml", run={"dir": folder})
    with pytest.raises(ConfigError, match=r"mine\.yaml: 'run\.dir' is .*add to the command .*run\.dir="):
        load_config(file)
    assert load_config(file, [f"run.dir={folder}"]).run.dir == folder
    assert load_config(file, ["run.dir=runs"]).run.dir == "runs"
    assert parse_config({**BASE, "run": {"dir": folder}}, Experiment, "Python").run.dir == folder


@pytest.mark.parametrize("folder", ["runs", "my runs/today", "a..b", "./runs"])
def test_a_file_chooses_folders_below_the_current_one(folder: str, here: Path) -> None:
    assert load_config(written(here / "mine.yaml", run={"dir": folder})).run.dir == folder


def test_a_run_s_own_config_names_the_run_s_folder(
    here: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    runs = tmp_path / "elsewhere"
    file = runs / "mine" / "config.yaml"
    config = load_config(written(here / "mine.yaml"), [f"run.dir={runs}"])
    file.parent.mkdir(parents=True)
    file.write_text(dump_config(config))
    assert load_config(file) == config
    assert caplog.messages == []
    moved = tmp_path / "moved"
    runs.rename(moved)
    assert run_path(load_config(moved / "mine" / "config.yaml")) == moved / "mine"
    assert f"run.dir is {moved}, where this run is now, instead of {runs}" in caplog.text
    (moved / "mine").rename(moved / "other")
    with pytest.raises(ConfigError, match=r"run\.dir"):
        load_config(moved / "other" / "config.yaml")
    (moved / "other" / "best.pt").touch()
    assert read_run(moved / "other").run.dir == str(moved)  # writes nothing there


@pytest.mark.parametrize("run", [{"dir": "/abs", "name": "x"}, {"dir": "../up"}, {"dir": "runs", "name": "a/b"}])
def test_weights_do_not_choose_where_results_are_written(run: dict[str, str], here: Path) -> None:
    content = {"method": "stub", "config": yaml.safe_dump({**BASE, "name": "mine", "run": {**run, "seed": 5}})}
    save_checkpoint(here / "best.pt", {**content, "weights": {}})
    config = config_of(here / "best.pt")
    assert config is not None
    assert config.run.seed == 5
    assert run_path(config) == Path("runs/mine")


@pytest.mark.parametrize(
    ("split", "name"), [("val2017", "val2017"), ("a/val.json", "val"), ("../../x", ".._.._x"), ("/abs/x", "_abs_x")]
)
def test_a_split_s_name_is_no_path(split: str, name: str) -> None:
    assert AnnotatedSet((), get_skeleton("coco17"), get_layout("coco"), Path(), split, Path()).name == name


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://host/a/photo%20one.jpg?x=1", "photo one.jpg"),
        ("https://host/a%2F..%2F..%2Fphoto.jpg", "photo.jpg"),
        ("https://host/..%5C..%5Cphoto.jpg", "photo.jpg"),
        ("https://host/%2e%2e", "download"),
        ("https://host/", "download"),
        ("https://host/a%1b%5B31m.jpg", "a_[31m.jpg"),
    ],
)
def test_an_address_names_a_file_without_a_folder(url: str, name: str) -> None:
    assert file_name(url) == name
