"""The table of trained weights: every row resolves, with the settings that belong to its weights."""

from __future__ import annotations

from pose_core.topdown.config import TopDownConfig
from pose_testing.checkpoints import check_table


def test_every_row_resolves_with_the_settings_of_its_weights() -> None:
    configs = check_table("lite")
    for name, config in configs.items():
        assert isinstance(config, TopDownConfig)
        assert config.data.color == "rgb", name
        assert config.data.pixels == "imagenet", name
        udp, dark = "_udp" in name, "_dark" in name
        assert config.heatmap.convention == ("unbiased" if udp else "published"), name
        assert config.test.shift_heatmap is not udp, name
        expected = "offset" if "_udp_regress" in name else "dark" if udp or dark else "argmax"
        assert config.heatmap.decode == expected, name
        assert (config.data.skeleton == "coco17") == (".coco_" in name and "aic_combine" not in name) or (
            ".humanart" in name or ".macaque" in name
        ), name
        if ".coco_" not in name and ".humanart" not in name:
            assert config.data.root != "data/coco", name
