"""The process that builds: however it or its caller ends, there is one error and nothing is left.

That a child process dies with its parent, ends within its grace and imports nothing from the
working directory is tested in ``tests/motivnet/test_child_process.py``.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import onnx
import psutil
import pytest
from onnx import TensorProto, helper

from motivnet.artifact.engine_entry import EngineReport
from motivnet.errors import EngineError
from motivnet_engines.build import builder
from motivnet_engines.build.messages import Stage, Success
from motivnet_engines.build.options import EngineOptions
from motivnet_engines.runtimes.tensorrt.api import RTX_COMPUTE_CAPABILITIES

REPORT = EngineReport(
    evidence="network",
    layers=1,
    matrix_layers={},
    attention_layers=0,
    attention_fused=None,
    activation_bytes=None,
)
SIX_GPUS = EngineOptions(backend="tensorrt-rtx", compute_capabilities=RTX_COMPUTE_CAPABILITIES)

CALLER = """
import contextlib, sys
from pathlib import Path
from motivnet.artifact.manifest import Manifest
from motivnet_engines.build import builder
from motivnet_engines.build.options import EngineOptions

@contextlib.contextmanager
def progress(description, *, total):
    yield lambda steps: print("compiling", flush=True)

builder.progress = progress
onnx, out, *sms = sys.argv[1:]
manifest = Manifest.from_json(Path(onnx).with_name("manifest.json").read_bytes())
options = EngineOptions(backend="tensorrt-rtx", compute_capabilities=tuple(sms))
builder.engine_from_onnx(
    Path(onnx), Path(out), manifest=manifest, options=options, on_message=print
)
print("done", flush=True)
"""


def workers(of: int) -> list[psutil.Process]:
    """The builders that a process started."""
    try:
        children = psutil.Process(of).children(recursive=True)
        return [process for process in children if builder.WORKER in process.cmdline()]
    except psutil.NoSuchProcess:
        return []


@pytest.fixture
def caller(
    rtx_installed: None, trt_graph: Any, tmp_path: Path
) -> Iterator[tuple[subprocess.Popen[str], psutil.Process]]:
    """A process that builds for six GPUs and has begun to compile, and its builder."""
    arguments = [trt_graph("fp16").onnx, tmp_path / "out" / "model.engine"]
    process = subprocess.Popen(
        [sys.executable, "-c", CALLER, *map(str, arguments), *RTX_COMPUTE_CAPABILITIES],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    found: list[psutil.Process] = []
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "compiling\n", process.stderr and process.stderr.read()
        found = workers(process.pid)
        yield process, found[0]
    finally:
        process.kill()
        process.communicate()
        for worker in found:
            with contextlib.suppress(psutil.NoSuchProcess):
                worker.kill()


@pytest.fixture
def run_fake_worker(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, trt_graph: Any
) -> Callable[..., Success]:
    """A function that runs another program as the builder, which has said that it is parsing."""

    def run(program: str, on_advance: Callable[[float], None] = print) -> Success:
        module = tmp_path / "fake_worker.py"
        module.write_text(
            "import os, signal, sys\n"
            "from motivnet.child_process import connect_to_parent\n"
            "from motivnet_engines.build.messages import *\n"
            "parent = connect_to_parent()\n"
            "parent.receive(Request)\n"
            "parent.send(Stage(stage='parsing model.onnx'))\n" + program
        )
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.setattr(builder, "WORKER", "fake_worker")
        graph = trt_graph("fp16")
        return builder.build_in_child(
            graph.onnx,
            tmp_path / "engine",
            manifest=graph.manifest,
            options=EngineOptions(backend="tensorrt-rtx"),
            on_advance=on_advance,
        )

    return run


def test_the_seconds_of_a_build_begin_before_its_process_and_end_after_it(
    monkeypatch: pytest.MonkeyPatch, trt_graph: Any, tmp_path: Path
) -> None:
    now = [100.0]

    def build(_onnx: Path, out: Path, **_: Any) -> Success:
        now[0] += 42
        out.write_bytes(b"engine")
        return Success(version="1", device=None, report=REPORT, peak_bytes=1, warnings=())

    monkeypatch.setattr(builder, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(builder, "build_in_child", build)
    graph, out = trt_graph("fp16"), tmp_path / "model.engine"
    entry = builder.engine_from_onnx(
        graph.onnx, out, manifest=graph.manifest, options=SIX_GPUS, on_message=print
    )

    assert entry.build_seconds == 42
    assert out.read_bytes() == b"engine"


@pytest.mark.parametrize(
    ("program", "message"),
    [
        ("os.kill(os.getpid(), signal.SIGSEGV)", "was ended by SIGSEGV, .* the graph is damaged"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "was ended by SIGKILL, .* the memory ran out"),
        ("os.abort()", "was ended by SIGABRT"),
        ("os._exit(0)", "ended with status 0"),
        ("os._exit(3)", "ended with status 3"),
        ("os.write(parent._writer.fileno(), b'x\\n'); os._exit(0)", "ended with status 0"),
        ("os.write(parent._writer.fileno(), b'{'); os._exit(0)", "ended with status 0"),
    ],
)
def test_a_builder_that_ends_without_a_result_is_one_error_that_names_the_stage(
    run_fake_worker: Callable[..., Success], program: str, message: str
) -> None:
    with pytest.raises(EngineError, match=f"while parsing model.onnx, the builder {message}"):
        run_fake_worker(program)


def test_a_crash_after_the_result_is_a_crash(run_fake_worker: Callable[..., Success]) -> None:
    success = (
        "report = EngineReport(evidence='network', layers=1, matrix_layers={}, attention_layers=0,"
        " attention_fused=None, activation_bytes=None)\n"
        "parent.send(Success(version='1', device=None, report=report, peak_bytes=1, warnings=()))\n"
    )

    assert run_fake_worker(success).version == "1"
    with pytest.raises(EngineError, match="ended by SIGABRT"):
        run_fake_worker(success + "os.abort()")


def test_what_the_libraries_print_is_in_the_log_of_a_crash(
    run_fake_worker: Callable[..., Success],
) -> None:
    printed = (
        "os.write(2, b'Internal Error: no such kernel\\n\\ncudaError 35: noise\\n'); os.abort()"
    )

    with pytest.raises(EngineError) as caught:
        run_fake_worker(printed)

    assert caught.value.log == ("Internal Error: no such kernel",)


def test_a_bug_in_the_builder_is_no_user_error(run_fake_worker: Callable[..., Success]) -> None:
    with pytest.raises(RuntimeError, match=r"(?s)while parsing model.onnx:.*ZeroDivisionError"):
        run_fake_worker("1 / 0")


def test_the_bar_is_given_what_came_since_the_last_time(
    run_fake_worker: Callable[..., Success],
) -> None:
    steps: list[float] = []

    with pytest.raises(EngineError):
        run_fake_worker(
            "for fraction in (0.25, 0.5, 1.0): parent.send(Advance(fraction=fraction))",
            on_advance=steps.append,
        )

    assert steps == [0.25, 0.25, 0.5]


def test_a_builder_that_does_not_stop_by_itself_is_killed(
    run_fake_worker: Callable[..., Success], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(builder, "GRACE", 0.0)
    descriptors = psutil.Process().num_fds()

    with pytest.raises(KeyboardInterrupt):
        run_fake_worker(
            "import pathlib, time\n"
            f"pathlib.Path({str(tmp_path / 'pid')!r}).write_text(str(os.getpid()))\n"
            "parent.send(Advance(fraction=0.5))\n"
            "time.sleep(600)",
            on_advance=interrupt,
        )

    assert not psutil.pid_exists(int((tmp_path / "pid").read_text()))
    assert psutil.Process().num_fds() == descriptors


def interrupt(_fraction: float) -> None:
    raise KeyboardInterrupt


def test_a_graph_that_crashes_the_real_parser_is_an_engine_error(
    built_engine: Any, trt_graph: Any, tmp_path: Path
) -> None:
    path, out = tmp_path / "deep.onnx", tmp_path / "out"
    path.write_bytes(nested_functions(20_000))
    out.mkdir()

    with pytest.raises(
        EngineError, match=r"while parsing deep\.onnx, the builder was ended by SIGSEGV"
    ):
        built_engine(dataclasses.replace(trt_graph("fp16"), onnx=path), out)

    assert list(out.iterdir()) == []


def test_a_builder_that_is_killed_while_compiling_is_an_engine_error(
    caller: tuple[subprocess.Popen[str], psutil.Process], tmp_path: Path
) -> None:
    process, worker = caller

    worker.send_signal(signal.SIGSEGV)
    _, stderr = process.communicate(timeout=60)

    assert "EngineError: while compiling the graph, the builder was ended by SIGSEGV" in stderr
    assert list((tmp_path / "out").iterdir()) == []


def test_ctrl_c_ends_a_build_and_leaves_nothing(
    caller: tuple[subprocess.Popen[str], psutil.Process], tmp_path: Path
) -> None:
    process, worker = caller
    assert os.getpgid(worker.pid) != os.getpgid(process.pid), "the terminal would interrupt both"

    os.killpg(process.pid, signal.SIGINT)
    stdout, stderr = process.communicate(timeout=60)

    assert process.returncode == -signal.SIGINT
    assert "done" not in stdout
    assert stderr.rstrip().endswith("KeyboardInterrupt")
    assert not worker.is_running()
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("stage", ["loading", "parsing"])
def test_ctrl_c_before_the_compilation_ends_a_build_too(
    built_engine: Any, trt_graph: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    def interrupted(child: Any) -> Any:
        message = receive(child)
        if isinstance(message, Stage) and message.stage.startswith(stage):
            raise KeyboardInterrupt
        return message

    receive = builder._receive
    monkeypatch.setattr(builder, "_receive", interrupted)
    graph = trt_graph("fp16")

    with pytest.raises(KeyboardInterrupt):
        built_engine(graph, tmp_path)

    assert workers(os.getpid()) == []
    assert list(tmp_path.iterdir()) == []


def test_a_builder_stops_by_itself_when_its_input_ends(
    rtx_installed: None, monkeypatch: pytest.MonkeyPatch, trt_graph: Any, tmp_path: Path
) -> None:
    monkeypatch.setattr(builder, "GRACE", 60.0)
    graph, out = trt_graph("fp16"), tmp_path / "model.engine"

    with pytest.raises(KeyboardInterrupt):
        builder.build_in_child(
            graph.onnx, out, manifest=graph.manifest, options=SIX_GPUS, on_advance=interrupt
        )

    assert not out.exists()


def test_a_stopped_builder_dies_with_its_caller_and_the_next_build_removes_what_is_left(
    caller: tuple[subprocess.Popen[str], psutil.Process],
    built_engine: Any,
    trt_graph: Any,
    tmp_path: Path,
) -> None:
    process, worker = caller
    worker.suspend()  # so that it cannot notice the end of its input

    process.kill()
    process.wait()

    worker.wait(timeout=30)  # raises if it still runs
    engine = built_engine(trt_graph("fp16"), tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == [engine.path]


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
