"""Errors that a user can act on. The command line prints only their text and exits with their code."""

from pose_core.reading.printable import printable_message


class PoseError(Exception):
    """Something failed: exit code 1. The message says what was read, what was expected, and what to do."""

    exit_code = 1

    def __str__(self) -> str:
        return printable_message(super().__str__())


class ConfigError(PoseError):
    """Wrong usage or configuration: exit code 2."""

    exit_code = 2


class DataError(PoseError):
    """A data set, an annotation file or an image is missing or invalid: exit code 3."""

    exit_code = 3


class UnreadableError(DataError):
    """A file of a data set is missing or cannot be read, but perhaps a moment later: its file system may be away."""


class WeightsError(PoseError):
    """A checkpoint does not fit the network it is loaded into: exit code 1."""
