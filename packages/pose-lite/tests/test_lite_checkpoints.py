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
        data = name.split(".")[1]
        assert (config.data.skeleton == "mpii16") == data.startswith(("mpii_2", "mhp")), name
        if data.startswith(("coco_2", "coco_3", "humanart")):
            assert config.data.skeleton == ("coco_aic19" if "combine" in data else "coco17"), name
            assert config.data.root == "data/coco", name
        else:
            assert config.data.root != "data/coco", name
        # Joints that are known by number only have no mirror pairs.
        numbered = config.data.skeleton in {"deepfashion294", "mpii_trb40"}
        assert config.test.flip is not numbered, name
