"""The machines of a run: a cluster that somebody named, or this machine alone; and whether its workers fit on them."""

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
# The system's folder for temporary files may have too long a path for Ray's sockets.
_SHORT_FOLDER = Path("/tmp")  # noqa: S108 - what is made in it is a new folder that only its owner can enter
_TOKEN_FILE = Path(".ray", "auth_token")

Machine = Mapping[str, float]
"""What Ray says that a machine has, by the name of the resource."""

_FINEST = 1e-4
"""Ray's own step between two amounts; more than what is lost when such numbers are divided."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workers:
    """The processes of a run: how many, and what each of them has.

    Args:
        count: Processes; as many as the cluster has room for, if None.
        cpus: Cores of each: for decoding, and for the runtime where it works on the CPU.
        gpus: GPUs of each; a fraction shares one.

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
        if (
            not (self.gpus == 0 or _FINEST <= self.gpus < 1 or float(self.gpus).is_integer())
            or self.gpus < 0
        ):
            raise ConfigError(f"a worker has whole GPUs or a part of one, not {self.gpus:g}")


@contextlib.contextmanager
def running_ray(address: str | None = None) -> Iterator[None]:
    """Joins the cluster at this address or of RAY_ADDRESS, or starts Ray on this machine, and
    leaves it at the end.

    Ray on this machine belongs to this user: its folder, its sockets and its token are closed to
    others. Warns where it listens beyond loopback: Ray decides that by
    RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER=0 when it is imported, on every system. Where the caller did
    start or join already, all stays as it is.

    While Ray starts or is joined, which takes seconds, the working directory and the umask of the
    whole process are
    others: Ray's processes take both from it. Other threads should open no relative path and make
    no file meanwhile. Both are as before when the block begins.

    Args:
        address: ``host:port`` of a cluster, or ``local`` for this machine.

    Raises:
        ConfigError: If there is no cluster at the address, or it is ``auto``.
    """
    if ray.is_initialized():
        yield
        return
    cluster = cluster_address(address)
    with tempfile.TemporaryDirectory(
        prefix="motivnet-ray-", dir=_folder(), ignore_cleanup_errors=True
    ) as own:
        # Ray puts the working directory, where anybody's files may lie, before all others on its
        # workers' sys.path.
        with contextlib.chdir(own), _closed_to_others():
            _start(cluster, Path(own))
        try:
            yield
        finally:
            ray.shutdown()


def _start(address: str | None, own: Path) -> None:
    if address is not None:
        try:
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
        except (ConnectionError, ValueError) as error:  # a ValueError is a text that is no address
            raise ConfigError(
                f"there is no Ray cluster at {address}; start one with ray start --head"
            ) from error
        return
    with _without_usage_process():
        ray.init(
            address="local",  # Ray otherwise looks for a running one in a folder into which every user can write
            log_to_driver=False,
            include_dashboard=False,
            logging_level=logging.ERROR,
            _temp_dir=str(
                own / "ray"
            ),  # which Ray opens to everybody, but not the folder around it
        )
    [node] = ray.nodes()  # type: ignore[no-untyped-call]
    if not is_loopback(node["NodeManagerAddress"]):
        logger.warning(
            "Ray listens on every address of this machine; set %s=0 before Ray is imported",
            "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER",
        )


@contextlib.contextmanager
def _without_usage_process() -> Iterator[None]:
    """In the block Ray starts no process for its dashboard.

    Without a dashboard that process does nothing but report usage, and where reports are off it
    still asks the metadata services of three clouds, one of them by name, on what machine it runs.
    No setting of Ray prevents that.
    """
    start = services.start_api_server
    services.start_api_server = lambda *_, **__: (
        None,
        None,
    )  # what it answers where the process does not start
    try:
        yield
    finally:
        services.start_api_server = start


def _folder() -> Path | None:
    return _SHORT_FOLDER if _SHORT_FOLDER.is_dir() else None


@contextlib.contextmanager
def _closed_to_others() -> Iterator[None]:
    """Files that are made in the block, and by the processes that are started in it, are for this user alone."""
    if (home := user_home()) is not None:
        token = home / _TOKEN_FILE
        with contextlib.suppress(OSError):  # there is none, or it is another user's
            token.chmod(token.stat().st_mode & ~_OTHERS)
    before = os.umask(_OTHERS)
    try:
        yield
    finally:
        os.umask(before)


def machines() -> list[Machine]:
    """What each machine of the cluster has, whether it is in use or not."""
    nodes = ray.nodes()  # type: ignore[no-untyped-call]
    return [node["Resources"] for node in nodes if node["Alive"]]


def worker_count(workers: Workers, found: Sequence[Machine]) -> int:
    """How many workers to start: those asked for, else as many as fit.

    Ray waits without a word and without end for a machine that has what no machine has.

    Raises:
        ConfigError: If there is no room for one, or for as many as were asked for.
    """
    room = sum(_room(workers, machine) for machine in found)
    what = f"{workers.cpus:g} cores and {workers.gpus:g} GPUs"
    if room == 0:
        cores, gpus = (
            max((machine.get(name, 0) for machine in found), default=0) for name in ("CPU", "GPU")
        )
        raise ConfigError(
            f"no machine of the cluster has {what} for a worker, the largest have {cores:g} cores and {gpus:g} GPUs; "
            "ask for less, or start Ray where there is more"
        )
    if workers.count is not None and workers.count > room:
        raise ConfigError(
            f"the cluster has room for {room} workers of {what} each, not for {workers.count}; ask for less"
        )
    return workers.count or room


def _room(workers: Workers, machine: Machine) -> int:
    """How many workers fit on one machine; a part of a GPU is always of the same one."""
    room = _times(workers.cpus, machine.get("CPU", 0))
    if not workers.gpus:
        return room
    gpus = machine.get("GPU", 0)
    return min(
        room,
        int(gpus) * _times(workers.gpus, 1) if workers.gpus < 1 else _times(workers.gpus, gpus),
    )


def _times(part: float, whole: float) -> int:
    return int(whole / part + _FINEST)
