"""The process that builds: however it or its caller ends, there is one error and nothing is left."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import onnx
import psutil
import pytest
from onnx import TensorProto, helper

from motivnet.errors import EngineError
from motivnet_engines.build import child
from motivnet_engines.build.messages import Report, Request, Stage
from motivnet_engines.build.options import EngineOptions
from motivnet_engines.runtimes.tensorrt.api import RTX_COMPUTE_CAPABILITIES

WORKER = "motivnet_engines.build.worker"

CALLER = """
import contextlib, sys
from pathlib import Path
from motivnet.artifact.manifest import Manifest
from motivnet_engines.build import builder as build
from motivnet_engines.build.options import EngineOptions

@contextlib.contextmanager
def progress(description, *, total):
    yield lambda steps: print("compiling", flush=True)

build.progress = progress
onnx, out, *sms = sys.argv[1:]
manifest = Manifest.from_json(Path(onnx).with_name("manifest.json").read_bytes())
options = EngineOptions(backend="tensorrt-rtx", compute_capabilities=tuple(sms))
build.engine_from_onnx(Path(onnx), Path(out), manifest=manifest, options=options, announce=print)
print("done", flush=True)
"""


def workers(of: int) -> list[psutil.Process]:
    """The builders that a process started."""
    try:
        children = psutil.Process(of).children(recursive=True)
        return [process for process in children if WORKER in process.cmdline()]
    except psutil.NoSuchProcess:
        return []


@pytest.fixture
def caller(
    rtx_installed: None, trt_graph: Any, tmp_path: Path
) -> Iterator[Callable[[], subprocess.Popen[str]]]:
    """A function that starts a process which builds for six GPUs, for many seconds, and waits until it compiles."""
    started, builders = [], list[psutil.Process]()

    def start() -> subprocess.Popen[str]:
        arguments = [
            trt_graph("fp16").onnx,
            tmp_path / "out" / "model.engine",
            *RTX_COMPUTE_CAPABILITIES,
        ]
        process = subprocess.Popen(
            [sys.executable, "-c", CALLER, *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "compiling\n", process.stderr and process.stderr.read()
        builders.extend(workers(process.pid))
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()
    for builder in builders:
        with contextlib.suppress(psutil.NoSuchProcess):
            builder.kill()


@pytest.fixture
def run_fake_worker(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, trt_graph: Any
) -> Callable[..., object]:
    """A function that puts another program in the builder's place, which has said that it is parsing."""

    def run(program: str, on_advance: Callable[[float], None] = print) -> object:
        module = tmp_path / "fake_worker.py"
        module.write_text(
            "import os, signal, sys\n"
            "from motivnet_engines.build.messages import Report, Request, Stage, read_message, write_message\n"
            "read_message(sys.stdin.buffer, Request)\n"
            "reports = os.fdopen(int(sys.argv[2]), 'wb')\n"
            "write_message(reports, Report(body=Stage(stage='parsing model.onnx')))\n" + program
        )
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.setattr(child, "WORKER", "fake_worker")
        graph = trt_graph("fp16")
        request = Request(manifest=graph.manifest, options=EngineOptions(backend="tensorrt-rtx"))
        return child.run_worker(
            graph.onnx, tmp_path / "engine", request=request, on_advance=on_advance
        )

    return run


@pytest.mark.parametrize(
    ("program", "message"),
    [
        (
            "os.kill(os.getpid(), signal.SIGSEGV)",
            "ended by SIGSEGV while parsing model.onnx, most often because the gr",
        ),
        (
            "os.kill(os.getpid(), signal.SIGKILL)",
            "ended by SIGKILL while parsing model.onnx, most often because the me",
        ),
        ("os.abort()", "ended by SIGABRT while parsing model.onnx"),
        ("os._exit(0)", "ended with status 0 while parsing model.onnx and gave no reason"),
        ("os._exit(3)", "ended with status 3 while parsing model.onnx and gave no reason"),
        (
            "reports.write(b'x' * 100); reports.flush(); os._exit(0)",
            "ended with status 0 while parsing",
        ),
        (
            "reports.write(bytes(3)); reports.flush(); os._exit(0)",
            "ended with status 0 while parsing",
        ),
    ],
)
def test_a_builder_that_ends_without_a_word_is_one_error_that_names_the_stage(
    run_fake_worker: Callable[..., object], program: str, message: str
) -> None:
    with pytest.raises(EngineError) as caught:
        run_fake_worker(program)

    assert message in str(caught.value)


def test_a_crash_after_the_last_word_is_a_crash(run_fake_worker: Callable[..., object]) -> None:
    success = (
        "from motivnet.artifact.manifest import EngineProof\n"
        "from motivnet_engines.build.messages import Success\n"
        "proof = EngineProof(evidence='network', layers=1, matrix_layers={}, attention_layers=0,"
        " attention_fused=None, activation_bytes=None)\n"
        "body = Success(version='1', device=None, proof=proof, peak_bytes=1, warnings=())\n"
        "write_message(reports, Report(body=body))\n"
    )

    assert run_fake_worker(success)
    with pytest.raises(EngineError, match="ended by SIGABRT"):
        run_fake_worker(success + "os.abort()")


def test_what_the_libraries_print_is_in_the_log_of_a_crash(
    run_fake_worker: Callable[..., object],
) -> None:
    printed = (
        "os.write(2, b'Internal Error: no such kernel\\n\\ncudaError 35: noise\\n'); os.abort()"
    )

    with pytest.raises(EngineError) as caught:
        run_fake_worker(printed)

    assert caught.value.log == ("Internal Error: no such kernel",)


def test_a_fault_of_ours_in_the_builder_is_no_user_error(
    run_fake_worker: Callable[..., object],
) -> None:
    with pytest.raises(RuntimeError, match=r"(?s)while parsing model.onnx:.*ZeroDivisionError"):
        run_fake_worker("1 / 0")


def test_a_graph_that_crashes_the_real_parser_is_an_engine_error(
    built_engine: Any, trt_graph: Any, tmp_path: Path
) -> None:
    path, out = tmp_path / "deep.onnx", tmp_path / "out"
    path.write_bytes(nested_functions(20_000))
    out.mkdir()

    with pytest.raises(EngineError, match="ended by SIGSEGV while parsing deep"):
        built_engine(dataclasses.replace(trt_graph("fp16"), onnx=path), out)

    assert list(out.iterdir()) == []


def test_a_builder_that_is_killed_while_compiling_is_an_engine_error(
    caller: Callable[[], subprocess.Popen[str]], tmp_path: Path
) -> None:
    process = caller()
    (worker,) = workers(process.pid)

    worker.send_signal(signal.SIGSEGV)
    _, stderr = process.communicate(timeout=60)

    assert "EngineError: the builder was ended by SIGSEGV while compiling the graph" in stderr
    assert list((tmp_path / "out").iterdir()) == []


def test_ctrl_c_ends_a_build_within_two_seconds_and_leaves_nothing(
    caller: Callable[[], subprocess.Popen[str]], tmp_path: Path
) -> None:
    process = caller()
    (worker,) = workers(process.pid)

    begin = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)
    stdout, stderr = process.communicate(timeout=60)
    seconds = time.monotonic() - begin

    assert process.returncode == -signal.SIGINT
    assert seconds < 2
    assert "done" not in stdout
    assert stderr.rstrip().endswith("KeyboardInterrupt")
    assert not worker.is_running()
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("stage", ["loading", "parsing"])
def test_ctrl_c_before_the_compilation_ends_a_build_too(
    built_engine: Any, trt_graph: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    def interrupted(stream: Any) -> Iterator[Report]:
        for report in reports(stream):
            if isinstance(report.body, Stage) and report.body.stage.startswith(stage):
                raise KeyboardInterrupt
            yield report

    reports = child._reports
    monkeypatch.setattr(child, "_reports", interrupted)
    graph = trt_graph("fp16")
    begin = time.monotonic()

    with pytest.raises(KeyboardInterrupt):
        built_engine(graph, tmp_path)

    assert time.monotonic() - begin < 4  # the start of the builder included
    assert workers(os.getpid()) == []
    assert list(tmp_path.iterdir()) == []


def test_a_builder_that_does_not_stop_by_itself_is_killed(
    run_fake_worker: Callable[..., object], tmp_path: Path
) -> None:
    def interrupt(_fraction: float) -> None:
        begun.append(time.monotonic())
        raise KeyboardInterrupt

    begun: list[float] = []

    with pytest.raises(KeyboardInterrupt):
        run_fake_worker(
            "import pathlib, time\n"
            "from motivnet_engines.build.messages import Advance\n"
            f"pathlib.Path({str(tmp_path / 'pid')!r}).write_text(str(os.getpid()))\n"
            "write_message(reports, Report(body=Advance(fraction=0.5)))\n"
            "time.sleep(60)",
            on_advance=interrupt,
        )

    assert time.monotonic() - begun[0] < 1.5
    assert not psutil.pid_exists(int((tmp_path / "pid").read_text()))


def test_a_builder_stops_by_itself_when_its_input_ends(
    rtx_installed: None, monkeypatch: pytest.MonkeyPatch, trt_graph: Any, tmp_path: Path
) -> None:
    def interrupt(_fraction: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(child, "_GRACE", 60.0)
    graph, out = trt_graph("fp16"), tmp_path / "model.engine"
    options = EngineOptions(backend="tensorrt-rtx", compute_capabilities=RTX_COMPUTE_CAPABILITIES)

    with pytest.raises(KeyboardInterrupt):
        child.run_worker(
            graph.onnx,
            out,
            request=Request(manifest=graph.manifest, options=options),
            on_advance=interrupt,
        )

    assert not out.exists()


def test_a_builder_of_tensorrt_rtx_has_the_same_addresses_in_every_run(
    fixed_addresses: None, caller: Callable[[], subprocess.Popen[str]]
) -> None:
    (worker,) = workers(caller().pid)

    assert int(Path(f"/proc/{worker.pid}/personality").read_text(), 16) & 0x40000


def test_ctrl_c_at_the_terminal_does_not_reach_the_builder(
    caller: Callable[[], subprocess.Popen[str]],
) -> None:
    process = caller()
    (worker,) = workers(process.pid)

    assert os.getsid(worker.pid) != os.getsid(process.pid)
    assert os.getpgid(worker.pid) != os.getpgid(process.pid)


def test_a_builder_dies_with_its_caller(caller: Callable[[], subprocess.Popen[str]]) -> None:
    process = caller()
    (worker,) = workers(process.pid)

    process.kill()
    process.wait()

    worker.wait(timeout=5)  # raises if it still runs


def test_the_kernel_kills_a_builder_whose_caller_is_gone(
    caller: Callable[[], subprocess.Popen[str]],
) -> None:
    """One that cannot notice the end of its input, because it is stopped."""
    process = caller()
    (worker,) = workers(process.pid)
    worker.suspend()

    process.kill()
    process.wait()

    worker.wait(timeout=5)


def test_what_a_killed_caller_left_goes_with_the_next_build(
    caller: Callable[[], subprocess.Popen[str]], built_engine: Any, trt_graph: Any, tmp_path: Path
) -> None:
    process = caller()
    process.kill()
    process.wait()

    engine = built_engine(trt_graph("fp16"), tmp_path / "out")

    assert list((tmp_path / "out").iterdir()) == [engine.path]


def test_a_module_in_the_working_directory_does_not_take_the_place_of_ours(
    monkeypatch: pytest.MonkeyPatch, built_engine: Any, trt_graph: Any, tmp_path: Path
) -> None:
    for name in ("json", "numpy", "tensorrt_rtx", "motivnet"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('a stranger')")
    monkeypatch.chdir(tmp_path)

    built_engine(trt_graph("fp16"), tmp_path / "out")


def test_a_build_leaves_no_descriptor_open(
    built_engine: Any, trt_graph: Any, tmp_path: Path
) -> None:
    graph = trt_graph("fp16")
    before = psutil.Process().num_fds()

    built_engine(graph, tmp_path)

    assert psutil.Process().num_fds() == before
    assert workers(os.getpid()) == []


def nested_functions(depth: int) -> bytes:
    """A graph of functions that call one another, each the next."""
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("d", 1)]
    last = helper.make_function(
        "d", f"f{depth}", ["x"], ["y"], [helper.make_node("Identity", ["x"], ["y"])], opsets
    )
    calls = [
        helper.make_function(
            "d",
            f"f{i}",
            ["x"],
            ["y"],
            [helper.make_node(f"f{i + 1}", ["x"], ["y"], domain="d")],
            opsets,
        )
        for i in range(depth)
    ]
    image, logits = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 3, 128, 96])
        for name in ("image", "logits")
    )
    graph = helper.make_graph(
        [helper.make_node("f0", ["image"], ["logits"], domain="d")], "graph", [image], [logits]
    )
    model: onnx.ModelProto = helper.make_model(
        graph, functions=[*calls, last], opset_imports=opsets, ir_version=10
    )
    return bytes(model.SerializeToString())
