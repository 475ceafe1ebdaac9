"""The parser of MATLAB's files, against SciPy's where that can read them, and on damaged files."""

from __future__ import annotations

import io
import struct
import zlib
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.io import loadmat, savemat

from pose_core.errors import DataError
from pose_core.reading import matlab
from pose_core.reading.matlab import read_fields, read_matlab

NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,9}", fullmatch=True)
NUMBERS = st.sampled_from(["f8", "f4", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "?"]).flatmap(
    lambda code: hnp.arrays(code, hnp.array_shapes(min_dims=2, max_dims=4, min_side=0, max_side=4))
)
LETTERS = st.characters(min_codepoint=32, max_codepoint=126)
TEXTS = st.text(LETTERS, min_size=1, max_size=9)
WHOLE = st.integers(-300, 70_000).map(float)  # stored in the smallest type


def cells(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(inner, min_size=1, max_size=4).map(_cells)


def _cells(values: list[Any]) -> np.ndarray:
    made = np.empty((1, len(values)), object)
    for index, value in enumerate(values):
        made[0, index] = value
    return made


@st.composite
def structs(draw: Any, inner: st.SearchStrategy[Any]) -> np.ndarray:
    names = draw(st.lists(NAMES, min_size=1, max_size=3, unique=True))
    count = draw(st.integers(1, 3))
    made = np.empty((1, count), [(name, object) for name in names])
    for index in range(count):
        made[0, index] = tuple(draw(inner) for _ in names)
    return made


VALUES = st.recursive(NUMBERS | TEXTS | WHOLE, lambda inner: cells(inner) | structs(inner), max_leaves=8)


def written(content: dict[str, Any], **options: Any) -> bytes:
    file = io.BytesIO()
    savemat(file, content, **options)
    return file.getvalue()


def assert_same(found: Any, expected: Any) -> None:
    if hasattr(expected, "_fieldnames"):
        assert isinstance(found, SimpleNamespace)
        assert list(vars(found)) == expected._fieldnames
        for name in expected._fieldnames:
            assert_same(getattr(found, name), getattr(expected, name))
    elif isinstance(expected, np.ndarray):
        assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
        if expected.dtype == object:
            for one, other in zip(found.ravel(), expected.ravel(), strict=True):
                assert_same(one, other)
        else:
            assert np.array_equal(found, expected, equal_nan=expected.dtype.kind == "f")
    else:
        assert type(found) is type(expected)
        assert found == expected or found != found


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=VALUES, other=VALUES, compressed=st.booleans(), squeeze=st.booleans())
def test_values_are_those_that_scipy_reads(
    tmp_path: Path, value: Any, other: Any, compressed: bool, squeeze: bool
) -> None:
    file = tmp_path / "a.mat"
    file.write_bytes(written({"first": other, "value": value, "last": other}, do_compression=compressed))
    expected = loadmat(file, struct_as_record=False, squeeze_me=squeeze)["value"]
    assert_same(read_matlab(file, "value", "a test", structs=squeeze), expected)


@pytest.mark.parametrize("value", [np.arange(6.0).reshape(2, 3), np.float64(4), "some text", np.array(["ab", "cd"])])
@pytest.mark.parametrize("squeeze", [False, True])
def test_version_4(tmp_path: Path, value: Any, squeeze: bool) -> None:
    file = tmp_path / "a.mat"
    file.write_bytes(written({"first": 1.0, "value": value}, format="4"))
    expected = loadmat(file, squeeze_me=squeeze)["value"]
    assert_same(read_matlab(file, "value", "a test", structs=squeeze), expected)


def part(kind: int, data: bytes, order: str) -> bytes:
    return struct.pack(f"{order}2I", kind, len(data)) + data + bytes(-len(data) % 8)


def array(kind: int, shape: tuple[int, ...], content: bytes, order: str = "<", name: bytes = b"value") -> bytes:
    head = part(6, struct.pack(f"{order}2I", kind, 0), order)
    sides = part(5, struct.pack(f"{order}{len(shape)}i", *shape), order)
    return part(14, head + sides + part(1, name, order) + content, order)


def file_of(*parts: bytes, order: str = "<") -> bytes:
    version = b"\0\x01IM" if order == "<" else b"\x01\0MI"
    return b"MATLAB 5.0".ljust(124) + version + b"".join(parts)


def test_big_endian_files_are_read(tmp_path: Path) -> None:
    numbers = part(9, struct.pack(">6d", *range(6)), ">")
    (tmp_path / "a.mat").write_bytes(file_of(array(6, (2, 3), numbers, ">"), order=">"))
    found = read_matlab(tmp_path / "a.mat", "value", "a test")
    assert np.array_equal(found, [[0, 2, 4], [1, 3, 5]])
    assert found.dtype == np.float64


DOUBLE = part(9, bytes(8), "<")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(file_of(array(6, (2**31 - 1, 2**31 - 1), DOUBLE)), "has 8 bytes", id="shape"),
        pytest.param(file_of(array(6, (-1, -1), DOUBLE)), r"the shape \(-1, -1\)", id="negative"),
        pytest.param(file_of(array(1, (2**30, 1), b"")), "too few bytes", id="cells"),
        pytest.param(file_of(array(1, (1, 2), array(6, (1, 1), DOUBLE))), "too few bytes|longer", id="a cell lacks"),
        pytest.param(file_of(array(2, (2**30, 1), part(5, b"\x20\0\0\0", "<") + part(1, b"", "<"))), "few", id="n"),
        pytest.param(
            file_of(array(2, (1, 1), part(5, b"\x20\0\0\0", "<") + part(1, b"__array_struct__".ljust(32, b"\0"), "<")
            + array(6, (1, 1), DOUBLE))), "field '__array_struct__'", id="names"),
        pytest.param(file_of(array(3, (1, 1), DOUBLE)), "'value' is an object; save plain arrays", id="object"),
        pytest.param(file_of(array(5, (1, 1), DOUBLE)), "'value' is a sparse matrix", id="sparse"),
        pytest.param(file_of(array(16, (1, 1), DOUBLE)), "'value' is a function handle", id="function"),
        pytest.param(file_of(array(1, (1, 1), array(17, (1, 1), DOUBLE, name=b""))), "holds an object", id="opaque"),
        pytest.param(file_of(part(15, zlib.compress(array(6, (1, 1), DOUBLE))[:-4], "<")), "cut off", id="checksum"),
        pytest.param(file_of(array(6, (1, 1), DOUBLE))[:-9], "cut off", id="cut"),
        pytest.param(file_of(array(6, (1, 1), DOUBLE, name=b"other")), "it has other", id="other"),
        pytest.param(b"MATLAB 7.3 MAT-file".ljust(600), "save it with the option -v7", id="7.3"),
        pytest.param(b"", "does not begin as", id="empty"),
    ],
)  # fmt: skip
def test_wrong_files_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a.mat").write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_matlab(tmp_path / "a.mat", "value", "a test")


def test_depth_and_size_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = array(6, (1, 1), DOUBLE)
    for _ in range(40):
        deep = array(1, (1, 1), deep)
    (tmp_path / "deep.mat").write_bytes(file_of(deep))
    with pytest.raises(DataError, match="more than 30 deep"):
        read_matlab(tmp_path / "deep.mat", "value", "a test")
    monkeypatch.setattr(matlab, "MAX_ELEMENTS", 39)
    (tmp_path / "many.mat").write_bytes(file_of(array(1, (4, 10), bytes.fromhex("0e00000000000000") * 40)))
    with pytest.raises(DataError, match="more than 39 elements"):
        read_matlab(tmp_path / "many.mat", "value", "a test")
    (tmp_path / "bomb.mat").write_bytes(written({"value": np.zeros((1000, 1000))}, do_compression=True))
    monkeypatch.setattr(matlab, "ALWAYS_ALLOWED", 1_000_000)
    with pytest.raises(DataError, match=r"unpacks to 8.0 MB from 7.\d kB, of at most 2.\d MB"):
        read_matlab(tmp_path / "bomb.mat", "value", "a test")


def test_fields_of_numbers(tmp_path: Path) -> None:
    (tmp_path / "a.mat").write_bytes(written({"one": np.ones((2, 2)), "two": "text"}))
    assert np.array_equal(read_fields(tmp_path / "a.mat", ["one"], "a test")["one"], np.ones((2, 2)))
    with pytest.raises(DataError, match=r"a test: it has no field 'three' \(it has one, two\)"):
        read_fields(tmp_path / "a.mat", ["one", "three"], "a test")
    with pytest.raises(DataError, match="'two' is not of numbers"):
        read_fields(tmp_path / "a.mat", ["two"], "a test")


@pytest.mark.parametrize("options", [{}, {"do_compression": True}, {"format": "4"}])
def test_damage_ends_in_values_or_a_data_error(tmp_path: Path, options: dict[str, Any]) -> None:
    content: dict[str, Any] = {"value": np.arange(6.0).reshape(2, 3), "text": "words"}
    if "format" not in options:
        point = np.array([[(1.0, "a"), (2.5, np.zeros((0, 0)))]], [("x", object), ("name", object)])
        content["value"] = np.array([[(point, 3)]], [("points", object), ("id", object)])
    whole = np.frombuffer(written(content, **options), np.uint8)
    rng = np.random.default_rng(0)
    file = tmp_path / "a.mat"
    for number in range(1500):
        damaged = whole.copy()
        damaged[rng.integers(0, len(whole), 1 + number % 3)] = rng.integers(0, 256, 1 + number % 3)
        file.write_bytes(damaged[: rng.integers(0, len(whole) + 1) if number % 5 == 0 else len(whole)].tobytes())
        with suppress(DataError):
            read_matlab(file, "value", "a test", structs=number % 2 == 0)
