"""What a checkpoint file would do to the library that reads it, found without that library.

PyTorch reads no code from files, but takes what they say of sizes, and builds any tree of tuples: as a key, a deep one
overflows the stack. Here a pickle is walked through, so that only the depth of its tuples and the sizes of its tensors
are kept, and archives are compared with what they hold.
"""

from __future__ import annotations

import io
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from pose_core.errors import WeightsError
from pose_core.plurals import size_text
from pose_core.reading.reasons import quoted
from pose_core.reading.regular import open_regular

MAX_PICKLE = 64 << 20
"""Most bytes of the part of a checkpoint that is not tensors, where logs of a long training may be."""
MAX_DEPTH = 100
"""Most levels of tuples in each other."""
MAX_HEADER = 100_000_000
"""Most bytes of a SafeTensors file's header: those of a million tensors."""
MAX_RATIO = 30
"""Most bytes that a byte of a compressed archive may become: weights hardly compress."""
ALWAYS_ALLOWED = 64 << 20
"""Bytes of an archive whatever its compression."""
_BYTES = {"Double": 8, "Long": 8, "ComplexDouble": 16, "Float": 4, "Int": 4, "Half": 2, "BFloat16": 2, "Short": 2}
"""Bytes of the elements of PyTorch's storages, by their names; others have one, or are refused later."""


class _Fault(Exception):
    """What is wrong in a file."""


class _Tuple(list[Any]):
    """A tuple's content, and its depth."""

    depth = 1


class _Outline(pickle._Unpickler):
    """An unpickler that makes nothing but tuples, texts and numbers, and lists the storages of tensors."""

    dispatch: ClassVar[dict[int, Callable[..., None]]] = dict(pickle._Unpickler.dispatch)
    stack: list[Any]

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file, encoding="latin-1")
        self.storages: list[tuple[str, int]] = []

    def find_class(self, module: str, name: str) -> Any:
        return name

    def persistent_load(self, pid: Any) -> None:
        if isinstance(pid, _Tuple) and len(pid) >= 5 and pid[0] == "storage" and type(pid[4]) is int:
            size = _BYTES.get(str(pid[1]).removesuffix("Storage"), 1)
            self.storages.append((str(pid[2]), size * pid[4]))

    def pushed(self, content: list[Any]) -> None:
        made = _Tuple(content)
        made.depth = 1 + max((each.depth for each in content if type(each) is _Tuple), default=0)
        if made.depth > MAX_DEPTH:
            raise _Fault(f"its tuples are more than {MAX_DEPTH} deep")
        self.stack.append(made)


def _step(taken: int, pushed: bool) -> Callable[[Any], None]:
    """Return what an instruction does that takes objects, or all since a mark (-1), and makes one of no interest."""

    def step(outline: Any) -> None:
        if taken < 0:
            outline.pop_mark()
        elif taken:
            del outline.stack[-taken:]
        if pushed:
            outline.stack.append(None)

    return step


def _tuple(taken: int) -> Callable[[Any], None]:
    def step(outline: Any) -> None:
        content = outline.pop_mark() if taken < 0 else outline.stack[len(outline.stack) - taken :]
        if taken > 0:
            del outline.stack[-taken:]
        outline.pushed(content)

    return step


_Outline.dispatch |= {
    **{code[0]: _tuple(taken) for code, taken in (
        (pickle.TUPLE, -1), (pickle.TUPLE1, 1), (pickle.TUPLE2, 2), (pickle.TUPLE3, 3))},
    **{code[0]: _step(taken, pushed) for code, taken, pushed in (
        (pickle.EMPTY_DICT, 0, True), (pickle.EMPTY_LIST, 0, True), (pickle.EMPTY_SET, 0, True),
        (pickle.DICT, -1, True), (pickle.LIST, -1, True), (pickle.FROZENSET, -1, True), (pickle.OBJ, -1, True),
        (pickle.REDUCE, 2, True), (pickle.NEWOBJ, 2, True), (pickle.NEWOBJ_EX, 3, True), (pickle.BUILD, 1, False),
        (pickle.APPEND, 1, False), (pickle.SETITEM, 2, False), (pickle.APPENDS, -1, False),
        (pickle.SETITEMS, -1, False), (pickle.ADDITEMS, -1, False))},
}  # fmt: skip


def check_checkpoint(file: Path) -> None:
    """Raise a WeightsError if a checkpoint would take far more memory than it has bytes, or lies about its tensors.

    A file that is damaged in another way is left to the library that reads it.
    """
    try:
        with open_regular(file, "weights file", error=WeightsError) as opened:
            if file.suffix == ".safetensors":
                _check_safetensors(opened.read(8))
            elif opened.read(2) == b"PK":
                opened.seek(0)
                _check_archive(opened, file.stat().st_size)
            else:
                opened.seek(0)
                _check_pickles(opened.read(MAX_PICKLE), file.stat().st_size)
    except _Fault as fault:
        raise WeightsError(f"weights file {file} is damaged, or no checkpoint: {fault}") from None


def _check_safetensors(start: bytes) -> None:
    length = int.from_bytes(start, "little")
    if length > MAX_HEADER:
        raise _Fault(f"its header says that it has {size_text(length)} itself")


def _check_archive(opened: Any, size: int) -> None:
    try:
        archive = zipfile.ZipFile(opened)
        members = {info.filename.partition("/")[2]: info for info in archive.infolist()}
    except Exception:  # PyTorch says what is wrong
        return
    total = sum(info.file_size for info in members.values())
    if total > max(ALWAYS_ALLOWED, MAX_RATIO * size):
        raise _Fault(f"it unpacks to {size_text(total)} from {size_text(size)}")
    content = members.get("data.pkl")
    if content is None:
        return
    if content.file_size > MAX_PICKLE:
        raise _Fault(f"it has {size_text(content.file_size)} that are not tensors, of at most {size_text(MAX_PICKLE)}")
    try:
        with archive.open(content) as member:
            outline = _outline(member.read(MAX_PICKLE))
    except _Fault:
        raise
    except Exception:  # PyTorch says what is wrong
        return
    for name, needed in outline.storages:
        member_info = members.get(f"data/{name}")
        if member_info is not None and needed > member_info.file_size:
            raise _Fault(
                f"its tensor {quoted(name)} has {size_text(member_info.file_size)}, but is said to have "
                f"{size_text(needed)}"
            )


def _check_pickles(content: bytes, size: int) -> None:
    """Check the five pickles before the tensors of an old file, or the one of a file without tensors."""
    file = io.BytesIO(content)
    for _ in range(5):
        try:
            outline = _outline(file)
        except EOFError:
            if size > len(content):
                raise _Fault(f"it has more than {size_text(MAX_PICKLE)} that are not tensors") from None
            return
        except _Fault:
            raise
        except Exception:  # PyTorch says what is wrong
            return
        for name, needed in outline.storages:
            if needed > size:
                raise _Fault(f"its tensor {quoted(name)} is said to have {size_text(needed)}")


def _outline(content: bytes | io.BytesIO) -> _Outline:
    outline = _Outline(io.BytesIO(content) if isinstance(content, bytes) else content)
    outline.load()
    return outline
