"""Settings that make any top-down experiment run in seconds on one core."""

TINY = [
    "model.name=lpn_18",
    "model.input_size=[64, 64]",
    "heatmap.sigma=1.5",
    "train.epochs=2",
    "train.milestones=[1]",
    "train.batch_size=8",
    "train.workers=0",
    "test.workers=0",
    "test.batch_size=8",
    "train.log_every=2",
    "run.device=cpu",
]
