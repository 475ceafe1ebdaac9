"""The vote: the published rule, equality with a plain evaluation, and a cache that never lies; pictures of pasting."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import torch

from pose_asda.config import AsdaConfig
from pose_asda.task import AsdaTask
from pose_asda.visualise import generator_state, paste_pictures
from pose_asda.vote import evaluate_by_vote, vote
from pose_core.errors import ConfigError, WeightsError
from pose_core.tasks.evaluate_topdown import evaluate_topdown
from pose_testing.golden import load_golden, uniform

CPU = torch.device("cpu")


def test_published_rule() -> None:
    stack = uniform("vote", 4 * 3 * 5 * 2).reshape(4, 3, 5, 2)
    stack = np.concatenate([stack[:, :2] * 10 + 50, np.abs(stack[:, 2:])], 1)
    found = vote(stack.transpose(0, 3, 2, 1)).transpose(2, 1, 0)
    assert found == pytest.approx(np.array(load_golden("asda/functions")["voting"]["result"]), abs=1e-12)


def test_one_scale_and_one_stage_are_a_plain_evaluation(config: AsdaConfig, tmp_path: Path) -> None:
    network = AsdaTask(config).networks()["pose"].eval()
    plain = evaluate_topdown(network, config, CPU, tmp_path / "plain")
    voted = evaluate_by_vote(network, config, CPU, tmp_path / "voted", [1.0], 1)
    assert dict(voted.metrics) == dict(plain.metrics)
    files = [tmp_path / name / "results/pred.mat" for name in ("plain", "voted")]
    from scipy.io import loadmat

    assert np.array_equal(*(loadmat(file)["preds"] for file in files))
    more = evaluate_by_vote(network, config, CPU, tmp_path / "more", [1.0, 1.2], 2)
    assert "scales=1,1.2" in more.report
    assert "stages=2 voted" in more.report
    assert not np.array_equal(loadmat(files[0])["preds"], loadmat(tmp_path / "more/results/pred.mat")["preds"])
    with pytest.raises(ConfigError, match=r"has 2 stage\(s\), 3 were asked for"):
        evaluate_by_vote(network, config, CPU, tmp_path / "many", [1.0], 3)


def test_a_stale_cache_is_refused(
    config: AsdaConfig, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "votes.npz"
    network = AsdaTask(config).networks()["pose"].eval()
    first = evaluate_by_vote(network, config, CPU, tmp_path, [1.0], 1, cache=cache)
    with monkeypatch.context() as patch:
        patch.setattr("pose_asda.vote._predict", lambda *_: pytest.fail("predicted in spite of the cache"))
        again = evaluate_by_vote(network, config, CPU, tmp_path, [1.0], 1, cache=cache)
    assert dict(again.metrics) == dict(first.metrics)

    def is_stale(settings: AsdaConfig, scales: list[float], stages: int = 1) -> bool:
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            evaluate_by_vote(network, settings, CPU, tmp_path, scales, stages, cache=cache)
        return "predicting anew" in caplog.text

    assert not is_stale(config, [1.0])
    assert is_stale(config, [1.1])
    assert is_stale(config, [1.1], 2)
    assert is_stale(config.model_copy(update={"test": config.test.model_copy(update={"flip": False})}), [1.1], 2)
    assert is_stale(config, [1.0])
    with torch.no_grad():
        next(network.parameters()).add_(0.1)
    assert is_stale(config, [1.0])
    image = next((Path(config.data.root) / "images").iterdir())
    content = image.read_bytes()
    try:
        for path in (Path(config.data.root) / "images").iterdir():
            path.touch()
        assert is_stale(config, [1.0])
    finally:
        image.write_bytes(content)
    cache.write_bytes(b"no cache")
    assert is_stale(config, [1.0])


def test_pictures_of_pasting(config: AsdaConfig, tmp_path: Path) -> None:
    tiles, captions = paste_pictures(config, [], 2)
    assert captions == ["original", "random", "fresh generator", "target joints"] * 2
    assert all(tile.shape == (64, 64, 3) for tile in tiles)
    assert not np.array_equal(tiles[0], tiles[1])
    assert not np.array_equal(tiles[1], tiles[2])
    file = tmp_path / "stn_41.pth"
    state = AsdaTask(config).networks()["generator"].state_dict()
    torch.save({"epoch": 41, "stn_state_dict": {f"module.{key}": value for key, value in state.items()}}, file)
    assert paste_pictures(config, [file], 1)[1][2] == "adversarial stn_41"
    torch.save({"state_dict": {}}, file)
    with pytest.raises(WeightsError, match="holds no generator"):
        generator_state(file)
