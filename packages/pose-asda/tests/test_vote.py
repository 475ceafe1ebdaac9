"""Voting: the published rule, equality with a plain evaluation, and the cache; images of pasting."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.io import loadmat

from pose_asda.config import AsdaConfig
from pose_asda.task import AsdaTask
from pose_asda.visualize import paste_tiles
from pose_asda.vote import evaluate_by_vote, read_cache, vote, write_cache
from pose_core.cli import method_main
from pose_core.config import dump_config
from pose_core.errors import ConfigError, WeightsError
from pose_core.layouts.reader import read_dataset
from pose_core.plugins.networks import build_network
from pose_core.synthetic import write_dataset
from pose_core.topdown.evaluate import evaluate_topdown
from pose_core.topdown.scoring import CropResults
from pose_testing.golden import load_golden, uniform

CPU = torch.device("cpu")
LAYOUTS = {
    "mpii": ("train", "valid", "mpii16"),
    "coco": ("train2017", "val2017", "coco17"),
    "crowdpose": ("train", "val", "crowdpose14"),
}


def test_published_rule() -> None:
    stack = uniform("vote", 4 * 3 * 5 * 2).reshape(4, 3, 5, 2)
    stack = np.concatenate([stack[:, :2] * 10 + 50, np.abs(stack[:, 2:])], 1)
    voted = vote(stack.transpose(0, 3, 2, 1)).transpose(2, 1, 0)
    assert voted == pytest.approx(np.array(load_golden("asda/functions")["voting"]["result"]), abs=1e-12)


def predictions(folder: Path) -> np.ndarray:
    """Read the predictions that an evaluation wrote, ``(people, joints, 2 or 3)``."""
    (file,) = (path for path in (folder / "results").iterdir() if path.name != "evaluation.json")
    if file.suffix == ".mat":
        return np.asarray(loadmat(file)["preds"])
    entries = json.loads(file.read_text())
    return np.array([entry["keypoints"] for entry in entries]).reshape(len(entries), -1, 3)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_one_scale_and_one_stage_are_a_plain_evaluation(layout: str, config: AsdaConfig, tmp_path: Path) -> None:
    train, val, skeleton = LAYOUTS[layout]
    write_dataset(tmp_path / "people", layout, 1, (2, 2), 0, val_images=3, size=(160, 120), crowds=False)
    data = {"layout": layout, "root": str(tmp_path / "people"), "train": train, "val": val, "skeleton": skeleton}
    # Both skip images that do not decode, and report them.
    data["on_bad_image"] = "skip"
    config = config.model_copy(update={"data": config.data.model_copy(update=data)})
    Path(read_dataset(config.data, val).records[-1].source).write_bytes(b"no image")
    network = AsdaTask(config, build_network).networks()["pose"].eval()
    plain = evaluate_topdown(network, config, CPU, tmp_path / "plain")
    voted = evaluate_by_vote(network, config, CPU, tmp_path / "voted", [1.0], 1)
    assert (tmp_path / "voted" / "results" / "evaluation.json").is_file()
    assert dict(voted.metrics) == dict(plain.metrics)
    assert voted.report.replace(" stages=1 voted", "") == plain.report
    assert "skipped: 2 people" in voted.report
    expected = predictions(tmp_path / "plain")
    assert len(expected) == (6 if layout == "mpii" else 4)
    assert np.array_equal(predictions(tmp_path / "voted"), expected)
    more = evaluate_by_vote(network, config, CPU, tmp_path / "more", [1.0, 1.2], 2)
    assert "scales=1,1.2" in more.report
    assert "stages=2 voted" in more.report
    assert not np.array_equal(predictions(tmp_path / "more"), expected)
    with pytest.raises(ConfigError, match=r"has 2 stage\(s\), 3 were requested"):
        evaluate_by_vote(network, config, CPU, tmp_path / "many", [1.0], 3)


def test_a_stale_cache_is_refused(
    config: AsdaConfig, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "votes.npz"
    network = AsdaTask(config, build_network).networks()["pose"].eval()
    first = evaluate_by_vote(network, config, CPU, tmp_path, [1.0], 1, cache=cache)
    with monkeypatch.context() as patch:
        patch.setattr("pose_asda.vote._predict", lambda *_: pytest.fail("predicted in spite of the cache"))
        again = evaluate_by_vote(network, config, CPU, tmp_path, [1.0], 1, cache=cache)
    assert dict(again.metrics) == dict(first.metrics)

    def is_stale(settings: AsdaConfig, scales: list[float], stages: int = 1) -> bool:
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            evaluate_by_vote(network, settings, CPU, tmp_path, scales, stages, cache=cache)
        return "predicting again" in caplog.text

    assert not is_stale(config, [1.0])
    assert is_stale(config, [1.1])
    assert is_stale(config, [1.1], 2)
    assert is_stale(config.model_copy(update={"test": config.test.model_copy(update={"flip": False})}), [1.1], 2)
    assert is_stale(config, [1.0])
    with torch.no_grad():
        next(network.parameters()).add_(0.1)
    assert is_stale(config, [1.0])
    for path in (Path(config.data.root) / "images").iterdir():
        path.touch()
    assert is_stale(config, [1.0])
    annotations = Path(config.data.root) / "annot/valid.json"
    content = annotations.read_bytes()
    annotations.write_bytes(content + b" ")
    assert is_stale(config, [1.0])
    assert not is_stale(config, [1.0])
    annotations.write_bytes(content)
    cache.write_bytes(b"no cache")
    assert is_stale(config, [1.0])


def test_a_damaged_cache_is_refused(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    columns = CropResults(
        np.ones((3, 16, 3), np.float32), np.ones((3, 2)), np.ones((3, 2)), np.ones(3), np.arange(3), np.arange(3)
    )
    points = np.ones((2, 3, 16, 3), np.float32)
    file = tmp_path / "votes.npz"
    write_cache(file, "abc", columns, points)
    whole = file.read_bytes()
    found = read_cache(file, "abc")
    assert found is not None
    assert np.array_equal(found[1], points)
    rng = np.random.default_rng(0)
    for place in rng.integers(0, len(whole), 300).tolist():
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << int(rng.integers(8))]) + whole[place + 1 :])
        found = read_cache(file, "abc")
        if found is not None:  # a byte without a meaning, such as a date in the archive
            assert all(np.array_equal(one, other) for one, other in zip(found[0], columns, strict=True))
            assert np.array_equal(found[1], points)
    for wrong in (columns._replace(center=np.ones((3, 3))), columns._replace(image_id=np.ones(3))):
        caplog.clear()
        write_cache(file, "abc", wrong, points)
        assert read_cache(file, "abc") is None
        assert "has arrays of other types or shapes: predicting again" in caplog.text


def test_the_command(config: AsdaConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Settings may follow the scales; invalid values are refused."""
    file, weights = tmp_path / "mine.yaml", tmp_path / "weights.pt"
    file.write_text(dump_config(config))
    torch.save(AsdaTask(config, build_network).networks()["pose"].state_dict(), weights)
    words = ["vote", "--cfg", str(file), "--weights", str(weights), "--out", str(tmp_path / "out")]
    for wrong, message in (
        (["--scales", "1", "0"], "--scales 1 0: must be positive numbers"),
        (["--scales", "1", "big"], "--scales 1 big: must be positive numbers"),
        (["--stages", "0"], "--stages 0: at least one stage is needed"),
        (["--scales", "1", "--stages", "3"], "the network has 2 stage(s), 3 were requested"),
    ):
        assert method_main("asda", [*words, *wrong]) == 2
        assert message in capsys.readouterr().err
    assert method_main("asda", [*words, "--scales", "1", "1.2", "test.flip=false"]) == 0
    assert "flip=no decode=argmax+quarter scales=1,1.2" in capsys.readouterr().out


def test_tiles_of_pasting(config: AsdaConfig, tmp_path: Path) -> None:
    tiles, captions = paste_tiles(config, [], 2)
    assert captions == ["original", "random", "fresh generator", "target joints"] * 2
    assert all(tile.shape == (64, 64, 3) for tile in tiles)
    assert not np.array_equal(tiles[0], tiles[1])
    assert not np.array_equal(tiles[1], tiles[2])
    file = tmp_path / "stn_41.pth"
    state = AsdaTask(config, build_network).networks()["generator"].state_dict()
    torch.save({"epoch": 41, "stn_state_dict": {f"module.{key}": value for key, value in state.items()}}, file)
    assert paste_tiles(config, [file], 1)[1][2] == "adversarial stn_41"
    narrow = config.model_copy(update={"generator": config.generator.model_copy(update={"width": 16})})
    with pytest.raises(
        WeightsError, match=r"stn_41.pth: its generator does not have generator.depth=18 and .*width=16"
    ):
        paste_tiles(narrow, [file], 1)
    torch.save({"state_dict": {}}, file)
    with pytest.raises(WeightsError, match="holds no generator"):
        paste_tiles(config, [file], 1)
