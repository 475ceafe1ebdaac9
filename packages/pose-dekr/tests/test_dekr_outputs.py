"""A configuration of somebody else's chooses no place to write rescore data and scoring networks to."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import pytest

from pose_core.cli import method_main
from pose_core.errors import ConfigError
from pose_dekr.rescore_data import output_file


@pytest.mark.parametrize("named", ["/abs/x.npz", "../x.npz", "C:\\x.npz", ".bashrc", "notes.txt", ""])
def test_a_config_names_files_below_the_current_folder_with_the_command_s_endings(named: str) -> None:
    with pytest.raises(ConfigError, match=r"rescore\.data is .*give the file with --out"):
        output_file(Namespace(out=None, overrides=["rescore.epochs=3"]), "rescore.data", named)
    assert output_file(Namespace(out=None, overrides=[f"rescore.data={named}"]), "rescore.data", named) == Path(named)
    assert output_file(Namespace(out="/abs/y", overrides=[]), "rescore.data", named) == Path("/abs/y")


@pytest.mark.parametrize("named", ["rescore_data.npz", "data/score.pt", "score.pth"])
def test_usual_names_are_taken(named: str) -> None:
    assert output_file(Namespace(out=None, overrides=[]), "rescore.data", named) == Path(named)


def test_the_commands_ask_before_anything_slow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_text(
        "method: dekr\nmodel: {name: dekr_w32, input_size: [64, 64]}\n"
        "rescore: {data: ../x.npz, weights: /abs/score.pt}\n"
    )
    assert method_main("dekr", ["rescore-data", "--cfg", "mine.yaml", "--weights", "none.pt"]) == 2
    assert "rescore.data is '../x.npz'" in capsys.readouterr().err
    assert method_main("dekr", ["rescore-train", "--cfg", "mine.yaml", "--data", "none.npz"]) == 2
    assert "rescore.weights is '/abs/score.pt'" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mine.yaml"]
