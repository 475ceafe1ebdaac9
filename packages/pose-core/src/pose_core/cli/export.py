"""Write a network for another runtime, and compare the file's results with PyTorch's.

  %(prog)s --cfg %(example)s --weights best.pt --out network.onnx
  %(prog)s --cfg %(example)s --weights best.pt --out poses.onnx --end-to-end
  %(prog)s --cfg %(example)s --weights best.pt --bundle poses
  %(prog)s --cfg %(example)s --weights best.pt --published --out model_best.pth

By default the file has the network alone: it takes normalized images (N, 3, H, W), any number of them, and any height
and width where the network takes whole images. With --end-to-end it takes RGB pixels (N, H, W, 3) uint8 and returns
keypoints. --bundle writes a folder with such a file and predict.py, which predicts poses in photos with numpy and
onnxruntime, without PyTorch. The file's metadata has the input size, color order, mean, standard deviation, joints and
settings of decoding.

--published writes a PyTorch checkpoint that the code which published the network loads: its names of the layers, with
the keys and the prefix that its test script expects. From a run's last.pt it also has the networks that were trained
with it: a critic, or a generator.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from pose_core.cli.arguments import add_config, add_overrides, add_weights, load
from pose_core.errors import ConfigError

if TYPE_CHECKING:
    from pose_core.inference.export import Exported

ENDINGS = {"onnx": ".onnx", "torch": ".pt2", "openvino": ".xml"}
CHECKPOINTS = (".pth", ".pth.tar")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``export``."""
    add_config(parser)
    add_overrides(parser)
    add_weights(parser)
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--out", metavar="FILE", help="the file to write: .onnx, .pt2 or .xml; with --published .pth")
    where.add_argument("--bundle", metavar="DIR", help="a new folder for the network, its settings and predict.py")
    parser.add_argument(
        "--format",
        choices=list(ENDINGS),
        help="onnx; torch: a file of torch.export; openvino: a pair of files .xml and .bin (by the file's ending)",
    )
    parser.add_argument(
        "--published", action="store_true", help="write a PyTorch checkpoint in the layout of the published code"
    )
    parser.add_argument("--end-to-end", action="store_true", help="take pixels and return keypoints")
    parser.add_argument(
        "--flip",
        action=argparse.BooleanOptionalAction,
        help="with --end-to-end or --bundle: average with the mirrored image, which takes twice the time (test.flip)",
    )
    parser.add_argument(
        "--int8",
        action="store_true",
        help="with --end-to-end or --bundle: eight-bit convolutions, faster on CPUs made for them; how far "
        "keypoints move is printed",
    )
    parser.add_argument(
        "--calibrate", metavar="DIR", help="with --int8: a folder of images like those that will be predicted"
    )
    parser.add_argument(
        "--batch", type=int, metavar="N", help="a fixed number of images, all of model.input_size (any number)"
    )
    parser.add_argument("--opset", type=int, metavar="N", help="ONNX operator set (19)")


def run(args: argparse.Namespace) -> int:
    """Write the file or the bundle, and print how well it agrees with PyTorch."""
    if args.published:
        return _published(args)
    kind = _format(args)
    opset = 19 if args.opset is None else args.opset
    config = load(args)
    from pose_core.inference import export
    from pose_core.inference.bundle import write_bundle
    from pose_core.inference.pipelines import build_pipeline, describe
    from pose_core.inference.quantize import quantize
    from pose_core.plugins.networks import bare_network, load_weights
    from pose_core.skeleton import get_skeleton

    size = config.model.input_size
    network = bare_network(config)
    print(load_weights(network, args.weights, strict=not args.partial_weights))
    pipeline = build_pipeline(network, config, flip=args.flip) if args.end_to_end or args.bundle else None
    notes = describe(network, config, pipeline)
    if args.bundle is not None and pipeline is not None:
        skeleton = get_skeleton(config.data.skeleton)
        done = write_bundle(pipeline, size, skeleton, args.bundle, opset=opset, notes=notes)
        if args.int8:
            print(quantize(done.file, pipeline, args.calibrate))
        print(f"written: {args.bundle} with model.onnx, skeleton.json, settings.json and predict.py; {_checked(done)}")
        print(f"try: python {args.bundle}/predict.py PHOTO" + (" --box X,Y,W,H" if pipeline.script == "crops" else ""))
        return 0
    if pipeline is not None:
        graph = export.pipeline_graph(pipeline, size, batch=args.batch)
    else:
        graph = export.network_graph(network, size, batch=args.batch, multiple=notes["multiple"])
    if kind == "torch":
        done = export.write_torch(graph, args.out, notes=notes)
    elif kind == "openvino":
        done = export.write_openvino(graph, args.out, notes=notes)
    else:
        done = export.write_onnx(graph, args.out, opset=opset, notes=notes)
        if args.int8 and pipeline is not None:
            print(quantize(done.file, pipeline, args.calibrate))
    print(f"written: {done.file}, outputs {', '.join(done.outputs)}; {_checked(done)}")
    if pipeline is not None:
        print(f"flip test: {'yes' if pipeline.settings['flip'] else 'no'}. Left to the caller: {pipeline.rest}.")
    return 0


def _published(args: argparse.Namespace) -> int:
    """Write a checkpoint for the published code."""
    other = ("bundle", "format", "end_to_end", "flip", "int8", "calibrate", "batch", "opset", "partial_weights")
    clash = [f"--{name.replace('_', '-')}" for name in other if getattr(args, name) not in (None, False)]
    clash += ["--no-flip"] if args.flip is False else []
    if clash:
        raise ConfigError(f"--published writes a complete PyTorch checkpoint; it does not go with {' or '.join(clash)}")
    if not args.out.endswith(CHECKPOINTS):
        raise ConfigError(f"--out {args.out}: a published checkpoint ends in .pth or .pth.tar")
    config = load(args)
    from pose_core.inference.export_published import export_published
    from pose_core.plugins.networks import bare_network, load_weights
    from pose_core.plurals import counted

    network = bare_network(config)
    print(load_weights(network, args.weights))
    done = export_published(network, config, args.weights, args.out)
    keys = f", under {', '.join(done.keys)}" if done.keys else ""
    print(f"written: {done.file}, {counted(done.entries, 'entry', 'entries')}{keys}; read back, they are equal")
    return 0


def _format(args: argparse.Namespace) -> str:
    """Return the format: as asked for, or by the file's ending; refuse what does not fit together."""
    if args.flip is not None and not args.end_to_end and args.bundle is None:
        raise ConfigError("--flip and --no-flip go with --end-to-end or --bundle: the network alone has no flip test")
    if args.int8 != (args.calibrate is not None):
        raise ConfigError("--int8 and --calibrate DIR go together: the folder's images set the ranges of values")
    if args.int8 and not args.end_to_end and args.bundle is None:
        raise ConfigError("--int8 goes with --end-to-end or --bundle, whose keypoints show what it costs")
    if args.bundle is not None:
        if args.batch is not None or args.format not in (None, "onnx"):
            raise ConfigError("--bundle takes neither --batch nor a --format other than onnx")
        return "onnx"
    ending = Path(args.out).suffix
    kind = args.format or next((kind for kind, own in ENDINGS.items() if own == ending), "onnx")
    if ending != ENDINGS[kind]:
        hint = "; --published writes a checkpoint" if args.out.endswith(CHECKPOINTS) else ""
        raise ConfigError(f"--out {args.out}: a file of format {kind} ends in {ENDINGS[kind]}{hint}")
    if args.int8 and kind != "onnx":
        raise ConfigError(f"--int8 writes an ONNX file; it does not go with --format {kind}")
    return str(kind)


def _checked(done: Exported) -> str:
    """Return a sentence about the comparison with PyTorch."""
    if done.error is None:
        return "not checked: onnxruntime is not installed"
    if done.ties is None:
        return f"its output differs from PyTorch's by {done.error:.1e} of the largest output"
    text = f"its keypoints differ from PyTorch's by at most {done.error:.1e} pixels"
    return text + (f", except in {done.ties:.2%} of the values, where two peaks are nearly equal" if done.ties else "")
