"""Benchmark networks on one CPU core: forward and training step, against the plain module as in the published code.

python shared/benchmark/bench_networks.py [--rounds 7] [--out results.json]

Forward, batch 1, 256x192: the plain module in float32; ours, as predict and eval run it (batch norm folded, channels
last, weights packed); the exported file under onnxruntime; ours in bfloat16. Training step, batch 16, 128x96: the plain
module, the loss joint by joint and Adam parameter by parameter; ours with channels last, the loss in one expression and
the fused Adam.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import onnxruntime
import torch
from paired import arguments, compare, finish
from torch import Tensor, nn

from pose_core.inference.export import export_onnx
from pose_core.models.fuse_batch_norm import fold_batch_norm
from pose_core.models.inference_copy import optimize_for_inference
from pose_core.ops import gaussian_heatmaps, mse_loss
from pose_core.plugins.networks import create_model

FORWARD = {
    "simplebaseline_resnet50": (1.2, 1.5),
    "hrnet_w32": (1.1, 1.3),
    "lpn_50": (1.2, 2.0),
    "lpn_18": (1.2, 2.0),
    "hrnet_w18_small_v1": (1.2, 1.6),
}
"""Network → bars in PyTorch and through ONNX."""
DENSE = ("simplebaseline_resnet50", "hrnet_w32")
STEPS = {"lpn_18": 1.6, "simplebaseline_resnet50": 1.7}


def forward(name: str, rounds: int, folder: Path) -> dict[str, object]:
    """Compare forward passes of a network."""
    plain = create_model(name).eval()
    x = torch.randn(1, 3, 256, 192)
    quick = optimize_for_inference(plain, (192, 256))
    y = x.to(memory_format=torch.channels_last)
    file = export_onnx(plain, (192, 256), folder / f"{name}.onnx", batch=1).file
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    contenders: dict[str, Callable[[], object]] = {
        "published": partial(run, plain, x),
        "ours": partial(run, quick, y),
        "onnx": lambda: session.run(None, {"images": x.numpy()}),
    }
    if name in DENSE:
        half = fold_batch_norm(plain).to(torch.bfloat16).to(memory_format=torch.channels_last)
        contenders["bf16"] = partial(run, half, y.to(torch.bfloat16))
    found = compare(contenders, rounds)
    error = float((run(plain, x) - run(quick, y)).abs().max() / run(plain, x).abs().max())
    ratios, bars = found["ratios"], FORWARD[name]
    return {
        "#": "8", "network": name, "published ms": 1000 * found["published"], "ours ms": 1000 * found["ours"],
        "onnx ms": 1000 * found["onnx"], "ours ×": ratios["published/ours"], "onnx ×": ratios["published/onnx"],
        "bf16 ×": ratios.get("published/bf16", ""), "error of ours": error,
        "bar": f"≥ {bars[0]}, onnx ≥ {bars[1]}" + (", bf16 ≥ 2" if name in DENSE else ""),
    }  # fmt: skip


@torch.inference_mode()
def run(network: nn.Module, x: Tensor) -> Tensor:
    output: Tensor = network(x)
    return output


def training(name: str, rounds: int) -> dict[str, object]:
    """Compare training steps of a network."""
    torch.manual_seed(0)
    images = torch.randn(16, 3, 128, 96)
    joints, weights = torch.rand(16, 17, 2) * torch.tensor([96.0, 128.0]), torch.ones(16, 17)
    targets, kept = gaussian_heatmaps(joints, weights, (24, 32), 2.0, ratio=(0.25, 0.25))

    def step(
        network: nn.Module,
        optimizer: torch.optim.Optimizer,
        x: Tensor,
        ops: str,
        half: bool,
    ) -> None:
        os.environ["POSE_OPS"] = ops
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            output = network(x)
        loss = mse_loss(output.float(), targets, kept)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()

    plain = create_model(name).train()
    contenders = {
        "published": partial(
            step, plain, torch.optim.Adam(plain.parameters(), foreach=False), images, "reference", False
        )
    }
    last = images.to(memory_format=torch.channels_last)
    for label, half in (("ours", False), ("bf16", True)):
        network = create_model(name).train().to(memory_format=torch.channels_last)
        optimizer = torch.optim.Adam(network.parameters(), fused=True)
        contenders[label] = partial(step, network, optimizer, last, "fast", half)
    found = compare(contenders, rounds)
    ratios = found["ratios"]
    return {
        "#": "9", "network": f"{name}, training step", "published ms": 1000 * found["published"],
        "ours ms": 1000 * found["ours"], "ours ×": ratios["published/ours"], "bf16 ×": ratios["published/bf16"],
        "bar": f"≥ {STEPS[name]}",
    }  # fmt: skip


def main() -> None:
    args = arguments(__doc__).parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        rows = [forward(name, args.rounds, Path(folder)) for name in FORWARD]
    rows += [training(name, args.rounds) for name in STEPS]
    finish(rows, args.out)


if __name__ == "__main__":
    main()
