"""Ray itself: start it on this machine, or join a cluster; and whether its nodes have this machine's libraries."""

import importlib.util
import logging
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pipeline.cluster import node
from pipeline.errors import PipelineError, printable, shortened
from pipeline.training import keys

SETTINGS = node.SETTINGS | {  # of Ray; what a user has set stays
    "RAY_AIR_NEW_OUTPUT": "0",  # with it, Tune asks no ProgressReporter
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # a trial of no GPU sees those of its node, as `dvc repro` does
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_RESULT_BUFFER_LENGTH": "0",
}
LOCAL = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # despite its name, it makes Ray bind to 127.0.0.1 alone on Linux, too
    "RAY_AUTH_MODE": "token",
}
OWN_KEYS = {"RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_USE_TLS"}  # which a user has set


@dataclass(frozen=True)
class Cluster:
    """Where Ray runs."""

    address: str | None = None  # HOST:PORT; None: this machine alone, until the command ends
    insecure: bool = False  # whether one without token or encryption will do


def prepare(cluster: Cluster) -> None:
    """Set Ray's environment, before its import, which takes seconds.

    Raises PipelineError if Ray is not installed, if nothing is at the address, or if the cluster there is not safe.
    """
    if importlib.util.find_spec("ray") is None:
        raise PipelineError("Ray is not installed; run `make cluster`.")
    here, address = cluster.address is None, cluster.address or ""
    try:
        if here:  # other users of this machine are kept out, too
            own = LOCAL | {"RAY_TMPDIR": node.private_folder(), "RAY_AUTH_TOKEN": secrets.token_hex(32)}
        elif keys.folder().is_dir() and not OWN_KEYS & os.environ.keys():
            node.require_keys(keys.folder())
            own = node.variables(keys.folder())
        else:
            own = {}
        for name, value in (SETTINGS | own).items():
            os.environ.setdefault(name, value)
        if not here:
            node.require_safe(address := _resolved(address), cluster.insecure)
            node.require_same_python(address)
    except node.Refused as refused:
        raise PipelineError(str(refused)) from None


@contextmanager
def connected(cluster: Cluster) -> Iterator[None]:
    """Ray, on this machine alone or at the address of a cluster, while the `with` lasts.

    Raises PipelineError if Ray does not start there, or if a node has other versions than this one.
    """
    import ray

    address = cluster.address
    try:
        if address:
            ray.init(address, log_to_driver=False, logging_level=logging.ERROR)
        else:
            ray.init("local", include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    except (RuntimeError, ValueError, OSError) as error:
        where = f"at {address}" if address else "on this machine"
        raise PipelineError(
            f"Ray {where} could not be reached or started ({reason(error)}); start it with `ray start`, or leave "
            "out --address."
        ) from None
    try:
        _require_versions(ray)
        yield
    finally:
        ray.shutdown()


def reason(error: Exception) -> str:
    """What Ray says, in one short line."""
    return shortened(printable(str(error)), 200)


def _resolved(address: str) -> str:
    """HOST:PORT; of `auto`, those of the cluster that this machine has joined."""
    from ray._private.services import find_bootstrap_address

    if address != "auto":
        return address
    if found := find_bootstrap_address(None):
        return str(found)
    raise node.Refused("this machine has joined no cluster; start Ray with node.py, or give HOST:PORT as --address.")


def _require_versions(ray: Any) -> None:
    """Raise PipelineError, with the node and the library, unless all nodes have the versions of this one."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    from pipeline.cluster import worker

    ray.cloudpickle.register_pickle_by_value(worker)
    here = worker.versions()
    on_node = ray.remote(num_cpus=0)(worker.versions)
    nodes = [node for node in ray.nodes() if node["Alive"]]
    asked = [
        on_node.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)).remote()
        for node in nodes
    ]
    for each, found in zip(nodes, ray.get(asked), strict=True):
        for name, was in here.items():
            if found.get(name, was) != was:  # a package that another system does not need may be missing there
                raise PipelineError(
                    f"the node {each['NodeManagerAddress']} has {name} {found[name]}, this machine has {was}; install "
                    "the same lock file on both."
                )


def require_room_for_trial(cpus: float, gpus: float) -> None:
    """Raise PipelineError unless a node is large enough for a trial: Ray would wait for one without end."""
    import ray

    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if not any(node.get("CPU", 0) >= cpus and node.get("GPU", 0) >= gpus for node in nodes):
        largest = max((node.get("CPU", 0), node.get("GPU", 0)) for node in nodes)
        raise PipelineError(
            f"a trial needs {cpus:g} CPUs and {gpus:g} GPUs, and the largest node has {largest[0]:g} and "
            f"{largest[1]:g}; lower --cpus-per-trial or --gpus-per-trial."
        )


def require_room_for_workers(workers: int, gpus: float) -> None:
    """Raise PipelineError unless all workers of a training, one CPU each, fit on the nodes at once."""
    import ray

    free = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    room = sum(int(min(node.get("CPU", 0), node.get("GPU", 0) / gpus if gpus else workers)) for node in free)
    if room < workers:
        raise PipelineError(
            f"{workers} workers, each with a CPU and {gpus:g} GPUs, are more than the {room} that the nodes have room "
            "for; lower --workers or --gpus-per-worker."
        )
