"""A whole optimisation of a tiny model: interrupted, gone on with, and asked again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import pytest
from msgspec.structs import replace

from motivnet.artifact import open_artifact
from motivnet.checkpoints import save_model
from motivnet.config import ModelConfig
from motivnet.errors import CheckpointError, ConfigError, DatasetError, FileError
from motivnet.labels import labels_for
from motivnet.model import build_model
from motivnet.preprocess import Preprocessing
from motivnet.synthetic import draw_face
from motivnet_bench.optimise import measuring
from motivnet_bench.optimise import run as module
from motivnet_bench.optimise.request import OptimiseRequest
from motivnet_bench.optimise.result import Limits, OptimiseResult, read_result
from motivnet_bench.optimise.run import optimise
from motivnet_bench.report.files import write_optimise_page
from motivnet_bench.report.optimise import optimise_report

LABELS = labels_for(7)


@pytest.fixture(scope="module", autouse=True)
def _one_precision() -> object:
    """Fewer artifacts to build; what a machine computes in is another test's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measuring, "precisions_here", lambda: ("fp32",))
        yield


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of 32x32 pixels: four patches."""
    return save(tmp_path_factory.mktemp("model") / "small.safetensors", seed=1)


def save(path: Path, *, seed: int) -> Path:
    config = ModelConfig.named("tiny", image_size=(32, 32))
    save_model(
        build_model(config, seed=seed),
        path,
        config=config,
        labels=LABELS,
        preprocessing=Preprocessing.named("stretch", size=(32, 32)),
    )
    return path


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drawn faces in folders by split and class."""
    root = tmp_path_factory.mktemp("faces")
    for split, seeds in (("train", range(3)), ("val", range(10, 13))):
        for label in LABELS:
            folder = root / split / label
            folder.mkdir(parents=True)
            for seed in seeds:
                face = draw_face(label, seed=seed, size=(64, 48))
                cv2.imwrite(str(folder / f"{seed}.png"), face[..., ::-1])
    return root


RequestOf = Callable[..., OptimiseRequest]


@pytest.fixture(scope="module")
def request_of(checkpoint: Path, faces: Path) -> RequestOf:
    def make(out: Path, **changes: object) -> OptimiseRequest:
        values = {
            "checkpoint": checkpoint,
            "dataset": faces,
            "out": out,
            "rounds": 1,
            "seconds": 0.01,
            **changes,
        }
        return OptimiseRequest(**values)  # type: ignore[arg-type]

    return make


class StopAfterError(Exception):
    """Stands for whatever ends a run between two points."""


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory: pytest.TempPathFactory, request_of: RequestOf) -> Path:
    """The folder of a run that ended after its first point."""
    out = tmp_path_factory.mktemp("run") / "out"

    def say(text: str) -> None:
        if "as fast" in text:
            raise StopAfterError

    with pytest.raises(StopAfterError):
        optimise(request_of(out), on_message=say)
    return out


@pytest.fixture(scope="module")
def before(interrupted: Path) -> OptimiseResult:
    return read_result(interrupted / "optimise.json")


@pytest.fixture(scope="module")
def finished(
    interrupted: Path, before: OptimiseResult, request_of: RequestOf
) -> tuple[OptimiseResult, list[str]]:
    """The run gone on with to its end, and what it said."""
    said: list[str] = []
    assert before.measured  # it is read before the folder changes
    return optimise(request_of(interrupted), on_message=said.append), said


def test_interrupted_run_keeps_what_was_measured(before: OptimiseResult) -> None:
    assert [each.point.key for each in before.measured] == ["32x32"]
    assert not before.complete
    assert before.pick is None


def test_run_goes_on_and_measures_nothing_twice(
    before: OptimiseResult, finished: tuple[OptimiseResult, list[str]]
) -> None:
    result, said = finished

    assert result.measured[0] == before.measured[0]
    assert result.measured[1].point.key == "16x16"
    planned = {"32x32", "16x16", "32x32-60", "32x32-20", "32x32-80"}
    done = [each.point.key for each in (*result.measured, *result.skipped)]
    assert sorted(done) == sorted(planned)
    assert said[0] == "measured before and kept: 1 point"
    assert sum("as fast" in line for line in said) == len(result.measured) - 1
    assert result.complete


def test_pick_is_built_and_what_was_for_measuring_is_gone(
    finished: tuple[OptimiseResult, list[str]], interrupted: Path
) -> None:
    result, _ = finished
    pick = result.point(result.pick)
    assert pick is not None
    manifest = open_artifact(interrupted / "artifact").manifest

    assert manifest.source.config.encoder.tokens == pick.point.tokens
    assert manifest.source.sha256 == result.setup.checkpoint_sha256
    assert manifest.parity.passed
    assert not (interrupted / "work").exists()


def test_full_model_is_once_as_fast_and_loses_nothing(
    finished: tuple[OptimiseResult, list[str]],
) -> None:
    full = finished[0].full
    assert full is not None

    assert full.times_faster == 1
    assert full.answers.drop.value == 0


def test_other_limits_use_the_same_measurements(
    finished: tuple[OptimiseResult, list[str]],
    interrupted: Path,
    request_of: RequestOf,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "build_point", lambda *_, **__: None)
    fastest = max(finished[0].measured, key=lambda each: each.times_faster)
    said: list[str] = []
    result = optimise(
        request_of(interrupted, max_gflop=fastest.point.flop / 1e9), on_message=said.append
    )

    assert result.measured == finished[0].measured
    assert result.pick is not None
    assert not any("as fast" in line for line in said)


def test_full_model_is_no_pick_where_a_loss_is_allowed(
    finished: tuple[OptimiseResult, list[str]],
    request_of: RequestOf,
    plant_point: Any,
    plant_measured: Any,
    tmp_path: Path,
) -> None:
    full = plant_measured(plant_point(2, 2, kind="full"), times=1.0)
    poor = plant_measured(plant_point(1, 1), times=4.0, lost=100)
    limits = Limits(max_drop=1.0, max_ms=None, max_gflop=None)
    result = replace(finished[0], measured=(full, poor), limits=limits)
    source: Any = None
    run = module.Run(
        request=request_of(tmp_path, max_drop=1.0),
        source=source,
        faces=source,
        result=result,
        say=lambda _: None,
    )
    run.finish()

    assert run.result.pick is None
    assert "no point" in run.result.outcome


def test_page_is_one_file_with_the_pick_and_what_was_not_measured(
    finished: tuple[OptimiseResult, list[str]], tmp_path: Path
) -> None:
    result = finished[0]
    page = write_optimise_page(result, tmp_path).read_text()

    assert result.outcome.split(":")[0] in page
    assert "http" not in page.split("<body>")[1]
    assert "<script" not in page
    assert page.count("<source media") == 3
    assert "prefers-color-scheme: dark" in page
    assert result.setup.checkpoint_sha256 in page
    marks = [mark for row in optimise_report(result).overview[0].rows for mark in row.marks]  # type: ignore[union-attr]
    assert "pick" in marks


def test_another_checkpoint_in_the_folder_is_refused(
    finished: tuple[OptimiseResult, list[str]],
    interrupted: Path,
    request_of: RequestOf,
    tmp_path: Path,
) -> None:
    other = save(tmp_path / "other.safetensors", seed=2)

    with pytest.raises(ConfigError, match="holds measurements of another checkpoint"):
        optimise(request_of(interrupted, checkpoint=other))


def test_images_that_have_changed_are_refused(
    finished: tuple[OptimiseResult, list[str]],
    interrupted: Path,
    request_of: RequestOf,
    faces: Path,
    tmp_path: Path,
) -> None:
    changed = tmp_path / "faces"
    for file in faces.rglob("*.png"):
        target = changed / file.relative_to(faces)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.read_bytes())
    next((changed / "val").rglob("*.png")).unlink()

    with pytest.raises(ConfigError, match="holds measurements of other images"):
        optimise(request_of(interrupted, dataset=changed))


def test_run_with_a_refit_is_another_one(
    finished: tuple[OptimiseResult, list[str]], interrupted: Path, request_of: RequestOf
) -> None:
    with pytest.raises(ConfigError, match=r"other images|without --refit"):
        optimise(request_of(interrupted, refit=True))


def test_folder_of_something_else_is_refused(request_of: RequestOf, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")

    with pytest.raises(FileError, match=r"holds notes\.txt, and no optimise\.json"):
        optimise(request_of(tmp_path))
    (tmp_path / "optimise.json").write_text("{}")
    with pytest.raises(FileError, match="is not a result of this command"):
        optimise(request_of(tmp_path))


def test_too_few_images_are_told_with_the_number_that_would_do(
    request_of: RequestOf, tmp_path: Path
) -> None:
    with pytest.raises(DatasetError, match=r"21 images .*14\.3 points; 300 images would do"):
        optimise(request_of(tmp_path / "out", max_drop=1.0))
    assert not (tmp_path / "out").exists()


def test_encoder_alone_is_refused(
    request_of: RequestOf, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = module.model_source

    def without_head(*arguments: object, **options: object) -> object:
        import dataclasses

        return dataclasses.replace(real(*arguments, **options), fresh_head=True)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "model_source", without_head)
    with pytest.raises(CheckpointError, match="has an untrained head"):
        optimise(request_of(tmp_path / "out"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_ms": 1.0, "max_gflop": 1.0}, "--max-ms and --max-gflop both limit the cost"),
        ({"max_ms": 0.0}, "--max-ms must be above 0"),
        ({"max_gflop": float("nan")}, "--max-gflop must be above 0"),
        ({"max_drop": 0.0}, "--max-drop is in percentage points"),
        ({"max_drop": 100.0}, "--max-drop is in percentage points"),
    ],
)
def test_impossible_limits_are_refused(
    request_of: RequestOf, tmp_path: Path, options: dict[str, float], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        request_of(tmp_path, **options)
