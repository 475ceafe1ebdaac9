"""The training loop, and what it needs: schedules, averages, checkpoints, logs, several processes."""
