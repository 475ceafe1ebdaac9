"""Signals that stop a training, and outputs that are closed while it goes on."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import TextIO

STOPPING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1") if hasattr(signal, name))
"""Ctrl-C, a termination, a closed terminal, and the warning of a scheduler that the time is nearly over."""


class Interrupt:
    """A flag that a signal sets; the loop looks at it after each step."""

    asked = False
    at_once = False
    """Whether the first signal stops at once: nothing would be lost."""

    @contextmanager
    def immediate(self) -> Iterator[None]:
        """Let the first signal raise KeyboardInterrupt, in a block during which the checkpoint is up to date."""
        self.at_once = True
        try:
            if self.asked:
                raise KeyboardInterrupt
            yield
        finally:
            self.at_once = False


@contextmanager
def interruptible() -> Iterator[Interrupt]:
    """Handle signals: the first of `STOPPING` requests a stop, the second stops immediately."""
    interrupt = Interrupt()

    def ask(number: int, frame: FrameType | None) -> None:
        again, interrupt.asked = interrupt.asked, True
        if again or interrupt.at_once:
            raise KeyboardInterrupt

    before = {}
    try:
        for number in STOPPING:
            if not _is_ignored(number):
                before[number] = signal.signal(number, ask)
    except ValueError:  # only the main thread may handle signals
        pass
    try:
        yield interrupt
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _is_ignored(number: int) -> bool:
    """Return whether a signal is to be left alone: SIGHUP under nohup. (Shells ignore SIGINT for background jobs.)"""
    return number != signal.SIGINT and signal.getsignal(number) == signal.SIG_IGN


@contextmanager
def ending_processes() -> Iterator[None]:
    """Let loader processes end: PyTorch would raise RuntimeError at each signal of an end, once one was killed."""
    before = None
    with suppress(ValueError, AttributeError):  # only in the main thread, and not on Windows
        before = signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    try:
        yield
    finally:
        if before is not None:
            signal.signal(signal.SIGCHLD, before)


@contextmanager
def closable_output() -> Iterator[None]:
    """Go on when the reader of stdout or stderr goes away, as ``| head`` and a closed terminal do."""
    outputs = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (_Closable(stream) for stream in outputs)
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        sys.stdout, sys.stderr = outputs


class _Closable:
    """A text stream whose output goes nowhere once it cannot be written any more."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except OSError:
            self._close()
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError:
            self._close()

    def _close(self) -> None:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._stream.fileno())
        os.close(nowhere)
