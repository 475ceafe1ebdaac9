"""The training loop and its parts: schedules, averages, checkpoints, logs, distributed training."""
