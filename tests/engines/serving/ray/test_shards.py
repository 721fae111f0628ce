"""Plans of runs and the files of their shards."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from motivnet.artifact import add_reports
from motivnet.errors import ConfigError, DatasetError, FileError
from motivnet_engines.serving.ray.reading import ReadingOptions
from motivnet_engines.serving.ray.shards import (
    keep_plan,
    make_plan,
    part_path,
    part_schema,
    write_part,
)

PATHS = [f"/photos/{index}.jpg" for index in range(10)]


def plan(artifact: Path, *, paths: list[str] = PATHS, shard_size: int = 4, **options: Any) -> Any:
    return make_plan(
        paths, ReadingOptions(artifact=str(artifact), **options), shard_size=shard_size
    )


def test_shards_cover_every_image_once(fp32_artifact: Path) -> None:
    found = plan(fp32_artifact)
    assert [found.bounds(shard) for shard in range(found.shards)] == [(0, 4), (4, 8), (8, 10)]


def test_the_same_plan_goes_on(fp32_artifact: Path, tmp_path: Path) -> None:
    keep_plan(tmp_path, plan(fp32_artifact))
    keep_plan(tmp_path, plan(fp32_artifact, threads=7, batch_size=2))  # how fast is no part of what


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"paths": PATHS[:-1]}, "another number of images"),
        ({"paths": [*PATHS[1:], PATHS[0]]}, "another list of images"),
        ({"shard_size": 5}, "another shard size"),
        ({"runtime": "openvino"}, "another choice of runtime"),
        ({"no_detect": True}, "another choice of detect"),
        ({"embeddings": True}, "another choice of embeddings"),
    ],
)
def test_another_plan_is_refused(
    changes: dict[str, Any], what: str, fp32_artifact: Path, tmp_path: Path
) -> None:
    keep_plan(tmp_path, plan(fp32_artifact))
    part_path(tmp_path, 0).touch()
    with pytest.raises(DatasetError, match=f"was begun with {what}"):
        keep_plan(tmp_path, plan(fp32_artifact, **changes))


def test_another_artifact_is_refused(
    fp32_artifact: Path, fp16_artifact: Path, tmp_path: Path
) -> None:
    keep_plan(tmp_path, plan(fp32_artifact))
    part_path(tmp_path, 0).touch()
    with pytest.raises(DatasetError, match="was begun with another artifact"):
        keep_plan(tmp_path, plan(fp16_artifact))


def test_a_benchmark_between_two_runs_makes_no_other_artifact(
    fp32_artifact: Path, tmp_path: Path
) -> None:
    artifact = shutil.copytree(fp32_artifact, tmp_path / "artifact")
    before = plan(artifact)
    add_reports(artifact, {"report.html": b"report"})
    assert plan(artifact) == before


def test_a_plan_and_a_part_are_for_this_user_alone(
    fp32_artifact: Path, tmp_path: Path, open_umask: None
) -> None:
    keep_plan(tmp_path, plan(fp32_artifact))
    write_part(part_path(tmp_path, 0), [], first=0, schema=part_schema(("a", "b"), embeddings=True))
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert modes == {"_plan.json": 0o600, "part-000000.parquet": 0o600}


def test_another_plan_without_any_part_gives_way(fp32_artifact: Path, tmp_path: Path) -> None:
    keep_plan(tmp_path, plan(fp32_artifact))
    keep_plan(tmp_path, plan(fp32_artifact, no_detect=True))
    part_path(tmp_path, 0).touch()
    keep_plan(tmp_path, plan(fp32_artifact, no_detect=True))
    with pytest.raises(DatasetError, match="was begun with another choice of detect"):
        keep_plan(tmp_path, plan(fp32_artifact))


def test_a_strangers_folder_is_left_alone(fp32_artifact: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").touch()
    with pytest.raises(FileError, match=r"holds files and no _plan\.json"):
        keep_plan(tmp_path, plan(fp32_artifact))


def test_a_shard_holds_an_image(fp32_artifact: Path) -> None:
    with pytest.raises(ConfigError, match="shard_size must be at least 1, not 0"):
        plan(fp32_artifact, shard_size=0)
