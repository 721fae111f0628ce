"""Where a training runs; all of it is handed to Lightning."""

from __future__ import annotations

import os
from dataclasses import dataclass

from motivnet.errors import ConfigError

ACCELERATORS = ("auto", "cpu", "gpu")
STRATEGIES = ("auto", "ddp", "fsdp")


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """Devices of each machine, machines, how they share the work, and processes that prepare the batches of each."""

    accelerator: str = "auto"
    devices: int = 1
    nodes: int = 1
    strategy: str = "auto"
    workers: int | None = None

    def __post_init__(self) -> None:
        if self.devices < 1 or self.nodes < 1 or (self.workers is not None and self.workers < 0):
            raise ConfigError("devices and nodes must be at least 1, and workers at least 0")
        if self.accelerator not in ACCELERATORS:
            raise ConfigError(
                f"no accelerator is called {self.accelerator!r}; choose {', '.join(ACCELERATORS)}"
            )
        if self.strategy not in STRATEGIES:
            raise ConfigError(
                f"no strategy is called {self.strategy!r}; choose {', '.join(STRATEGIES)}"
            )

    @property
    def processes(self) -> int:
        """Processes that train together."""
        return self.devices * self.nodes

    @property
    def torch_device(self) -> str | None:
        """The device for what runs outside the training: the CPU if it was asked for, else None for what there is."""
        return "cpu" if self.accelerator == "cpu" else None

    @property
    def worker_count(self) -> int:
        """The workers asked for, else what the processors of this machine leave each process, at most 8."""
        if self.workers is not None:
            return self.workers
        return min(8, max(0, (os.cpu_count() or 1) // self.devices - 1))


def is_first_process() -> bool:
    """Whether this process writes and speaks for all that train together; the launchers tell them their ranks."""
    return all(
        os.environ.get(name, "0") == "0"
        for name in ("LOCAL_RANK", "NODE_RANK", "RANK", "SLURM_PROCID")
    )
