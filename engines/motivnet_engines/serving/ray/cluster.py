"""The machines of a Ray cluster: whether the workers that a run asks for fit on them."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from motivnet.errors import ConfigError, MissingDependencyError

try:
    import ray
except ModuleNotFoundError as error:
    raise MissingDependencyError("ray", extra="ray") from error

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
        if not (self.gpus == 0 or _FINEST <= self.gpus < 1 or float(self.gpus).is_integer()) or self.gpus < 0:
            raise ConfigError(f"a worker has whole GPUs or a part of one, not {self.gpus:g}")


@contextlib.contextmanager
def running_ray() -> Iterator[None]:
    """Joins the cluster of RAY_ADDRESS, or starts Ray on this machine, and leaves it at the end.

    Where the caller did either already, it stays as it is.
    """
    if ray.is_initialized():
        yield
        return
    # Ray puts the working directory first in its workers' search path: a numpy.py in it would run in each of them.
    with contextlib.chdir("/"):
        ray.init(log_to_driver=False, include_dashboard=False, logging_level=logging.ERROR)
    try:
        yield
    finally:
        ray.shutdown()


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
        cores, gpus = (max((machine.get(name, 0) for machine in found), default=0) for name in ("CPU", "GPU"))
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
    return min(room, int(gpus) * _times(workers.gpus, 1) if workers.gpus < 1 else _times(workers.gpus, gpus))


def _times(part: float, whole: float) -> int:
    return int(whole / part + _FINEST)
