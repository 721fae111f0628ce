"""The calls of our source held against every supported version."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

from conformance.analysis import analysed
from conformance.catalogue import Catalogue, catalogue_from_offer, merged
from conformance.sources import Sources, read_sources
from conformance.target import Target
from conformance.wheels import (
    Wheel,
    driver_wheel,
    newest_rtx,
    offer_of_wheel,
    rtx_wheel,
    tensorrt_wheel,
)

TENSORRT: tuple[Wheel, ...] = (
    tensorrt_wheel("tensorrt-cu12-bindings", "10.3.0"),
    tensorrt_wheel("tensorrt-cu12-bindings", "10.12.0.36"),
    tensorrt_wheel("tensorrt-cu12-bindings", "10.14.1.48.post1"),
    tensorrt_wheel("tensorrt-cu12-bindings", "10.16.1.11"),
    tensorrt_wheel("tensorrt-cu13-bindings", "11.4.0.106"),
    *(rtx_wheel(version) for version in ("1.4.0.76", "1.5.0.114", "1.6.1.120")),
    newest_rtx(),
)
DRIVER: tuple[Wheel, ...] = tuple(
    driver_wheel(version) for version in ("12.8.0", "12.9.10", "13.5.0")
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What a version lacks of what is called, what is called, and functions not looked at."""

    problems: tuple[str, ...]
    uses: frozenset[str]
    unseen: frozenset[str]


def check_wheel(paths: list[Path], wheel: Wheel) -> Findings:
    """Whether a version has all that these files call of it."""
    sources = _sources(tuple(paths))
    analysis = analysed(sources, _target(wheel))
    return Findings(
        problems=tuple(map(str, sorted(analysis.problems))),
        uses=frozenset(f"{owner}.{name}".lstrip(".") for owner, name in analysis.uses),
        unseen=frozenset(sources.functions) - analysis.found.analysed,
    )


def _target(wheel: Wheel) -> Target:
    if wheel in DRIVER:
        return Target(
            catalogue=_catalogue(wheel),
            everything=merged([_catalogue(each) for each in DRIVER]),
            module_names=("cuda.bindings.driver",),
            module_attributes=(),
        )
    return Target(
        catalogue=_catalogue(wheel),
        everything=merged([_catalogue(each) for each in TENSORRT]),
        module_names=("tensorrt", "tensorrt_rtx"),
        module_attributes=("trt",),
        backend="tensorrt-rtx" if "rtx" in wheel.package else "tensorrt",
    )


@functools.lru_cache(maxsize=1)
def _sources(paths: tuple[Path, ...]) -> Sources:
    return read_sources(list(paths))


@functools.cache
def _catalogue(wheel: Wheel) -> Catalogue:
    return catalogue_from_offer(str(wheel), offer_of_wheel(wheel))
