"""Adversarial training: the published steps, the balance k, and the gradients of each step."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pose_advpose.adversary import AdversarialBatch, CriticObjective, PlainObjective, frozen, reconstruction_error
from pose_advpose.config import AdversarialConfig
from pose_advpose.content import embedding_batch, hourglass_batch
from pose_advpose.losses import embedding_losses
from pose_advpose.models import critic, hourglass, hourglass_ae
from pose_core.config import TrainConfig
from pose_core.engine.interfaces import Update
from pose_core.engine.optim import Updater, build_optimizer
from pose_core.models.network import PoseNetwork
from pose_testing.golden import fill_state_dict, load_golden, uniform

CPU = torch.device("cpu")
STEPS = load_golden("advpose/train_steps")
SEQUENCES = load_golden("advpose/functions")["kt_update"]
Networks = dict[str, nn.Module]


def fill(network: PoseNetwork, golden: str, select: Callable[[str], bool] = bool) -> nn.Module:
    """Set weights by the golden rule, under the published keys of a golden network that has the same layers."""
    rename = network.from_published
    keys = [key for key, _ in load_golden(golden)["state_dict"] if select(key)]
    shapes = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    # Number the keys, to see which of ours each is renamed to.
    marks = rename({key: torch.tensor(number) for number, key in enumerate(keys)})
    entries = [(keys[int(mark)], shapes[name]) for name, mark in marks.items()]
    filled = {key: torch.as_tensor(value) for key, value in fill_state_dict(entries).items()}
    network.double().load_state_dict(rename(filled))
    return network.train()


def in_two_stacks(key: str) -> bool:
    part, _, rest = key.partition(".")
    return part == "head" or int(rest.partition(".")[0]) < (1 if part.startswith("merge") else 2)


def inputs(name: str, *shape: int) -> Tensor:
    return (torch.from_numpy(uniform(name, math.prod(shape)).reshape(shape)) + 1) / 2


def gradient_norm(network: nn.Module) -> float:
    grads = [p.grad for p in network.parameters() if p.grad is not None]
    return float(torch.stack([g.norm() for g in grads]).norm())


def measured(networks: Networks, update: Update, norms: dict[str, float]) -> Update:
    """Wrap ``update`` to record the norm of each network's gradient before its step."""

    def step(name: str, loss: Tensor) -> None:
        gradients = torch.autograd.grad(loss, list(networks[name].parameters()), retain_graph=True)
        norms[name] = float(torch.stack([g.norm() for g in gradients]).norm())
        update(name, loss)

    return step


def updater(networks: Networks, **settings: TrainConfig) -> Updater:
    return Updater(
        networks, {name: build_optimizer(networks[name], own, CPU) for name, own in settings.items()}, TrainConfig()
    )


def test_three_published_steps_of_advpose() -> None:
    golden, size = STEPS["advpose"], {"stacks": 2, "channels": 32}
    networks: Networks = {
        "pose": fill(hourglass(16, **size), "advpose/hg_stack2"),
        "critic": fill(critic(16, modules=1, **size), "advpose/hg_stack2"),
    }
    given = golden["config"]
    step = -1

    def content(network: nn.Module, batch: Any) -> AdversarialBatch:
        image, label, small = batch
        return hourglass_batch(network(image), small, label)

    settings = AdversarialConfig(start=given["kt_init"])
    objective = CriticObjective(content, settings, CPU)
    update = updater(
        networks,
        pose=TrainConfig(optimizer="rmsprop", lr=given["lr"]),
        critic=TrainConfig(optimizer="adam", lr=settings.lr),
    )
    assert (settings.lr, settings.gamma, settings.rate, settings.weight) == (
        given["lrD"],
        given["gamma"],
        given["lambda_kt"],
        given["lambda_G"],
    )
    # Batch norm amplifies rounding from step to step.
    for step, (expected, near, near_norm) in enumerate(
        zip(golden["steps"], (1e-7, 1e-4, 1e-2), (1e-6, 1e-4, 1e-2), strict=True)
    ):
        assert float(objective.k) == pytest.approx(expected["kt_before"], rel=near)
        norms: dict[str, float] = {}
        shapes = {"image": (2, 3, 128, 128), "label": (2, 16, 32, 32), "small": (2, 3, 32, 32)}
        batch = [inputs(f"step{step}:{name}", *shape) for name, shape in shapes.items()]
        values = objective.step(networks, batch, measured(networks, update, norms))
        found = {name: float(value.detach()) for name, value in values.items()}
        pairs = {
            "loss": "loss_hg",
            "loss_hg_content": "content",
            "loss_d": "loss_d",
            "loss_d_real": "d_real",
            "loss_d_fake": "d_fake",
            "loss_g": "loss_g",
            "kt": "kt_after",
            "balance": "balance",
            "measure": "measure",
        }
        errors = {ours: abs(found[ours] / expected[theirs] - 1) for ours, theirs in pairs.items()}
        print(f"step {step}: largest relative error {max(errors.values()):.1e}")
        assert max(errors.values()) < near, errors
        assert norms["critic"] == pytest.approx(expected["grad_norm_d"], rel=near_norm)
        assert norms["pose"] == pytest.approx(expected["grad_norm_hg"], rel=near_norm)


def test_the_published_first_step_of_advpose_ae() -> None:
    golden = STEPS["advpose_ae_first_step"]
    networks: Networks = {
        "pose": fill(hourglass_ae(17, stacks=2, channels=16, outputs=40), "advpose/hg_ae_stack4", in_two_stacks),
        "critic": fill(critic(17, stacks=2, modules=1, channels=16), "advpose/hg_stack2"),
    }
    image, heatmaps = inputs("step0:image", 2, 3, 128, 128), inputs("step0:heatmaps", 2, 17, 32, 32)
    keep = torch.from_numpy(uniform("step0:mask", 2 * 32 * 32).reshape(2, 32, 32) > -0.6)
    references = torch.tensor(golden["keypoints"])

    def content(network: nn.Module, batch: Any) -> AdversarialBatch:
        stacks = network(batch)
        for name, ours in embedding_losses(stacks, heatmaps, keep, references)._asdict().items():
            torch.testing.assert_close(ours, torch.tensor(golden[name], dtype=ours.dtype), rtol=1e-9, atol=1e-12)
        return embedding_batch(stacks, batch, heatmaps, keep, references)

    objective = CriticObjective(content, AdversarialConfig(start=golden["config"]["kt"]), CPU)
    norms: dict[str, float] = {}
    values = objective.step(networks, image, measured(networks, lambda name, loss: None, norms))
    found = {name: float(value.detach()) for name, value in values.items()}
    pairs = {"loss_d": "loss_d", "loss_d_real": "d_real", "loss_d_fake": "d_fake", "balance": "balance",
             "kt": "kt_after", "loss": "loss_hg"}  # fmt: skip
    errors = {ours: abs(found[ours] / golden[theirs] - 1) for ours, theirs in pairs.items()}
    print(f"largest relative error {max(errors.values()):.1e}")
    assert max(errors.values()) < 1e-7, errors
    assert norms["critic"] == pytest.approx(golden["grad_norm_d"], rel=1e-6)
    assert norms["pose"] == pytest.approx(golden["grad_norm_hg"], rel=1e-6)


@pytest.mark.parametrize("sequence", SEQUENCES, ids=lambda sequence: sequence["name"])
def test_the_balance_equals_the_published_sequences(sequence: dict[str, Any]) -> None:
    settings = AdversarialConfig(gamma=sequence["gamma"], start=sequence["kt_init"], rate=sequence["lambda_kt"])
    objective = CriticObjective(lambda network, batch: pytest.fail("the network must not run"), settings, CPU)
    for step in sequence["steps"]:
        errors = (torch.tensor(step[name], dtype=torch.float64) for name in ("d_real", "d_fake"))
        balance, measure = objective.update_balance(*errors)
        found = [float(value) for value in (balance, measure, objective.k)]
        assert found == pytest.approx([step["balance"], step["measure"], step["kt"]], abs=1e-12)
    # The state is k alone, restored exactly.
    other = CriticObjective(objective.content, AdversarialConfig(), CPU)
    other.load_state_dict(objective.state_dict())
    assert torch.equal(other.k, objective.k)


class Toy(nn.Module):
    """A network of one layer."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.layer = nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)


def toys() -> Networks:
    torch.manual_seed(0)
    return {"pose": Toy(3, 2), "critic": Toy(5, 2)}


def toy_content(network: nn.Module, batch: Any) -> AdversarialBatch:
    images, target = batch
    predicted = network(images)
    return AdversarialBatch(images, target, predicted, (predicted - target).square().mean())


def test_each_step_has_gradients_of_its_own_network_only() -> None:
    networks, batch = toys(), (torch.rand(2, 3, 4, 4), torch.rand(2, 2, 4, 4))
    touched: list[tuple[str, dict[str, bool]]] = []

    def update(name: str, loss: Tensor) -> None:
        loss.backward()  # type: ignore[no-untyped-call]
        has = {n: any(p.grad is not None for p in net.parameters()) for n, net in networks.items()}
        touched.append((name, has))
        for network in networks.values():
            network.zero_grad()

    CriticObjective(toy_content, AdversarialConfig(start=0.5), CPU).step(networks, batch, update)
    assert touched == [
        ("critic", {"pose": False, "critic": True}),
        ("pose", {"pose": True, "critic": False}),
    ]
    assert all(p.requires_grad for network in networks.values() for p in network.parameters())


def test_the_updated_critic_scores_the_prediction_again_with_gradients_of_input_and_target() -> None:
    networks, batch = toys(), (torch.rand(2, 3, 4, 4), torch.rand(2, 2, 4, 4))
    settings = AdversarialConfig(weight=0.5, lr=0.1)
    update = updater(
        networks,
        pose=TrainConfig(optimizer="sgd", lr=1e-9, momentum=0),
        critic=TrainConfig(optimizer="sgd", lr=settings.lr, momentum=0),
    )
    norms: dict[str, float] = {}
    values = CriticObjective(toy_content, settings, CPU).step(networks, batch, measured(networks, update, norms))
    result = toy_content(networks["pose"], batch)
    again = reconstruction_error(networks["critic"], result.small, result.predicted)
    adversarial_loss = float(values["loss_g"].detach())
    assert adversarial_loss == pytest.approx(float(again.detach()), rel=1e-5)
    assert adversarial_loss != pytest.approx(float(values["loss_d_fake"]), rel=1e-3)
    (result.content_loss + settings.weight * again).backward()
    assert norms["pose"] == pytest.approx(gradient_norm(networks["pose"]), rel=1e-5)


def test_with_weight_0_the_pose_network_is_trained_as_without_a_critic() -> None:
    batch = (torch.rand(2, 3, 4, 4), torch.rand(2, 2, 4, 4))
    after = []
    for adversarial in (True, False):
        networks = toys()
        if not adversarial:
            del networks["critic"]
        update = updater(networks, **{name: TrainConfig(optimizer="adam", lr=1e-2) for name in networks})
        objective = (
            CriticObjective(toy_content, AdversarialConfig(weight=0), CPU)
            if adversarial
            else PlainObjective(toy_content)
        )
        for _ in range(3):
            objective.step(networks, batch, update)
        after.append(networks["pose"].state_dict())
    assert all(torch.equal(value, after[1][key]) for key, value in after[0].items())


def test_frozen_parameters_are_restored_and_those_frozen_before_stay() -> None:
    network = Toy(2, 2)
    network.layer.bias.requires_grad_(False)  # type: ignore[union-attr]
    with frozen(network) as fixed:
        assert not any(p.requires_grad for p in fixed.parameters())
    assert [p.requires_grad for p in network.parameters()] == [True, False]
