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
    "samples_published": bench_pipeline.published_cases,
    "paste_loaders": bench_paste.loaders,
    "composite": bench_paste.composite,
    "files_large": bench_evaluation.large_files,
    "pycocotools": bench_evaluation.pycocotools,
    "error_analysis": bench_evaluation.error_analysis,
    "dekr_targets": bench_dekr.targets,
    "dekr_trained": bench_dekr.trained,
    "grouping_variants": bench_grouping.variants,
    "tag_loss": bench_grouping.losses,
    "networks_large": bench_networks.large_cases,
    "networks_compiled": bench_networks.compiled_cases,
    "networks_threads": bench_networks.threads_cases,
    "steps_published": bench_networks.published_steps,
    "peers": bench_peers.cases,
}
"""Suites that are measured only if they are named: they take minutes, vary other suites, or need something else."""
