"""Two processes give the gradient of one in all four tasks, with any number of people in each; none waits forever."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, distributed, nn
from torch.multiprocessing.spawn import start_processes

from pose_advpose.adversary import unwrap
from pose_advpose.task import make_task
from pose_core.bottomup.dataset import WholeBatch
from pose_core.engine.distributed import ProcessContext
from pose_core.engine.run import Run
from pose_core.plugins.networks import build_network
from pose_core.topdown.config import TopDownConfig
from pose_core.topdown.dataset import CropBatch
from pose_testing.batches import columns

WORLD, SIDE, STEPS = 2, 64, 500
CPU = torch.device("cpu")
Batch = CropBatch | WholeBatch
Tiny = Callable[..., TopDownConfig]
# Number of people in four images, of which the first process gets the first two.
CROWDS = {
    "people in both": [3, 1, 0, 2],
    "none in the first": [0, 0, 4, 1],
    "none in the second": [1, 2, 0, 0],
    "no people": [0, 0, 0, 0],
}


def crowd(people: list[int], seed: int = 0) -> WholeBatch:
    """Return images of noise with ``people`` people each, some joints missing and some map pixels masked."""
    draw = torch.Generator().manual_seed(seed)
    count, side = len(people), SIDE // 4
    joints = torch.rand(count, 1, max(1, *people), 17, 3, generator=draw) * torch.tensor([side, side, 3])
    joints[..., 2] = joints[..., 2].floor()
    for row, number in enumerate(people):
        joints[row, :, number:] = 0
    keep = torch.rand(count, side * side, generator=draw) > 0.1
    number = torch.arange(count)
    return WholeBatch(noise(count, draw), joints, joints[:, 0, :, 0, 2], keep, number, number, number >= 0)


def crops(joints: list[int], seed: int = 0) -> CropBatch:
    """Return crops of noise with ``joints`` labeled joints each."""
    draw = torch.Generator().manual_seed(seed)
    count = len(joints)
    points = torch.rand(count, 16, 3, generator=draw) * SIDE
    points[..., 2] = 1
    for row, number in enumerate(joints):
        points[row, number:] = 0
    number = torch.arange(count)
    matrix = torch.eye(2, 3, dtype=torch.float64).expand(count, 2, 3)
    place = torch.ones(count, 2)
    return CropBatch(
        noise(count, draw), points, matrix, place, place, number, number, number.float(), number, number >= 0
    )


def noise(count: int, draw: torch.Generator) -> Tensor:
    return torch.randint(256, (count, SIDE, SIDE, 3), generator=draw, dtype=torch.uint8)


def share(batch: Batch, rank: int) -> Batch:
    """Return a process's half of a batch; whole images with no more slots for people than needed."""
    half = len(batch.images) // WORLD
    mine = type(batch)(*(column[rank * half : (rank + 1) * half] for column in columns(batch)))
    if isinstance(mine, WholeBatch):
        max_people = max(1, int((mine.joints[..., 2] > 0).any(3).any(0).sum()))
        mine = replace(mine, joints=mine.joints[:, :, :max_people], areas=mine.areas[:, :max_people])
    return mine


def gradients_of(run: Run, batch: Batch) -> dict[str, Any]:
    """Return each network's gradient, and k after the step; no weights are updated."""
    found: dict[str, Any] = {}

    def update(name: str, loss: Tensor) -> None:
        for network in run.networks.values():
            network.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        grads = {key: p.grad for key, p in unwrap(run.wrapped[name]).named_parameters()}
        found[name] = {key: grad.clone() for key, grad in grads.items() if grad is not None}

    for network in run.networks.values():
        network.eval()  # batch statistics are each process's own
    run.objective.step(run.wrapped, batch, update)
    found["objective"] = run.objective.state_dict()
    return found


class Exact:
    """A task with networks in double precision: in single, sums in another order differ by 2e-6."""

    def __init__(self, config: TopDownConfig) -> None:
        self.task = make_task(config, build_network)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.task, name)

    def networks(self) -> dict[str, nn.Module]:
        networks = {name: network.double() for name, network in self.task.networks().items()}
        # Random buffers: with the initial ones batch norm is the identity, which would hide errors.
        draw = torch.Generator().manual_seed(1)
        for network in networks.values():
            network.register_forward_pre_hook(lambda module, images: tuple(image.double() for image in images))
            for module in network.modules():
                if isinstance(module, nn.BatchNorm2d) and module.running_var is not None:
                    module.running_var.uniform_(0.5, 2, generator=draw)
        return networks


@contextmanager
def joined(rank: int, folder: str) -> Iterator[None]:
    """Join a process group that times out if a process hangs."""
    limit = timedelta(seconds=120)
    distributed.init_process_group("gloo", f"file://{folder}/meet", rank=rank, world_size=WORLD, timeout=limit)
    try:
        yield
    finally:
        distributed.destroy_process_group()


def gradients_together(rank: int, config: TopDownConfig, batches: list[Batch], folder: str) -> None:
    with joined(rank, folder):
        torch.set_num_threads(1)
        run = Run(Exact(config), ProcessContext(rank, WORLD, CPU), Path("unused"))
        found = [gradients_of(run, share(batch, rank)) for batch in batches]
        torch.save(found, f"{folder}/{rank}.pt")
        distributed.barrier()


def largest_difference(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    """Return the largest difference relative to the largest gradient of a network."""
    assert one.keys() == other.keys()
    largest = max(float(value.abs().max()) for value in one.values())
    assert largest > 0
    return max(float((other[key] - value).abs().max()) for key, value in one.items()) / largest


@pytest.mark.parametrize("task", ["hgpose", "advpose", "hgpose-ae", "advpose-ae"])
def test_two_processes_give_the_gradient_of_one(task: str, tiny: Tiny, tmp_path: Path) -> None:
    is_adversarial = task.startswith("adv")
    config = tiny(task, "train.batch_size=2", *(["adversarial.start=0.5"] if is_adversarial else []))
    make = crowd if task.endswith("-ae") else crops
    batches = [make(people, seed) for seed, people in enumerate(CROWDS.values())]
    run = Run(Exact(config), ProcessContext(0, 1, CPU), Path("unused"))
    alone = [gradients_of(run, batch) for batch in batches]
    # Forked: a spawned process cannot import a test's module by its name.
    start_processes(gradients_together, (config, batches, str(tmp_path)), nprocs=WORLD, start_method="fork")  # type: ignore[no-untyped-call]
    halves = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(WORLD)]
    for name in run.networks:
        errors = [largest_difference(one[name], two[name]) for one, two in zip(alone, halves[0], strict=True)]
        print(f"{task}, {name}: largest difference over the largest gradient {max(errors):.1e}")
        assert max(errors) < 1e-6, dict(zip(CROWDS, errors, strict=True))
        assert all(largest_difference(one[name], two[name]) == 0 for one, two in zip(*halves, strict=True))
    for one, first, second in zip(alone, *halves, strict=True):
        assert first["objective"] == second["objective"]
        if is_adversarial:
            k = float(one["objective"]["k"])
            assert k != 0.5
            assert float(first["objective"]["k"]) == pytest.approx(k, abs=1e-9)


def train_together(rank: int, config: TopDownConfig, folder: str) -> None:
    with joined(rank, folder):
        torch.set_num_threads(1)
        run = Run(make_task(config, build_network), ProcessContext(rank, WORLD, CPU), Path("unused"))
        chance = np.random.default_rng(rank)
        seen = []
        for step in range(STEPS):
            people = int(chance.choice([0, 0, 1, 2, 5]))
            seen.append(people)
            run.train_step([crowd([people], seed=WORLD * step + rank)])
            run.step += 1
        state = {
            "people": seen,
            "networks": {name: dict(network.named_parameters()) for name, network in run.networks.items()},
            "updater": run.updater.state_dict(),
            "objective": run.objective.state_dict(),
        }
        torch.save(state, f"{folder}/{rank}.pt")
        distributed.barrier()


@pytest.mark.slow
def test_five_hundred_steps_with_unequal_crowds_end_with_equal_networks(tiny: Tiny, tmp_path: Path) -> None:
    narrow = 'model.options={"channels": 8, "depth": 1, "increase": 0, "outputs": 34}'
    config = tiny(
        "advpose-ae", "train.batch_size=2", f"train.iterations={STEPS}", "train.epochs=500", "model.name=hg_ae_stack1",
        narrow, "adversarial.stacks=1", "adversarial.channels=2", "adversarial.start=0.5", "train.ema=0",
    )  # fmt: skip
    before = time.perf_counter()
    start_processes(train_together, (config, str(tmp_path)), nprocs=WORLD, start_method="fork")  # type: ignore[no-untyped-call]
    print(f"{STEPS} steps in {time.perf_counter() - before:.1f} s")
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(WORLD))
    pairs = set(zip(first.pop("people"), second.pop("people"), strict=True))
    assert {(0, 0), (0, 5), (5, 0), (5, 1)} <= pairs
    assert first["objective"]["k"] != 0.5
    for name, network in first["networks"].items():
        for key, value in network.items():
            assert torch.isfinite(value).all()
            assert torch.equal(value, second["networks"][name][key]), (name, key)
        moments = (state["updater"]["optimizers"][name]["state"] for state in (first, second))
        for one, other in zip(*(list(m.values()) for m in moments), strict=True):
            assert one["step"] == other["step"] == STEPS
            assert torch.equal(one["exp_avg_sq"], other["exp_avg_sq"])
    assert first["objective"] == second["objective"]
