"""The documentation of settings: every key has a meaning, `pose settings`, and `show-config --explain`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

import pytest
import yaml
from pydantic import Field

from pose_core.bottomup.config import BottomUpConfig
from pose_core.cli import main, method_main
from pose_core.config import Block, Experiment, ModelConfig, dump_config
from pose_core.config.explain import dump_explained, settings_of
from pose_core.plugins.method import Method
from pose_core.plugins.pages import Entry
from pose_core.plugins.settings import documented_settings, nearest_setting
from pose_core.topdown.config import AugmentConfig, TopDownConfig
from pose_testing.methods import installed


class Stub(Method):
    name = "stub"
    package = "pose_stub"
    summary = "a method for this test"
    example = "one"

    def experiments(self) -> dict[str, Entry]:
        return {"one": Entry("one", Path("page.yaml"), {"method": self.name, "model": {"name": "net"}}, {})}


class Other(Stub):
    name = "other"
    package = "pose_other"

    def schema(self, content: object, where: str) -> type[Experiment]:
        return BottomUpConfig


@pytest.fixture
def _two() -> Iterator[None]:
    with installed({"other": Other(), "stub": Stub()}):
        yield


@pytest.mark.parametrize("schema", [TopDownConfig, BottomUpConfig])
def test_every_key_has_a_meaning(schema: type[Experiment]) -> None:
    settings = settings_of(schema)
    assert len(settings) > 50
    assert [setting.key for setting in settings if not setting.meaning.endswith((".", ";", ")"))] == []
    assert [setting.key for setting in settings if setting.default is None] == ["method", "model.name"]


def test_a_setting_tells_its_values_and_its_schemas_own_default() -> None:
    class Wild(AugmentConfig):
        flip: Annotated[float, Field(ge=0)] = 0.25

    class Extra(Block):
        kind: Literal["a", "b"] | None = None
        """Either kind."""

    class Mine(TopDownConfig):
        augment: Wild = Wild(half_body=0.75)
        model: ModelConfig = ModelConfig(name="net")
        extra: Extra = Extra()

    found = {setting.key: setting for setting in settings_of(Mine)}
    assert found["augment.flip"].default == "0.25"
    assert found["augment.flip"].meaning == "Probability of mirroring."  # the parent's
    assert found["augment.half_body"].default == "0.75"
    assert (found["model.name"].default, found["model.input_size"].default) == ("net", "[192, 256]")
    assert found["model.input_size"].values == "[integer, integer]"
    assert (found["extra.kind"].values, found["extra.kind"].default) == ("a | b | null", "null")
    assert (found["train.milestones"].values, found["train.compile"].values) == ("[integer, …]", "true | false")


def test_an_explained_experiment_is_the_same_experiment() -> None:
    config = TopDownConfig(method="stub", note="one: two", model=ModelConfig(name="net", options={"deep": {"a": [1]}}))
    text = dump_explained(config)
    assert yaml.safe_load(text) == yaml.safe_load(dump_config(config))
    assert "  # Passes over the training set.\n  epochs: 210\n" in text
    assert max(map(len, text.splitlines())) <= 120


@pytest.mark.usefixtures("_two")
def test_settings_are_listed_by_key_block_and_word(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["settings", "train.epochs"]) == 0
    assert capsys.readouterr().out == "train.epochs = 210\n    Passes over the training set.\n    values: integer\n"
    assert main(["settings", "train"]) == 0
    keys = [line.split()[0] for line in capsys.readouterr().out.splitlines() if not line.startswith(" ")]
    assert "train.lr" in keys
    assert all(key.startswith("train.") for key in keys)
    assert main(["settings", "half-body"]) == 0
    assert "augment.half_body_joints = 8   (pose-stub)\n" in capsys.readouterr().out
    # The two methods have different keys of one name.
    assert main(["settings", "augment.scale", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [(row["default"], row["methods"]) for row in rows] == [
        ("[0.75, 1.5]", ["pose-other"]),
        ("0.35", ["pose-stub"]),
    ]
    assert method_main("stub", ["settings", "augment.scale"]) == 0
    text = capsys.readouterr().out
    assert "0.35" in text
    assert "pose-other" not in text
    assert main(["settings"]) == 0
    assert capsys.readouterr().out.count("values:") == len(documented_settings())
    assert main(["settings", "train.epoch"]) == 0  # a part of a word is enough
    assert "train.epochs" in capsys.readouterr().out
    assert main(["settings", "trian.epochs"]) == 2
    assert "did you mean train.epochs?" in capsys.readouterr().err


@pytest.mark.usefixtures("_two")
def test_a_setting_is_found_by_its_last_part() -> None:
    assert nearest_setting("epochs") == "train.epochs"
    assert nearest_setting("batch_sise", "stub") == "train.batch_size"
    assert nearest_setting("zzzzzz") is None


@pytest.mark.usefixtures("_two")
@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["train", "--cfg", "one", "--epochs", "2"], "settings are given as key=value: did you mean train.epochs=2?"),
        (["train", "--cfg", "one", "--batch-size=4"], "did you mean train.batch_size=4?"),
        (["train", "--cfg", "one", "--overwite"], "unknown option --overwite; did you mean --overwrite?"),
        (["train", "--cfg", "one", "--zzzz"], "`pose settings` lists them"),
        (["data", "synth"], "pose data synth needs --out; for example:\n  pose data synth --out "),
        (["data", "synth", "--out", "x", "--layout", "coc"], "invalid choice: 'coc'"),
        (["models", "a", "b"], "pose models does not take 'b'"),
        (["models", "a", ""], "pose models does not take ''"),
        (["models", "", "", ""], "pose models does not take ''"),
        (["models", "a", "b\nc"], "pose models does not take 'b'"),
    ],
)
def test_wrong_command_lines_are_answered_briefly(
    words: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    error = capsys.readouterr().err
    assert says in error
    assert "usage:" not in error
    assert len(error.splitlines()) <= 3
