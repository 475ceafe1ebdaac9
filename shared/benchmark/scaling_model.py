"""The model of a training, and of a prediction in shards, on many devices: rates from measured pieces.

Every process has one device and its share of the node's CPU cores. A step takes as long as the slowest of three: the
device with what the exchange of gradients adds; the process's host thread, which launches the device's work; the cores,
which decode. An epoch is its steps and one evaluation.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil, log2


@dataclass(frozen=True)
class Pieces:
    """What a training needs: seconds of each piece of work, and bytes."""

    decode: float
    """Decoding and cutting out one sample, on one core."""
    step: float
    """Forward, backward and optimizer on one device: the part that does not depend on the batch."""
    sample: float
    """The same for each sample."""
    host: float
    """The host thread's work in a step: launches and the loop."""
    gradients: float
    """Bytes of the gradients."""
    evaluation: float
    """The part of an evaluation that is divided over the processes, on one of them."""
    scoring: float = 0.0
    """The part of an evaluation that is not divided."""


@dataclass(frozen=True)
class Cluster:
    """Where it trains."""

    devices_per_node: int = 8
    cores_per_node: int = 128
    link: float = 200e9
    """Bytes per second in each direction between the devices of a node."""
    network: float = 25e9
    """The same between nodes, for each device."""
    latency: float = 20e-6
    """Seconds of a message."""
    overlap: float = 0.5
    """The part of a step's computing during which gradients are exchanged at no cost: most of the backward pass."""
    on_cores: bool = False
    """Whether the devices are the cores themselves: then computing, host thread and decoding share them."""
    crowding: float = 1.0
    """How much slower the devices compute when all of them are busy (cores share memory)."""


def reduce_seconds(pieces: Pieces, cluster: Cluster, processes: int) -> float:
    """Return the seconds of summing the gradients over all processes: a ring's bytes, a tree's latency."""
    if processes == 1:
        return 0.0
    speed = cluster.link if processes <= cluster.devices_per_node else cluster.network
    sent = 2 * (processes - 1) / processes * pieces.gradients
    return sent / speed + 2 * ceil(log2(processes)) * cluster.latency


def cores_of(cluster: Cluster, processes: int) -> float:
    """Return the CPU cores of each process; a node that is not full gives all its cores."""
    return cluster.cores_per_node / min(processes, cluster.devices_per_node)


def step_seconds(pieces: Pieces, cluster: Cluster, processes: int, batch: int) -> float:
    """Return the seconds of a training step with ``batch`` samples for each process."""
    computing = pieces.step + batch * pieces.sample
    exchange = max(0.0, reduce_seconds(pieces, cluster, processes) - cluster.overlap * computing)
    cores, decoding = cores_of(cluster, processes), batch * pieces.decode
    if cluster.on_cores:
        # A process computes on one core. Where fewer cores are left than its loader needs, they take turns.
        if processes > 1:
            computing *= cluster.crowding
        own = computing + pieces.host + exchange
        return max(own, (own + decoding) / cores)
    return max(computing + exchange, pieces.host, decoding / cores)


def evaluation_seconds(pieces: Pieces, processes: int) -> float:
    """Return the seconds of an evaluation."""
    return pieces.evaluation / processes + pieces.scoring


def samples_per_second(
    pieces: Pieces, cluster: Cluster, processes: int, batch: int, samples: int | None = None
) -> float:
    """Return the rate of a training over all processes: of its steps, or with ``samples``, of a whole epoch of these.

    The epoch includes its evaluation.
    """
    seconds = step_seconds(pieces, cluster, processes, batch)
    rate = processes * batch / seconds
    if samples is None:
        return rate
    return samples / (samples / rate + evaluation_seconds(pieces, processes))


def gains(pieces: Pieces, cluster: Cluster, processes: int, batch: int, samples: int | None = None) -> dict[str, float]:
    """Return by how much the rate would grow if each piece cost half of what it does: name → factor."""
    halves = {
        "decoding": {"decode": pieces.decode / 2},
        "device": {"step": pieces.step / 2, "sample": pieces.sample / 2},
        "host": {"host": pieces.host / 2},
        "evaluation": {"evaluation": pieces.evaluation / 2, "scoring": pieces.scoring / 2},
    }
    before = samples_per_second(pieces, cluster, processes, batch, samples)
    found = {
        name: samples_per_second(replace(pieces, **values), cluster, processes, batch, samples) / before
        for name, values in halves.items()
    }
    quick = replace(cluster, link=2 * cluster.link, network=2 * cluster.network, latency=cluster.latency / 2)
    found["gradients"] = samples_per_second(pieces, quick, processes, batch, samples) / before
    return found


def bottleneck(pieces: Pieces, cluster: Cluster, processes: int, batch: int, samples: int | None = None) -> str:
    """Return the piece of work that limits the rate: the one that is worth most to speed up."""
    found = gains(pieces, cluster, processes, batch, samples)
    return max(found, key=lambda name: found[name])


@dataclass(frozen=True)
class PredictionPieces:
    """What the prediction of a picture needs: seconds of each piece of work, and bytes."""

    decode: float
    """Reading and decoding, on one core."""
    host: float
    """The process's main thread: cutting out people, launches, rows."""
    device: float
    """The device's work."""
    read: float
    """Bytes of the picture's file."""
    written: float
    """Bytes of its row."""
    start: float
    """Seconds until a process predicts its first picture."""


@dataclass(frozen=True)
class Storage:
    """Where pictures come from and rows go."""

    node: float = 3e9
    """Bytes per second that a node reads or writes over its network."""
    shared: float = 40e9
    """Bytes per second of the file system that all nodes share."""


def prediction_limits(
    pieces: PredictionPieces, cluster: Cluster, storage: Storage, nodes: int, processes: int
) -> dict[str, float]:
    """Return the pictures per second that each resource allows on ``nodes`` with so many ``processes`` on each.

    A process's main thread waits for its device; while it does, other processes use the core.
    """
    cores = nodes * cluster.cores_per_node
    return {
        "cores": cores / (pieces.decode + pieces.host),
        "main threads": nodes * processes / (pieces.host + pieces.device),
        "devices": nodes * cluster.devices_per_node / pieces.device if pieces.device else float("inf"),
        "network of a node": nodes * storage.node / (pieces.read + pieces.written),
        "shared disk": storage.shared / (pieces.read + pieces.written),
    }


def prediction_seconds(
    pieces: PredictionPieces,
    cluster: Cluster,
    storage: Storage,
    nodes: int,
    processes: int,
    pictures: int,
    shard_size: int = 1000,
) -> float:
    """Return the seconds of a whole prediction: start, steady rate, and the wait for the last shards."""
    rate = min(prediction_limits(pieces, cluster, storage, nodes, processes).values())
    last = shard_size * nodes * processes / rate  # of one process; on average half of it is waited for
    return pieces.start + pictures / rate + last / 2
