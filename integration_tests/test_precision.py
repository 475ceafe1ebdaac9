"""The number format of inference: a setting of its own for every method, named in the protocol."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from pose_core.engine.presets import fast_settings
from pose_core.engine.trainer import train
from pose_core.errors import ConfigError
from pose_core.plugins.experiments import load_config
from pose_core.plugins.predictors import Predictor
from pose_core.plugins.tasks import build_task

CPU = torch.device("cpu")
HOURGLASS = 'model.options={"channels": 16, "depth": 2}'
EMBEDDING = 'model.options={"channels": 16, "depth": 2, "increase": 8, "outputs": 34}'
REGRESSION = 'model.options={"width": 16, "blocks": 1, "modules": [1, 1, 1]}'
EXPERIMENTS = {
    "lite": ("pose-lite/synthetic_quick", "model.name=lpn_18"),
    "mrpose": ("pose-mrpose/synthetic_coco", "model.name=mrfea1_resnet18"),
    "asda": ("pose-asda/synthetic_plain", "heatmap.sigma=1.5"),
    "hgpose": ("pose-advpose/synthetic_hgpose", HOURGLASS),
    "hgpose-ae": ("pose-advpose/synthetic_hgpose_ae", EMBEDDING, "test.detection_threshold=0.001"),
    "dekr": ("pose-dekr/synthetic_dekr", REGRESSION),
    "bottomup": ("pose-dekr/synthetic_bottomup", REGRESSION),
}


def settings(name: str, people: Path, *more: str) -> list[str]:
    data = ["data.layout=coco", "data.skeleton=coco17", "data.train=train2017", "data.val=val2017"]
    return [f"data.root={people}", *data, "model.input_size=[64, 64]", "test.workers=0", *EXPERIMENTS[name][1:], *more]


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_only_its_own_setting_changes_the_precision_of_an_evaluation(name: str, people: Path, tmp_path: Path) -> None:
    experiment = EXPERIMENTS[name][0]
    torch.manual_seed(0)
    networks = build_task(load_config(experiment, settings(name, people))).networks()
    reports, results = {}, {}
    for key in ("test.workers=0", "train.precision=bf16", "test.precision=bf16"):
        task = build_task(load_config(experiment, settings(name, people, key)))
        reports[key] = task.evaluate(networks, CPU, tmp_path / key).report
        results[key] = [json.loads(file.read_text()) for file in sorted((tmp_path / key).rglob("*.json"))]
    plain, training, testing = results.values()
    assert plain
    assert plain == training
    assert plain != testing
    assert ["precision=bf16" in report for report in reports.values()] == [False, False, True]


def test_half_precision_is_refused_on_a_cpu_before_anything_is_trained(people: Path, tmp_path: Path) -> None:
    for name in ("lite", "dekr"):
        words = settings(name, people, "test.precision=fp16", "run.device=cpu", f"run.dir={tmp_path}")
        task = build_task(load_config(EXPERIMENTS[name][0], words))
        with pytest.raises(ConfigError, match=r"test\.precision=fp16 needs a GPU: .* use bf16 or fp32"):
            train(task)
        with pytest.raises(ConfigError, match=r"test\.precision=fp16 needs a GPU"):
            task.evaluate(task.networks(), CPU, tmp_path)
        with pytest.raises(ConfigError, match=r"test\.precision=fp16 needs a GPU"):
            Predictor.from_config(task.config, weights="random", device="cpu")
    assert not list(tmp_path.iterdir())


def test_the_fast_preset_of_a_gpu_sets_it() -> None:
    gpu = torch.device("cuda")
    inference = {key: value for key, (value, _) in fast_settings(gpu, "inference").items()}
    assert inference == {"test.precision": "bf16", "test.compile": "true"}
    training = {key: value for key, (value, _) in fast_settings(gpu, "training").items()}
    assert training["train.precision"] == training["test.precision"] == "bf16"
    assert not fast_settings(CPU, "inference")
