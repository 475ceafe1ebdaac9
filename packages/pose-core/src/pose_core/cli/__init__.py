"""The command line that all methods share: ``pose`` for every installed method, ``pose-<method>`` for one.

Only argparse is imported here; a command's module is imported when the command is used, and torch when it runs.
"""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence

from pose_core.cli.help_text import fill_help
from pose_core.cli.parser import CommandParser, add_verbosity
from pose_core.cli.published_words import join_pairs, take_published
from pose_core.cli.verbs import PLOT, VERBS
from pose_core.errors import ConfigError, PoseError
from pose_core.outside import outside_cause
from pose_core.plugins.method import Command, get_method
from pose_core.reading.printable import printable, printable_output
from pose_core.suggestions import did_you_mean
from pose_core.verbosity import Verbosity, is_verbose, set_verbosity


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``pose``, the command for all installed methods."""
    return run_command("pose", VERBS, "Human pose estimation: train, evaluate and run the installed methods.", argv)


def method_main(method: str, argv: Sequence[str] | None = None) -> int:
    """Run ``pose-<method>``: the shared commands for one method, and its own."""
    own = get_method(method)
    return run_command(own.script, method_verbs(method), own.summary, argv, method=method)


def method_verbs(method: str) -> dict[str, Command]:
    """Return the commands of ``pose-<method>``."""
    own = get_method(method)
    verbs: dict[str, Command] = {name: verb for name, verb in VERBS.items() if verb.in_methods}
    if own.curves:
        verbs["plot"] = PLOT
    return verbs | dict(own.commands())


def run_command(
    script: str,
    verbs: Mapping[str, Command],
    summary: str,
    argv: Sequence[str] | None = None,
    method: str | None = None,
) -> int:
    """Parse ``argv`` and run one command. Exit codes: 0 done, 1 failed, 2 wrong usage or config, 3 data problem."""
    # OpenMP threads spin while they wait; on cores shared with other work that costs three quarters of the speed.
    # Without any spinning they lose a fifth on idle cores, so they spin for a few microseconds.
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "2000")
    words = list(sys.argv[1:] if argv is None else argv)
    set_verbosity(Verbosity.NORMAL)
    flags = []
    while words and words[0] in {"-v", "--verbose", "-q", "--quiet"}:
        flags.append(words.pop(0))
    return guarded(lambda: _run(script, verbs, summary, [*words[:1], *flags, *words[1:]], method))


def _run(script: str, verbs: Mapping[str, Command], summary: str, words: list[str], method: str | None) -> int:
    name = words[0] if words else "--help"
    if name in {"-h", "--help", "help"}:
        print(overview(script, verbs, summary))
        return 0
    if name in {"-V", "--version"}:
        from importlib.metadata import version

        print(f"{script} {version('pose-core' if script == 'pose' else script)}")
        return 0
    if name == "__complete":  # called by the shell scripts of `pose completion`
        from pose_core.cli.completion import candidates

        found = candidates(words[2:], verbs, lambda verb: build_parser(script, verbs, verb, method), method)
        print("\n".join(found))
        return 0
    if name not in verbs:
        hint = did_you_mean(name, verbs) or "."
        raise ConfigError(f"{script} has no command {name!r}{hint} `{script} --help` lists them")
    module = verbs[name].load()
    return _parse_and_run(build_parser(script, verbs, name, method), module.run, words[1:])


def build_parser(script: str, verbs: Mapping[str, Command], name: str, method: str | None) -> CommandParser:
    """Return the parser of one command."""
    module = verbs[name].load()
    parser = CommandParser(
        prog=f"{script} {name}",
        description=fill_help(module.__doc__ or "", script, name, method),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    example = fill_help("%(example)s", script, name, method)
    parser.set_defaults(method=method, script=script, verb=name, example=example)
    module.add_arguments(parser)
    add_verbosity(parser)
    return parser


def _parse_and_run(parser: CommandParser, run: Callable[[argparse.Namespace], int], words: Sequence[str]) -> int:
    parser.words = list(words)
    try:
        args = parser.parse_intermixed_args(words)
    except TypeError:  # a command with subcommands
        args = parser.parse_args(words)
    set_verbosity(getattr(args, "verbosity", Verbosity.NORMAL))
    if "overrides" in args:
        args.overrides = join_pairs(args.overrides)
        take_published(args)
    return run(args)


def guarded(work: Callable[[], int]) -> int:
    """Run ``work`` and turn its errors into messages and exit codes; a traceback only with -v or POSE_DEBUG."""
    try:
        with printable_output():
            code = work()
        sys.stdout.flush()  # a closed pipe shows here
        return code
    except PoseError as error:
        _trace()
        print(f"error: {printable(text_of(error))}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of the pipe (`| head`) has closed it; exit without a message, also at interpreter exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141  # as other programs end then: 128 + SIGPIPE
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else 1
    except Exception as error:
        _trace()
        cause = outside_cause(error) or (
            f"{type(error).__name__}: {error}\n"
            "This is a bug. Please report it, with the traceback that the same command prints with -v."
        )
        print(f"error: {printable(cause)}", file=sys.stderr)
        return 1


def _trace() -> None:
    """Print the traceback of the error that is being handled, with -v or POSE_DEBUG."""
    if is_verbose() or os.environ.get("POSE_DEBUG"):
        print(printable(traceback.format_exc()), file=sys.stderr)


def text_of(error: PoseError) -> str:
    """Return an error's message, without the traceback that a loader's worker process adds."""
    text, name = str(error), f"{type(error).__module__}.{type(error).__qualname__}: "
    return text.rpartition(name)[2].strip() if text.startswith("Caught ") else text


def overview(script: str, verbs: Mapping[str, Command], summary: str) -> str:
    """Return the text of ``--help``."""
    width = max(map(len, verbs)) + 2
    lines = [f"usage: {script} COMMAND …", "", summary, "", "commands:"]
    lines += [f"  {name:<{width}}{verb.summary}" for name, verb in verbs.items()]
    lines += [
        "",
        "options:",
        "  -h, --help     print this text; after a command, explain that command",
        "  -V, --version  print the version",
        "  -v, --verbose  print more, and tracebacks of errors (with every command)",
        "  -q, --quiet    print results, warnings and errors only (with every command)",
    ]
    if script == "pose":
        lines += ["", "New here? `pose quickstart` trains a network on this machine in a few minutes."]
    lines += ["", "exit codes: 0 done, 1 failed, 2 wrong usage or configuration, 3 problem with the data"]
    return "\n".join(lines)
