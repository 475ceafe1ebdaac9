"""Change valid files at random: bytes of any file, and values of documents such as JSON."""

from __future__ import annotations

import copy
import random
import struct
from typing import Any

NUMBERS = (
    0, -1, 1, 2, 3, -2, 255, 256, 65535, 2**31 - 1, 2**31, -(2**31), 2**32, 2**53 + 1, 2**63 - 1, 2**63, -(2**63),
    2**64, 10**30, 10**400, 0.5, -0.0, 1.7, 1e-30, 1e-320, 1e9, 1e30, 1e38, 1e39, 1e308, float("nan"), float("inf"),
    float("-inf"), True, False,
)  # fmt: skip
TEXTS = (
    "", "1", "-1", "1.5", "nan", "inf", "null", "true", "person", "../x", "../../../../etc/hostname", "/etc/hostname",
    "a/../../b", "C:\\x", "a\\..\\b", "~", "$HOME", "%s%n", "{}", "{0.__class__}", "\0", "a\0b", "\x1b[31mred",
    "\x1b]0;title\x07", "\r\n", "\u202egpj.exe", "\ud800", "\uffff", "é" * 40, "x" * 300, "x" * 5000, "*", ".", "..",
    "CON", "<script>alert(1)</script>", "=1+1", "!!python/object/apply:os.system [id]", "&a [*a]", "0x1F", "1_000",
    "1e400", "9" * 5000, "2026-99-99", "12:34:56",
)  # fmt: skip
BYTES = (
    b"\0", b"\xff", b"\x7f", b"\x80", b"\n", b'"', b"[", b"]", b"{", b"}", b",", b"-", b"9" * 20, b"\xef\xbb\xbf",
    b"\xed\xa0\x80", b"1e999", b"NaN", b"\\u0000", b"&a ", b"*a", b"<<: ", b"%", b"PK\x03\x04", b"\x80\x04",
)  # fmt: skip


def mutate_bytes(content: bytes, rng: random.Random) -> bytes:
    """Return a file's bytes with one to eight changes."""
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        size = len(data)
        at = rng.randrange(size + 1)
        length = min(rng.choice((1, 1, 2, 4, 8, 64, 1024)), max(size - at, 0))
        change = rng.randrange(10)
        if change == 0 and size:
            data[at % size] ^= 1 << rng.randrange(8)
        elif change == 1 and size:
            data[at % size] = rng.randrange(256)
        elif change == 2:
            del data[at : at + length]
        elif change == 3:
            data[at:at] = rng.choice(BYTES)
        elif change == 4:
            data[at : at + length] = bytes(rng.randrange(256) for _ in range(length))
        elif change == 5:
            data[at:at] = data[at : at + length] * rng.choice((1, 2, 16))
        elif change == 6 and size > 8:
            form = rng.choice(("<I", ">I", "<H", ">H", "<Q", "<i", "<d"))
            value = rng.choice((0, 1, 2**31 - 1, 2**32 - 1, 65535, rng.randrange(2**16), size, size * 2))
            width = struct.calcsize(form)
            limit = 2 ** (8 * width - 1) - 1
            number: float = min(value, limit) if form != "<d" else float(rng.choice((1e308, -1.0, 0.5)))
            place = at % (size - 8)
            data[place : place + width] = struct.pack(form, number)
        elif change == 7:
            del data[at:]  # truncated
        elif change == 8 and size:
            other = rng.randrange(size)
            data[at : at + length] = data[other : other + length]
        else:
            data += bytes(rng.randrange(256) for _ in range(rng.choice((1, 16, 256))))
    return bytes(data)


def mutate_tree(content: Any, rng: random.Random) -> Any:
    """Return a copy of a document with one to four values changed."""
    tree = copy.deepcopy(content)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        tree = _change(tree, rng)
    return tree


def _change(tree: Any, rng: random.Random) -> Any:
    places = list(_places(tree))
    if not places:
        return strange_value(rng)
    parent, key = rng.choice(places)
    change = rng.randrange(12)
    if change < 5:
        parent[key] = strange_value(rng)
    elif change == 5:
        del parent[key]
    elif change == 6:
        other, place = rng.choice(places)
        parent[key] = copy.deepcopy(other[place])
    elif change == 7 and isinstance(parent, list):
        parent.insert(key, copy.deepcopy(parent[key]))
    elif change == 8 and isinstance(parent, dict):
        parent[rng.choice((f"{key}s", "extra", "__class__", 1, "", "../x"))] = parent[key]
    elif change == 9 and type(parent[key]) in {int, float} and abs(parent[key]) < 1e300:
        parent[key] = rng.choice((-parent[key], parent[key] * 1e6, str(parent[key]), [parent[key]], float(parent[key]),
                                  parent[key] + rng.choice((-1, 1, 0.5))))  # fmt: skip
    elif change == 10:
        parent[key] = _nested(parent[key], rng)
    else:
        parent[key] = {"a": parent[key]} if rng.random() < 0.5 else [parent[key], parent[key]]
    return tree


def strange_value(rng: random.Random) -> Any:
    """Return a value that a reader may not expect."""
    kind = rng.randrange(10)
    if kind < 4:
        return rng.choice(NUMBERS)
    if kind < 7:
        return rng.choice(TEXTS)
    return rng.choice(
        (None, [], {}, [[]], [None], [1, 2], [float("nan")] * 51, [0] * 51, {"": 0}, [0.5] * 4, ["a", "a"])
    )


def _nested(value: Any, rng: random.Random) -> Any:
    for _ in range(rng.choice((2, 20, 150))):
        value = [value]
    return value


def _places(tree: Any) -> list[tuple[Any, Any]]:
    """Return all places in a document, as containers with keys."""
    found: list[tuple[Any, Any]] = []
    open_trees = [tree]
    while open_trees:
        at = open_trees.pop()
        keys = list(at) if isinstance(at, dict) else range(len(at)) if isinstance(at, list) else ()
        for key in keys:
            found.append((at, key))
            if isinstance(at[key], dict | list):
                open_trees.append(at[key])
    return found
