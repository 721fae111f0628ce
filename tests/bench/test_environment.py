from __future__ import annotations

import getpass
import json
import os
import platform
from pathlib import Path

import pytest

from motivnet import schema
from motivnet_bench import environment
from motivnet_bench.environment import Environment, command_line, read_environment
from motivnet_bench.latency.measure import Options
from motivnet_bench.report.document import environment_section
from motivnet_engines.system.nvidia import Gpu, NvidiaDriver


def test_the_environment_names_no_host_no_user_and_no_path():
    text = schema.encode(read_environment()).decode()
    assert platform.node() not in text.split('"')
    assert getpass.getuser() not in text.split('"')
    assert str(Path.home()) not in text
    assert str(Path.cwd()) not in text
    assert "torch" in json.loads(text)["versions"]


def test_cores_are_those_that_the_process_may_use() -> None:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        assert read_environment().physical_cores == 1
    finally:
        os.sched_setaffinity(0, before)


@pytest.fixture
def driver() -> NvidiaDriver:
    gpu = Gpu(name="NVIDIA H100 80GB HBM3", compute_capability="9.0", memory=85_017_493_504)
    return NvidiaDriver(
        version="580.159.04", cuda="13.0", gpus=(gpu,), missing_requirement=None, unused_gpu=False
    )


def shown_details(found: Environment) -> dict[str, str]:
    section = environment_section(found, pytorch_device="a GPU", created="now")
    return dict(section.blocks[0].details)


def test_the_gpus_and_their_driver_are_named(monkeypatch, driver):
    monkeypatch.setattr(environment, "read_driver", lambda: driver)
    found = read_environment()
    assert (found.gpus, found.driver) == (
        ("NVIDIA H100 80GB HBM3, SM 90, 79.2 GiB",),
        "580.159.04, CUDA 13.0",
    )
    shown = shown_details(found)
    assert (shown["GPU 0"], shown["NVIDIA driver"]) == (found.gpus[0], found.driver)


def test_a_machine_without_a_gpu_shows_none(monkeypatch, driver, change):
    monkeypatch.setattr(environment, "read_driver", lambda: change(driver, gpus=()))
    assert not {"GPU 0", "NVIDIA driver"} & shown_details(read_environment()).keys()


def test_the_command_line_repeats_what_is_not_the_default_and_hides_where_files_are(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    options = Options(
        rounds=3,
        runtimes=("openvino", "onnxruntime"),
        trust_engines=True,
        image=tmp_path.parent / "my face.jpg",
    )
    assert command_line("latency", (tmp_path / "artifacts" / "demo",), options) == (
        "motivnet-bench latency artifacts/demo --rounds 3 --runtime openvino --runtime onnxruntime "
        "--trust-engines --image 'my face.jpg'"
    )
