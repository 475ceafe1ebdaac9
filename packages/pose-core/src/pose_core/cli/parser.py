"""The parser of a command: short messages that say what to do, and the options that every command has."""

from __future__ import annotations

import argparse
import re
from typing import NoReturn

from pose_core.errors import ConfigError
from pose_core.suggestions import did_you_mean
from pose_core.verbosity import Verbosity


class CommandParser(argparse.ArgumentParser):
    """A parser whose errors are short: what is wrong, and an example or the nearest option instead of the usage."""

    words: list[str] = []  # noqa: RUF012 - replaced, never changed
    """The words that are parsed, for messages."""

    def error(self, message: str) -> NoReturn:
        """Raise a ConfigError for a wrong command line."""
        missing = re.fullmatch("the following arguments are required: (.+)", message)
        unknown = re.fullmatch("(?s)unrecognized arguments: (.*)", message)
        if missing:
            example = self.example()
            text = f"{self.prog} needs {' and '.join(missing[1].split(', '))}"
            text += f"; for example:\n  {example}\n" if example else ". "
        elif unknown:
            text = self._explain_unknown((unknown[1].split() or [""])[0])
            text += " " if text.endswith("?") else ". "
        else:
            text = f"{message}. "
        raise ConfigError(f"{text}`{self.prog} --help` explains the options")

    def example(self) -> str:
        """Return the first example of the description, or an empty text."""
        lines = [line.strip() for line in (self.description or "").splitlines()]
        return next((line for line in lines if line.startswith(f"{self.prog} ")), "")

    def _explain_unknown(self, word: str) -> str:
        """Say what an unknown word may have been meant as: an option, or a setting given as one."""
        if not word.startswith("-"):
            return f"{self.prog} does not take {word!r}"
        name, _, value = word.lstrip("-").partition("=")
        near = did_you_mean(word.partition("=")[0], self._option_string_actions, cutoff=0.75)
        if near:
            return f"unknown option {word}{near}"
        if not any(action.dest == "overrides" for action in self._actions):
            return f"unknown option {word}"
        from pose_core.plugins.settings import nearest_setting

        key = nearest_setting(name.replace("-", "_"), self.get_default("method"))
        if key is None:
            return f"unknown option {word}; settings are given as key=value, and `pose settings` lists them"
        if not value:
            later = self.words[self.words.index(word) + 1 :] if word in self.words else []
            value = later[0] if later and not later[0].startswith("-") else "…"
        return f"unknown option {word}; settings are given as key=value: did you mean {key}={value}?"


class SubcommandParser(CommandParser):
    """A parser of a subcommand, which takes settings before, between and after its options as commands do."""

    is_mixing = False

    def parse_known_args(self, args=None, namespace=None):  # type: ignore[no-untyped-def]
        """Parse a subcommand's words; argparse itself would take positional ones only in one place."""
        if self.is_mixing:  # called by parse_known_intermixed_args
            return super().parse_known_args(args, namespace)
        self.is_mixing = True
        try:
            return self.parse_known_intermixed_args(args, namespace)
        finally:
            self.is_mixing = False


def add_verbosity(parser: argparse.ArgumentParser) -> None:
    """Add ``-v`` and ``-q`` to a parser and to the parsers of its subcommands."""
    for option, value, text in (
        ("verbose", Verbosity.VERBOSE, "print more, and the traceback of an error"),
        ("quiet", Verbosity.QUIET, "print results, warnings and errors only"),
    ):
        parser.add_argument(
            f"-{option[0]}",
            f"--{option}",
            dest="verbosity",
            action="store_const",
            const=value,
            default=argparse.SUPPRESS,  # a subcommand's default would replace what its command was given
            help=text,
        )
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for sub in action.choices.values():
                add_verbosity(sub)
