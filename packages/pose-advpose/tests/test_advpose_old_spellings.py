"""Keys that were renamed are still read under their old spelling: in config files, overrides and checkpoints."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from pose_core.cli import method_main
from pose_core.config import dump_config
from pose_core.errors import ConfigError
from pose_core.plugins.experiments import load_config
from pose_core.topdown.config import TopDownConfig

Tiny = Callable[..., TopDownConfig]
OLD: list[tuple[str, tuple[str, str], str, tuple[str, Any]]] = [
    ("hgpose", ("heatmap.window", "reference"), "heatmap.compat=true", ("heatmap.compat", True)),
    ("hgpose", ("heatmap.window", "symmetric"), "heatmap.compat=false", ("heatmap.compat", False)),
    ("hgpose", ("heatmap.target", "quantised"), "heatmap.target=quantized", ("heatmap.target", "quantized")),
    ("advpose-ae", ("heatmap.target", "quantised"), "heatmap.target=quantized", ("heatmap.target", "quantized")),
    ("advpose-ae", ("test.ties", "published"), "test.compat=true", ("test.compat", True)),
    ("advpose-ae", ("test.ties", "capped"), "test.compat=false", ("test.compat", False)),
]
"""Task, the old key and value, the new spelling as an override, the new key and value."""


def respelled(text: str, new: str, *old: tuple[str, Any]) -> dict[str, Any]:
    """Return a config of YAML ``text`` without the key ``new``, but with the ``old`` keys and values."""
    content: dict[str, Any] = yaml.safe_load(text)
    block, _, key = new.partition(".")
    del content[block][key]
    for name, value in old:
        block, _, key = name.partition(".")
        content[block][key] = value
    return content


def at(config: TopDownConfig, key: str) -> Any:
    block, _, name = key.partition(".")
    return getattr(getattr(config, block), name)


@pytest.mark.parametrize(("task", "old", "spelled", "new"), OLD)
def test_old_spellings_are_read_with_a_warning(
    task: str, old: tuple[str, str], spelled: str, new: tuple[str, Any], tiny: Tiny, tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    # Published labels are quantized: the synthetic experiments are subpixel, without compat.
    config = tiny(task, *(["heatmap.target=quantized"] if task == "hgpose" else []))
    file = tmp_path / "old.yaml"
    file.write_text(yaml.safe_dump(respelled(dump_config(config), new[0], old)))
    from_file = load_config(file)
    assert at(from_file, new[0]) == new[1]
    (warning,) = caplog.messages
    assert str(file) in warning
    assert f"{old[0]}={old[1]}" in warning
    assert spelled in warning

    caplog.clear()
    file.write_text(dump_config(config))
    from_override = load_config(file, [f"{old[0]}={old[1]}"])
    assert from_override == from_file
    (warning,) = caplog.messages
    assert f"{old[0]}={old[1]}" in warning
    assert spelled in warning


@pytest.mark.parametrize(("task", "old", "new"), [("hgpose", "window", "compat"), ("advpose-ae", "ties", "compat")])
def test_a_file_with_both_spellings_is_refused(task: str, old: str, new: str, tiny: Tiny, tmp_path: Path) -> None:
    block, value = ("heatmap", "symmetric") if task == "hgpose" else ("test", "capped")
    content = yaml.safe_load(dump_config(tiny(task)))
    content[block][old] = value
    file = tmp_path / "both.yaml"
    file.write_text(yaml.safe_dump(content))
    with pytest.raises(ConfigError, match=rf"{block}\.{old} .*{block}\.{new} .*both"):
        load_config(file)


@pytest.mark.parametrize(
    ("task", "new", "old"),
    [
        ("advpose", "heatmap.compat", ("heatmap.window", "reference")),
        ("hgpose-ae", "heatmap.target", ("heatmap.target", "quantised")),
    ],
)
def test_a_run_with_the_old_spelling_resumes(
    task: str, new: str, old: tuple[str, str], words: Callable[..., list[str]], tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    settings = ["heatmap.target=quantized", "train.schedule=constant", "train.validate_every=0", "run.name=old"]
    settings += ["heatmap.compat=true"] if task == "advpose" else []
    assert method_main("advpose", words("train", task, tmp_path, *settings, "train.iterations=1")) == 0
    file = tmp_path / "old/last.pt"
    content = torch.load(file, weights_only=True)
    content["config"] = yaml.safe_dump(respelled(content["config"], new, old))
    torch.save(content, file)
    caplog.clear()
    again = words("train", task, tmp_path, *settings, "train.iterations=2", "--resume")
    # Another value than the stored one is still found: the old spelling is read, not ignored.
    changed = "heatmap.compat=false" if task == "advpose" else "heatmap.target=subpixel"
    assert method_main("advpose", [*again, changed]) == 2
    assert method_main("advpose", again) == 0
    assert torch.load(file, weights_only=True)["step"] == 2
    assert any(f"{old[0]}={old[1]}" in text and f"{new}=" in text for text in caplog.messages)
