"""A service in a process of its own, what the system says of it, and how it ends."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

SERVED = Path(__file__).with_name("served.py")


@dataclass
class Served:
    """A running service."""

    process: subprocess.Popen[str]
    url: str
    log: Path

    @property
    def port(self) -> int:
        return urlsplit(self.url).port or 0

    def rss(self) -> int:
        """Resident bytes."""
        return int(self._status("VmRSS:").split()[0]) * 1024

    def peak(self) -> int:
        """The most that was ever resident."""
        return int(self._status("VmHWM:").split()[0]) * 1024

    def threads(self) -> int:
        return int(self._status("Threads:"))

    def descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def end(self, *, seconds: float = 30.0) -> float:
        """Sends SIGTERM; how long the end took."""
        start = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(seconds)
        return time.monotonic() - start

    def _status(self, key: str) -> str:
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(line.split(maxsplit=1)[1] for line in lines if line.startswith(key))


@contextlib.contextmanager
def served(**options: Any) -> Iterator[Served]:
    """A service with these options (see ``served.py``); ended with the block."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        with log.open("w") as stderr:
            process = subprocess.Popen(
                [sys.executable, str(SERVED), json.dumps(options)],
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            if not url:
                raise RuntimeError(log.read_text())
            yield Served(process=process, url=url, log=log)
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()
