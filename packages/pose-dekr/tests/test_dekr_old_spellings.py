"""Keys that were renamed are still read under their old spelling: in config files, overrides and checkpoints."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from pose_core.cli import method_main
from pose_core.config import dump_config
from pose_core.errors import ConfigError
from pose_core.plugins.experiments import load_config
from pose_core.synthetic import write_dataset

OLD: list[tuple[str, str, Any]] = [("centre_threshold", "center_threshold", 0.25), ("faithful", "compat", True)]
"""Old and new name in block ``test``, and a value other than the default."""


def with_old_keys(text: str, *, keep_new: bool = False) -> str:
    """Return a config of YAML ``text`` with the old keys in place of the new ones, or in addition to them."""
    content: dict[str, Any] = yaml.safe_load(text)
    for old, new, value in OLD:
        content["test"][old] = value
        if not keep_new:
            del content["test"][new]
    return yaml.safe_dump(content)


def test_old_spellings_are_read_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = load_config("pose-dekr/synthetic_dekr")
    file = tmp_path / "old.yaml"
    file.write_text(with_old_keys(dump_config(config)))
    from_file = load_config(file)
    assert {new: getattr(from_file.test, new) for _, new, _ in OLD} == {new: value for _, new, value in OLD}
    assert len(caplog.messages) == len(OLD)
    for (old, new, _), warning in zip(OLD, caplog.messages, strict=True):
        assert str(file) in warning
        assert f"test.{old} " in warning
        assert f"test.{new} " in warning

    caplog.clear()
    file.write_text(dump_config(config))
    assert load_config(file, [f"test.{old}={json.dumps(value)}" for old, _, value in OLD]) == from_file
    assert len(caplog.messages) == len(OLD)
    for (old, new, value), warning in zip(OLD, caplog.messages, strict=True):
        assert f"test.{old}={json.dumps(value)}" in warning
        assert f"test.{new}={json.dumps(value)}" in warning


def test_a_file_with_both_spellings_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "both.yaml"
    file.write_text(with_old_keys(dump_config(load_config("pose-dekr/synthetic_dekr")), keep_new=True))
    with pytest.raises(
        ConfigError, match=r"test\.(centre_threshold|faithful) .*test\.(center_threshold|compat) .*both"
    ):
        load_config(file)


def test_a_run_with_the_old_spelling_resumes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = tmp_path / "crowdpose"
    write_dataset(root, layout="crowdpose", images=2, val_images=1, people=(2, 2), size=(64, 64), seed=1)
    options = {"width": 16, "blocks": 1, "modules": [1, 1, 1]}
    run = ["train", "--cfg", "synthetic_dekr", f"data.root={root}", f"run.dir={tmp_path}", "run.name=old",
           "run.device=cpu", "model.input_size=[64, 64]", f"model.options={json.dumps(options)}", "train.batch_size=2",
           "train.schedule=constant", "train.workers=0", "test.workers=0"]  # fmt: skip
    assert method_main("dekr", [*run, "train.iterations=1"]) == 0
    file = tmp_path / "old/last.pt"
    content = torch.load(file, weights_only=True)
    content["config"] = with_old_keys(content["config"])
    torch.save(content, file)
    caplog.clear()
    assert method_main("dekr", [*run, "train.iterations=2", "--resume"]) == 0
    assert torch.load(file, weights_only=True)["step"] == 2
    for old, new, _ in OLD:
        assert any(f"test.{old} " in text and f"test.{new} " in text for text in caplog.messages)
