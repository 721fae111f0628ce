"""Fixtures of the benchmark's tests: a target, and results from plain numbers."""

from __future__ import annotations

import dataclasses
import html.parser
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
import pytest

from motivnet.config import ModelConfig
from motivnet.synthetic import draw_face
from motivnet_bench.environment import Environment
from motivnet_bench.latency.candidates import Candidate
from motivnet_bench.latency.result import LatencyResult, Role, Settings, TargetEntry
from motivnet_bench.latency.statistics import Measurement, summarise_candidates
from motivnet_bench.latency.worker import ArtifactModel, Opened, PyTorchModel
from motivnet_bench.target import Target, target_from_artifact
from motivnet_bench.viability.measure import ViabilityOptions, measure_viability
from motivnet_bench.viability.result import ViabilityResult
from motivnet_export.source import model_source

PlantMeasurement = Callable[..., Measurement]
PlantResult = Callable[..., LatencyResult]


@pytest.fixture(scope="session")
def change() -> Callable[..., Any]:
    """Returns a copy of a dataclass or a schema with other fields."""

    def copy(value: Any, **changes: Any) -> Any:
        is_schema = isinstance(value, msgspec.Struct)
        return (msgspec.structs if is_schema else dataclasses).replace(value, **changes)

    return copy


@pytest.fixture(scope="session")
def target(fp16_artifact: Path, tiny_checkpoint: Path) -> Target:
    return target_from_artifact(fp16_artifact, checkpoint=tiny_checkpoint)


@pytest.fixture(scope="session")
def artifact_model(fp16_artifact: Path) -> ArtifactModel:
    return ArtifactModel(folder=str(fp16_artifact), runtime="onnxruntime")


@pytest.fixture(scope="session")
def environment() -> Environment:
    return Environment(
        processor="AMD EPYC",
        instructions=("avx2", "f16c"),
        physical_cores=2,
        memory=16_000_000_000,
        system="Debian GNU/Linux 12 (bookworm), kernel 6.1, x86_64",
        python="3.11.7",
        versions={"motivnet": "0.1.0", "torch": "2.13.0"},
        load_average=0.0,
        governor=None,
    )


@pytest.fixture(scope="session")
def plant_measurement() -> PlantMeasurement:
    def plant(
        name: str,
        rounds: Sequence[Sequence[float]] = ((1.0,), (1.0,)),
        *,
        default: bool = False,
        logits: Sequence[float] = (1.0, 0.0),
        compilation: float | None = None,
        waiting: Sequence[float] = (),
        error: str | None = None,
    ) -> Measurement:
        role: Role = "runtime"
        model: PyTorchModel | ArtifactModel = ArtifactModel(folder="artifacts/demo", runtime=name)
        if name.startswith(("pytorch", "torch-")):
            role, config = "baseline", ModelConfig.named("tiny")
            model = PyTorchModel(checkpoint=None, config=config, compute="float32", device="cpu")
        candidate = Candidate(name=name, role=role, default=default, model=model)
        if error:
            return Measurement(candidate=candidate, error=error)
        opened = Opened(
            compute="float32",
            device="cpu",
            load=0.5,
            compilation=compilation,
            first_call=0.25,
            logits=(tuple(logits),),
        )
        return Measurement(
            candidate=candidate,
            opened=opened,
            rounds=[tuple(seconds) for seconds in rounds],
            waiting=list(waiting),
            peak_memory=100_000_000,
        )

    return plant


@pytest.fixture(scope="session")
def plant_result(
    target: Target, environment: Environment, plant_measurement: PlantMeasurement
) -> PlantResult:
    """PyTorch at 8 s and 4 s per image, the default runtime as given, and one that failed."""

    def plant(seconds: float = 2.0, **changes: Any) -> LatencyResult:
        measurements = [
            plant_measurement("pytorch-fp32", ((8.0,), (8.0,))),
            plant_measurement("pytorch-bf16", ((4.0,), (4.0,))),
            plant_measurement("openvino", ((seconds,), (seconds,)), default=True),
            plant_measurement("onnxruntime", error="its process ended with status 3"),
        ]
        fields: dict[str, Any] = {
            "created": "2026-11-30T17:00:00+00:00",
            "command_line": "motivnet-bench latency artifacts/demo",
            "target": TargetEntry(
                name="demo",
                weights="tiny.safetensors",
                precision="fp16",
                requested_precision="fp16",
                attention="fused",
                input_dtype="float32",
                image_size=(128, 96),
                preprocessing="stretch",
            ),
            "settings": Settings(
                batch_size=1,
                rounds=2,
                seconds=0.5,
                warmup=1,
                threads=2,
                device="cpu",
                image="drawn face",
            ),
            "environment": environment,
            "candidates": summarise_candidates(measurements, batch_size=1),
            "parity": target.artifact.manifest.parity,
            "interrupted_after": None,
            "left_out": (),
            "warnings": (),
        }
        return LatencyResult(**fields | changes)

    return plant


CLASSES = ("neutral", "happiness", "anger")


@pytest.fixture(scope="session")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes of four faces."""
    folder = tmp_path_factory.mktemp("faces")
    for label in CLASSES:
        (folder / label).mkdir()
        for index in range(4):
            face = draw_face(label, seed=index, size=(64, 48))
            cv2.imwrite(
                str(folder / label / f"{index}.png"), np.ascontiguousarray(face[:, :, ::-1])
            )
    return folder


@pytest.fixture(scope="session")
def noise(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten images without a face and without a label, one of them broken, and a text."""
    folder = tmp_path_factory.mktemp("noise")
    random = np.random.default_rng(0)
    for index in range(10):
        cv2.imwrite(str(folder / f"{index}.png"), random.integers(0, 255, (40, 30, 3), np.uint8))
    (folder / "3.png").write_bytes(b"no image")
    (folder / "notes.txt").write_text("not an image")
    return folder


@pytest.fixture(scope="session")
def viability_result(tiny_checkpoint: Path, faces: Path, noise: Path) -> ViabilityResult:
    """All criteria of an untrained model, with itself as its encoder."""
    options = ViabilityOptions(
        tests=(faces,),
        encoder=tiny_checkpoint,
        data=faces,
        reference=noise,
        resamples=20,
        batch_size=5,
        device="cpu",
    )
    source = model_source(tiny_checkpoint, model=None, preprocess=None)
    return measure_viability(source, options, command_line="again")


class Page(html.parser.HTMLParser):
    """What a page shows, and its tags with their attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    @property
    def addresses(self) -> list[str | None]:
        return [
            values[name] for _, values in self.tags for name in ("src", "href") if name in values
        ]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture
def page_of() -> Callable[[str], Page]:
    return Page


@pytest.fixture
def run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[int, str, str]]:
    """Runs the command in this process: exit status, standard output, standard error."""
    from motivnet_bench import cli

    def call(*words: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["motivnet-bench", *map(str, words)])
        with pytest.raises(SystemExit) as exit_info:
            cli.main()
        out, err = capsys.readouterr()
        return int(exit_info.value.code or 0), out, err

    return call
