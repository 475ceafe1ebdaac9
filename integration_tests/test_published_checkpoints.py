"""`pose export --published`: for every network, the file that its published code loads."""

from __future__ import annotations

import re
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pose_core.cli import main, method_main
from pose_core.config import dump_config
from pose_core.models.network import PoseNetwork
from pose_core.models.zoo import bare_entries
from pose_core.plugins.experiments import load_config
from pose_core.plugins.method import get_method
from pose_core.plugins.networks import bare_network, create_model, list_models, load_weights
from pose_core.skeleton import get_skeleton
from pose_dekr.rescore import ScoreNet
from pose_testing.golden import FOLDER, load_golden
from pose_testing.networks import published_state

NETWORKS: dict[str, tuple[str, int, dict[str, Any]]] = {
    "advpose/dis_advpose_ae_stack4_feat128": ("advpose_ae_discriminator", 17, {}),
    "advpose/dis_advpose_stack4_modules2_feat256": ("advpose_discriminator", 16, {}),
    "advpose/hg_ae_posenet_stack1_bn": ("hg_ae_posenet_stack1", 17, {"bn": True}),
    "advpose/hg_ae_posenet_stack4": ("hg_ae_posenet_stack4", 17, {}),
    "advpose/hg_ae_stack4": ("hg_ae_stack4", 17, {}),
    "advpose/hg_stack2": ("hg_stack2", 16, {}),
    "advpose/hg_stack4_modules2": ("hg_stack4", 16, {"modules": 2}),
    "asda/hourglass_stack2": ("asda_hourglass_2", 16, {}),
    "asda/hourglass_stack2_modules2": ("asda_hourglass_2", 16, {"modules": 2, "channels": 64, "depth": 3}),
    "asda/pose_hrnet2_w32": ("hrnet_w32", 16, {}),
    "asda/pose_hrnet_w32": ("hrnet_w32", 17, {}),
    "asda/pose_hrnet_w48": ("hrnet_w48", 17, {}),
    "asda/pose_resnet101": ("simplebaseline_resnet101", 16, {}),
    "asda/pose_resnet50": ("simplebaseline_resnet50", 17, {}),
    "asda/pose_resnet50_16": ("simplebaseline_resnet50", 16, {}),
    "asda/stn_res18_64x48": ("asda_generator_resnet18", 17, {}),
    "asda/stn_res18_64x64": ("asda_generator_resnet18", 17, {}),
    "dekr/bottomup_higher_hrnet_w48_coco": ("bottomup_higher_hrnet_w48", 17, {}),
    "dekr/bottomup_hrnet_w32_coco": ("bottomup_hrnet_w32", 17, {}),
    "dekr/bottomup_hrnet_w32_crowdpose": ("bottomup_hrnet_w32", 14, {}),
    "dekr/dekr_hrnet_w32_coco": ("dekr_hrnet_w32", 17, {}),
    "lite/hrnet_w18_small_v1": ("hrnet_w18_small_v1", 17, {}),
    "lite/hrnet_w18_small_v1_layer1_4x64": ("hrnet_w18_small_v1_4x64", 17, {}),
    "lite/hrnet_w18_small_v2": ("hrnet_w18_small_v2", 17, {}),
    "lite/hrnet_w18_small_v2_softargmax": ("hrnet_w18_small_v2_softargmax", 17, {}),
    "lite/hrnet_w32": ("hrnet_w32", 17, {}),
    **{f"lite/{name}": (name, 17, {}) for name in ("lpn_101", "lpn_18", "lpn_18h", "lpn_34", "lpn_50")},
    "mrpose/mrfea1_50": ("mrfea1_resnet50", 17, {}),
    "mrpose/mrfea2_101": ("mrfea2_resnet101", 17, {}),
    "mrpose/mrfea2_50": ("mrfea2_resnet50", 17, {}),
    "mrpose/mrfea2_50_caffe": ("mrfea2_resnet50_caffe", 17, {}),
    "mrpose/mrheat1_50": ("mrheat1_resnet50", 17, {}),
    "mrpose/mrheat2_50": ("mrheat2_resnet50", 17, {}),
    "mrpose/pose_resnet50_caffe": ("simplebaseline_resnet50_caffe", 17, {}),
    "mrpose/pose_resnet50_pytorch": ("simplebaseline_resnet50", 17, {}),
}
"""Golden file → network, joints and options."""
NO_LAYOUT = {"ae_hrnet_w32", "ae_hrnet_w48", "ae_resnet50", "ae_resnet101", "ae_resnet152"}


def published_networks() -> list[str]:
    """Return the golden files that hold the state dict of a published network."""
    names = [f"{file.parent.name}/{file.name.removesuffix('.json.gz')}" for file in FOLDER.glob("*/*.json.gz")]
    others = ("zoo/", "pipelines/")
    return sorted(name for name in names if not name.startswith(others) and "state_dict" in load_golden(name))


@pytest.mark.parametrize("golden", published_networks())
def test_names_shapes_and_order_are_the_published_ones(golden: str) -> None:
    name, joints, options = NETWORKS[golden]
    with torch.device("meta"):
        network = create_model(name, num_joints=joints, **options)
        assert isinstance(network, PoseNetwork)
        written = [[key, list(value.shape)] for key, value in network.to_published().items()]
    expected = load_golden(golden)["state_dict"]
    print(f"{golden}: {len(written)} entries, equal: {written == expected}")
    assert written == expected


def meta_names(name: str) -> list[str]:
    """Return the published names of a network's entries."""
    with torch.device("meta"):
        network = create_model(name)
        assert isinstance(network, PoseNetwork)
        return list(network.to_published())


FAMILIES = (
    (r"lpn_(18|34)h?", "lite/lpn_18"),
    (r"lpn_(50|1\d\d)", "lite/lpn_50"),
    (r"hrnet_w(32|48)", "lite/hrnet_w32"),
    (r"simplebaseline_resnet(50|101|152)(_caffe)?", "asda/pose_resnet50"),
    *(
        (rf"{kind}_resnet(50|101|152)(_caffe)?", f"mrpose/{kind}_50")
        for kind in ("mrfea1", "mrfea2", "mrheat1", "mrheat2")
    ),
    (r"asda_hourglass_\d", "asda/hourglass_stack2"),
    (r"hg_stack[248]", "advpose/hg_stack2"),
    (r"hg_ae_stack[24]", "advpose/hg_ae_stack4"),
    (r"dekr_hrnet_w\d+", "dekr/dekr_hrnet_w32_coco"),
    (r"bottomup_hrnet_w\d+", "dekr/bottomup_hrnet_w32_coco"),
)
"""Networks of one rule → the golden file of one of them: their names differ in numbers only."""


@pytest.mark.parametrize(("family", "golden"), FAMILIES)
def test_names_in_a_family_differ_in_numbers_only(family: str, golden: str) -> None:
    expected = {re.sub(r"\.\d+\b", ".N", key) for key, _ in load_golden(golden)["state_dict"]}
    members = [name for name in list_models() if re.fullmatch(family, name)]
    assert len(members) > 1
    for name in members:
        assert {re.sub(r"\.\d+\b", ".N", key) for key in meta_names(name)} == expected, name


def test_higherhrnet_has_the_names_of_the_zoo_without_prefixes() -> None:
    zoo = [key for key, _ in load_golden("zoo/mm0_higherhrnet_w32_coco")["state_dict"]]
    assert sorted(meta_names("higherhrnet_w32")) == sorted(bare_entries(dict.fromkeys(zoo, torch.empty(0))))


# Bottom-Up's compares values, which there are none of here: the files below have them.
@pytest.mark.parametrize("name", sorted(set(list_models()) - NO_LAYOUT - set(list_models("bottomup*"))))
def test_every_network_takes_back_what_it_writes(name: str) -> None:
    with torch.device("meta"):
        network = create_model(name)
        assert isinstance(network, PoseNetwork)
        back = network.from_published(network.to_published())
        own = network.state_dict()
    assert {key: value.shape for key, value in back.items()} == {key: value.shape for key, value in own.items()}


@pytest.mark.parametrize(("name", "joints"), [("coco", 17), ("crowdpose", 14)])
def test_the_scoring_network_has_the_published_names(name: str, joints: int) -> None:
    expected = load_golden("dekr/functions")["common"]["rescore"][name]["net_keys"]
    assert [[key, list(value.shape)] for key, value in ScoreNet(joints).state_dict().items()] == expected


SMALL: dict[str, tuple[str, str, list[str]]] = {
    # golden file: command, experiment, the settings that make its network the golden one
    "lite/lpn_18": ("lite", "coco_lpn18_256x192", []),
    "lite/hrnet_w18_small_v1": ("lite", "coco_hrnet_w18_small_v1_256x192", []),
    "asda/hourglass_stack2_modules2": (
        "asda",
        "mpii_hourglass_stack2_256x256_numpart1",
        ["model.options.modules=2", "model.options.channels=64", "model.options.depth=3"],
    ),
    "advpose/hg_stack2": ("advpose", "mpii_hgpose_stack2_256x256", []),
    "dekr/dekr_hrnet_w32_coco": ("dekr", "coco_dekr_w32_512", []),
    "dekr/bottomup_hrnet_w32_crowdpose": ("dekr", "crowdpose_bottomup_w32_512", []),
    "mrpose/mrheat1_50": ("mrpose", "coco_mrheat1_resnet50_256x192", []),
    "mrpose/pose_resnet50_pytorch": ("mrpose", "coco_baseline_resnet50_256x192", []),
}


def loaded_as_published(golden: str, content: Any) -> Any:
    """Return the state dict that a published test script gives its bare network from a checkpoint's content."""
    if golden.startswith("asda/"):  # tools/test.py: under a key, into a data-parallel network
        return without_prefix(content["state_dict"])
    if golden.startswith("advpose/"):
        return without_prefix(content["netHg"])
    if golden == "mrpose/mrheat1_50":  # valid.sh: into a data-parallel network
        return without_prefix(content)
    return content


def without_prefix(state: dict[str, Tensor], prefix: str = "module.") -> dict[str, Tensor]:
    assert all(key.startswith(prefix) for key in state)
    return {key.removeprefix(prefix): value for key, value in state.items()}


@pytest.mark.parametrize("golden", SMALL)
def test_a_published_checkpoint_comes_back_as_it_was(
    golden: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    method, experiment, settings = SMALL[golden]
    state = {key: value.float() for key, value in published_state(load_golden(golden)).items()}
    layout = [key for key, _ in load_golden(golden)["state_dict"]]
    if method == "dekr":
        grid = next(value for key, value in create_model("dekr_hrnet_w32").state_dict().items() if "regular_" in key)
        for key in state:
            # Three branches share the last one's weights.
            source = re.sub(r"(4x_heatmap)\.\d\.(.*conv\d\.weight)$", r"\1.2.\2", key)
            state[key] = grid if key.endswith("regular_matrix") else state[source]
    state |= {key: torch.tensor(7) for key in state if key.endswith("num_batches_tracked")}
    torch.save({"state_dict": {f"module.{key}": value for key, value in state.items()}}, tmp_path / "given.pth")
    words = ["--cfg", experiment, "--weights", str(tmp_path / "given.pth"), "--out", str(tmp_path / "back.pth")]
    assert method_main(method, ["export", "--published", *words, *settings]) == 0
    print(capsys.readouterr().out)
    back = loaded_as_published(golden, torch.load(tmp_path / "back.pth", weights_only=True))
    assert list(back) == layout
    for key, value in state.items():
        assert back[key].dtype == value.dtype
        assert torch.equal(back[key], value), key


def seeded(network: nn.Module, seed: int) -> dict[str, Tensor]:
    """Return a state dict of a network with random statistics, for which untrained networks would all be equal."""
    random = torch.Generator().manual_seed(seed)
    return {
        key: torch.rand(value.shape, generator=random) + 0.5 if value.is_floating_point() else value
        for key, value in network.state_dict().items()
    }


def last_checkpoint(experiment: str, companion: str, network: nn.Module, file: Path) -> dict[str, Any]:
    """Write a last.pt of a run with an average of the weights, and a network that is trained with the pose network."""
    config = load_config(experiment)
    pose = bare_network(config)
    content = {
        "format": 1,
        "config": dump_config(config),
        "weights": seeded(pose, 1),
        "networks": {"pose": seeded(pose, 2), companion: seeded(network, 3)},
    }
    torch.save(content, file)
    return content


def test_a_generator_comes_along_and_the_averaged_weights_are_written(tmp_path: Path) -> None:
    generator = create_model("asda_generator_resnet18")
    content = last_checkpoint("pose-asda/synthetic_adversarial", "generator", generator, tmp_path / "last.pt")
    # Without --cfg the experiment is the run's.
    words = ["export", "--published", "--weights", str(tmp_path / "last.pt"), "--out", str(tmp_path / "checkpoint.pth")]
    assert main(words) == 0
    written = torch.load(tmp_path / "checkpoint.pth", weights_only=True)
    assert list(written) == ["state_dict", "best_state_dict", "stn_state_dict"]
    assert without_prefix(written["state_dict"]).keys() == written["best_state_dict"].keys()
    for key, value in content["weights"].items():
        assert torch.equal(written["state_dict"][f"module.{key}"], value)
        assert torch.equal(written["best_state_dict"][key], value)
    for key, value in content["networks"]["generator"].items():
        assert torch.equal(written["stn_state_dict"][f"module.{key}"], value)


def test_a_critic_comes_along_under_its_published_names(tmp_path: Path) -> None:
    config = load_config("pose-advpose/synthetic_advpose")
    joints = get_skeleton(config.data.skeleton).num_joints
    task: Any = get_method("advpose").task(config, bare_network)
    content = last_checkpoint("pose-advpose/synthetic_advpose", "critic", task.critic(joints), tmp_path / "last.pt")
    words = ["export", "--published", "--weights", str(tmp_path / "last.pt"), "--out", str(tmp_path / "back.pth.tar")]
    assert main(words) == 0
    written = torch.load(tmp_path / "back.pth.tar", weights_only=True)
    assert list(written) == ["state_dict", "netHg", "netD"]
    assert "module.hg.0.hg.0.0.0.bn1.weight" in written["netD"]
    critic = task.critic(joints)
    assert load_weights(critic, written["netD"]).complete
    for key, value in content["networks"]["critic"].items():
        assert torch.equal(critic.state_dict()[key], value), key
    assert load_weights(bare_network(config), tmp_path / "back.pth.tar").complete


def test_the_original_embedding_network_has_the_prefix_of_its_trainer(tmp_path: Path) -> None:
    settings = ["model.name=hg_ae_posenet_stack1", "model.options.channels=8", "model.options.depth=1"]
    network = bare_network(load_config("pose-advpose/coco_hg_ae_posenet_stack4_512", settings))
    torch.save(network.state_dict(), tmp_path / "own.pt")
    words = ["--cfg", "coco_hg_ae_posenet_stack4_512", *settings, "--weights", str(tmp_path / "own.pt")]
    assert method_main("advpose", ["export", "--published", *words, "--out", str(tmp_path / "back.pth")]) == 0
    written = torch.load(tmp_path / "back.pth", weights_only=True)
    state = without_prefix(written["state_dict"], "model.module.")
    assert list(state)[:2] == ["pre.0.conv.weight", "pre.0.conv.bias"]
    assert load_weights(network, tmp_path / "back.pth").complete


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--out", "a.pth", "--int8"], "--published writes a complete PyTorch checkpoint; it does not go with --int8"),
        (["--out", "a.pth", "--no-flip", "--opset", "19"], "does not go with --opset or --no-flip"),
        (["--bundle", "a"], "does not go with --bundle"),
        (["--out", "a.onnx"], "--out a.onnx: a published checkpoint ends in .pth or .pth.tar"),
    ],
)
def test_what_does_not_fit_together_is_refused_in_one_line(
    words: list[str], message: str, trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", "--published", "--weights", str(trained / "best.pt"), *words]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_a_checkpoint_without_published_says_what_writes_it(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "--weights", str(trained / "best.pt"), "--out", "a.pth"]) == 2
    assert "ends in .onnx; --published writes a checkpoint" in capsys.readouterr().err


def test_a_network_of_the_zoo_alone_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network = bare_network(load_config("pose-advpose/coco_ae_hrnet_w32_512"))
    torch.save(network.state_dict(), tmp_path / "own.pt")
    words = ["--cfg", "coco_ae_hrnet_w32_512", "--weights", str(tmp_path / "own.pt"), "--out", str(tmp_path / "a.pth")]
    assert method_main("advpose", ["export", "--published", *words]) == 2
    assert "has no published layout" in capsys.readouterr().err
    assert not (tmp_path / "a.pth").exists()


def test_a_run_s_weights_give_the_same_poses_when_they_come_back(trained: Path, tmp_path: Path) -> None:
    """The file is PyTorch's old format: a zip file could not be read by the versions that published code needs."""
    file = tmp_path / "back.pth"
    assert main(["export", "--published", "--weights", str(trained / "best.pt"), "--out", str(file)]) == 0
    assert file.read_bytes()[:1] == b"\x80"
    assert isinstance(torch.load(file, weights_only=True), OrderedDict)
    config = load_config(str(trained / "config.yaml"))
    first, second = bare_network(config).eval(), bare_network(config).eval()
    load_weights(first, trained / "best.pt")
    load_weights(second, file)
    x = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(first(x), second(x))
