"""Networks and critics equal the published ones; checkpoints of every published layout load."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from pose_advpose.embedding import HourglassAE
from pose_advpose.models import critic, hourglass, hourglass_ae
from pose_core.errors import ConfigError
from pose_core.models.flops import count_macs
from pose_core.models.weights import load_weights
from pose_core.plugins.networks import create_model
from pose_testing.golden import load_golden
from pose_testing.networks import check_network, published_state


@pytest.mark.parametrize(
    ("golden", "name", "keywords"),
    [
        ("hg_stack2", "hg_stack2", {}),
        ("hg_stack4_modules2", "hg_stack4", {"modules": 2}),
        ("hg_ae_stack4", "hg_ae_stack4", {}),
        ("hg_ae_posenet_stack4", "hg_ae_posenet_stack4", {}),
        ("hg_ae_posenet_stack1_bn", "hg_ae_posenet_stack1", {"bn": True}),
        ("dis_advpose_stack4_modules2_feat256", "advpose_discriminator", None),
        ("dis_advpose_ae_stack4_feat128", "advpose_ae_discriminator", None),
        ("dis_advpose_stack4_modules2_feat256", "advpose_discriminator", {}),
        ("dis_advpose_ae_stack4_feat128", "advpose_ae_discriminator", {}),
    ],
)
def test_outputs_equal_the_published_ones(golden: str, name: str, keywords: dict[str, Any] | None) -> None:
    # A critic also accepts the published keywords in the file.
    keywords = load_golden(f"advpose/{golden}")["config"] if keywords is None else keywords
    joints = 17 if "_ae_" in golden else 16
    error = check_network(f"advpose/{golden}", create_model(name, num_joints=joints, **keywords))
    print(f"{golden}: largest relative error {error:.2e}")
    assert error < 1e-6


def test_a_name_may_have_any_number_of_stacks() -> None:
    for name in ("hg_stack3", "hg_ae_stack3", "hg_ae_posenet_stack3"):
        network = create_model(name, num_joints=5, channels=8, depth=1)
        assert len(network(torch.zeros(1, 3, 16, 16))) == 3
    for name in ("hg_stack", "hg_stack0", "hg_stacks3"):
        with pytest.raises(ConfigError, match=r"no network is named|at least one stack"):
            create_model(name, num_joints=5)


def test_multiply_adds_of_a_critic_are_counted() -> None:
    true, _ = count_macs(critic(4, stacks=1, modules=1, channels=8, depth=1), (16, 16))
    assert true > 0


def test_checkpoints_of_both_codes_load_from_files(tmp_path: Path) -> None:
    bn = published_state(load_golden("advpose/hg_ae_posenet_stack1_bn"))
    # The original trainer's prefix.
    torch.save({"epoch": 1, "state_dict": {f"model.module.{key}": value for key, value in bn.items()}}, tmp_path / "a")
    assert load_weights(hourglass_ae(17, stacks=1, bn=True), tmp_path / "a").complete
    plain = {f"module.{key}": value for key, value in published_state(load_golden("advpose/hg_stack2")).items()}
    torch.save({"state_dict": plain}, tmp_path / "b")
    assert load_weights(hourglass(16, stacks=2), tmp_path / "b").complete
    # Checkpoints of adversarial training contain both networks.
    torch.save({"netD": {"module.conv1.weight": torch.zeros(1)}, "netHg": plain, "kt": 0.25}, tmp_path / "c")
    assert load_weights(hourglass(16, stacks=2), tmp_path / "c").complete


@pytest.mark.parametrize("bn", [False, True])
def test_our_own_layout_loads_unchanged(bn: bool) -> None:
    first, second = (HourglassAE(8, 2, 16, increase=8, depth=2, bn=bn) for _ in range(2))
    assert load_weights(second, first.state_dict()).complete
    x = torch.randn(2, 3, 32, 32)
    for one, other in zip(first.eval()(x), second.eval()(x), strict=True):
        assert one.shape == (2, 8, 8, 8)
        torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_a_critic_keeps_the_side_and_trains_every_parameter() -> None:
    network = critic(4, stacks=2, modules=1, channels=8, depth=1)
    made = network(torch.randn(2, 7, 16, 16))
    assert made.shape == (2, 4, 16, 16)
    made.sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_impossible_networks_are_refused() -> None:
    with pytest.raises(ConfigError, match="at least one stack"):
        HourglassAE(stacks=0)
    with pytest.raises(ConfigError, match="does not take 'nfeat'"):
        critic(nfeat=3)
