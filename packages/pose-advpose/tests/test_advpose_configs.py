"""The built-in experiments: valid, with the published options, and alike with and without the critic."""

from __future__ import annotations

import re
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from pose_advpose.config import SCHEMAS, AdversarialConfig
from pose_advpose.splits import held_out_ids
from pose_advpose.task import make_task
from pose_core.cli import method_main
from pose_core.engine.distributed import ProcessContext
from pose_core.engine.optim import build_optimizer
from pose_core.engine.run import Run
from pose_core.errors import ConfigError
from pose_core.plugins.experiments import load_config
from pose_core.plugins.method import get_method
from pose_core.plugins.networks import build_network, check_input_size, list_models
from pose_core.topdown.config import TopDownConfig
from pose_testing.batches import columns, equal_batches
from pose_testing.experiments import check_show_config, differences, page_faults, read_record

CONFIGS = get_method("advpose").experiments()
RECORD = read_record(Path(__file__).parent)
CPU = torch.device("cpu")
ZOO_NETWORKS = [*list_models("ae_*"), *list_models("higherhrnet_*")]
OF_THE_ZOO = {name for name in CONFIGS if name.startswith(("coco_ae_", "coco_higherhrnet_", "coco_hg_ae_posenet"))}


def named(name: str, *settings: str) -> TopDownConfig:
    return load_config(f"pose-advpose/{name}", list(settings))


def on_meta(config: TopDownConfig) -> dict[str, nn.Module]:
    with torch.device("meta"):
        return make_task(config, build_network).networks()


def size(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


# The published options, and the published sizes of pose network and critic.
SINGLE = {
    "model.input_size": (256, 256), "heatmap_size": (64, 64), "heatmap.sigma": 1, "heatmap.compat": True,
    "heatmap.target": "quantized", "augment.scale": 0.25, "augment.rotation": 30, "augment.flip": 0.5,
    "augment.color": 0.4, "augment.half_body": 0, "augment.mirror": "edge", "train.optimizer": "rmsprop",
    "train.lr": 2.5e-4, "train.epochs": 100,
}  # fmt: skip
HGPOSE = SINGLE | {
    "task": "hgpose", "augment.scale_law": "power", "augment.rotation_probability": 0.4, "augment.rotation_limit": None,
    "data.layout": "mpii", "data.val": "valid", "train.batch_size": 6, "test.batch_size": 6,
}  # fmt: skip
ADVPOSE = SINGLE | {
    "task": "advpose", "augment.scale_law": "linear", "augment.rotation_probability": 0.6,
    "augment.rotation_limit": 30, "train.batch_size": 4, "model.options": {"modules": 2},
}  # fmt: skip
EMBEDDING = {
    "data.layout": "coco", "data.train": "train2014", "data.val": "train2014", "split.valid_ids": "published",
    "model.input_size": (512, 512), "output_side": 128, "sigma": 2, "heatmap.push": 1e-3, "heatmap.pull": 1e-3,
    "heatmap.max_people": 30, "augment.scale": (0.75, 1.25), "augment.rotation": 30, "augment.shift": 40,
    "augment.flip": 0.5, "augment.fit": "long", "augment.ignore": "crowds", "augment.mirror": "edge",
    "augment.hue": 0.2, "augment.saturation": 0.5, "augment.brightness": 0.3, "augment.contrast": 0.5,
    "train.optimizer": "adam", "train.lr": 2e-4, "train.epochs": 150, "train.batch_size": 6,
    "test.detection_threshold": 0.1, "test.tag_threshold": 1, "test.max_people": 30, "test.scales": (1,),
    "test.refine": True, "test.compat": True,
}  # fmt: skip
PUBLISHED: dict[str, tuple[dict[str, Any], int, int | None]] = {
    "mpii_hgpose_stack8_256x256": (HGPOSE, 25_434_112, None),
    "mpii_hgpose_stack2_256x256": (HGPOSE, 6_570_400, None),
    "lsp_mpii_advpose_stack4_256x256": (ADVPOSE | {"data.layout": "lsp_mpii"}, 24_871_872, 24_873_408),
    "mpii_advpose_stack4_256x256": (ADVPOSE | {"data.layout": "mpii"}, 24_871_872, 24_873_408),
    "coco_hgpose_ae_stack4_512x512": (EMBEDDING | {"task": "hgpose-ae"}, 138_893_840, None),
    "coco_advpose_ae_stack4_512x512": (EMBEDDING | {"task": "advpose-ae", "train.workers": 6}, 138_893_840, 3_335_044),
}
EVERYWHERE = {
    "data.color": "rgb", "data.pixels": "unit", "model.init": "framework", "train.schedule": "constant",
    "train.weight_decay": 0, "train.warmup": 0, "train.clip_norm": None, "train.ema": 0, "train.accumulate": 1,
    "train.precision": "fp32",
}  # fmt: skip
BALANCE = AdversarialConfig(use=True, weight=1e-4, gamma=0.5, start=0.0, rate=1e-3, lr=8e-5)


def at(config: TopDownConfig, key: str) -> Any:
    found: Any = config
    for part in key.split("."):
        found = getattr(found, part)
    return found


@pytest.mark.parametrize("name", RECORD)
def test_an_experiment_resolves_as_recorded(name: str) -> None:
    assert differences(load_config(f"pose-advpose/{name}"), RECORD[name]) == {}


@pytest.mark.parametrize("name", CONFIGS)
def test_show_config_prints_a_complete_file(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    check_show_config("advpose", name, tmp_path, capsys)


def test_pages_follow_the_common_form() -> None:
    assert page_faults("advpose") == []


@pytest.mark.parametrize("name", PUBLISHED)
def test_an_experiment_is_the_published_one(name: str) -> None:
    options, pose, critic = PUBLISHED[name]
    config = named(name)
    differing = {key: at(config, key) for key, value in (EVERYWHERE | options).items() if at(config, key) != value}
    assert not differing
    networks = on_meta(config)
    assert {key: size(network) for key, network in networks.items()} == (
        {"pose": pose} if critic is None else {"pose": pose, "critic": critic}
    )
    if critic is not None:
        assert at(config, "adversarial") == BALANCE
    if config.task.endswith("-ae"):  # type: ignore[attr-defined]  # every schema of this method has it
        assert len(held_out_ids(at(config, "split")) or ()) == 500


@pytest.mark.parametrize("name", [name for name in PUBLISHED if "adv" in name])
def test_each_player_has_the_published_optimizer(name: str) -> None:
    task = make_task(named(name), build_network)
    layer = nn.Linear(1, 1)
    pose = build_optimizer(layer, task.train_settings("pose"), CPU)
    critic = build_optimizer(layer, task.train_settings("critic"), CPU)
    expected = {"lr": 2e-4, "betas": (0.9, 0.999)} if name.startswith("coco") else {"lr": 2.5e-4, "alpha": 0.99}
    assert isinstance(pose, torch.optim.Adam if name.startswith("coco") else torch.optim.RMSprop)
    assert isinstance(critic, torch.optim.Adam)
    assert pose.defaults.items() >= (expected | {"eps": 1e-8, "weight_decay": 0}).items()
    assert critic.defaults.items() >= {"lr": 8e-5, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0}.items()


@pytest.mark.parametrize("name", CONFIGS)
def test_every_experiment_builds_networks_that_exist(name: str) -> None:
    config = named(name)
    assert isinstance(config, SCHEMAS[at(config, "task")])
    assert config.note
    assert config.model.name in list_models("hg_*") + ZOO_NETWORKS
    networks = on_meta(config)
    assert list(networks) == ["pose", "critic"][: 1 + at(config, "task").startswith("adv")]
    check_input_size(networks["pose"], config.model.name, config.model.input_size)
    width, height = config.model.input_size
    with torch.device("meta"):
        stacks = networks["pose"](torch.zeros(1, 3, height, width))
        if config.model.name in ZOO_NETWORKS:
            joints = make_task(config, build_network).skeleton.num_joints
            sizes = [(2 * joints, height // 4, width // 4), (joints, height // 2, width // 2)]
            assert [tuple(maps.shape[1:]) for maps in stacks] == sizes[: len(stacks)]
            return
        assert len(stacks) == int(re.findall(r"\d+", config.model.name)[-1])
        joints = make_task(config, build_network).skeleton.num_joints
        maps = torch.zeros(1, joints, height // 4, width // 4)
        if at(config, "task").endswith("-ae"):
            assert stacks[-1].shape[1] >= 2 * joints
            assert stacks[-1].shape[2:] == maps.shape[2:]
        else:
            assert stacks[-1].shape == maps.shape
        if "critic" in networks:
            assert networks["critic"](torch.cat([maps[:, :3], maps], 1)).shape == maps.shape


def test_each_published_task_has_an_experiment_on_synthetic_people() -> None:
    assert {at(named(name), "task") for name in PUBLISHED} == set(SCHEMAS)
    assert set(CONFIGS) - set(PUBLISHED) - OF_THE_ZOO == {f"synthetic_{task.replace('-', '_')}" for task in SCHEMAS}


@pytest.mark.parametrize("task", ["advpose", "advpose-ae"])
def test_without_the_critic_the_same_network_sees_the_same_data(task: str, tiny: Any, tmp_path: Path) -> None:
    place = ProcessContext(0, 1, CPU)
    against, alone = (
        Run(make_task(tiny(task, *more), build_network), place, tmp_path) for more in ([], ["adversarial.use=false"])
    )
    assert (set(against.networks), set(alone.networks)) == ({"pose", "critic"}, {"pose"})
    state = alone.networks["pose"].state_dict()
    for key, value in against.networks["pose"].state_dict().items():
        assert torch.equal(value, state[key]), key
    drawn = 0
    for (one,), (other,) in islice(zip(against.batches(), alone.batches(), strict=True), 2 * against.steps_per_epoch):
        assert equal_batches(one, other)
        drawn += len(columns(one)[0])
    assert drawn == 2 * against.feed.length > 0
    assert against.total_steps == alone.total_steps


@pytest.mark.parametrize("task", ["advpose", "advpose-ae"])
def test_the_switch_trains_without_the_critic(task: str, narrow: Any, tmp_path: Path) -> None:
    cfg = ["--cfg", f"synthetic_{task.replace('-', '_')}", *narrow(task)]
    words = [*cfg, f"run.dir={tmp_path}", "train.iterations=1", "run.name=alone", "--no-adversarial"]
    assert method_main("advpose", ["train", *words]) == 0
    content = torch.load(tmp_path / "alone" / "last.pt", weights_only=True)
    assert list(content["networks"]) == ["pose"]
    assert list(content["updater"]["optimizers"]) == ["pose"]
    assert content["objective"] == {}


def test_contradictory_settings_are_refused(tiny: Any) -> None:
    for task in ("advpose", "advpose-ae"):
        with pytest.raises(ConfigError, match=r"gradients would mix .* needs train\.accumulate=1"):
            tiny(task, "train.accumulate=3")
        assert tiny(task, "train.accumulate=3", "adversarial.use=false").train.accumulate == 3
    with pytest.raises(ConfigError, match=r"heatmap\.target=subpixel needs heatmap\.compat=false"):
        tiny("hgpose", "heatmap.compat=true")
    with pytest.raises(ConfigError, match=r"unknown key 'adversarial\.lamda'"):
        tiny("advpose", "adversarial.lamda=1")
    with pytest.raises(ConfigError, match=r"'task' is 'posenet'; this method's tasks are hgpose, "):
        tiny("hgpose", "task=posenet")
