"""Runs the tests of this folder in a child process whose CUDA driver is the fake, and reports each
under its name.

A driver belongs to a whole process, and the other tests must see this machine without one.
"""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from motivnet_engines.runtimes.tensorrt.cuda import open_memory
from motivnet_engines.runtimes.tensorrt.cuda.base import CudaMemory

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE.parent))  # for the modules beside this folder, which are no package
import pycuda_build  # noqa: E402
from fake_cuda import driver  # noqa: E402
from fake_cuda.calls import Cuda  # noqa: E402

ROOT = HERE.parents[3]
REPORTS = "MOTIVNET_SIMULATED_REPORTS"
PYCUDA = "MOTIVNET_PYCUDA"
PYCUDA_SKIPPED = "MOTIVNET_PYCUDA_SKIPPED"
PYCUDA_FAILED = "MOTIVNET_PYCUDA_FAILED"
SECONDS = 900
"""For all of the tests; building pycuda comes before, and takes minutes."""

IN_CHILD = driver.MARK in os.environ
if folder := os.environ.get(PYCUDA):
    sys.path.append(folder)  # last, because pycuda's dependencies are in it too


@pytest.fixture(scope="session")
def _driver_of_this_process() -> Any:
    return driver.FakeDriver()


@pytest.fixture
def fake(_driver_of_this_process: Any) -> Iterator[Any]:
    """The fake driver; afterwards nothing may be alive in it and no mistake may have been seen."""
    _driver_of_this_process.forget()
    yield _driver_of_this_process
    try:
        _driver_of_this_process.assert_clean()
    finally:
        _driver_of_this_process.forget()


@pytest.fixture(params=["cuda-bindings", "pycuda"])
def memory_name(request: pytest.FixtureRequest) -> str:
    """Each implementation of CudaMemory in turn."""
    if request.param == "pycuda":
        if reason := os.environ.get(PYCUDA_FAILED):
            pytest.fail(reason, pytrace=False)
        if reason := os.environ.get(PYCUDA_SKIPPED):
            pytest.skip(reason)
    return str(request.param)


@pytest.fixture
def memory(fake: Any, memory_name: str) -> Iterator[CudaMemory]:
    """CudaMemory on the fake, closed after the test."""
    memory = open_memory(memory_name)  # type: ignore[arg-type]
    yield memory
    memory.close()


@pytest.fixture
def cuda(fake: Any) -> Iterator[Cuda]:
    """The driver's C calls, with the primary context current in this thread."""
    calls = Cuda(fake)
    assert calls.call("cuInit", 0) == 0
    context = calls.made("cuDevicePrimaryCtxRetain", 0)
    assert calls.call("cuCtxPushCurrent_v2", ctypes.c_void_p(context)) == 0
    yield calls
    assert fake.take_violations() == []
    fake.forget()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The first test waits for all of them, and for pycuda where that is not built yet."""
    for item in items:
        if _is_ours(item) and not IN_CHILD:
            item.add_marker(pytest.mark.timeout(SECONDS + 4 * pycuda_build.BUILD_SECONDS))
            item.add_marker(pytest.mark.compile)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> bool | None:
    """Reports what the child saw, instead of running the test here."""
    if IN_CHILD or not _is_ours(item):
        return None
    siblings = tuple(_name(other) for other in item.session.items if _is_ours(other))
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    for data in _reports_of(item, _reports(siblings)):
        report = item.config.hook.pytest_report_from_serializable(config=item.config, data=data)
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """In the child: keeps every report for the parent."""
    if path := os.environ.get(REPORTS):
        data = _config.hook.pytest_report_to_serializable(config=_config, report=report)
        with open(path, "a", encoding="utf-8") as out:
            out.write(json.dumps(data) + "\n")


def pytest_configure(config: pytest.Config) -> None:
    global _config  # noqa: PLW0603 - the hook for reports is given none
    _config = config


_config: pytest.Config


def _is_ours(item: pytest.Item) -> bool:
    return item.path.parent == HERE


def _name(item: pytest.Item) -> str:
    """The node id without the group that pytest-xdist adds to it."""
    return item.nodeid.removesuffix("@simulated")


def _reports_of(
    item: pytest.Item, reports: dict[str, list[dict[str, Any]]]
) -> list[dict[str, Any]]:
    """What the child said of a test; a failure too, if it died before it had said all."""
    found = [{**data, "nodeid": item.nodeid} for data in reports.get(_name(item), [])]
    return found if any(data["when"] == "teardown" for data in found) else [*found, _not_run(item)]


@cache
def _reports(nodeids: tuple[str, ...]) -> dict[str, list[dict[str, Any]]]:
    """What one child saw of these tests: the reports of each, in order."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "reports"
        path.touch()
        said = _run_child(nodeids, path)
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    reports: dict[str, list[dict[str, Any]]] = {}
    for data in lines:
        if isinstance(data["longrepr"], list):
            data["longrepr"] = tuple(
                data["longrepr"]
            )  # where and why a test was skipped; JSON knows no tuples
        reports.setdefault(data["nodeid"], []).append(data)
    _last_words.update(dict.fromkeys(nodeids, said))
    return reports


def _run_child(nodeids: tuple[str, ...], reports: Path) -> str:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "", *nodeids]
    try:
        child = subprocess.run(
            command,
            cwd=ROOT,
            env=_environment(reports),
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
    except (subprocess.SubprocessError, OSError, RuntimeError) as error:
        return f"{type(error).__name__}: {error}"
    return f"{child.stdout[-3000:]}\n{child.stderr[:3000]}"  # a crash says first what it is


_last_words: dict[str, str] = {}


def _environment(reports: Path) -> dict[str, str]:
    pycuda = pycuda_build.built(driver.compiled(), driver.cache_folder())
    said = {
        PYCUDA: str(pycuda.folder or ""),
        PYCUDA_SKIPPED: pycuda.skipped,
        PYCUDA_FAILED: pycuda.failed,
    }
    return {**driver.environment(), **said, REPORTS: str(reports)}


def _not_run(item: pytest.Item) -> dict[str, Any]:
    """A failure for a test that the child never came to, with what the child said last."""
    said = _last_words.get(_name(item), "")
    text = f"the child process did not finish this test; it said last:\n{said}"
    report = pytest.TestReport(item.nodeid, item.location, {}, "failed", text, "call")
    data = item.config.hook.pytest_report_to_serializable(config=item.config, report=report)
    assert isinstance(data, dict)
    return data
