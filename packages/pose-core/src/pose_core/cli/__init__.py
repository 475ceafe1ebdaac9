"""The command line that every method shares: ``pose`` for everything, ``pose-lite`` and its kin for one method.

Only argparse is imported here; a verb's module is imported when the verb is used, and torch when it works.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import NamedTuple

from pose_core.errors import PoseError


class Verb(NamedTuple):
    """A verb: the module that holds ``add_arguments(parser)`` and ``run(args) -> int``, and a line of help."""

    module: str
    summary: str
    in_methods: bool = False


VERBS = {
    "quickstart": Verb("pose_core.cli.quickstart", "train, evaluate and draw on synthetic people, in a few minutes"),
    "train": Verb("pose_core.cli.train", "train a network", in_methods=True),
    "eval": Verb("pose_core.cli.evaluate", "evaluate a checkpoint on a benchmark", in_methods=True),
    "predict": Verb("pose_core.cli.predict", "find poses in images and videos and draw them", in_methods=True),
    "export": Verb("pose_core.cli.export", "write a network as an ONNX file", in_methods=True),
    "overfit": Verb(
        "pose_core.cli.overfit", "train on eight images: the smoke test for your own data", in_methods=True
    ),
    "configs": Verb("pose_core.cli.configs", "list the built-in experiments", in_methods=True),
    "show-config": Verb("pose_core.cli.show_config", "print an experiment, resolved", in_methods=True),
    "convert-config": Verb("pose_core.cli.convert_config", "turn a published (upper-case) YAML file into ours"),
    "models": Verb("pose_core.cli.models", "list networks with their size and cost"),
    "benchmark": Verb("pose_core.cli.benchmark", "measure networks and the stages around them on this machine"),
    "data": Verb("pose_core.cli.data", "synth | check | browse | sigmas | merge: make, inspect and look at data"),
    "doctor": Verb("pose_core.cli.doctor", "print what is installed, which device and which fast paths are in use"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """``pose``: the umbrella over every installed method."""
    return run_command("pose", dict(VERBS), "Human pose estimation, one method at a time.", argv)


def method_main(method: str, argv: Sequence[str] | None = None) -> int:
    """``pose-<method>``: the same verbs for one method, and its own."""
    from pose_core.plugins.method import get_method

    found = get_method(method)
    verbs = {name: verb for name, verb in VERBS.items() if verb.in_methods}
    verbs |= {name: Verb(module, summary) for name, (module, summary) in found.commands.items()}
    return run_command(found.script, verbs, found.summary, argv, method=method)


def run_command(
    script: str,
    verbs: dict[str, Verb],
    summary: str,
    argv: Sequence[str] | None = None,
    method: str | None = None,
) -> int:
    """Parse ``argv`` and run one verb. Exit codes: 0 done, 1 failed, 2 wrong usage or config, 3 data problem."""
    # OpenMP's threads spin while they wait; on cores shared with other work that costs three quarters of the speed.
    # Sleeping at once costs a fifth on idle ones, so they spin for some microseconds.
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "2000")
    words = list(sys.argv[1:] if argv is None else argv)
    name = words[0] if words else "--help"
    if name in {"-h", "--help", "help"}:
        print(overview(script, verbs, summary))
        return 0
    if name in {"-V", "--version"}:
        from importlib.metadata import version

        print(f"{script} {version('pose-core' if script == 'pose' else script)}")
        return 0
    if name not in verbs:
        from difflib import get_close_matches

        near = get_close_matches(name, verbs, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        print(f"error: {script} has no command {name!r}{hint} `{script} --help` lists them", file=sys.stderr)
        return 2
    module = import_module(verbs[name].module)
    parser = argparse.ArgumentParser(
        prog=f"{script} {name}",
        description=module.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(method=method, script=script, verb=name)
    module.add_arguments(parser)
    return guarded(lambda: _parse_and_run(parser, module.run, words[1:]))


def _parse_and_run(
    parser: argparse.ArgumentParser, run: Callable[[argparse.Namespace], int], words: Sequence[str]
) -> int:
    try:
        args = parser.parse_intermixed_args(words)
    except TypeError:  # a verb with sub-verbs of its own
        args = parser.parse_args(words)
    return run(args)


def guarded(work: Callable[[], int]) -> int:
    """Run ``work`` and turn its errors into messages and exit codes; no traceback unless POSE_DEBUG is set."""
    try:
        return work()
    except PoseError as error:
        if os.environ.get("POSE_DEBUG"):
            raise
        print(f"error: {text_of(error)}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of a pipe (`| head`) has gone; leave quietly, also at interpreter exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else 1
    except Exception as error:
        if os.environ.get("POSE_DEBUG"):
            raise
        print(
            f"error: {type(error).__name__}: {error}\n"
            "This is not a mistake we foresaw. Set POSE_DEBUG=1 to see where it happened, and please report it.",
            file=sys.stderr,
        )
        return 1


def text_of(error: PoseError) -> str:
    """The message alone: what a loader's worker raises comes with the traceback around it."""
    text, name = str(error), f"{type(error).__module__}.{type(error).__qualname__}: "
    return text.rpartition(name)[2].strip() if text.startswith("Caught ") else text


def overview(script: str, verbs: dict[str, Verb], summary: str) -> str:
    """The text of ``--help``."""
    width = max(map(len, verbs)) + 2
    lines = [f"usage: {script} COMMAND …", "", summary, "", "commands:"]
    lines += [f"  {name:<{width}}{verb.summary}" for name, verb in verbs.items()]
    lines += ["", f"`{script} COMMAND --help` explains one."]
    if script == "pose":
        lines += ["New here? `pose quickstart` trains a network on this machine in a few minutes."]
    lines += ["", "exit codes: 0 done, 1 failed, 2 wrong usage or configuration, 3 problem with the data"]
    return "\n".join(lines)
