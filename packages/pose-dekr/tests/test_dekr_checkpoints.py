"""The table of trained weights: every row resolves, with the settings that belong to its weights."""

from __future__ import annotations

from pose_dekr.config import DekrConfig
from pose_testing.checkpoints import check_table


def test_every_row_resolves_with_the_settings_of_its_weights() -> None:
    for name, config in check_table("dekr").items():
        assert isinstance(config, DekrConfig)
        assert config.data.color == "rgb", name
        # Files of mmpose 1.x hold a scoring network, too.
        assert config.rescore.weights == (None if name.endswith("_v0") else name) or not config.rescore.use
        assert config.rescore.use is not name.endswith("_v0"), name
        assert config.data.skeleton == ("crowdpose14" if ".crowdpose" in name else "coco17"), name
