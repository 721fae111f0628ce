"""Where a training runs: devices, processes and precision, by Lightning Fabric."""

from __future__ import annotations

import contextlib
import datetime
import logging
import os
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, cast

import torch
from torch import Tensor

from motivnet.errors import ConfigError, MissingDependencyError, ProcessLostError, TrainingError
from motivnet.printable import one_line
from motivnet.processors import count_usable_cores
from motivnet_training.recipe import Precision

try:
    from lightning_fabric import Fabric
    from lightning_fabric.strategies.ddp import DDPStrategy
    from lightning_fabric.strategies.strategy import Strategy
    from lightning_fabric.utilities.exceptions import MisconfigurationException
except ImportError as error:
    raise MissingDependencyError("lightning-fabric", extra="train") from error

Device = Literal["auto", "cpu", "cuda"]
StrategyName = Literal["auto", "ddp", "fsdp"]

_COLLECTIVE_TIMEOUT = datetime.timedelta(minutes=30)
"""How long DDP waits for a process that hangs; one that ends is noticed at once."""

_CONNECTION = re.compile(
    r"gloo|nccl|c10d|TCPStore|socket|connection|broken pipe|timed? ?out", re.IGNORECASE
)
"""What the messages of torch's backends have in common when another process is gone; most have no
type of their own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Devices:
    """Devices per machine, machines, and how they share the work; ``workers`` prepare batches."""

    device: Device = "auto"
    devices: int = 1
    nodes: int = 1
    strategy: StrategyName = "auto"
    workers: int | None = None

    @property
    def processes(self) -> int:
        """The number of processes that train together."""
        return self.devices * self.nodes

    @property
    def single_device(self) -> str:
        """The device, as PyTorch names it, for what one process does outside the training."""
        is_cuda = self.device != "cpu" and torch.cuda.is_available()
        return "cuda" if is_cuda else "cpu"

    @property
    def workers_per_process(self) -> int:
        """The workers asked for, else what the processors leave per process, at most 8."""
        if self.workers is not None:
            return self.workers
        return min(8, max(0, count_usable_cores() // self.devices - 1))


def is_first_process() -> bool:
    """Return whether this process writes and speaks for all; launchers tell them their ranks."""
    names = ("LOCAL_RANK", "NODE_RANK", "RANK", "SLURM_PROCID")
    return all(os.environ.get(name, "0") == "0" for name in names)


def open_fabric(devices: Devices, precision: Precision) -> Fabric:
    """Return a Fabric that is not launched yet.

    Raises:
        ConfigError: If there are no such devices here.
    """
    if precision == "16-mixed" and not torch.cuda.is_available():
        raise ConfigError("16-mixed needs a GPU; use bf16-mixed or 32-true")
    strategy: str | Strategy = devices.strategy
    if strategy == "ddp" or (strategy == "auto" and devices.processes > 1):
        strategy = DDPStrategy(timeout=_COLLECTIVE_TIMEOUT)
    try:
        return Fabric(
            accelerator=devices.device,
            devices=devices.devices,
            num_nodes=devices.nodes,
            strategy=strategy,
            precision=precision,
        )
    except (MisconfigurationException, ValueError, RuntimeError, ModuleNotFoundError) as error:
        raise ConfigError(f"these devices are not available: {one_line(error)}") from error


def sum_over_processes(fabric: Fabric, *values: float) -> tuple[float, ...]:
    """Return the sums of these values over all processes, each of which calls this."""
    if fabric.world_size == 1:
        return values
    own = torch.tensor(values, dtype=torch.float64, device=fabric.device)
    return tuple(cast(Tensor, fabric.all_reduce(own, reduce_op="sum")).tolist())


def gather_rows(fabric: Fabric, rows: Tensor) -> Tensor:
    """Return the rows of all processes, each of which calls this with as many."""
    return cast(Tensor, fabric.all_gather(rows)).flatten(0, 1)  # (processes, rows, ...)


@contextlib.contextmanager
def device_errors(devices: Devices) -> Iterator[None]:
    """Raise one line when memory runs out or the connection to another process breaks.

    Raises:
        TrainingError: Inside the block.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise TrainingError(
            "the device is out of memory; use --gradient-checkpointing, a smaller --batch-size "
            "with a larger --accumulate, or --precision bf16-mixed"
        ) from error
    except RuntimeError as error:
        if devices.processes == 1 or not _CONNECTION.search(str(error)):
            raise
        raise ProcessLostError(
            f"the {devices.processes} training processes lost each other: one of them has ended, "
            "and was killed if it has said nothing; continue with --resume"
        ) from error


@contextlib.contextmanager
def quiet_fabric() -> Iterator[None]:
    """Silence what Lightning says at the level of information, and one deprecation inside it.

    It gathers by what torch deprecates. Its other warnings are shown.
    """
    logger = logging.getLogger("lightning_fabric")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=r".*functional\.all_gather is deprecated")
            yield
    finally:
        logger.setLevel(level)
