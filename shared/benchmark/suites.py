"""The suites of `run.py`: each yields its cases, given a folder for files."""

from __future__ import annotations

import bench_dekr
import bench_evaluation
import bench_first_use
import bench_grouping
import bench_networks
import bench_ops
import bench_paste
import bench_peers
import bench_pipeline
import bench_stream

SUITES = {
    "ops": bench_ops.cases,
    "samples": bench_pipeline.cases,
    "paste": bench_paste.cases,
    "evaluation": bench_evaluation.cases,
    "dekr": bench_dekr.cases,
    "grouping": bench_grouping.cases,
    "networks": bench_networks.cases,
    "stream": bench_stream.cases,
    "first_use": bench_first_use.cases,
}
MORE = {
    "networks_large": bench_networks.large_cases,
    "files_large": bench_evaluation.large_files,
    "peers": bench_peers.cases,
}
"""Suites that are measured only if they are named: they take minutes, or need other packages."""
