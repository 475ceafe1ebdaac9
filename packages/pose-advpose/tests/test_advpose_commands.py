"""The method's own commands: heatmaps side by side, and the training curves of several runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from pose_advpose.browse_heatmaps import heatmap_tiles
from pose_core.cli import method_main
from pose_core.errors import ConfigError, WeightsError
from pose_core.models.weights import companion_state, load_weights
from pose_core.plugins.networks import build_network

Words = Callable[..., list[str]]


@pytest.mark.parametrize("task", ["hgpose", "advpose", "advpose-ae"])
def test_heatmaps_of_a_run_side_by_side(task: str, words: Words, tiny: Callable, tmp_path: Path) -> None:
    assert method_main("advpose", words("train", task, tmp_path, "train.epochs=1", "train.validate_every=0")) == 0
    run = tmp_path / f"synthetic_{task.replace('-', '_')}"
    command = words("browse-heatmaps", task, tmp_path, "--count", "2", "--weights", str(run / "last.pt"))
    assert method_main("advpose", [*command, "--out", str(tmp_path / "maps.png")]) == 0
    columns = 3 if task == "hgpose" else 5
    assert cv2.imread(str(tmp_path / "maps.png")).shape[1] == columns * 206 + 6

    config = tiny(task)
    tiles, captions = heatmap_tiles(config, run / "last.pt", 2, config.data.val)
    assert (len(tiles), len(captions)) == (2 * columns, 2 * columns)
    image, target = (tiles[index].astype(int) for index in (0, 1))
    changed = np.abs(image - target).max(-1) > 30
    assert 0 < changed.mean() < 0.9  # the joints are few
    assert captions[1].startswith("target, highest 1.00") or float(captions[1].split()[-1]) > 0.8
    if columns == 5:
        errors = [float(text.split()[-1]) for text in captions if text.startswith("critic of")]
        assert len(errors) == 4
        assert all(error > 0 for error in errors)
    with pytest.raises(ConfigError, match=r"--count 50: split .* has \d samples"):
        heatmap_tiles(config, run / "last.pt", 50, config.data.val)


def test_a_file_without_a_critic_is_refused(words: Words, tiny: Callable, tmp_path: Path) -> None:
    assert method_main("advpose", words("train", "hgpose", tmp_path, "train.epochs=1", "train.validate_every=0")) == 0
    config = tiny("advpose")
    file = tmp_path / "synthetic_hgpose/last.pt"
    with pytest.raises(WeightsError, match=r"last\.pt holds no critic; give the last\.pt of a run that has one"):
        heatmap_tiles(config, file, 1, config.data.val)


def test_a_published_checkpoint_has_both_networks(tiny: Callable, tmp_path: Path) -> None:
    from pose_advpose.task import make_task

    networks = make_task(tiny("advpose"), build_network).networks()
    content = {
        key: {f"module.{name}": value for name, value in networks[network_name].state_dict().items()}
        for key, network_name in (("netHg", "pose"), ("netD", "critic"))
    }
    torch.save({**content, "kt": 0.1}, tmp_path / "checkpoint.pth")
    fresh = make_task(tiny("advpose"), build_network).networks()
    assert load_weights(fresh["pose"], tmp_path / "checkpoint.pth").complete
    assert load_weights(fresh["critic"], companion_state(tmp_path / "checkpoint.pth", "critic", "netD")).complete
    for network_name, network in fresh.items():
        expected = networks[network_name].state_dict()
        assert all(torch.equal(value, expected[key]) for key, value in network.state_dict().items())


def test_plain_and_adversarial_runs_in_one_plot(
    words: Words, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for task in ("hgpose", "advpose"):
        assert method_main("advpose", words("train", task, tmp_path, "train.epochs=2", "train.validate_every=0")) == 0
    capsys.readouterr()
    runs = [str(tmp_path / f"synthetic_{task}") for task in ("hgpose", "advpose")]
    assert method_main("advpose", ["plot", *runs, "--out", str(tmp_path / "plot.png")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines[:-1]] == ["acc", "loss", "kt", "loss_d_real", "loss_d_fake"]
    assert "synthetic_hgpose" in lines[0]
    assert "synthetic_advpose" in lines[0]
    assert "synthetic_hgpose" not in lines[2]  # it has no critic
    assert cv2.imread(str(tmp_path / "plot.png")) is not None
    assert method_main("advpose", ["plot", *runs, "--keys", "nothing"]) == 2
    assert "no run has nothing; they have loss, acc, lr" in capsys.readouterr().err
