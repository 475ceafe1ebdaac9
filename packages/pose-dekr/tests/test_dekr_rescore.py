"""Rescoring against the published figures, and end to end."""

from __future__ import annotations

import io
import json
import pickle
import re
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pose_core.cli import method_main
from pose_core.errors import ConfigError, DataError
from pose_core.models.weights import save_weights
from pose_dekr.rescore import (
    RescoreData,
    ScoreNet,
    convert_rescore_data,
    load_score_net,
    make_rescore_data,
    pose_features,
    read_rescore_data,
    rescore,
    save_rescore_data,
    train_score_net,
)
from pose_dekr.rescore_pickle import pickled_arrays
from pose_testing.golden import FOLDER, load_golden, uniform
from pose_testing.networks import published_state


def poses(name: str, joints: int) -> torch.Tensor:
    u = uniform(f"rs{name}", 3 * joints * 3).reshape(3, joints, 3)
    found = np.stack([200 + 150 * u[..., 0], 180 + 120 * u[..., 1], 0.5 + 0.5 * u[..., 2]], -1)
    found[2, :, :2] = 100 + 0.2 * u[2, :, :2]
    return torch.from_numpy(found)


@pytest.mark.parametrize(("name", "joints"), [("coco", 17), ("crowdpose", 14)])
def test_features_and_scores_equal_the_published_ones(name: str, joints: int, tmp_path: Path) -> None:
    content = load_golden("dekr/functions")["common"]["rescore"][name]
    people = poses(name, joints)
    features = pose_features(people[..., :2], people[..., 2])
    assert features.shape == (3, content["n_features"])
    assert np.allclose(features[0].numpy(), content["features_pose0"], rtol=0, atol=1e-6)
    assert np.allclose(features[2, :40].numpy(), content["features_pose2_first40"], rtol=0, atol=1e-5)
    file = tmp_path / "scores.pth"
    torch.save(published_state({"state_dict": content["net_keys"]}), file)
    network = load_score_net(file, joints).double()
    scores = torch.tensor(content["original_scores"], dtype=torch.float64)
    found = rescore(network, people[..., :2], people[..., 2], scores)
    # The network was filled in float64 and loaded in float32.
    assert np.allclose(found.numpy(), content["final_scores"], rtol=0, atol=1e-6)


@pytest.mark.parametrize(("name", "joints", "share"), [("coco", 17, None), ("crowdpose", 14, 0.53)])
def test_training_data_equal_the_published_ones(name: str, joints: int, share: float | None, tmp_path: Path) -> None:
    folder = FOLDER / "dekr"
    expected = json.loads((folder / "eval_tiny_results.json").read_text())[name]["rescore_dataset"]
    data = make_rescore_data(
        folder / f"{name}_tiny_gt.json", folder / f"{name}_tiny_dets.json", joints, area_of_box=share
    )
    assert len(data.oks) == expected["n_records"]
    assert np.array_equal(data.points[:, 0], expected["record_first_joint_xy"])
    assert np.allclose(data.oks, expected["oks_labels"], rtol=1e-12, atol=1e-15)
    save_rescore_data(data, tmp_path / "new" / "data.npz")
    again = read_rescore_data(tmp_path / "new" / "data.npz")
    assert all(np.array_equal(a, b) for a, b in zip(again, data, strict=True))


def made_up(count: int) -> RescoreData:
    rng = np.random.default_rng(0)
    scores = rng.uniform(0, 1, (count, 17))
    return RescoreData(rng.uniform(0, 200, (count, 17, 2)), scores, scores.mean(1))


def test_training_learns_and_repeats(tmp_path: Path) -> None:
    network, losses = train_score_net(made_up(600), epochs=30, batch=100)
    assert losses[-1] < 0.2 * losses[0]
    again, repeated = train_score_net(made_up(600), epochs=30, batch=100)
    assert repeated == losses
    save_weights(network, tmp_path / "net.pth")
    loaded = load_score_net(tmp_path / "net.pth", 17)
    assert all(torch.equal(a, b) for a, b in zip(loaded.parameters(), again.parameters(), strict=True))


def test_fewer_poses_than_a_batch_train() -> None:
    _, losses = train_score_net(made_up(7), epochs=2)
    assert len(losses) == 2


def test_what_cannot_be_learned_from_is_refused(tmp_path: Path) -> None:
    truth = FOLDER / "dekr" / "coco_tiny_gt.json"
    empty: list[dict[str, Any]] = []
    with pytest.raises(DataError, match="no results to learn from"):
        make_rescore_data(truth, empty, 17)
    with pytest.raises(DataError, match="does not exist"):
        read_rescore_data(tmp_path / "none.npz")
    (tmp_path / "bad.npz").write_bytes(b"PK no archive")
    with pytest.raises(DataError, match="is not a readable zip file"):
        read_rescore_data(tmp_path / "bad.npz")
    with pytest.raises(ConfigError, match="not 16"):
        ScoreNet(16)


def published_rows(data: RescoreData) -> list[Any]:
    rows = zip(data.points, data.joint_scores[..., None], data.oks, strict=True)
    return [["pose", "pose_heatval", "oks"], *([*row] for row in rows)]


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("module", [b"numpy._core", b"numpy.core"])
def test_data_of_the_published_code_are_read(tmp_path: Path, protocol: int, module: bytes) -> None:
    data = made_up(5)
    content = pickle.dumps(published_rows(data), protocol=protocol)
    if module == b"numpy.core":  # as NumPy 1 wrote it
        content = pickle.dumps(published_rows(data), protocol=2).replace(b"numpy._core", module)
    file, out = tmp_path / "rescore_dataset_train_coco_kpt", tmp_path / "data.npz"
    file.write_bytes(content)
    with pytest.raises(DataError, match=r"rescore-convert .*_coco_kpt --out .*_coco_kpt.npz"):
        read_rescore_data(file)
    convert_rescore_data(file, out)
    assert all(np.array_equal(a, b) for a, b in zip(read_rescore_data(out), data, strict=True))


def test_the_command_converts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "old").write_bytes(pickle.dumps(published_rows(made_up(5)), protocol=2))
    words = ["rescore-convert", str(tmp_path / "old"), "--out", str(tmp_path / "new" / "data.npz")]
    assert method_main("dekr", words) == 0
    assert "data.npz, 5 poses, mean similarity 0." in capsys.readouterr().out
    assert method_main("dekr", ["rescore-convert", str(tmp_path / "none"), "--out", str(tmp_path / "x.npz")]) == 3
    assert "rescore data" in (text := capsys.readouterr().err)
    assert "does not exist" in text


def test_a_pickle_of_python_2_is_read(tmp_path: Path) -> None:
    # Bytes are text there: SHORT_BINSTRING in place of the call of _codecs.encode.
    rows = published_rows(made_up(2))
    content = pickle.dumps(rows, protocol=2)
    for row in rows[1:]:
        for cell in row:
            data = np.asarray(cell).tobytes()
            text = data.decode("latin-1").encode()
            call = re.escape(b"X" + struct.pack("<I", len(text)) + text)
            encoded = rb"(?:c_codecs\nencode\nq.|h.)" + call + rb"q.(?:X\x06\0\0\0latin1q.|h.)\x86q.Rq."
            content, found = re.subn(
                encoded, lambda _, data=data: b"T" + struct.pack("<I", len(data)) + data, content, flags=re.S
            )
            assert found == 1
    (tmp_path / "old").write_bytes(content)
    found = convert_rescore_data(tmp_path / "old", tmp_path / "new.npz")
    assert all(np.array_equal(a, b) for a, b in zip(found, made_up(2), strict=True))


def test_pickles_that_are_no_rescore_data_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "data"
    rows = published_rows(made_up(3))
    for content, message in (
        (rows[1:], "starts with"),
        (rows[:1], "followed by poses"),
        ([1, 2], "starts with"),
        ([*rows, [np.zeros((3, 2))]], "a row is not"),
        ([rows[0], [np.zeros(17), np.zeros(17), 0.5]], "not .joints, 2."),
        ([*rows, tmp_path], "more than numbers"),
        ([*rows, [*rows[1][:2], float("nan")]], "'oks' of pose 3 is nan, not from 0 to 1"),
        ([*rows, [*rows[1][:2], 1.5]], "'oks' of pose 3 is 1.5"),
    ):
        file.write_bytes(pickle.dumps(content))
        with pytest.raises(DataError, match=message):
            convert_rescore_data(file, tmp_path / "out.npz")
    file.write_bytes(pickle.dumps(rows)[:-40])
    with pytest.raises(DataError, match="cannot be unpickled"):
        convert_rescore_data(file, tmp_path / "out.npz")
    with pytest.raises(DataError, match="does not exist"):
        convert_rescore_data(tmp_path / "none", tmp_path / "out.npz")


class Call:
    """An object whose pickle calls what is given."""

    def __init__(self, function: object, words: tuple[object, ...], state: object = None) -> None:
        self.made = (function, words, state) if state is not None else (function, words)

    def __reduce__(self) -> Any:
        return self.made


def array(state: tuple[object, ...]) -> Call:
    return Call(np._core.multiarray._reconstruct, (np.ndarray, (0,), b"b"), state)


def dtype(code: str, flags: int = 0) -> Call:
    return Call(np.dtype, (code, False, True), (3, "|", None, None, None, -1, -1, flags))


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        (array((1, (1,), dtype("O8"), False, b"\1" * 8)), "unsupported NumPy number of type 'O8'"),
        (array((1, (1,), dtype("V8"), False, b"\1" * 8)), "unsupported"),
        (array((1, (10**12,), dtype("f8"), False, b"\1" * 8)), "an array of shape"),
        (array((1, (-1,), dtype("f8"), False, b"\1" * 8)), "an array of shape"),
        (array((1, (1,), "f8", False, b"\1" * 8)), "an array without a type"),
        (Call(np._core.multiarray.scalar, (dtype("O8"), b"\1" * 8)), "unsupported NumPy number"),
        (Call(np._core.multiarray.scalar, (dtype("f8"), b"\1" * 4)), "a number of 4 bytes in place of 8"),
        (Call(print, ("run",)), "print', and contains more than numbers"),
        ({"a": 1}, "neither a number nor an array"),
    ],
)
def test_lying_arrays_in_pickles_are_refused(cell: object, message: str) -> None:
    content = pickle.dumps([["pose", "pose_heatval", "oks"], [cell, cell, 0.5]], protocol=2)
    with pytest.raises(DataError, match=message):
        pickled_arrays(io.BytesIO(content))


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limits of a process")
def test_a_pickle_that_grows_is_ended_within_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "memo").write_bytes(b"\x80\x02]r\xff\xff\xff\x7f.")
    with pytest.raises(DataError, match=r"memo cannot be unpickled: "):
        convert_rescore_data(tmp_path / "memo", tmp_path / "out.npz")
    monkeypatch.setattr("pose_dekr.rescore_pickle.MAX_FILE", 10)
    (tmp_path / "memo").write_bytes(b"\x80\x02" + b"]" * 100)
    with pytest.raises(DataError, match="too large: 102 bytes"):
        convert_rescore_data(tmp_path / "memo", tmp_path / "out.npz")


def test_values_that_are_no_poses_are_refused(tmp_path: Path) -> None:
    data = made_up(3)
    for changed, message in (
        (data._replace(points=data.points * np.nan), "'points' of pose 0 is nan"),
        (data._replace(points=data.points[:2]), "shapes"),
        (data._replace(joint_scores=data.joint_scores.astype("S4")), "must be of floats"),
        (data._replace(oks=data.oks + 1), "'oks' of pose 0"),
    ):
        save_rescore_data(changed, tmp_path / "data.npz")
        with pytest.raises(DataError, match=message):
            read_rescore_data(tmp_path / "data.npz")


def test_a_pose_that_is_not_a_number_scores_nothing() -> None:
    points = torch.full((1, 17, 2), torch.nan)
    assert rescore(ScoreNet(17), points, torch.ones(1, 17), torch.ones(1)).item() == 0
