"""The suites of `run.py`: each yields its cases, given a folder for files."""

from __future__ import annotations

import bench_first_use
import bench_peers
import bench_pipeline
import bench_stream

SUITES = {
    "samples": bench_pipeline.cases,
    "stream": bench_stream.cases,
    "first_use": bench_first_use.cases,
    "peers": bench_peers.cases,
}
