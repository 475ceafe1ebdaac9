"""Commands after a published file take settings in its own spelling."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from pose_core.cli import main, method_main

FILE = {
    "GPUS": "(0,1,2,3)",
    "DATASET": {"DATASET": "coco", "ROOT": "data/coco", "TRAIN_SET": "train2017", "TEST_SET": "val2017"},
    "MODEL": {"NAME": "lpn", "NUM_JOINTS": 17, "IMAGE_SIZE": [192, 256], "HEATMAP_SIZE": [48, 64],
              "EXTRA": {"ATTENTION": "GC", "NUM_LAYERS": 50}},
    "TRAIN": {"LR": 0.001},
    "TEST": {"FLIP_TEST": True, "USE_GT_BBOX": True, "MODEL_FILE": ""},
}  # fmt: skip


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "published.yaml"
    path.write_text(yaml.safe_dump(FILE, sort_keys=False))
    return str(path)


@pytest.mark.parametrize("command", [["show-config", "--cfg"], ["convert-config"]])
def test_pairs_of_words_replace_the_files_values(
    command: list[str], file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["TEST.FLIP_TEST", "False", "train.epochs=3", "GPUS", "(0,)", "MODEL.EXTRA.NUM_LAYERS", "100"]
    assert main([*command, file, *words]) == 0
    content = yaml.safe_load(capsys.readouterr().out)
    assert (content["test"]["flip"], content["train"]["epochs"]) == (False, 3)
    assert (content["train"]["batch_size"], content["model"]["name"]) == (32, "lpn_100")


@pytest.mark.parametrize("verb", ["eval", "export", "predict"])
def test_the_model_file_is_loaded(
    verb: str, file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    more = {"export": ["--out", "x.onnx"], "predict": ["photo.jpg", "--detector", "whole"]}.get(verb, [])
    (tmp_path / "photo.jpg").touch()
    assert method_main("lite", [verb, "--cfg", file, "TEST.MODEL_FILE", "gone.pth", *more]) == 1
    assert "error: weights file gone.pth does not exist" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["TEST.FLIP_TES", "False"], "published.yaml: unknown key TEST.FLIP_TES; did you mean TEST.FLIP_TEST?"),
        (["FP16.ENABLED", "True"], "published.yaml: unknown key FP16.ENABLED\n"),
        (["TEST.FLIP_TEST"], "TEST.FLIP_TEST has no value"),
        (["TEST.FLIP_TEST", "False", "True"], "override 'True' must have the form key=value"),
        (["TEST.FLIP_TEST", "perhaps"], "TEST.FLIP_TEST is 'perhaps'; expected true or false"),
    ],
)
def test_wrong_words_are_named_by_every_command(
    words: list[str], message: str, file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in (["show-config", "--cfg"], ["convert-config"], ["train", "--cfg"]):
        assert main([*command, file, *words]) == 2
        assert message in capsys.readouterr().err


def test_several_unknown_keys_give_the_same_message_everywhere(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content: dict[str, Any] = {"FP16": {"STATIC_LOSS_SCALE": 1, "ENABLED": True}, **FILE, "A": 1}
    path = tmp_path / "published.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    errors = []
    for command in (["show-config", "--cfg"], ["convert-config"]):
        assert main([*command, str(path)]) == 2
        errors.append(capsys.readouterr().err)
    assert errors[0] == errors[1] == "error: published.yaml: unknown key FP16.STATIC_LOSS_SCALE\n"


@pytest.mark.parametrize("verb", ["train", "eval", "show-config", "export"])
def test_an_experiment_of_ours_says_how_settings_are_written(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = [verb, "--cfg", "coco_lpn50_256x192", *(["--out", "x.onnx"] if verb == "export" else [])]
    assert method_main("lite", [*words, "TEST.FLIP_TEST", "False"]) == 2
    error = capsys.readouterr().err
    assert "TEST.FLIP_TEST is a key of the published (upper-case) YAML files" in error
    assert "settings are written key=value, for example test.flip=false" in error
    assert method_main("lite", [*words, "TEST.MODEL_FILE", "x.pth"]) == 2
    assert "give the weights by --weights FILE" in capsys.readouterr().err
