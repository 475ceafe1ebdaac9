"""Weights by name: tables, the store of converted files, and the settings that come with weights."""

from __future__ import annotations

import hashlib
import json
import socket
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

import pose_core
from pose_core.cli import main
from pose_core.config import dump_config
from pose_core.downloads import digest_of
from pose_core.engine.checkpoint import record_place, save_checkpoint
from pose_core.errors import ConfigError, PoseError, WeightsError
from pose_core.models import store
from pose_core.models.store import is_whole, read_card, stored_weights
from pose_core.plugins.checkpoints import (
    bind_config,
    checkpoint_config,
    config_of,
    default_checkpoint,
    find_checkpoint,
    list_checkpoints,
    locate_weights,
)
from pose_core.plugins.method import Method
from pose_core.plugins.predictors import Predictor
from pose_core.plugins.tasks import evaluate_checkpoint
from pose_testing.methods import installed

NETWORK = "hrnet_w18_small_v1"
PAGE = f"""\
protocol: {{method: stub, model: {{input_size: [64, 64]}}}}
experiments:
  blue: {{data: {{color: bgr}}, model: {{name: {NETWORK}}}}}
  other: {{data: {{color: bgr}}, model: {{name: simplebaseline_resnet18}}, train: {{epochs: 7}}}}
"""


class Stub(Method):
    name = "stub"
    package = "pose_stub"
    summary = "a method for this test"
    example = "blue"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a published file."""
    folder = tmp_path_factory.mktemp("published")
    torch.manual_seed(0)
    network = pose_core.create_model(NETWORK)
    torch.save({"state_dict": network.state_dict(), "meta": {"epoch": 1}}, folder / "small.pth")
    return folder


@pytest.fixture
def table(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Install a method with experiments and a table of weights; return POSE_HOME."""
    package = tmp_path / "site" / "pose_stub"
    (package / "experiments").mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "experiments" / "page.yaml").write_text(PAGE)
    digest = digest_of(trained / "small.pth")
    url = (trained / "small.pth").as_uri()
    (package / "checkpoints.csv").write_text(
        "name,experiment,settings,url,sha256,license,data,metric,default,note\n"
        f"small.people,blue,data.color=rgb heatmap.decode=dark test.scale=1.25,{url},{digest[:8]},"
        'Apache-2.0,"People, drawn",AP .5,yes,\n'
        f"small.animals,blue,,https://weights.invalid/animals.pth,0123abcd,Apache-2.0,Animals,AP .4,,\n"
    )
    monkeypatch.syspath_prepend(str(package.parent))
    home = tmp_path / "home"
    monkeypatch.setenv("POSE_HOME", str(home))
    for name in ("POSE_CHECKPOINTS", "POSE_OFFLINE", "POSE_WEIGHTS_MIRROR", "POSE_KEEP_DOWNLOADS"):
        monkeypatch.delenv(name, raising=False)
    with installed({"stub": Stub()}):
        yield home
    sys.modules.pop("pose_stub", None)


def files_in(home: Path) -> list[str]:
    return sorted(str(path.relative_to(home)) for path in home.rglob("*") if path.is_file())


def test_a_table_is_read(table: Path) -> None:
    assert [each.name for each in list_checkpoints()] == ["small.animals", "small.people"]
    assert [each.name for each in list_checkpoints("*.people")] == ["small.people"]
    found = find_checkpoint("small.people")
    assert (found.method, found.experiment, found.data) == ("stub", "pose-stub/blue", "People, drawn")
    assert found.settings == ("data.color=rgb", "heatmap.decode=dark", "test.scale=1.25")
    assert default_checkpoint("stub") == default_checkpoint(None) == found


def test_an_unknown_name_names_similar_ones(table: Path) -> None:
    with pytest.raises(WeightsError, match=r"no such file exists; did you mean small\.people"):
        find_checkpoint("smal.people")
    with pytest.raises(WeightsError, match=r"weights file nowhere/best\.pt does not exist"):
        pose_core.load_weights(pose_core.create_model(NETWORK), "nowhere/best.pt")


def test_no_default_is_an_error_that_says_what_to_give(table: Path) -> None:
    with pytest.raises(ConfigError, match="pose-absent has no default weights: give --weights"):
        default_checkpoint("absent")


def test_the_table_of_a_laboratory_comes_first(table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save(pose_core.create_model(NETWORK).state_dict(), tmp_path / "ours.pt")
    lines = "name,method,experiment,url,default\nsmall.people,stub,blue,ours.pt,\nours,pose-stub,blue,ours.pt,yes\n"
    (tmp_path / "lab.csv").write_text(lines)
    monkeypatch.setenv("POSE_CHECKPOINTS", str(tmp_path / "lab.csv"))
    assert default_checkpoint("stub").name == default_checkpoint(None).name == "ours"
    assert find_checkpoint("small.people").url == (tmp_path / "ours.pt").as_uri()
    assert len(list_checkpoints()) == 3
    first = locate_weights("ours")
    torch.save(pose_core.create_model(NETWORK).state_dict(), tmp_path / "ours.pt")
    assert locate_weights("ours") != first  # without a hash in the table, the file itself tells


def test_a_table_without_a_default_leaves_the_packages(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lab.csv").write_text("name,method,experiment,url\nours,stub,blue,ours.pt\n")
    monkeypatch.setenv("POSE_CHECKPOINTS", str(tmp_path / "lab.csv"))
    assert default_checkpoint(None).name == default_checkpoint("stub").name == "small.people"
    monkeypatch.setenv("POSE_CHECKPOINTS", str(tmp_path / "absent.csv"))
    with pytest.raises(ConfigError, match=r"the table .*absent\.csv does not exist"):
        list_checkpoints()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,experiment,url\na,blue,a.pt\n", "lacks the column method"),
        ("name,method,experiment,url,licence\na,stub,blue,a.pt,MIT\n", "has an unknown column 'licence'"),
        ("name,method,experiment,url\na,stub,,a.pt\n", "line 2: experiment must not be empty"),
        ("name,method,experiment,url,sha256\na,stub,blue,a.pt,xyz\n", "line 2: sha256 'xyz' must be hexadecimal"),
        ("name,method,experiment,url\na,absent,blue,a.pt\n", "method 'absent' is not installed"),
    ],
)
def test_mistakes_in_a_table_name_the_place(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, message: str
) -> None:
    (tmp_path / "lab.csv").write_text(text)
    monkeypatch.setenv("POSE_CHECKPOINTS", str(tmp_path / "lab.csv"))
    with pytest.raises(ConfigError, match=message):
        list_checkpoints()


def test_weights_are_converted_once_and_have_a_card(table: Path, trained: Path) -> None:
    path = locate_weights("small.people")
    digest = digest_of(trained / "small.pth")
    assert files_in(table) == [
        f"weights/small.people-{digest[:8]}.json",
        f"weights/small.people-{digest[:8]}.safetensors",
    ]
    card = json.loads(path.with_suffix(".json").read_text())
    assert card["sha256"] == digest
    assert card["stored_sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert {key: card[key] for key in ("license", "data", "metric", "experiment")} == {
        "license": "Apache-2.0", "data": "People, drawn", "metric": "AP .5", "experiment": "pose-stub/blue",
    }  # fmt: skip
    assert (trained / "small.pth").exists()  # a file of the user's own
    before = path.stat().st_mtime_ns
    assert locate_weights("small.people") == path
    assert path.stat().st_mtime_ns == before
    expected = torch.load(trained / "small.pth", weights_only=True)["state_dict"]
    for source in ("small.people", path):
        loaded = pose_core.create_model(NETWORK, weights=source).state_dict()
        assert all(torch.equal(loaded[key], value) for key, value in expected.items())


def test_a_damaged_file_is_noticed_and_made_anew(table: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = locate_weights("small.people")
    content = bytearray(path.read_bytes())
    content[-5] ^= 255
    path.write_bytes(content)
    assert main(["weights", "check"]) == 1
    assert not is_whole(path)
    locate_weights("small.people")
    assert "is damaged: its hash differs from its card's; it is made anew" in caplog.text
    assert is_whole(path)
    assert main(["weights", "check", "small.people"]) == 0


def test_weights_that_are_here_need_no_writing(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = locate_weights("small.people")

    def refuse(target: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(store, "locked", refuse)
    assert locate_weights("small.people") == path
    with pytest.raises(PoseError, match=r"cannot write .*: Permission denied. POSE_HOME sets the folder"):
        locate_weights("small.animals")


def test_downloads_can_be_kept(table: Path, trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSE_WEIGHTS_MIRROR", str(trained))
    sha256 = digest_of(trained / "small.pth")
    stored_weights("https://weights.invalid/small.pth", sha256, {"name": "a"})
    assert files_in(table) == [f"weights/a-{sha256[:8]}.json", f"weights/a-{sha256[:8]}.safetensors"]
    monkeypatch.setenv("POSE_KEEP_DOWNLOADS", "1")
    stored_weights("https://weights.invalid/small.pth", sha256, {"name": "b"})
    assert f"downloads/{sha256[:8]}-small.pth" in files_in(table)


def test_offline_names_a_file_to_provide_and_takes_it(
    table: Path, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POSE_OFFLINE", "1")
    sha256 = digest_of(trained / "small.pth")
    url = "https://weights.invalid/small.pth"
    with pytest.raises(PoseError, match="save it as") as caught:
        stored_weights(url, sha256, {"name": "small"})
    place = Path(str(caught.value).split("save it as ")[1].split(",")[0])
    assert files_in(table) == []
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(b"something else")
    with pytest.raises(WeightsError, match="is not the expected file"):
        stored_weights(url, sha256, {"name": "small"})
    place.write_bytes((trained / "small.pth").read_bytes())
    assert is_whole(stored_weights(url, sha256, {"name": "small"}))


def test_a_file_that_is_no_checkpoint_leaves_nothing(table: Path, tmp_path: Path) -> None:
    (tmp_path / "page.pth").write_text("<html>please log in</html>")
    with pytest.raises(WeightsError, match=r"weights file .*page\.pth"):
        stored_weights((tmp_path / "page.pth").as_uri(), "", {"name": "page"})
    assert files_in(table) == []
    url = "https://weights.invalid/page.pth"
    place = table / "downloads" / f"{hashlib.sha256(url.encode()).hexdigest()[:8]}-page.pth"
    place.parent.mkdir(parents=True)
    place.write_text("<html>please log in</html>")
    with pytest.raises(WeightsError, match=r"weights file .*page\.pth"):
        stored_weights(url, "", {})
    assert files_in(table) == []  # or each further try would read it again


def test_settings_come_with_weights(table: Path, caplog: pytest.LogCaptureFixture) -> None:
    own = checkpoint_config(find_checkpoint("small.people"))
    assert (own.data.color, own.heatmap.decode, own.name) == ("rgb", "dark", "small.people")  # type: ignore[attr-defined]
    assert not caplog.records
    config = bind_config(pose_core.load_config("pose-stub/other"), "small.people")
    assert (config.data.color, config.model.name, config.train.epochs) == ("rgb", NETWORK, 7)
    assert caplog.messages == [
        "data.color=rgb instead of bgr: the weights small.people need it",
        f"model.name={NETWORK} instead of simplebaseline_resnet18: the weights small.people need it",
        "heatmap.decode=dark instead of argmax: the weights small.people need it",
        "test.scale=1.25 instead of 1.0: the weights small.people need it",
    ]


def test_settings_come_with_a_downloaded_file_too(table: Path) -> None:
    path = locate_weights("small.people")
    assert bind_config(pose_core.load_config("pose-stub/blue"), path).data.color == "rgb"
    assert config_of(path) == config_of("small.people")


def test_an_override_may_replace_the_decoding_but_not_the_colors(table: Path) -> None:
    found = find_checkpoint("small.people")
    config = checkpoint_config(found, ["heatmap.decode=argmax", "model.input_size=[128, 96]"])
    assert (config.heatmap.decode, config.model.input_size) == ("argmax", (128, 96))  # type: ignore[attr-defined]
    for wrong in ("data.color=bgr", "data.pixels=unit", "data.skeleton=mpii16", "model.name=hrnet_w32"):
        with pytest.raises(ConfigError, match=f"{wrong} contradicts the weights small.people, which need"):
            checkpoint_config(found, [wrong])


def test_python_cannot_put_rgb_weights_into_a_bgr_experiment(table: Path, caplog: pytest.LogCaptureFixture) -> None:
    by_name = Predictor.from_config("pose-stub/blue", "small.people", "cpu")
    assert (by_name.config.data.color, by_name.config.heatmap.decode) == ("rgb", "dark")  # type: ignore[attr-defined]
    caplog.clear()
    given = Predictor.from_config(pose_core.load_config("pose-stub/blue"), "small.people", "cpu")
    assert given.config == by_name.config
    assert "data.color=rgb instead of bgr" in caplog.text
    caplog.clear()
    mine = checkpoint_config(find_checkpoint("small.people"), ["heatmap.decode=soft_argmax"])
    own = Predictor.from_config(mine, "small.people", "cpu")
    assert (own.config.data.color, own.config.heatmap.decode) == ("rgb", "soft_argmax")  # type: ignore[attr-defined]
    changed = mine.model_copy(update={"data": mine.data.model_copy(update={"color": "bgr"})})
    assert Predictor.from_config(changed, "small.people", "cpu").config == own.config
    assert caplog.messages == ["data.color=rgb instead of bgr: the weights small.people need it"]


def test_a_predictor_by_name_predicts_as_one_built_by_hand(table: Path, trained: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (80, 70, 3), np.uint8)
    boxes = np.array([[5.0, 5.0, 50.0, 60.0]])
    by_name = Predictor.from_name("small.people")(image, boxes)
    config = pose_core.load_config("pose-stub/blue", ["data.color=rgb", "heatmap.decode=dark", "test.scale=1.25"])
    by_hand = Predictor.from_config(config, trained / "small.pth")(image, boxes)
    assert np.array_equal(by_name.keypoints, by_hand.keypoints)
    wrong = Predictor.from_config("pose-stub/blue", trained / "small.pth")(image, boxes)
    assert not np.array_equal(by_name.keypoints, wrong.keypoints)


def test_a_predictor_without_weights_is_refused(table: Path) -> None:
    with pytest.raises(ConfigError, match="weights='random'"):
        Predictor.from_config("pose-stub/blue")
    assert Predictor.from_config("pose-stub/blue", weights="random").config.data.color == "bgr"


def test_weights_of_another_network_are_refused_before_the_download(table: Path) -> None:
    message = rf"they need create_model\('{NETWORK}', num_joints=17\)"
    with pytest.raises(WeightsError, match=message):
        pose_core.create_model("hrnet_w32", weights="small.animals")
    with pytest.raises(WeightsError, match=message):
        pose_core.create_model(NETWORK, num_joints=14, weights="small.animals")
    assert files_in(table) == []


def test_a_run_is_evaluated_on_the_data_it_was_trained_on(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there, run = tmp_path / "there", tmp_path / "there" / "runs" / "first"
    (there / "data").mkdir(parents=True)
    (there / "joints.yaml").touch()
    run.mkdir(parents=True)
    (run / "config.yaml").touch()
    monkeypatch.chdir(there)
    config = pose_core.load_config("pose-stub/blue", ["data.root=data", "data.skeleton=joints.yaml"])
    weights = pose_core.create_model(NETWORK).state_dict()
    content = {"method": "stub", "config": dump_config(config), "weights": weights}
    save_checkpoint(run / "best.pt", {**content, **record_place(config)})
    save_checkpoint(run / "old.pt", content)
    monkeypatch.chdir(tmp_path)
    found = config_of("there/runs/first/best.pt")
    assert found is not None
    assert Path(found.data.root) == there / "data"
    assert Path(found.data.skeleton) == there / "joints.yaml"
    assert (Path(found.run.dir), found.run.name) == (there / "runs", "first")
    assert found.model_copy(update={"data": config.data, "run": config.run}) == config
    old = config_of(run / "old.pt")
    assert old is not None
    assert old.data == config.data
    # The settings also come with a run's checkpoint that was downloaded.
    stored = stored_weights((run / "best.pt").as_uri(), "", {})
    downloaded = config_of(stored)
    assert downloaded is not None
    assert downloaded.data == found.data


def test_other_files_have_no_experiment(trained: Path) -> None:
    assert config_of(trained / "small.pth") is None
    with pytest.raises(ConfigError, match="does not say which experiment it belongs to"):
        Predictor.from_name(trained / "small.pth")


def test_a_hub_address_goes_through_its_library(table: Path, trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def hf_hub_download(repo: str, name: str, *, local_files_only: bool) -> str:
        if name.endswith("other.pth"):
            raise FileNotFoundError(name)
        asked.append((repo, name, local_files_only))
        return str(trained / "small.pth")

    hub = types.ModuleType("huggingface_hub")
    hub.hf_hub_download = hf_hub_download  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    pose_core.create_model(NETWORK, weights="hf://owner/repo/folder/small.pth")
    monkeypatch.setenv("POSE_OFFLINE", "1")
    with pytest.raises(PoseError, match="is not in the cache of huggingface_hub, and POSE_OFFLINE is set"):
        locate_weights("hf://owner/repo/folder/other.pth")
    locate_weights("hf://owner/repo/folder/small.pth")
    assert asked == [("owner/repo", "folder/small.pth", False), ("owner/repo", "folder/small.pth", True)]
    with pytest.raises(ConfigError, match="must have the form hf://owner/repo/file"):
        locate_weights("hf://owner/repo")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(PoseError, match=r"needs huggingface_hub: .*pip install.*huggingface-hub"):
        locate_weights("hf://owner/repo/small.pth")


def test_listing_opens_no_connection(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    assert main(["weights", "list"]) == 0
    assert main(["weights", "--help"]) == 0


def test_the_command_lists_gets_and_finds_weights(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["weights", "list", "*.people"]) == 0
    assert "* small.people  AP .5  People, drawn\n" in capsys.readouterr().out
    assert main(["weights", "list", "--json"]) == 0
    assert [row["license"] for row in json.loads(capsys.readouterr().out)] == ["Apache-2.0"] * 2
    assert main(["weights", "where", "small.people"]) == 1
    assert "small.people is not on this machine" in capsys.readouterr().err
    assert main(["weights", "get", "small.people"]) == 0
    path = capsys.readouterr().out
    assert main(["weights", "where", "small.people"]) == 0
    assert capsys.readouterr().out == path
    assert main(["weights", "list"]) == 0
    listed = capsys.readouterr().out
    assert "People, drawn  (downloaded)\n" in listed
    assert "Animals\n" in listed
    assert main(["weights", "list", "nothing"]) == 2


def test_the_experiment_is_that_of_the_weights(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "--out", "network.onnx", "--weights", "small.people", "data.color=bgr"]) == 2
    assert "data.color=bgr contradicts the weights small.people, which need rgb" in capsys.readouterr().err
    assert main(["export", "--out", "network.onnx", "--cfg", "pose-stub/blue"]) == 2
    assert (
        "--weights is missing; for example --weights runs/blue/best.pt or --weights small.people or "
        "--weights small.animals; `"
    ) in capsys.readouterr().err
    assert main(["train"]) == 2
    assert "which experiment? add --cfg, for example --cfg pose-stub/blue" in capsys.readouterr().err


def test_show_config_prints_the_settings_that_come_with_weights(
    table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def shown(*words: str) -> dict[str, Any]:
        assert main(["show-config", *words]) == 0
        content: dict[str, Any] = yaml.safe_load(capsys.readouterr().out)
        return content

    assert shown("--weights", "small.people") == config_of("small.people").model_dump(mode="json")  # type: ignore[union-attr]
    mixed = shown("--cfg", "pose-stub/other", "--weights", "small.people", "train.epochs=9")
    assert (mixed["data"]["color"], mixed["model"]["name"], mixed["train"]["epochs"]) == ("rgb", NETWORK, 9)
    assert shown("--cfg", "pose-stub/blue")["data"]["color"] == "bgr"
    mine = shown("--cfg", "pose-stub/blue", "--weights", "small.people", "heatmap.decode=argmax")
    assert mine["data"]["color"] == "rgb"
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(mine))
    kept = Predictor.from_config(tmp_path / "mine.yaml", "small.people", "cpu").config
    assert kept.model_dump(mode="json") == mine
    assert main(["show-config"]) == 2


def test_a_file_that_says_no_experiment_needs_one(
    table: Path, trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", "--out", "network.onnx", "--weights", str(trained / "small.pth")]) == 2
    assert "does not say which experiment it belongs to; add --cfg" in capsys.readouterr().err


def test_listing_and_finding_weights_load_no_torch() -> None:
    code = (
        "import sys; from pose_core.plugins.checkpoints import list_checkpoints; "
        "from pose_core.models.store import is_whole, read_card, stored_path; list_checkpoints(); "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_read_card_ignores_other_files(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{}")
    assert read_card(tmp_path / "a.safetensors") is None
    assert read_card(tmp_path / "a.pt") is None
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(WeightsError, match="cannot be read"):
        read_card(tmp_path / "a.safetensors")


def test_evaluation_binds_the_colors(table: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from pose_core.engine.distributed import ProcessContext
    from pose_core.plugins import tasks

    seen = []

    def build(config: object) -> object:
        seen.append(config)
        raise InterruptedError

    monkeypatch.setattr(tasks, "build_task", build)
    with pytest.raises(InterruptedError):
        evaluate_checkpoint(
            pose_core.load_config("pose-stub/blue"), "small.people", ProcessContext(0, 1, torch.device("cpu")), tmp_path
        )
    assert seen[0].data.color == "rgb"
