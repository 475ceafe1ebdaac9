"""Settings in the published spelling: pairs of words after a published file."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from pose_core.cli.arguments import split_overrides
from pose_core.cli.published_words import join_pairs, take_published
from pose_core.errors import ConfigError
from pose_core.plugins.published import override_published


@pytest.mark.parametrize(
    ("words", "joined"),
    [
        (["TEST.FLIP_TEST", "False"], ["TEST.FLIP_TEST=False"]),
        (["GPUS", "(0,)", "train.epochs=1", "TEST.BIAS", "-1.0"], ["GPUS=(0,)", "train.epochs=1", "TEST.BIAS=-1.0"]),
        (["MODEL.NAME=x", "TEST.MODEL_FILE", ""], ["MODEL.NAME=x", "TEST.MODEL_FILE="]),
        (["TETS.FLIP", "True"], ["TETS.FLIP=True"]),
        (["train.epochs=1"], ["train.epochs=1"]),
    ],
)
def test_pairs_become_settings(words: list[str], joined: list[str]) -> None:
    assert join_pairs(words) == joined


@pytest.mark.parametrize("words", [["TEST.FLIP_TEST"], ["TEST.MODEL_FILE", "TEST.FLIP_TEST", "False"], ["a=1", "GPUS"]])
def test_a_key_without_a_value_is_named(words: list[str]) -> None:
    key = next(word for word in words if "=" not in word)
    with pytest.raises(ConfigError, match=f"{key} has no value; published settings are pairs of words"):
        join_pairs(words)


def test_inputs_in_capitals_are_no_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("TEST.JPG").touch()
    words = ["IMG_0001.JPG", "TEST.JPG", "TEST.MODEL_FILE", "best.pth", "PHOTO", "GPUS", "0"]
    assert split_overrides(words) == (["TEST.MODEL_FILE=best.pth", "GPUS=0"], ["IMG_0001.JPG", "TEST.JPG", "PHOTO"])


@pytest.mark.parametrize(
    ("text", "value"),
    [("False", False), ("false", False), ("0.5,1,2", [0.5, 1, 2]), ("(0,)", [0]), ("1e-3", 0.001), ("None", None),
     ("val2017", "val2017"), ("'it'", "it"), ("", None), ("runs/x-1/best.pth", "runs/x-1/best.pth")],
)  # fmt: skip
def test_values_are_read_as_the_published_code_reads_them(text: str, value: object) -> None:
    content, others = override_published({"TEST": {"A": 1}}, [f"TEST.B={text}", "test.flip=true"])
    assert content == {"TEST": {"A": 1, "B": value}}
    assert others == ["test.flip=true"]


PUBLISHED = "MODEL: {NAME: lpn}\nTEST: {MODEL_FILE: old.pth}\n"


def taken(file: Path, *overrides: str, **more: object) -> object:
    args = argparse.Namespace(**({"cfg": str(file), "weights": None, "overrides": list(overrides)} | more))
    take_published(args)
    return args.weights


def test_the_model_file_becomes_the_weights(tmp_path: Path) -> None:
    file = tmp_path / "published.yaml"
    file.write_text(PUBLISHED)
    assert taken(file) == "old.pth"
    assert taken(file, "TEST.MODEL_FILE=new.pth") == "new.pth"
    assert taken(file, "TEST.MODEL_FILE=") is None
    assert taken(file, random_weights=True) is None
    assert taken(file, weights="mine.pt") == "mine.pt"
    assert taken(file, "TEST.MODEL_FILE=mine.pt", weights="mine.pt") == "mine.pt"
    with pytest.raises(ConfigError, match=r"--weights mine.pt and TEST\.MODEL_FILE new.pth name two files"):
        taken(file, "TEST.MODEL_FILE=new.pth", weights="mine.pt")


def test_other_files_take_no_published_keys(tmp_path: Path) -> None:
    file = tmp_path / "ours.yaml"
    file.write_text("method: lite\nmodel: {name: lpn_50}\n")
    assert taken(file) is None
    with pytest.raises(ConfigError, match=r"TEST\.MODEL_FILE is a key of .*ours.yaml is not one: .*--weights FILE"):
        taken(file, "TEST.MODEL_FILE=x.pth")
    with pytest.raises(ConfigError, match=r"TEST\.FLIP_TEST is a key of .*for example test\.flip=false"):
        take_published(argparse.Namespace(cfg=None, overrides=["TEST.FLIP_TEST=False"]))
