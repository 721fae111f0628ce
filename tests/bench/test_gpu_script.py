"""``bench/gpu.sh`` from end to end, with stand-ins for the programs of a machine with a GPU."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import tomllib
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "bench" / "gpu.sh"

PYTHON = f"""#!/bin/sh
# It has every package but those in $WITHOUT.
case "$2" in
  "import tensorrt" | "import torch_tensorrt")
    case " $WITHOUT " in *" ${{2#import }} "*) exit 1 ;; esac ;;
  *'version("tensorrt")'*) echo 11.4.0.106; exit 0 ;;
  *json.load*) exec {sys.executable} "$@" ;;
esac
echo "python $*" >> "$LOG"
[ "$1" != -c ] && echo "ran python $*"
exit 0
"""

PROGRAM = """#!/bin/sh
name=$(basename "$0")
echo "$name $*" >> "$LOG"
[ "$*" = "doctor --json" ] && echo "$DOCTOR" && exit 0
echo "ran $name $*"
case "$name $1" in
  "motivnet-export build")
    while [ "$1" != --out ]; do shift; done
    mkdir -p "$2" && touch "$2/manifest.json" ;;
esac
case " $FAILING " in *" $1 "*) exit 3 ;; esac
exit 0
"""

# As of a program that takes longer than there is time: what $SLOW names is not run.
TIMEOUT = """#!/bin/sh
while [ "${1#--}" != "$1" ]; do shift; done
[ "$1" -gt 0 ] || exit 125
shift
case "$*" in *"${SLOW:-nothing is slow}"*) exit 124 ;; esac
exec "$@"
"""

Run = Callable[..., "tuple[int, dict[str, str], list[str]]"]


def doctor(*, possible: bool) -> str:
    """What ``motivnet doctor --json`` says of the runtimes."""
    runtimes = [
        {"name": name, "possible": can, "detail": f"about {name}", "fix": f"pip install {name}-12"}
        for name, can in {"openvino": False, "tensorrt": possible}.items()
    ]
    return json.dumps({"runtimes": runtimes})


def packages_of(extras: list[str]) -> set[str]:
    """The packages that extras of the project install, without their versions."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = [line for extra in extras for line in project["optional-dependencies"][extra]]
    return {Requirement(line).name for line in lines} - {"motivnet"}


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs the script: its status, the results of the steps in their order, and the commands."""
    programs = tmp_path / "bin"
    programs.mkdir()
    contents = dict.fromkeys(("motivnet", "motivnet-export", "motivnet-bench"), PROGRAM)
    contents |= {"nvidia-smi": "#!/bin/sh\necho 'GPU 0: a stand-in'\n", "timeout": TIMEOUT}
    for name, text in {**contents, "python": PYTHON}.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    log = tmp_path / "log"

    def call(*words: str, **variables: str) -> tuple[int, dict[str, str], list[str]]:
        out = tmp_path / "out"
        environment = {
            **os.environ,
            "PATH": f"{programs}:{os.environ['PATH']}",
            "VENV": str(tmp_path),
            "INSTALL": "no",
            "OUT": str(out),
            "LOG": str(log),
            "DOCTOR": doctor(possible=True),
            **variables,
        }
        done = subprocess.run(["bash", SCRIPT, *words], env=environment, check=False)
        report = (out / "report.md").read_text() if out.exists() else ""
        steps = dict(re.findall(r"^\| ([a-z0-9.-]+) \| ([^|-][^|]*) \|", report, re.MULTILINE))
        steps.pop("step", None)
        commands = log.read_text().splitlines() if log.exists() else []
        return done.returncode, steps, commands

    return call


MEASURED = ["build-{}", "latency-{}", "verify-{}", "inspect-{}", "build-{}-batch-8"]
STEPS = [
    *("environment", "doctor"),
    *(step.format("tiny") for step in [*MEASURED, "latency-{}-batch-8"]),
    *(step.format("sapiens-0.3b") for step in [*MEASURED, "latency-{}-batch-8"]),
    "tests",
]


def test_every_step_runs_with_tensorrt(run: Run) -> None:
    status, steps, commands = run(WITHOUT="torch_tensorrt")
    assert (status, list(steps)) == (0, STEPS)
    assert set(steps.values()) == {"passed"}
    assert not any("--runtime" in command for command in commands)
    builds = [command for command in commands if command.startswith("motivnet-export")]
    assert all("--target tensorrt" in command for command in builds)
    [latency] = [line for line in commands if "latency" in line and "compile-fp32" in line]
    for name in ("fp32", "fp16", "bf16", "compile-fp16", "compile-bf16"):
        assert f" --baseline {name} " in latency
    assert "torch-tensorrt" not in latency


def test_without_tensorrt_onnx_runtime_is_measured(run: Run) -> None:
    status, steps, commands = run("--quick", WITHOUT="tensorrt torch_tensorrt")
    without_engines = [step for step in STEPS if step != "build-tiny-batch-8"]
    assert (status, list(steps)) == (0, [*without_engines[:7], "tests"])
    assert any("build --model tiny --fp16 --target onnx" in command for command in commands)
    latencies = [command for command in commands if command.startswith("motivnet-bench latency")]
    assert len(latencies) == 2
    assert all("--runtime onnxruntime-cuda" in command for command in latencies)


def test_an_engine_is_measured_at_the_batch_size_that_it_was_tuned_for(run: Run) -> None:
    _, _, commands = run("--quick")
    latencies = [line.split() for line in commands if line.startswith("motivnet-bench latency")]
    artifact = latencies[0][2]
    assert [words[2] for words in latencies] == [artifact, f"{artifact}-8"]
    assert latencies[1][latencies[1].index("--batch-size") + 1] == "8"
    assert f"motivnet build-engine {artifact}-8 --backend tensorrt --opt-batch 8" in commands


def test_it_ends_after_the_doctor_where_an_installed_tensorrt_cannot_run(
    run: Run, capfd: pytest.CaptureFixture[str]
) -> None:
    status, steps, commands = run(DOCTOR=doctor(possible=False))
    assert (status, list(steps)) == (1, ["environment", "doctor"])
    assert capfd.readouterr().err.endswith(
        "no tensorrt engine can run here: about tensorrt; pip install tensorrt-12\n"
    )
    assert not [line for line in commands if "pytest tests" in line or "build" in line]


def test_what_it_installs_can_judge_every_precision(run: Run) -> None:
    _, _, commands = run("--quick", INSTALL="yes")
    [line] = [line for line in commands if "--editable" in line]
    packages = packages_of(line.partition("[")[2].partition("]")[0].split(","))
    assert {"torch", "tensorrt", "onnxruntime-gpu"} <= packages
    assert "openvino" in packages, "ONNX Runtime has no BF16 on the CPU"
    assert "onnxruntime" not in packages, "it overwrites onnxruntime-gpu"
    assert "python -m pip install --quiet tensorrt-lean==11.4.0.106" in commands


def test_the_libraries_of_cuda_come_with_onnxruntime() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    [requirement] = map(Requirement, project["optional-dependencies"]["gpu"])
    assert (requirement.name, requirement.extras) == ("onnxruntime-gpu", {"cuda", "cudnn"})
    assert "1.23" not in requirement.specifier


def test_torch_tensorrt_takes_part_where_it_is_installed(run: Run) -> None:
    _, _, commands = run()
    assert any("--baseline torch-tensorrt-fp16" in command for command in commands)


def test_a_step_that_fails_is_in_the_report_and_the_others_run(run: Run) -> None:
    status, steps, _ = run(FAILING="verify")
    assert (status, list(steps)) == (1, STEPS)
    failed = [name for name, result in steps.items() if result == "FAILED"]
    assert failed == ["verify-tiny", "verify-sapiens-0.3b"]


def test_what_lasts_too_long_is_stopped_and_said(run: Run) -> None:
    status, steps, commands = run("--minutes", "60", SLOW="latency")
    assert (status, list(steps)) == (0, STEPS)
    stopped = [name for name, result in steps.items() if result == "stopped, the time was up"]
    assert stopped == [name for name in STEPS if name.startswith("latency")], steps
    assert not any(command.startswith("motivnet-bench") for command in commands)


def test_without_time_the_report_names_what_was_not_run(run: Run) -> None:
    status, steps, _ = run("--minutes", "0")
    assert (status, list(steps)) == (
        0,
        ["environment", "doctor", "build-tiny", "build-sapiens-0.3b", "tests"],
    )
    assert [steps[name] for name in list(steps)[:2]] == ["passed", "passed"]
    assert {steps[name] for name in list(steps)[2:]} == {"not run, no time was left"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--minutes",), "--minutes needs a whole number, such as 12"),
        (("--minutes", "1.5"), "--minutes needs a whole number, such as 12"),
        (("--fast",), "there is no option --fast"),
    ],
)
def test_a_mistake_is_one_line(
    run: Run,
    words: tuple[str, ...],
    said: str,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    status, _, commands = run(*words)
    assert (status, commands) == (1, [])
    err = capfd.readouterr().err
    assert said in err
    assert err.count("\n") == 1
    assert not (tmp_path / "out").exists()
