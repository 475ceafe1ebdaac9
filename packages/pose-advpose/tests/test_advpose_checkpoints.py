"""The table of trained weights: every row resolves, with the settings that belong to its weights."""

from __future__ import annotations

from pose_advpose.config import EmbeddingConfig
from pose_testing.checkpoints import check_table


def test_every_row_resolves_with_the_settings_of_its_weights() -> None:
    configs = check_table("advpose")
    for name, config in configs.items():
        assert isinstance(config, EmbeddingConfig)
        assert (config.data.color, config.data.pixels) == ("rgb", "imagenet"), name
        assert config.test.convention == ("unbiased" if "_udp" in name else "published"), name
        assert (config.test.fit, config.test.resize_maps, config.test.peak_window) == ("short", True, 5), name
        assert (config.data.skeleton == "coco17") == (".coco_5" in name or ".coco_6" in name), name
        assert (config.data.root == "data/coco") == (config.data.skeleton == "coco17"), name
