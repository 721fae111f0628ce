"""Runs commands of one package in turn: arguments are its module and the commands as JSON."""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable


def end_the_service() -> None:
    """Once the server listens to SIGTERM."""
    while signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        time.sleep(0.05)
    os.kill(os.getpid(), signal.SIGTERM)


def status_of(main: Callable[[], None], words: list[str]) -> int:
    sys.argv = words
    if words[1] == "serve" and "--export-triton" not in words:
        threading.Thread(target=end_the_service, daemon=True).start()
    try:
        main()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


module, commands = sys.argv[1], json.loads(sys.argv[2])
main = importlib.import_module(module).main
outcomes = [[words[1], status_of(main, words)] for words in commands]
with open(os.environ["OUTCOMES"], "w", encoding="utf-8") as file:
    json.dump(outcomes, file)
