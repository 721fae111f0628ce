"""Fixtures of the benchmark's tests: one real run on the tiny artifact, and results planted from plain numbers."""

from __future__ import annotations

import dataclasses
import html.parser
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from motivnet.artifact import open_artifact
from motivnet.config import ModelConfig
from motivnet_bench.latency.candidate_process import Outcome
from motivnet_bench.latency.candidates import Candidate
from motivnet_bench.latency.measure import Options
from motivnet_bench.latency.protocol import ArtifactModel, Opened, PyTorchModel
from motivnet_bench.latency.result import LatencyResult, Role
from motivnet_bench.latency.results import rows_of
from motivnet_bench.latency.target import Subject, subject_from_artifact

PlantOutcome = Callable[..., Outcome]
PlantResult = Callable[..., LatencyResult]


@pytest.fixture(scope="session")
def subject(fp16_artifact: Path, tiny_checkpoint: Path) -> Subject:
    return subject_from_artifact(fp16_artifact, checkpoint=tiny_checkpoint)


@pytest.fixture(scope="session")
def quick_options() -> Options:
    runtimes = ("onnxruntime", "openvino", "onnxruntime-cuda")
    return Options(rounds=2, duration=0.02, warmup=0, threads=1, device="cpu", runtimes=runtimes)


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchRun:
    """A run of the command in a folder with one artifact in ``artifacts/demo``."""

    folder: Path
    status: int
    output: str
    errors: str


@pytest.fixture(scope="session")
def bench_run(
    fp16_artifact: Path, tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> BenchRun:
    """The command without an argument, over every runtime that a CPU may have and one that it cannot."""
    folder = tmp_path_factory.mktemp("work")
    shutil.copytree(fp16_artifact, folder / "artifacts" / "demo")
    words = [
        "--json",
        "--checkpoint",
        str(tiny_checkpoint),
        "--rounds",
        "2",
        "--duration",
        "0.02",
        "--device",
        "cpu",
    ]
    for name in ("onnxruntime", "openvino", "onnxruntime-cuda"):
        words += ["--runtime", name]
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "from motivnet_bench.cli import main; main()",
            *words,
            "--threads",
            "1",
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    return BenchRun(folder=folder, status=done.returncode, output=done.stdout, errors=done.stderr)


@pytest.fixture(scope="session")
def latency_result(bench_run: BenchRun) -> LatencyResult:
    """A real run over PyTorch, ONNX Runtime, OpenVINO, and one runtime that cannot be had on a CPU."""
    assert bench_run.status == 0, bench_run.errors
    return LatencyResult.from_json(bench_run.output.encode())


@pytest.fixture(scope="session")
def plant_outcome() -> PlantOutcome:
    def plant(
        name: str,
        rounds: Sequence[Sequence[float]] = ((1.0,), (1.0,)),
        *,
        role: Role = "runtime",
        default: bool = False,
        logits: Sequence[float] = (1.0, 0.0),
        error: str | None = None,
    ) -> Outcome:
        config = ModelConfig.named("tiny")
        model: PyTorchModel | ArtifactModel = ArtifactModel(folder="artifacts/demo", runtime=name)
        if role != "runtime":
            model = PyTorchModel(checkpoint=None, config=config, compute="float32", device="cpu")
        opened = Opened(
            compute="float32", device="cpu", load=0.5, first_call=0.25, logits=(tuple(logits),)
        )
        return Outcome(
            candidate=Candidate(
                name=name, role=role, default=default, gate=None, model=model, config=config
            ),
            opened=None if error else opened,
            rounds=() if error else tuple(tuple(seconds) for seconds in rounds),
            peak_memory=100_000_000,
            error=error,
        )

    return plant


@pytest.fixture(scope="session")
def plant_result(latency_result: LatencyResult, plant_outcome: PlantOutcome) -> PlantResult:
    """The real result with other rows: PyTorch at 8 s and 4 s an image, the default runtime as given."""

    def plant(seconds: float = 2.0, **changes: object) -> LatencyResult:
        outcomes = [
            plant_outcome("pytorch-fp32", ((8.0,), (8.0,)), role="baseline-fp32"),
            plant_outcome("pytorch-bf16", ((4.0,), (4.0,)), role="baseline-half"),
            plant_outcome("openvino", ((seconds,), (seconds,)), default=True),
            plant_outcome("onnxruntime", error="its process ended with status 3"),
        ]
        rows = rows_of(outcomes, batch=1)
        return dataclasses.replace(latency_result, candidates=rows, warnings=(), **changes)  # type: ignore[arg-type]

    return plant


@pytest.fixture(scope="session")
def artifact_model(fp16_artifact: Path) -> ArtifactModel:
    return ArtifactModel(folder=str(open_artifact(fp16_artifact).folder), runtime="onnxruntime")


class Page(html.parser.HTMLParser):
    """What a page shows, and its tags with their attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text += data


@pytest.fixture
def page_of() -> Callable[[str], Page]:
    return Page
