"""Two processes give the gradient of one, for both networks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.multiprocessing.spawn import start_processes
from torch.nn.parallel import DistributedDataParallel

from pose_asda.adversary import PasteObjective, on_device
from pose_asda.config import AsdaConfig
from pose_asda.dataset import PartBatch, PartedDataset
from pose_asda.task import AsdaTask
from pose_core.plugins.networks import build_network

WORLD = 2


def gradients(objective: PasteObjective, networks: dict[str, Any], batch: PartBatch) -> dict[str, dict[str, Tensor]]:
    """What each player's update would step along; the first player does not step, so both see the same weights."""
    found: dict[str, dict[str, Tensor]] = {}

    def update(name: str, loss: Tensor) -> None:
        for network in networks.values():
            network.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        network = networks[name]
        bare: nn.Module = network.module if isinstance(network, DistributedDataParallel) else network
        # A parameter that leads nowhere has no gradient.
        found[name] = {key: p.grad.clone() for key, p in bare.named_parameters() if p.grad is not None}

    objective.step(networks, batch, update)
    return found


def prepare(config: AsdaConfig, first: int = 0, step: int = 1) -> tuple[PasteObjective, dict[str, Any], PartBatch]:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    task = AsdaTask(config, build_network)
    networks: dict[str, Any] = task.networks()
    # A fresh generator's head is zero, and so would be its trunk's gradient.
    nn.init.normal_(networks["generator"].fc_locs[2].weight, std=0.05)
    for network in networks.values():
        network.eval()  # batch statistics are each process's own
    data = task.training_set()
    batch = PartedDataset.collate([data[(0, index)] for index in range(first, 4, step)])
    objective = task.objective(torch.device("cpu"))
    assert isinstance(objective, PasteObjective)
    return objective, networks, batch


def work(rank: int, config: AsdaConfig, folder: str) -> None:
    distributed.init_process_group("gloo", f"file://{folder}/meet", rank=rank, world_size=WORLD)
    objective, networks, share = prepare(config, rank, WORLD)
    wrapped = {name: DistributedDataParallel(network) for name, network in networks.items()}
    if rank == 0:
        torch.save(gradients(objective, wrapped, share), f"{folder}/gradients.pt")
    else:
        gradients(objective, wrapped, share)
    distributed.barrier()
    distributed.destroy_process_group()


def test_two_processes_give_the_gradient_of_one(config: AsdaConfig, tmp_path: Path) -> None:
    objective, networks, batch = prepare(config)
    assert on_device(batch)[1].any()
    one = gradients(objective, networks, batch)
    # Forked: a spawned process cannot import a test's module by its name.
    start_processes(work, (config, str(tmp_path)), nprocs=WORLD, start_method="fork")  # type: ignore[no-untyped-call]
    two = torch.load(tmp_path / "gradients.pt")
    for name in ("pose", "generator"):
        assert one[name].keys() == two[name].keys()
        largest = max(float(value.abs().max()) for value in one[name].values())
        assert largest > 0
        for key, value in one[name].items():
            assert float((two[name][key] - value).abs().max()) < 1e-5 * largest + 1e-9, (name, key)
