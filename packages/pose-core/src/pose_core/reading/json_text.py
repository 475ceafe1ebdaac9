"""JSON, whole or in blocks, within limits, with errors that name the file, the line and the column."""

from __future__ import annotations

import codecs
import gc
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from pose_core.errors import DataError, PoseError, UnreadableError
from pose_core.plurals import size_text
from pose_core.reading.patience import read_patiently
from pose_core.reading.regular import open_regular, read_regular

MAX_BYTES = 4 * 10**9
"""The largest JSON file that is read; that of COCO's 118,287 training images has 238 MB."""
MAX_DIGITS = 300
"""The most digits of an integer: more would not even fit into a float."""
BLOCK = 1 << 18
"""Bytes that are read at once: their objects fit into a processor's cache."""

_AGAIN = "; it may have been truncated while it was copied; fetch it again"
_TAIL = 32
"""Characters: an error this near to the end of what has been read may be due to a cut literal, number or escape."""
_ONES = bytes(0x31 if 0x30 <= code <= 0x39 else 0x20 for code in range(256))
"""Translates every digit to 1 and everything else to a space."""
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|.)", re.DOTALL)
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_SPACE = re.compile(r"[ \t\n\r]*")

_read_before: set[Path] = set()


class _LongNumberError(Exception):
    """A number has too many digits: these."""


class _BadTextError(Exception):
    """A text is not what is wanted at a position, perhaps because it was cut off."""

    def __init__(self, reason: str, position: int, *, perhaps_cut: bool = False) -> None:
        super().__init__(reason)
        self.reason, self.position, self.perhaps_cut = reason, position, perhaps_cut

    def at(self, line: int, column: int, hint: str) -> str:
        """Return the end of a message, with a hint if the text may have been cut off."""
        return f"is not valid JSON: line {line}, column {column}: {self.reason}{hint if self.perhaps_cut else ''}"


_PARSING = (json.JSONDecodeError, RecursionError, _LongNumberError)
"""What the parser raises."""


def read_json(file: Path, what: str = "annotation file") -> Any:
    """Return the content of a JSON file; raise a DataError if it is missing or malformed.

    One that this process has read before may be away for a moment: then it is tried again.
    """
    read = partial(read_regular, file, what, limit=MAX_BYTES)
    return parse_json(_patiently(file, read), f"{what} {file}", hint=_AGAIN)


def parse_json(text: str | bytes, name: str, *, hint: str = "", error: type[PoseError] = DataError) -> Any:
    """Return the content of a JSON text; raise ``error`` if it is malformed.

    ``name`` describes the text at the start of messages, and ``hint`` ends those that a cut text may have.
    """
    try:
        if isinstance(text, bytes):
            text = text.decode(json.detect_encoding(text))
        with collector_paused():
            return _parse_whole(text)
    except UnicodeDecodeError as reason:
        raise error(_not_text(name, reason, 0)) from None
    except _BadTextError as reason:
        line, column = _place(str(text), reason.position)
        raise error(f"{name} {reason.at(line, column, hint)}") from None


def stream_json(
    file: Path,
    shrink: Mapping[str, Callable[[dict[str, Any]], object]],
    what: str = "annotation file",
    *,
    numbers: str = "",
    block: int = BLOCK,
) -> Any:
    """Return the content of a JSON file as `read_json` does, of which neither all text nor all entries are ever held.

    ``shrink`` has a function for each list of the outermost object that is to be shortened: it is called for each
    entry that is an object, and the list holds what it returns. The file is read in blocks; if it is away for a
    moment, it is read again from the start, and the functions are called again. A list of numbers under the key
    ``numbers`` may be passed to them as a float64 array: that takes less time.
    """
    read = partial(_stream, file, partial(_parse_outermost, shrink=shrink, numbers=numbers), what, block)
    with collector_paused():
        return _patiently(file, read)


def stream_list(
    file: Path, shorten: Callable[[dict[str, Any]], object], what: str, *, numbers: str = "", block: int = BLOCK
) -> Any:
    """Return the content of a JSON file, a list that holds what ``shorten`` returns for each of its objects.

    Like `stream_json`; content that is no list is returned as it is.
    """
    read = partial(_stream, file, partial(_parse_list, shorten=shorten, numbers=numbers), what, block)
    with collector_paused():
        return _patiently(file, read)


def _patiently(file: Path, read: Callable[[], Any]) -> Any:
    content = read_patiently(read) if file in _read_before else read()
    _read_before.add(file)
    return content


def _stream(file: Path, parse: Callable[[_SlidingText], Any], what: str, block: int) -> Any:
    name = f"{what} {file}"
    with open_regular(file, what) as opened:
        text = _SlidingText(opened, name, block)
        try:
            content = parse(text)
            if text.peek():
                raise _BadTextError("Extra data", text.position, perhaps_cut=True)
            return content
        except UnicodeDecodeError as reason:
            raise DataError(_not_text(name, reason, text.bytes_before)) from None
        except _BadTextError as reason:
            raise DataError(f"{name} {reason.at(*text.place(reason.position), _AGAIN)}") from None
        except OSError as reason:
            raise UnreadableError(f"{name} cannot be read: {reason.strerror}") from None


class _SlidingText:
    """The part of a file's text that is being parsed: blocks are added at its end, and what is done is dropped."""

    def __init__(self, file: BinaryIO, name: str, block: int) -> None:
        self._file, self._name, self._block = file, name, block
        self._codec: codecs.IncrementalDecoder | None = None
        self._line, self._column = 1, 1  # of the first character that is held
        self._decoder = json.JSONDecoder()
        self._bytes = 0
        self.bytes_before = 0
        """Bytes before the block that was decoded last."""
        self.held, self.position, self.ended = "", 0, False
        self.numbers = ""
        """The key of the lists of numbers that `objects` may turn into arrays."""
        self._is_unsure = False

    def more(self, blocks: int = 1) -> None:
        """Read ``blocks`` further blocks, and drop what is before `position`."""
        new = self._file.read(blocks * self._block)
        self.ended = not new
        if self._codec is None:
            new += self._file.read(max(0, 4 - len(new)))  # as many bytes tell the encoding
            self._codec = codecs.getincrementaldecoder(json.detect_encoding(new))()
        if self._bytes + len(new) > MAX_BYTES:
            raise DataError(f"{self._name} is too large: more than {size_text(MAX_BYTES)}")
        self.bytes_before = self._bytes - len(self._codec.getstate()[0])
        self._line, self._column = self.place(self.position)
        self._is_unsure = False
        self.held = self.held[self.position :] + self._codec.decode(new, final=self.ended)
        self._bytes += len(new)
        self.position = 0
        if _has_long_number(self.held):
            self._decoder = json.JSONDecoder(parse_int=_short_integer)

    def place(self, position: int) -> tuple[int, int]:
        """Return the line and the column, from 1, of a position of the held text."""
        line, column = _place(self.held, position)
        return self._line + line - 1, column + (self._column - 1 if line == 1 else 0)

    def peek(self) -> str:
        """Return the next character that is no white space, without passing it; an empty text at the end."""
        while True:
            self.position = _SPACE.match(self.held, self.position).end()  # type: ignore[union-attr]
            if self.position < len(self.held):
                return self.held[self.position]
            if self.ended:
                return ""
            self.more()

    def passes(self, character: str) -> bool:
        """Return whether the next character is this one, and pass it if so."""
        found = self.peek() == character
        self.position += found
        return found

    def take(self, character: str) -> None:
        """Pass a character that must come next."""
        if not self.passes(character):
            raise _BadTextError(f"Expecting {character!r} delimiter", self.position, perhaps_cut=True)

    def starts_list(self) -> None:
        """Let `objects` try again."""
        self._is_unsure = False

    def objects(self) -> Sequence[Any]:
        """Return values of a list that follow, and pass them with their commas: those that are held, or none.

        Together they are parsed in less time. What is before a ``},`` is whole values of this list if it can be parsed
        as a list; otherwise that is within one of them, or after the list.
        """
        end = self.held.rfind("},", self.position) + 1
        if not end or self._is_unsure:
            return []
        text = self.held[self.position : end]
        is_plain = self.numbers and self._decoder.parse_int is int
        values = None
        if is_plain:
            from pose_core.reading.number_lists import decode_entries  # needs NumPy

            values = decode_entries(text, self.numbers)
        if values is None:
            try:
                values = self._decoder.decode(f"[{text}]")
            except _PARSING:
                self._is_unsure = True  # until there is more
                return []
        _check_surrogates(self.held, self.position, end)
        self.position = end + 1
        return values

    def value(self) -> Any:
        """Return the value that follows, and pass it."""
        self.peek()
        blocks = 1
        while True:
            try:
                value, end = self._decoder.raw_decode(self.held, self.position)
            except _PARSING as reason:
                error = _our_error(reason, self.held, self.position)
                cut = error.reason.startswith("Unterminated") or error.position >= len(self.held) - _TAIL
                if self.ended or not cut:
                    raise error from None
            else:
                # A number may go on in the next block.
                if self.ended or end < len(self.held) - _TAIL or not isinstance(value, int | float):
                    _check_surrogates(self.held, self.position, end)
                    self.position = end
                    return value
            self.more(blocks)
            blocks *= 2  # a long value is not parsed again for each of its blocks


def _parse_outermost(text: _SlidingText, shrink: Mapping[str, Callable[[dict[str, Any]], object]], numbers: str) -> Any:
    text.numbers = numbers
    return _members(text, shrink) if text.passes("{") else text.value()


def _parse_list(text: _SlidingText, shorten: Callable[[dict[str, Any]], object], numbers: str) -> Any:
    text.numbers = numbers
    return _entries(text, shorten) if text.passes("[") else text.value()


def _members(text: _SlidingText, shrink: Mapping[str, Callable[[dict[str, Any]], object]]) -> dict[str, Any]:
    members: dict[str, Any] = {}
    if text.passes("}"):
        return members
    while True:
        if text.peek() != '"':
            raise _BadTextError("Expecting property name enclosed in double quotes", text.position, perhaps_cut=True)
        key = text.value()
        text.take(":")
        shorten = shrink.get(key)
        members[key] = _entries(text, shorten) if shorten and text.passes("[") else text.value()
        if text.passes("}"):
            return members
        text.take(",")


def _entries(text: _SlidingText, shorten: Callable[[dict[str, Any]], object]) -> list[Any]:
    entries: list[Any] = []
    if text.passes("]"):
        return entries
    text.starts_list()
    while True:
        entries += [shorten(value) if type(value) is dict else value for value in text.objects()]
        value = text.value()
        entries.append(shorten(value) if type(value) is dict else value)
        if text.passes("]"):
            return entries
        text.take(",")


def _parse_whole(text: str) -> Any:
    """Return the content of a text; raise a `_BadTextError`."""
    try:
        content = json.loads(text, parse_int=_short_integer) if _has_long_number(text) else json.loads(text)
    except _PARSING as reason:
        raise _our_error(reason, text, 0) from None
    _check_surrogates(text, 0, len(text))
    return content


def _our_error(error: Exception, text: str, start: int) -> _BadTextError:
    """Return the error for one of `_PARSING` that came of parsing a text from a position on."""
    if isinstance(error, json.JSONDecodeError):
        return _BadTextError(error.msg, error.pos, perhaps_cut=True)
    if isinstance(error, RecursionError):
        return _BadTextError("the value that begins here is nested too deep", start)
    return _BadTextError(f"an integer of more than {MAX_DIGITS} digits", text.index(str(error), start))


def _has_long_number(text: str) -> bool:
    """Return whether more than `MAX_DIGITS` digits follow each other, perhaps in a string."""
    digits = text.encode("utf-8", "replace").translate(_ONES)
    return b"1" * (MAX_DIGITS + 1) in digits


def _short_integer(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise _LongNumberError(text)
    return int(text)


def _check_surrogates(text: str, start: int, end: int) -> None:
    r"""Raise a `_BadTextError` if a ``\ud83d`` stands without its other half: nothing can show or save it."""
    if not _SURROGATE.search(text, start, end):
        return
    waiting: re.Match[str] | None = None
    for escape in _ESCAPE.finditer(text, start, end):
        code = int(escape[1], 16) if escape[1] else 0
        if waiting and waiting.end() == escape.start() and 0xDC00 <= code <= 0xDFFF:
            waiting = None
            continue
        if waiting:
            break
        if 0xD800 <= code <= 0xDBFF:
            waiting = escape
        elif 0xDC00 <= code <= 0xDFFF:
            waiting = escape
            break
    if waiting:
        raise _BadTextError(f"{waiting[0]} is half of a character", waiting.start())


def _place(text: str, position: int) -> tuple[int, int]:
    """Return the line and the column, from 1, of a position in a text."""
    return text.count("\n", 0, position) + 1, position - text.rfind("\n", 0, position)


def _not_text(name: str, reason: UnicodeDecodeError, bytes_before: int) -> str:
    return f"{name} is not UTF-8 text: {reason.reason} at byte {bytes_before + reason.start}"


@contextmanager
def collector_paused() -> Iterator[None]:
    """Pause the garbage collector: its search of millions of parsed objects takes a third of the reading time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
