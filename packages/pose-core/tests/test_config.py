"""Configurations: types, strictness, and helpful error messages."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from pose_core.bottomup.config import BottomUpConfig
from pose_core.config import (
    ModelConfig,
    all_keys,
    apply_overrides,
    dump_config,
    nearest_key,
    parse_config,
    update_override,
)
from pose_core.errors import ConfigError
from pose_core.folders import find_data_root
from pose_core.plugins.experiments import find_experiment, load_config
from pose_core.plugins.method import Method, get_method, installed_methods
from pose_core.plugins.networks import build_network
from pose_core.topdown.config import TopDownConfig
from pose_testing.methods import installed

BASE = {"method": "lite", "model": {"name": "lpn_18"}}


def parse(content: dict) -> TopDownConfig:
    return parse_config(content, TopDownConfig, "here")


def test_defaults_fill_the_rest_and_round_trip() -> None:
    config = parse(BASE)
    assert config.heatmap_size == (48, 64)
    assert parse(yaml.safe_load(dump_config(config))) == config


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train": {"epoch": 3}}, r"unknown key 'train.epoch'; did you mean train.epochs"),
        ({"trian": {}}, "unknown key 'trian'; did you mean train"),
        ({"epochs": 3}, "did you mean train.epochs"),
        ({"train": {"epochs": "many"}}, "'train.epochs' is 'many'"),
        ({"train": {"lr": -1}}, "'train.lr' is -1"),
        ({"heatmap": {"decode": "guess"}}, "'heatmap.decode' is 'guess'"),
        ({"model": {}}, "'model.name' is required"),
        ({"model": {"name": "x", "input_size": [190, 256]}}, "must be divisible by heatmap.stride"),
        ({"model": {"name": "x", "input_size": [192]}}, "model.input_size"),
    ],
)
def test_mistakes_name_the_key(change: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse({**BASE, **change})


def test_rules_about_a_block_do_not_print_it() -> None:
    content = {"method": "x", "name": "y", "model": {"name": "z"}, "test": {"scales": [0, 1]}}
    with pytest.raises(ConfigError, match=r"^a file: test\.scales=\[0\.0, 1\.0\]: 0 is not a size; [^{]*$"):
        parse_config(content, BottomUpConfig, "a file")


def test_overrides_are_yaml_and_read_numbers() -> None:
    content = apply_overrides(BASE, ["train.lr=1e-3", "model.input_size=[96, 128]", "test.flip=false", "run.name=x"])
    config = parse(content)
    assert config.train.lr == 0.001
    assert config.model.input_size == (96, 128)
    assert not config.test.flip
    assert BASE == {"method": "lite", "model": {"name": "lpn_18"}}


@given(st.floats(1e-9, 1e9))
def test_a_number_reads_the_same_in_every_spelling(value: float) -> None:
    for text in (repr(value), f"{value:.17g}", f"{value:.16e}"):
        assert parse(apply_overrides(BASE, [f"train.lr={text}"])).train.lr == value


@pytest.mark.parametrize("text", ["1e-3", "1E-3", "1.e-3", "0.001", "1.0e-3"])
def test_yaml_1_1_numbers_in_files(text: str) -> None:
    assert parse({**BASE, "train": yaml.safe_load(f"lr: {text}")}).train.lr == 0.001


@pytest.mark.parametrize("name", ["infinity", "nan", "a=b", "e5"])
def test_names_that_look_like_numbers_stay_names(name: str) -> None:
    assert parse(apply_overrides(BASE, [f"run.name={name}"])).run.name == name


@pytest.mark.parametrize("item", ["train.lr", "=3", "method.x=3", "train.lr=[1"])
def test_malformed_overrides_are_refused(item: str) -> None:
    with pytest.raises(ConfigError, match="override"):
        apply_overrides(BASE, [item])


def test_files_and_methods(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump({"method": "absent", "model": {"name": "x"}}))
    with pytest.raises(ConfigError, match=r"pip install .*pose-absent"):
        load_config(file)
    file.write_text("model: {name: x}")
    with pytest.raises(ConfigError, match="'method' is missing"):
        load_config(file)
    file.write_text("- a list")
    with pytest.raises(ConfigError, match="mapping"):
        load_config(file)
    with pytest.raises(ConfigError, match="does not exist"):
        load_config(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match="no config named"):
        load_config("never_heard_of_it")


def test_folders_are_not_configs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("never_heard_of_it").mkdir()
    with pytest.raises(ConfigError, match="no config named"):
        load_config("never_heard_of_it")
    Path("folder.yaml").mkdir()
    with pytest.raises(ConfigError, match="is a folder, not a file"):
        load_config("folder.yaml")


@pytest.fixture
def packages_with_configs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Install two methods that both have an experiment called shared."""
    methods = {}
    for short, names in {"one": ("shared", "own_256x192"), "two": ("shared",)}.items():
        pages = tmp_path / f"pose_{short}_stub" / "experiments"
        pages.mkdir(parents=True)
        (pages.parent / "__init__.py").touch()
        page = {"protocol": {**BASE, "method": short}, "experiments": {name: {} for name in names}}
        (pages / "coco.yaml").write_text(yaml.safe_dump(page))
        methods[short] = type(short, (Method,), {"name": short, "package": f"pose_{short}_stub", "summary": ""})()
    monkeypatch.syspath_prepend(tmp_path)
    with installed(methods):
        yield


@pytest.mark.usefixtures("packages_with_configs")
def test_built_in_configs_are_found_by_name() -> None:
    assert find_experiment("own_256x192").name == "own_256x192"
    assert load_config("own_256x192").name == "own_256x192"
    assert load_config("pose-two/shared").method == "two"
    with pytest.raises(ConfigError, match=r"several packages.*pose-one-stub/shared, pose-two-stub/shared"):
        find_experiment("shared")
    with pytest.raises(ConfigError, match=r"did you mean own_256x192\?"):
        find_experiment("own256x192")
    with pytest.raises(ConfigError, match=r"no such file\. `pose configs`"):
        find_experiment("zzz")


def test_renamed_keys_and_values_are_read_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    content = {**BASE, "augment": {"half_body_fewest": 3}, "heatmap": {"target": "quantised"}}
    config = parse_config(content, TopDownConfig, "old.yaml")
    assert config == parse_config({**BASE, "augment": {"half_body_min": 3}}, TopDownConfig, "new.yaml")
    assert caplog.messages == [
        "old.yaml: augment.half_body_fewest is an old spelling, read as augment.half_body_min (please change it)",
        "old.yaml: heatmap.target=quantised is an old spelling, read as heatmap.target=quantized (please change it)",
    ]
    caplog.clear()
    assert update_override("heatmap.target=quantised", TopDownConfig) == "heatmap.target=quantized"
    assert update_override("augment.half_body_fewest=3", TopDownConfig) == "augment.half_body_min=3"
    assert len(caplog.messages) == 2
    for item in ("train.lr=1e-3", "heatmap.target=subpixel", "nothing.of.this=1", "augment.half_body_fewest"):
        assert update_override(item, TopDownConfig) == item
    assert len(caplog.messages) == 2
    content["augment"]["half_body_min"] = 3
    with pytest.raises(
        ConfigError, match=r"augment\.half_body_fewest is the old name of augment\.half_body_min and both"
    ):
        parse_config(content, TopDownConfig, "both.yaml")


def test_keys_are_listed_and_found() -> None:
    keys = all_keys(TopDownConfig)
    assert "train.epochs" in keys
    assert "model.name" in keys
    assert nearest_key("train.epoch", TopDownConfig) == "train.epochs"
    assert nearest_key("flp", TopDownConfig) in {"augment.flip", "test.flip"}
    assert nearest_key("zzzz", TopDownConfig) is None


def test_data_roots_are_found_below_pose_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "coco").mkdir()
    monkeypatch.setenv("POSE_DATA", str(tmp_path))
    assert find_data_root("data/coco") == tmp_path / "coco"
    assert find_data_root(str(tmp_path)) == tmp_path
    assert find_data_root("data/mpii") == tmp_path / "data/mpii"


class Plain(Method):
    name, package, summary = "x", "pose_x", "a method"


def test_an_experiment_of_another_kind_is_refused() -> None:
    config = BottomUpConfig(method="x", model=ModelConfig(name="y", input_size=(64, 64)))
    with pytest.raises(ConfigError, match="is a BottomUpConfig; expected a TopDownConfig"):
        Plain().task(config, build_network)


def test_a_plain_method_is_a_top_down_one() -> None:
    method = Plain()
    assert method.script == "pose-x"
    assert method.schema({}, "here") is TopDownConfig
    assert method.network_builder("lpn_50") is None
    assert not method.commands()
    for name in installed_methods():
        assert get_method(f"pose-{name}") is get_method(name)
