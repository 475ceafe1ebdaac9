"""A training step never waits for the device: it reads nothing back, and copies no constants there.

The step runs on a GPU that does not exist: PyTorch follows shapes and devices of its tensors without computing them.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from pose_asda.build_parts import synthetic_people, write_pool
from pose_core.engine.distributed import ProcessContext
from pose_core.engine.interfaces import Task
from pose_core.engine.run import Run
from pose_core.ops import constants
from pose_core.plugins.experiments import load_config
from pose_core.plugins.tasks import build_task
from pose_core.structures import Batch
from pose_core.synthetic import write_dataset

GPU = torch.device("cuda", 0)
PACKAGES = f"{Path(__file__).parents[1] / 'packages'}"
BRIEF = ["train.batch_size=4", "train.workers=0", "train.ema=0.99"]
pytestmark = pytest.mark.filterwarnings("ignore:Accessing the data pointer")


class Imagined(FakeTensorMode):
    """The mode of the tensors on the GPU; a copy of a network stays in it."""

    def __deepcopy__(self, memo: Mapping[int, Any]) -> Imagined:
        return self


class Waits(TorchDispatchMode):
    """Records the lines that make the CPU wait for the GPU."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name, kwargs = str(func), kwargs or {}
        if name.startswith("aten._to_copy"):
            self._copy(args[0].device, torch.device(kwargs.get("device") or args[0].device))
        elif name.startswith("aten.copy_"):
            self._copy(args[1].device, args[0].device)
        elif name.startswith(("aten._local_scalar_dense", "aten.nonzero", "aten.masked_select")):
            self._add(name)
        return func(*args, **kwargs)

    def _copy(self, source: torch.device, target: torch.device) -> None:
        if source.type != target.type:
            self._add(f"copy from {source.type} to {target.type}")

    def _add(self, what: str) -> None:
        place = next((f for f in reversed(traceback.extract_stack()) if f.filename.startswith(PACKAGES)), None)
        self.lines.append(f"{what}: {place.filename}:{place.lineno} {place.line}" if place else what)


def on_gpu(mode: FakeTensorMode, value: Any) -> Any:
    """Return a batch on the GPU."""
    if isinstance(value, Tensor):
        return mode.from_tensor(value).to(GPU)
    return replace(value, **{each.name: on_gpu(mode, getattr(value, each.name)) for each in fields(value)})


def waits_of_a_step(task: Task, patch: pytest.MonkeyPatch) -> list[str]:
    """Return the lines in the second step of a task's training that wait for the GPU."""
    data = task.training_set()
    batch: Batch = data.collate([data[(0, index)] for index in range(4)])
    parts = list(batch.split(task.config.train.accumulate))
    build = task.networks

    def networks() -> dict[str, nn.Module]:
        with GPU:
            return build()

    patch.setattr(task, "networks", networks)
    patch.setattr(nn.Module, "to", lambda self, *args, **kwargs: self)
    constants._stored.cache_clear()
    with Imagined() as mode:
        run = Run(task, ProcessContext(0, 1, GPU), Path("unused"))

        def backward(loss: Tensor) -> None:  # PyTorch's own needs a GPU
            for network in run.networks.values():
                for parameter in network.parameters():
                    parameter.grad = torch.zeros_like(parameter)

        patch.setattr(Tensor, "backward", backward)
        on_device = [on_gpu(mode, part) for part in parts]
        run.train_step(on_device)
        with Waits() as waits:
            run.train_step(on_device)
    return waits.lines


@pytest.fixture
def patch(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    with monkeypatch.context() as patch:
        yield patch
    constants._stored.cache_clear()


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with data sets of all layouts, and a pool of parts."""
    folder = tmp_path_factory.mktemp("data")
    for layout in ("coco", "mpii", "crowdpose"):
        write_dataset(folder / layout, layout=layout, images=6, val_images=2, people=(1, 2), size=(160, 120), seed=3)
    write_pool(synthetic_people(folder / "people", 3, 1), folder / "parts", 200, 0.8)
    return folder


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("pose-lite/synthetic_quick", []),
        ("pose-lite/synthetic_quick", ["heatmap.objective=coordinate", "train.clip_norm=1"]),
        ("pose-lite/synthetic_quick", ["train.optimizer=adamw", "data.pixels=unit", "train.accumulate=2"]),
        ("pose-mrpose/synthetic_mpii", []),
        ("pose-dekr/synthetic_dekr", []),
        ("pose-dekr/synthetic_bottomup", []),
        ("pose-advpose/synthetic_hgpose", []),
        ("pose-advpose/synthetic_advpose", []),
        ("pose-advpose/synthetic_hgpose_ae", []),
        ("pose-advpose/synthetic_advpose_ae", []),
        ("pose-asda/synthetic_random", []),
        ("pose-asda/synthetic_adversarial", []),
    ],
)
@pytest.mark.parametrize("triton", [True, False], ids=["kernels", "no kernels"])
def test_a_step_does_not_wait(
    name: str, settings: Sequence[str], triton: bool, root: Path, patch: pytest.MonkeyPatch
) -> None:
    patch.setattr("pose_core.ops.dispatch._works", lambda: triton)
    layout = load_config(name).data.layout
    places = [f"data.root={root / layout}"]
    if name.startswith("pose-asda"):
        if not triton:
            pytest.skip("without its kernel, pasting reads the boxes of all parts")
        places += [f"parts.annotations={root / 'parts/part_anns.json'}"]
    task = build_task(load_config(name, [*places, *BRIEF, *settings]))
    assert waits_of_a_step(task, patch) == []


def test_waits_are_found(root: Path, patch: pytest.MonkeyPatch) -> None:
    task = build_task(load_config("pose-lite/synthetic_quick", [f"data.root={root / 'coco'}", *BRIEF]))
    patch.setattr("pose_core.ops.dispatch._works", lambda: True)
    patch.setattr("pose_core.ops.decoding.constant", lambda values, device: torch.tensor(values, device=device))
    (found,) = waits_of_a_step(task, patch)
    assert found.startswith("copy from cpu to cuda: ")
    assert "decoding" in found
