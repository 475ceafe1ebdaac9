"""The settings of a run: the schema's blocks with their defaults, and the reading of files and overrides.

This package knows no method: `pose_core.plugins` finds the method of an experiment and its schema.
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
    SourceConfig,
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
    "SourceConfig",
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
