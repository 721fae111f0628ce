from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from motivnet import schema
from motivnet.artifact.manifest import InputEntry
from motivnet.config import ModelConfig
from motivnet.errors import ConfigError, ImageError
from motivnet.preprocess import Preprocessing
from motivnet_bench.latency import measure
from motivnet_bench.latency.candidate_process import INTERRUPTED
from motivnet_bench.latency.measure import (
    Options,
    alternate,
    measure_latency,
    run_rounds,
    write_inputs,
)
from motivnet_bench.latency.result import read_result
from motivnet_bench.latency.statistics import Measurement
from motivnet_engines.runtimes.selection import default_runtime

MEASURED = ("pytorch-fp32", "pytorch-bf16", "onnxruntime", "openvino")
RUNTIMES = ("onnxruntime", "openvino", "onnxruntime-cuda")
PREPROCESSING = Preprocessing.named("stretch", size=(64, 48))


@pytest.fixture(scope="module")
def latency_result(target):
    """A real run over PyTorch, ONNX Runtime, OpenVINO, and a runtime that no processor has."""
    options = Options(rounds=2, seconds=1e-3, warmup=0, threads=1, device="cpu", runtimes=RUNTIMES)
    return measure_latency(target, options)


def test_the_baselines_come_first_and_every_runtime_has_a_row(latency_result):
    assert [row.name for row in latency_result.candidates] == [*MEASURED, "onnxruntime-cuda"]
    roles = [row.role for row in latency_result.candidates[:3]]
    assert roles == ["baseline", "baseline", "runtime"]


@pytest.mark.parametrize("name", MEASURED)
def test_a_candidate_has_all_its_metrics(latency_result, name):
    row = latency_result.candidate(name)
    metrics = row.metrics
    assert row.error is None
    assert len(metrics.latency.round_medians) == 2
    assert metrics.latency.calls >= 2
    assert 0 < metrics.latency.p50 <= metrics.latency.p90
    assert metrics.latency.p90 <= metrics.latency.p95 <= metrics.latency.p99
    assert min(metrics.load, metrics.first_call, metrics.images_per_second) > 0
    assert metrics.peak_memory > 30_000_000


def test_a_runtime_that_is_not_there_is_a_row_with_one_line(latency_result):
    row = latency_result.candidate("onnxruntime-cuda")
    assert row.metrics is None
    assert row.error
    assert "\n" not in row.error


@pytest.mark.parametrize("name", MEASURED[1:])
def test_every_candidate_computes_the_same_model_on_the_same_inputs(latency_result, name):
    metrics = latency_result.candidate(name).metrics
    assert metrics.top1_agrees
    assert metrics.probability_max_abs < 0.02


def test_baselines_compute_in_their_dtype(latency_result):
    assert latency_result.candidate("pytorch-fp32").compute == "float32"
    assert latency_result.candidate("pytorch-bf16").compute == "bfloat16"


def test_the_default_is_the_runtime_that_opens_the_artifact(latency_result, target):
    expected = latency_result.candidate(default_runtime(target.artifact))
    assert latency_result.default == expected


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"format_version": 1}, "format_version"),
        ({"surprise": 1}, "surprise"),
        ({"candidates": [{}]}, r"candidates\[0\]"),
    ],
)
def test_a_changed_json_is_refused_with_the_place(plant_result, tmp_path, changes, said):
    path = tmp_path / "report.json"
    path.write_bytes(schema.encode(plant_result()))
    assert read_result(path) == plant_result()
    path.write_text(json.dumps({**json.loads(path.read_bytes()), **changes}))
    with pytest.raises(ConfigError, match=rf"report\.json: not a latency result .*{said}"):
        read_result(path)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"batch_size": 9}, "largest batch size 8"),
        ({"runtimes": ("abacus",)}, "no runtime is called 'abacus'; the runtimes are"),
    ],
)
def test_options_that_do_not_fit_the_artifact_are_refused(target, changes, said):
    with pytest.raises(ConfigError, match=said):
        measure_latency(target, Options(device="cpu", **changes))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("batch_size", 0),
        ("rounds", 0),
        ("threads", 0),
        ("warmup", -1),
        ("seconds", 0.0),
        ("seconds", float("nan")),
        ("timeout", 0.0),
        ("timeout", float("nan")),
    ],
)
def test_options_without_sense_are_refused(name, value):
    option = name.replace("_", "-")
    with pytest.raises(ConfigError, match=rf"^--{option} must be .*, not {value:g}$"):
        Options(**{name: value})


def test_a_file_that_is_no_image_is_refused_before_anything_runs(target, tmp_path):
    path = tmp_path / "notes.jpg"
    path.write_text("not an image")
    with pytest.raises(ImageError, match=r"notes\.jpg"):
        measure_latency(target, Options(device="cpu", image=path))


def test_an_image_file_takes_the_place_of_the_drawn_faces(target, tmp_path, monkeypatch):
    path = tmp_path / "face.png"
    image = np.random.default_rng(1).integers(0, 256, (90, 60, 3), dtype=np.uint8)
    cv2.imwrite(str(path), np.ascontiguousarray(image[:, :, ::-1]))
    measured = []

    def record(candidates, inputs, settings, **_):
        measured.append([np.load(file) for file in inputs])
        return [], None

    monkeypatch.setattr(measure, "run_rounds", record)
    settings = measure_latency(target, Options(batch_size=2, device="cpu", image=path)).settings
    assert (settings.image, settings.batch_size) == ("face.png", 2)
    expected = [target.artifact.manifest.input.preprocessing(image)] * 2
    np.testing.assert_array_equal(measured, [[expected, expected]])


class FakeProcess:
    """Records what it is asked for, as ``open a``, in ``log``; Ctrl-C comes at ``interrupt``."""

    def __init__(self, log: list[str], measurement: Measurement, interrupt: str | None) -> None:
        self.log = log
        self.measurement = measurement
        self.interrupt = interrupt

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.record("close")

    def record(self, action):
        self.log.append(f"{action} {self.measurement.candidate.name}")
        if self.log[-1] == self.interrupt:
            raise KeyboardInterrupt

    def open(self, inputs, *, warmup, config):
        self.record(f"open {inputs.stem} for")

    def measure(self, seconds, *, title):
        self.record(f"{title} of")
        self.measurement.rounds.append((seconds,))

    def finish(self):
        self.measurement.error = None if self.measurement.rounds else INTERRUPTED
        return self.measurement


@pytest.fixture
def fake_rounds(plant_measurement, plant_result, change, monkeypatch, tmp_path):
    """Runs two rounds of a baseline and a runtime: the log, and what came back."""
    log: list[str] = []
    planted = {name: plant_measurement(name, ()) for name in ("pytorch-a", "b")}
    files = tmp_path / "pytorch.npy", tmp_path / "artifact.npy"
    settings = change(plant_result().settings, rounds=2)

    def call(interrupt: str | None = None):
        def fake_process(candidate, **_):
            return FakeProcess(log, planted[candidate.name], interrupt)

        monkeypatch.setattr(measure, "CandidateProcess", fake_process)
        candidates = [each.candidate for each in planted.values()]
        config = ModelConfig.named("tiny")
        return run_rounds(candidates, files, settings, config=config, timeout=1.0)

    return log, call


ROUNDS = [
    *("round 1 of 2 of pytorch-a", "round 1 of 2 of b"),
    *("round 2 of 2 of b", "round 2 of 2 of pytorch-a"),
]
OPENED = ["open pytorch for pytorch-a", "open artifact for b"]
CLOSED = ["close b", "close pytorch-a"]


def test_candidates_open_one_after_the_other_and_rounds_alternate(fake_rounds):
    log, call = fake_rounds
    measurements, interrupted_after = call()
    assert log == [*OPENED, *ROUNDS, *CLOSED]
    assert [len(each.rounds) for each in measurements] == [2, 2]
    assert interrupted_after is None


@pytest.mark.parametrize(
    ("interrupt", "rounds", "complete"),
    [(ROUNDS[1], [1, 0], 0), (ROUNDS[2], [1, 1], 1), (ROUNDS[3], [1, 2], 1)],
)
def test_an_interrupted_run_keeps_the_rounds_that_it_has(fake_rounds, interrupt, rounds, complete):
    log, call = fake_rounds
    measurements, interrupted_after = call(interrupt)
    assert log[-3:] == [interrupt, *CLOSED]
    assert [len(each.rounds) for each in measurements] == rounds
    assert interrupted_after == complete


@pytest.mark.parametrize("interrupt", [*OPENED, ROUNDS[0]])
def test_a_run_that_was_interrupted_before_it_measured_anything_has_no_result(
    fake_rounds, interrupt
):
    log, call = fake_rounds
    with pytest.raises(KeyboardInterrupt):
        call(interrupt)
    assert log[-3:] == [interrupt, *CLOSED]


def test_every_second_round_runs_backwards() -> None:
    assert ["".join(alternate("abc", number)) for number in range(3)] == ["abc", "cba", "abc"]


@pytest.mark.parametrize(
    ("dtype", "shape"), [("float32", (3, 3, 64, 48)), ("uint8", (3, 64, 48, 3))]
)
def test_pytorch_and_the_artifact_get_the_same_images_each_in_its_form(tmp_path, dtype, shape):
    entry = InputEntry(name="image", dtype=dtype, preprocessing=PREPROCESSING)
    ours, theirs = map(np.load, write_inputs(tmp_path, entry, batch_size=3, image=None))
    assert (ours.dtype, ours.shape) == (np.float32, (3, 3, 64, 48))
    assert (theirs.dtype, theirs.shape) == (dtype, shape)
    expected = PREPROCESSING.normalise(theirs) if dtype == "uint8" else theirs
    np.testing.assert_array_equal(ours, expected)


def test_the_drawn_faces_are_the_same_every_time(tmp_path):
    entry = InputEntry(name="image", dtype="float32", preprocessing=PREPROCESSING)
    first, second = (
        np.load(write_inputs(tmp_path, entry, batch_size=2, image=None)[0]) for _ in range(2)
    )
    np.testing.assert_array_equal(first, second)


def test_an_artifact_of_any_size_gets_the_image_itself_as_often_as_needed(tmp_path):
    entry = InputEntry(name="image", dtype="uint8", preprocessing=PREPROCESSING, any_size=True)
    image = np.random.default_rng(1).integers(0, 256, (70, 90, 3), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / "face.png"), np.ascontiguousarray(image[:, :, ::-1]))
    files = write_inputs(tmp_path, entry, batch_size=2, image=tmp_path / "face.png")
    ours, theirs = map(np.load, files)
    np.testing.assert_array_equal(theirs, [image] * 2)
    np.testing.assert_array_equal(ours, [PREPROCESSING(image)] * 2)
