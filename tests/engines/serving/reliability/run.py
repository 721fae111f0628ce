"""Measures a service's figures and prints each as a line of JSON; exits with 1 if a bound does not
hold.

python tests/engines/serving/reliability/run.py all      every figure at its full size, but the last
python tests/engines/serving/reliability/run.py overload --seconds 5
python tests/engines/serving/reliability/run.py strangers --proxy nginx
"""

from __future__ import annotations

import argparse
import inspect
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

from api import api
from batches import batching
from drain import drain, hurried, unfinished
from figure import Figure
from hostile import hostile, oversized
from overload import overload
from soak import soak
from stalling import crowd, slow
from stateful import stateful
from strangers import strangers

FIGURES: dict[str, Callable[..., Figure]] = {
    "api": api,
    "batching": batching,
    "stateful": stateful,
    "overload": overload,
    "drain": drain,
    "unfinished": unfinished,
    "hurried": hurried,
    "hostile": hostile,
    "oversized": oversized,
    "slow": slow,
    "crowd": crowd,
    "strangers": strangers,
    "soak": soak,
}

FULL: tuple[tuple[str, dict[str, Any]], ...] = (
    ("api", {"requests": 10_000}),
    ("batching", {"requests": 20_000}),
    ("stateful", {"examples": 2_000}),
    ("overload", {"seconds": 60.0}),
    ("overload", {"seconds": 60.0, "images": 8}),
    ("drain", {"runs": 20}),
    ("unfinished", {}),
    ("hurried", {}),
    ("hostile", {"requests": 2_000}),
    ("oversized", {"requests": 300}),
    ("slow", {"keep_alive_s": 5, "body_s": 8.0, "write_s": 8.0}),
    ("crowd", {"connections": 256}),
    ("soak", {"seconds": 300.0}),
)


def measure(name: str, options: dict[str, Any]) -> bool:
    start, load = time.monotonic(), os.getloadavg()[0]
    figure = FIGURES[name](**options)
    line = {"figure": name, "options": options, **figure.values, "load": round(load, 2)}
    line["took_s"] = round(time.monotonic() - start, 1)
    sys.stdout.write(json.dumps({**line, "failures": figure.failures}) + "\n")
    sys.stdout.flush()
    return not figure.failures


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="figure", required=True)
    everything = commands.add_parser("all")
    everything.add_argument(
        "--artifact", help="for the figure of batches: an artifact that a runtime opens here"
    )
    for name, function in FIGURES.items():
        command = commands.add_parser(name)
        for option in inspect.signature(function, eval_str=True).parameters.values():
            kind = next(
                kind
                for kind in (int, float, str)
                if kind in (option.annotation, *_members(option.annotation))
            )
            default = (
                {} if option.default is inspect.Parameter.empty else {"default": option.default}
            )
            command.add_argument(f"--{option.name}", type=kind, required=not default, **default)
    options = vars(parser.parse_args())
    name = options.pop("figure")
    if name != "all":
        sys.exit(0 if measure(name, options) else 1)
    runs = [
        (name, {**sizes, **(_batches_of(options) if name == "batching" else {})})
        for name, sizes in FULL
    ]
    held = [measure(name, sizes) for name, sizes in runs]
    sys.exit(0 if all(held) else 1)


def _batches_of(options: dict[str, Any]) -> dict[str, Any]:
    return {"artifact": options["artifact"], "runtime": "openvino"}


def _members(annotation: Any) -> tuple[Any, ...]:
    return getattr(annotation, "__args__", ())


if __name__ == "__main__":
    main()
