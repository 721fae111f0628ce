"""The machines of a run: a named cluster or this one alone, and how many workers fit on them."""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from motivnet.errors import ConfigError, MissingDependencyError
from motivnet_engines.serving.ray.environment import cluster_address
from motivnet_engines.serving.settings import is_loopback
from motivnet_engines.system.user_folders import user_home

try:
    import ray
    from ray._private import services
except ModuleNotFoundError as error:
    raise MissingDependencyError("ray", extra="ray") from error

logger = logging.getLogger(__name__)

_OTHERS = 0o077
_FINEST = 1e-4
"""Ray's step between two amounts; larger than the rounding error of a division."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workers:
    """The worker processes of a run.

    Args:
        count: Number of processes; as many as fit on the cluster if None.
        cpus: Cores per worker, for decoding and for a runtime on the CPU.
        gpus: GPUs per worker; a fraction shares one.

    Raises:
        ConfigError: Naming the value that is not valid.
    """

    count: int | None = None
    cpus: float = 1
    gpus: float = 0

    def __post_init__(self) -> None:
        if self.count is not None and self.count < 1:
            raise ConfigError(f"a run needs at least one worker, not {self.count}")
        if not self.cpus >= _FINEST:
            raise ConfigError(f"a worker needs more than no cores, not {self.cpus:g}")
        whole = self.gpus >= 0 and float(self.gpus).is_integer()
        if not (whole or _FINEST <= self.gpus < 1):
            raise ConfigError(f"a worker has whole GPUs or a part of one, not {self.gpus:g}")


@contextlib.contextmanager
def running_ray(address: str | None = None) -> Iterator[None]:
    """Join a cluster or start Ray on this machine, and leave it at the end of the block.

    A Ray on this machine belongs to this user: its folder, sockets and token are closed to others.
    A warning is logged if it listens beyond loopback: Ray decides that when it is imported, by
    RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER=0 on every system. If the caller has started or joined Ray
    already, nothing changes.

    While Ray starts or joins, which takes seconds, the working directory and the umask of the whole
    process are changed, because Ray's processes inherit both. Other threads should open no relative
    path and create no file meanwhile. Both are restored before the block begins.

    Args:
        address: As in ``cluster_address``.

    Raises:
        ConfigError: If there is no cluster at the address, or it is ``auto``.
    """
    if ray.is_initialized():
        yield
        return
    cluster = cluster_address(address)
    # The system's folder for temporary files may have too long a path for Ray's sockets. What is
    # made in this one is a new folder that only its owner can enter.
    parent = "/tmp" if os.path.isdir("/tmp") else None  # noqa: S108, PTH112
    with tempfile.TemporaryDirectory(
        prefix="motivnet-ray-", dir=parent, ignore_cleanup_errors=True
    ) as own:
        # Ray puts the working directory, where anybody's files may be, first on its workers'
        # sys.path.
        with _working_directory(own), _closed_to_others():
            if cluster is None:
                _start(Path(own))
            else:
                _join(cluster)
        try:
            yield
        finally:
            ray.shutdown()


def _join(address: str) -> None:
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, ValueError) as error:  # a ValueError is a text that is no address
        raise ConfigError(
            f"there is no Ray cluster at {address}; start one with ray start --head"
        ) from error


def _start(own: Path) -> None:
    with _without_usage_process():
        ray.init(
            # By default Ray looks for a running one in a folder into which every user can write.
            address="local",
            log_to_driver=False,
            include_dashboard=False,
            logging_level=logging.ERROR,
            # Ray opens this folder to everybody, but not the one around it.
            _temp_dir=str(own / "ray"),
        )
    [node] = ray.nodes()  # type: ignore[no-untyped-call]
    if not is_loopback(node["NodeManagerAddress"]):
        logger.warning(
            "Ray listens on every address of this machine; set %s=0 before Ray is imported",
            "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER",
        )


@contextlib.contextmanager
def _without_usage_process() -> Iterator[None]:
    """Keep Ray from starting its dashboard process, which no setting of Ray prevents.

    Without a dashboard that process only reports usage. Even with reports off it asks the metadata
    services of three clouds, one of them by name, on which machine it runs.
    """
    start = services.start_api_server
    services.start_api_server = lambda *_, **__: (None, None)  # its answer if it does not start
    try:
        yield
    finally:
        services.start_api_server = start


@contextlib.contextmanager
def _working_directory(folder: str) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


@contextlib.contextmanager
def _closed_to_others() -> Iterator[None]:
    """Close files made in the block, and by processes started in it, to other users."""
    if (home := user_home()) is not None:
        token = home / ".ray" / "auth_token"
        with contextlib.suppress(OSError):  # there is none, or it is another user's
            token.chmod(token.stat().st_mode & ~_OTHERS)
    before = os.umask(_OTHERS)
    try:
        yield
    finally:
        os.umask(before)


def machines() -> list[dict[str, float]]:
    """Return the resources of each machine of the cluster, in use or not, as Ray names them."""
    nodes = ray.nodes()  # type: ignore[no-untyped-call]
    return [node["Resources"] for node in nodes if node["Alive"]]


def worker_count(workers: Workers, found: Sequence[Mapping[str, float]]) -> int:
    """Return how many workers to start: those asked for, or as many as fit.

    Ray waits forever, silently, for a machine with resources that no machine has.

    Raises:
        ConfigError: If there is no room for one, or for as many as were asked for.
    """
    room = sum(_room(workers, machine) for machine in found)
    what = f"{workers.cpus:g} cores and {workers.gpus:g} GPUs"
    if room == 0:
        cores = max((machine.get("CPU", 0) for machine in found), default=0)
        gpus = max((machine.get("GPU", 0) for machine in found), default=0)
        raise ConfigError(
            f"no machine of the cluster has {what} for a worker, the largest have {cores:g} cores "
            f"and {gpus:g} GPUs; ask for less, or start Ray on a larger machine"
        )
    if workers.count is not None and workers.count > room:
        raise ConfigError(
            f"the cluster has room for {room} workers of {what} each, not for {workers.count}; "
            "ask for less"
        )
    return workers.count or room


def _room(workers: Workers, machine: Mapping[str, float]) -> int:
    """Return how many workers fit on one machine; a part of a GPU is always of the same GPU."""
    room = int(machine.get("CPU", 0) / workers.cpus + _FINEST)
    gpus = machine.get("GPU", 0)
    if workers.gpus == 0:
        return room
    if workers.gpus < 1:
        return min(room, int(gpus) * int(1 / workers.gpus + _FINEST))
    return min(room, int(gpus / workers.gpus + _FINEST))
