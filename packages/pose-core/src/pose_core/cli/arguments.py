"""Arguments that several commands share, and the configuration that they give."""

from __future__ import annotations

import argparse
import re
import sys
from typing import TYPE_CHECKING

from pose_core.cli.published_words import join_pairs, take_published
from pose_core.errors import ConfigError
from pose_core.installation import shell_command
from pose_core.verbosity import is_quiet

if TYPE_CHECKING:
    from pose_core.config import Experiment
    from pose_core.engine.presets import Work

_OVERRIDE = re.compile(r"[a-z_]+(\.[a-z_]+)*=|[A-Z][A-Z_0-9]*(\.[A-Z_0-9]+)*=")


def add_config(parser: argparse.ArgumentParser) -> None:
    """Add ``--cfg``; `load` asks for it where no weights say which experiment they belong to."""
    parser.add_argument(
        "--cfg",
        metavar="NAME|FILE",
        help="a built-in experiment (`pose configs` lists them), a YAML file, or a published upper-case YAML",
    )


def add_overrides(parser: argparse.ArgumentParser) -> None:
    """Add trailing ``key=value`` words."""
    parser.add_argument(
        "overrides",
        nargs="*",
        metavar="key=value",
        help="settings that replace the file's, for example train.epochs=1; after a published file also in its own "
        "spelling, TEST.FLIP_TEST False",
    )


def add_weights(parser: argparse.ArgumentParser) -> None:
    """Add ``--weights`` and ``--partial-weights``."""
    parser.add_argument(
        "--weights",
        metavar="NAME|FILE",
        help="trained weights by name (`pose weights list` shows the names), a checkpoint of a run (best.pt) or of "
        "published code (.pth, .pth.tar), a URL, or hf://owner/repo/file; without --cfg, the experiment is the one "
        "that they belong to",
    )
    parser.add_argument(
        "--partial-weights",
        action="store_true",
        help="load the weights that fit and list the others, instead of refusing a file that does not match",
    )


def add_device(parser: argparse.ArgumentParser) -> None:
    """Add ``--device``."""
    parser.add_argument("--device", metavar="NAME", help="cpu, cuda or cuda:1 (a GPU if there is one)")


def add_fast(parser: argparse.ArgumentParser) -> None:
    """Add ``--fast``; see :func:`load_fast`."""
    parser.add_argument("--fast", action="store_true", help="use the fastest settings for this device, and print them")


def add_switches(parser: argparse.ArgumentParser) -> None:
    """Add the flags of the command's method."""
    name = parser.get_default("method")
    if name is None:
        return
    from pose_core.plugins.method import get_method

    for flag, switch in get_method(name).switches.items():
        parser.add_argument(
            f"--{flag}",
            dest="switches",
            action="append_const",
            const=switch.override,
            help=f"{switch.summary} ({switch.override})",
        )


def split_overrides(words: list[str]) -> tuple[list[str], list[str]]:
    """Separate settings, ``key=value`` or a published key and its value, from other positional words."""
    words = join_pairs(words, among_files=True)
    overrides = [word for word in words if _OVERRIDE.match(word)]
    return overrides, [word for word in words if word not in overrides]


def load(args: argparse.Namespace, *, needs_weights: bool = True) -> Experiment:
    """Return the experiment that the arguments give: that of ``--cfg``, or else that of ``--weights``.

    A command that needs weights and is given neither uses its method's default weights.
    """
    from pose_core.plugins.checkpoints import bind_config, config_of, default_checkpoint
    from pose_core.plugins.experiments import override_config

    take_published(args)
    overrides = [*args.overrides, *(getattr(args, "switches", None) or [])]
    if getattr(args, "device", None):
        overrides.append(f"run.device={args.device}")
    asks = needs_weights and "weights" in args and not getattr(args, "random_weights", False)
    if asks and not args.weights:
        if args.cfg:
            raise ConfigError(f"--weights is missing; {_fitting(args)}")
        args.weights = default_checkpoint(args.method).name
        if not is_quiet():
            print(f"weights: {args.weights}, the default (--weights takes others)", file=sys.stderr)
    weights = getattr(args, "weights", None)
    if args.cfg:
        config = _load_named(args, overrides)
    elif weights:
        found = config_of(weights)
        if found is None:
            raise ConfigError(f"{weights} does not say which experiment it belongs to; {_example(args)}")
        config = override_config(found, overrides)
    else:
        raise ConfigError(f"which experiment? {_example(args)}")
    if weights:
        config = bind_config(config, weights, [item for item in overrides if not item.partition("=")[0].isupper()])
    if args.method and config.method != args.method:
        given = f"config {args.cfg} is" if args.cfg else f"weights {weights} are"
        raise ConfigError(f"{given} for the method {config.method!r}; run `pose-{config.method} {args.verb}` instead")
    return config


def _example(args: argparse.Namespace) -> str:
    """Return a hint to give ``--cfg``."""
    command = f"{shell_command(args.script)} configs"
    return f"add --cfg, for example --cfg {args.example}; `{command}` lists the experiments"


def _fitting(args: argparse.Namespace) -> str:
    """Return a hint to give ``--weights`` that fit ``--cfg``."""
    from pathlib import Path

    from pose_core.plugins.checkpoints import list_checkpoints

    name = Path(args.cfg).stem
    named = [each for each in list_checkpoints() if Path(each.experiment).stem == name]
    fitting = sorted(named, key=lambda each: (not each.default, len(each.settings)))[:3]
    examples = " or ".join([f"--weights runs/{name}/best.pt", *(f"--weights {each.name}" for each in fitting)])
    return f"for example {examples}; `{shell_command(args.script)} weights list` lists the names"


def _load_named(args: argparse.Namespace, overrides: list[str]) -> Experiment:
    """Return the experiment that ``--cfg`` names."""
    from pose_core.config import read_yaml
    from pose_core.plugins.experiments import load_config
    from pose_core.plugins.published import convert_published, is_published, override_published

    name = str(args.cfg)
    if name.endswith((".yaml", ".yml")):
        from pathlib import Path

        path = Path(name)
        content = read_yaml(path)
        if is_published(content):
            from pose_core.plugins.convert.source import render_notes

            content, _ = override_published(content, overrides)
            print(render_notes(convert_published(content, path.name, args.method)), file=sys.stderr)
    elif args.method and "/" not in name:
        from pose_core.plugins.method import get_method

        # A method's command searches its own package first.
        method = get_method(args.method)
        if name in method.experiments():
            name = f"{method.script}/{name}"
    return load_config(name, overrides, method=args.method)


def load_fast(args: argparse.Namespace, work: Work) -> Experiment:
    """Return the experiment; with ``--fast``, the preset's settings apply to all keys that the user does not set."""
    config = load(args)
    if not args.fast:
        return config
    from pose_core.engine.distributed import choose_device
    from pose_core.engine.presets import fast_settings
    from pose_core.plugins.experiments import override_config

    settings = fast_settings(choose_device(config.run.device), work)
    lines = [f"  {key}={value}: {why}" for key, (value, why) in settings.items()]
    print("\n".join(["fast:", *lines]) if lines else f"fast: nothing to change for {work} on this device")
    given = {item.partition("=")[0] for item in args.overrides}
    return override_config(config, [f"{key}={value}" for key, (value, _) in settings.items() if key not in given])
