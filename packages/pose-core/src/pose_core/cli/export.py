"""Write a network as an ONNX file, and check it against PyTorch under onnxruntime.

  %(prog)s --cfg %(example)s --weights best.pt --out network.onnx

The network takes normalized images (N, 3, H, W) in the color order of its experiment. The file's metadata has the
input size, color order, mean, standard deviation and joints. Needs: pip install 'pose-core[export]'
"""

from __future__ import annotations

import argparse

from pose_core.cli.arguments import add_config, add_overrides, add_weights, load


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``export``."""
    add_config(parser)
    add_overrides(parser)
    add_weights(parser)
    parser.add_argument("--out", required=True, metavar="FILE", help="the ONNX file to write")
    parser.add_argument("--batch", type=int, metavar="N", help="fixed number of images (any number)")
    parser.add_argument("--opset", type=int, default=19, metavar="N", help="ONNX operator set (19)")


def run(args: argparse.Namespace) -> int:
    """Write the ONNX file and print how well it agrees with PyTorch."""
    config = load(args)
    from pose_core.inference.export import export_onnx
    from pose_core.ops.normalizing import IMAGENET_MEAN, IMAGENET_STD
    from pose_core.plugins.networks import bare_network, load_weights
    from pose_core.skeleton import get_skeleton

    skeleton = get_skeleton(config.data.skeleton)
    network = bare_network(config)
    print(load_weights(network, args.weights, strict=not args.partial_weights))
    notes = {
        "network": config.model.name, "experiment": config.name, "input_size": list(config.model.input_size),
        "color": config.data.color, "mean": IMAGENET_MEAN, "std": IMAGENET_STD, "joints": list(skeleton.joints),
    }  # fmt: skip
    done = export_onnx(network, config.model.input_size, args.out, batch=args.batch, opset=args.opset, notes=notes)
    checked = "not checked: onnxruntime is not installed"
    if done.error is not None:
        checked = f"onnxruntime's output differs from PyTorch's by {done.error:.1e} of the largest output"
    print(f"written: {done.file}, outputs {', '.join(done.outputs)}; {checked}")
    return 0
