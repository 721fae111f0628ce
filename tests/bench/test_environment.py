from __future__ import annotations

import getpass
import json
import os
import platform
from pathlib import Path

import pytest

from motivnet import strict_json
from motivnet_bench import environment
from motivnet_bench.environment import _processor, _quota, available_cores, read_environment
from motivnet_bench.report.facts import machine_facts
from motivnet_engines.system.nvidia import Gpu, NvidiaDriver


def test_the_environment_names_no_host_no_user_and_no_path():
    words = json.dumps(json.loads(strict_json.dumps(read_environment()))["versions"])
    text = strict_json.dumps(read_environment()).decode()
    assert platform.node() not in text.split('"')
    assert getpass.getuser() not in text.split('"')
    assert str(Path.home()) not in text
    assert str(Path.cwd()) not in text
    assert "torch" in words


def test_cores_are_those_that_the_process_may_use():
    assert 1 <= available_cores() <= len(os.sched_getaffinity(0))
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        assert available_cores() == 1
    finally:
        os.sched_setaffinity(0, before)


@pytest.mark.parametrize(
    ("text", "cores"),
    [("150000 100000", 1), ("400000 100000", 4), ("50000 100000", 1), ("max 100000", 1 << 16)],
)
def test_a_quota_grants_whole_processors(text, cores):
    assert _quota(text) == cores


def test_processor_and_flags_are_read_from_the_first_processor(tmp_path):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(
        "processor\t: 0\nmodel name\t: First\nflags\t\t: avx2 amx_bf16\n\nmodel name\t: Second\nflags\t: x\n"
    )
    assert _processor(cpuinfo) == ("First", {"avx2", "amx_bf16"})


def test_a_machine_without_cpuinfo_still_has_a_name(tmp_path):
    assert _processor(tmp_path / "none")[0]


def test_the_gpus_and_their_driver_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = Gpu(name="NVIDIA H100 80GB HBM3", compute_capability="9.0", memory=85_017_493_504)
    driver = NvidiaDriver(
        version="580.159.04", cuda="13.0", gpus=(gpu,), obstacle=None, unused_gpu=False
    )
    monkeypatch.setattr(environment, "read_driver", lambda: driver)
    found = read_environment()
    assert (found.gpus, found.driver) == (
        ("NVIDIA H100 80GB HBM3, SM 90, 79.2 GiB",),
        "580.159.04, CUDA 13.0",
    )
    shown = dict(machine_facts(found, pytorch_device="a GPU", created="now"))
    assert (shown["GPU 0"], shown["NVIDIA driver"]) == (found.gpus[0], found.driver)


def test_a_machine_without_a_gpu_shows_none(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = NvidiaDriver(
        version="580.159.04", cuda="13.0", gpus=(), obstacle="no GPU", unused_gpu=False
    )
    monkeypatch.setattr(environment, "read_driver", lambda: driver)
    shown = dict(machine_facts(read_environment(), pytorch_device="the processor", created="now"))
    assert not {"GPU 0", "NVIDIA driver"} & shown.keys()
