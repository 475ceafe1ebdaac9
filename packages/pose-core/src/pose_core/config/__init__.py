"""The settings of a run: the schema's blocks and their defaults, and how files and overrides become one.

No plug-in is known here: which method an experiment belongs to, and which schema it has, `pose_core.plugins` decides.
"""

from pose_core.config.reading import (
    all_keys,
    apply_overrides,
    dump_config,
    nearest_key,
    parse_config,
    read_yaml,
    update_override,
    update_spelling,
)
from pose_core.config.schema import (
    Block,
    DataConfig,
    EvaluationConfig,
    Experiment,
    Fraction,
    ModelConfig,
    Renamed,
    RunConfig,
    Size,
    TrainConfig,
    VariationConfig,
)

__all__ = [
    "Block",
    "DataConfig",
    "EvaluationConfig",
    "Experiment",
    "Fraction",
    "ModelConfig",
    "Renamed",
    "RunConfig",
    "Size",
    "TrainConfig",
    "VariationConfig",
    "all_keys",
    "apply_overrides",
    "dump_config",
    "nearest_key",
    "parse_config",
    "read_yaml",
    "update_override",
    "update_spelling",
]
