"""Datasets on a real cluster, with workers and drivers that die."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pyarrow import parquet

from motivnet.errors import MotivNetError
from motivnet_engines.inference.classifier import EmotionClassifier
from motivnet_engines.inference.image_files import predict_files

SHARD = 4

pytestmark = [
    pytest.mark.ray,
    pytest.mark.timeout(180),
    # Ray's own code meets its own deprecations, and asyncio's, when it starts and ends.
    pytest.mark.filterwarnings("ignore:.*use_push_based_shuffle.*:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*use_polars.*:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*use_arrow_tensor_v2.*:DeprecationWarning"),
]


def rows_of(out: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = parquet.read_table(out).to_pylist()
    return rows


def answers(rows: list[dict[str, Any]]) -> list[tuple[str, str | None, list[dict[str, Any]]]]:
    return [(row["path"], row["error"], row["faces"]) for row in rows]


def wait_for(condition: Callable[[], object], *, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.005)


def parts(out: Path) -> list[Path]:
    return sorted(out.glob("part-*.parquet"))


@pytest.fixture(scope="module")
def expected(
    photos: Path, fp32_artifact: Path
) -> list[tuple[str, str | None, list[dict[str, Any]]]]:
    """What the classifier itself says of each image."""
    with EmotionClassifier.open(
        fp32_artifact, runtime="onnxruntime", threads=1, batch_size=1
    ) as classifier:
        results = list(predict_files(classifier, sorted(photos.iterdir())))
    return [
        (
            str(one.path),
            one.error,
            [] if one.result is None else [face.to_dict() for face in one.result.faces],
        )
        for one in results
    ]


@pytest.fixture
def run(cluster: str, fp32_artifact: Path) -> Callable[..., Any]:
    """A function that runs the pipeline in the session's Ray, by two workers of half a core."""
    from motivnet_engines.serving.ray.cluster import Workers
    from motivnet_engines.serving.ray.dataset import predict_dataset
    from motivnet_engines.serving.ray.reading import ReadingOptions

    def pipeline(source: Any, out: Path, *, shard_size: int = SHARD, **options: Any) -> Any:
        fixed = {
            "artifact": str(fp32_artifact),
            "runtime": "onnxruntime",
            "threads": 1,
            "batch_size": 1,
        }
        reading = ReadingOptions(**fixed | {"no_detect": True} | options)
        return predict_dataset(
            source, reading, out, shard_size=shard_size, workers=Workers(count=2, cpus=0.5)
        )

    return pipeline


@pytest.fixture
def command(
    cluster: str, photos: Path, fp32_artifact: Path, monkeypatch: pytest.MonkeyPatch
) -> list[str]:
    """The command line without --out, in the session's Ray, with the options of ``run``."""
    monkeypatch.setenv("RAY_ADDRESS", cluster)
    options = f"--no-detect --shard-size {SHARD} --workers 2 --cpus 0.5 --runtime onnxruntime"
    words = ["predict-dataset", str(photos), "--artifact", str(fp32_artifact), *options.split()]
    return [sys.executable, "-m", "motivnet_engines.cli", *words, "--batch-size", "1"]


def test_a_killed_workers_images_are_done_again_and_every_image_has_one_row(
    command: list[str], photos: Path, expected, processes_named, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    driver = subprocess.Popen(
        [*command, "--out", str(out), "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    # The second worker may begin long after the first on a busy machine.
    wait_for(lambda: len(parts(out)) >= 2 and len(processes_named("ray::MapWorker")) == 2)
    [victim, *others] = processes_named("ray::MapWorker")
    victim.send_signal(signal.SIGKILL)
    finished_at_death = len(parts(out))
    printed, said = driver.communicate()
    assert len(others) == 1
    assert finished_at_death < len(parts(out)) == len(expected) // SHARD
    # Ray's own words on the death are not among it.
    assert json.loads(printed) == {
        "images": len(expected),
        "errors": 2,
        "shards": len(expected) // SHARD,
        "skipped": 0,
    }
    assert driver.returncode == 1
    named = [line for line in said.decode().splitlines() if line.startswith("error: ")]
    for name, line in zip(("0007_text.png", "0031_empty.png"), named, strict=True):
        assert name in line
    rows = rows_of(out)
    assert [row["index"] for row in rows] == list(range(len(expected)))
    assert answers(rows) == expected
    assert sorted(path.name for path in out.iterdir()) == [
        "_plan.json",
        *(path.name for path in parts(out)),
    ]


PLANTED = """
import importlib, sys
with open({log!r}, "a") as file:
    file.write(__name__)
sys.path.remove({folder!r})
del sys.modules[__name__]
importlib.import_module(__name__)
"""
"""A module that says that it ran, and lets the real one take its place."""


def test_workers_import_nothing_of_the_working_directory(
    cluster: str, photos: Path, fp32_artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("cv2", "json", "motivnet_engines", "numpy", "pyarrow"):
        (tmp_path / f"{name}.py").write_text(
            PLANTED.format(log=str(tmp_path / "ran"), folder=str(tmp_path))
        )
    monkeypatch.setenv("RAY_ADDRESS", cluster)
    (tmp_path / "images.txt").write_text(str(photos / "0000.png"))
    words = [
        "predict-dataset",
        "images.txt",
        "--no-detect",
        "--workers",
        "1",
        "--allow-outside",
        "--out",
        "out",
    ]
    code = "from motivnet_engines.cli import main; main()"
    line = [sys.executable, "-P", "-c", code, *words, "--artifact", str(fp32_artifact)]
    done = subprocess.run(line, cwd=tmp_path, capture_output=True, check=False)
    assert not (tmp_path / "ran").exists(), (tmp_path / "ran").read_text()
    assert done.returncode == 0, done.stderr.decode()
    assert len(rows_of(tmp_path / "out")) == 1


def test_a_run_after_the_drivers_death_does_what_is_missing_and_no_more(
    command: list[str], run, photos: Path, expected, processes_named, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    driver = subprocess.Popen([*command, "--out", str(out)], stderr=subprocess.DEVNULL)
    wait_for(lambda: len(parts(out)) >= 3)
    driver.kill()
    driver.wait()
    # Ray ends a dead driver's workers a moment later; the shards that they still write are whole.
    wait_for(lambda: not processes_named("ray::MapWorker"))
    before = {path: path.stat().st_ino for path in parts(out)}
    assert len(before) < len(expected) // SHARD
    summary = run(photos, out)
    assert summary.skipped == len(before)
    assert {path: path.stat().st_ino for path in before} == before
    assert answers(rows_of(out)) == expected


def test_images_that_kill_every_worker_are_named_instead_of_begun_again(
    fp32_artifact: Path, tmp_path: Path
) -> None:
    from motivnet_engines.serving.ray.dataset import ATTEMPTS_NAME, MAX_ATTEMPTS, ShardWorker
    from motivnet_engines.serving.ray.reading import ReadingOptions

    options = ReadingOptions(
        artifact=str(fp32_artifact), runtime="onnxruntime", threads=1, no_detect=True
    )
    worker = ShardWorker(options, str(tmp_path))
    (tmp_path / ATTEMPTS_NAME).mkdir()
    for attempt in range(MAX_ATTEMPTS):  # what workers leave that die
        (tmp_path / ATTEMPTS_NAME / f"000005.{attempt:08x}").touch()
    answer = worker({"shard": 5, "first": 0, "paths": ["/first.png", "/last.png"]})
    assert "shard 5 has ended its worker 4 times" in answer["failure"]
    assert "from /first.png to /last.png" in answer["failure"]
    assert parts(tmp_path) == []


def test_a_workers_mistake_is_one_line_and_another_choice_can_be_made_then(
    run, photos: Path, tmp_path: Path
) -> None:
    with pytest.raises(MotivNetError, match="no calibration"):
        run(photos, tmp_path / "out", unknown=True)
    assert run(photos, tmp_path / "out").skipped == 0


def test_workers_that_no_machine_has_room_for_are_refused_at_once(
    command: list[str], tmp_path: Path
) -> None:
    command += ["--out", str(tmp_path / "out"), "--workers", "1", "--gpus", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    # Before it is what Ray's native part says of the variable that silences it.
    assert done.stderr.splitlines()[-1] == (
        "error: no machine of the cluster has 0.5 cores and 1 GPUs for a worker, "
        "the largest have 2 cores and 0 GPUs; ask for less, or start Ray on a larger machine"
    )
    assert done.stdout == ""
