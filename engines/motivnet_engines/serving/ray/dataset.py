"""Predictions for millions of images on the machines of a Ray cluster, one output file a shard.

The shard is the unit of everything: a worker reads its images and writes its file whole or not at
all, a dead worker's shards are begun again by another, and a later run does those that are missing.
Ray Data keeps a pool of workers with open artifacts, feeds it shards and replaces workers that
died. Images are decoded in the process that classifies them, by threads beside the runtime, so that
no pixels travel between machines.

The output folder and the images must be seen by all machines under the same paths.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from motivnet.errors import DatasetError, FileError, MissingDependencyError, MotivNetError
from motivnet.files import make_folder
from motivnet.workspace import is_workspace, sole_writer
from motivnet_engines.serving.ray.cluster import Workers, machines, running_ray, worker_count
from motivnet_engines.serving.ray.parts import finished_rows, part_path
from motivnet_engines.serving.ray.paths import Source, paths_of_source
from motivnet_engines.serving.ray.plan import Plan, keep_plan, plan_of_run
from motivnet_engines.serving.ray.reading import ReadingOptions, check_reading, options_for_workers
from motivnet_engines.serving.ray.worker import ATTEMPT, ATTEMPTS_NAME, ShardWorker

try:
    import ray.data
    from ray.exceptions import RayError
except ModuleNotFoundError as error:
    raise MissingDependencyError("ray", extra="ray") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetSummary:
    """What lies in the output folder at the end; ``skipped`` shards were there before this run."""

    images: int
    errors: int
    shards: int
    skipped: int


def predict_dataset(
    source: Source,
    options: ReadingOptions,
    out: Path,
    *,
    shard_size: int = 1_000,
    workers: Workers | None = None,
    address: str | None = None,
    allow_outside: bool = False,
    on_images: Callable[[int], object] | None = None,
) -> DatasetSummary:
    """Parquet files in ``out`` with exactly one row for each image of ``source``, in its order;
    ``on_images`` hears how many were finished, shard by shard.

    Ray is started on this machine, as ``running_ray`` says, unless it is initialised already, or
    ``address`` or the variable RAY_ADDRESS names a cluster.

    Raises:
        DatasetError: If ``source`` is not a list of images, names some outside its folder without
            ``allow_outside``, ``out`` was begun with another list, or shards stay unread.
        ConfigError: If there is no such cluster, or it has no room for the workers.
        FileError: If ``out`` is a file, cannot be written, or is being written by another run.
        MotivNetError: What keeps a worker from opening the artifact, or from writing.
    """  # noqa: D205 - the first sentence is two lines
    workers = workers or Workers()
    paths = paths_of_source(source, allow_outside=allow_outside)
    options = options_for_workers(options, cpus=workers.cpus)
    plan = plan_of_run(paths, options, shard_size=shard_size)
    check_reading(options, gpus=workers.gpus)
    out = out.absolute()
    with _own_folder(out):
        keep_plan(out, plan)
        missing = [shard for shard in range(plan.shards) if not _is_finished(out, plan, shard)]
        _tell(on_images, plan.images - _images(plan, missing))
        if missing:
            _forget_attempts(out)
            with running_ray(address):
                for images in _finished_shards(_items(plan, missing, paths), options, out, workers):
                    _tell(on_images, images)
            _forget_attempts(out)
        return _summary(out, plan, skipped=plan.shards - len(missing))


@contextlib.contextmanager
def _own_folder(out: Path) -> Iterator[None]:
    """The output folder, made if it is not there, for this run alone."""
    with contextlib.ExitStack() as stack:
        try:
            if out.is_file():
                raise FileError(f"{out} is a file; give a folder for --out")
            make_folder(out, private=True)
            alone = stack.enter_context(sole_writer(out))
        except OSError as error:
            raise FileError(f"{out} cannot be written: {error.strerror or error}") from error
        if not alone:
            raise FileError(
                f"{out} is being written by another run; wait for it or choose a new folder"
            )
        yield


def _is_finished(out: Path, plan: Plan, shard: int) -> bool:
    first, last = plan.bounds(shard)
    rows = finished_rows(part_path(out, shard))
    return rows is not None and rows[0] == last - first


def _images(plan: Plan, shards: list[int]) -> int:
    return sum(last - first for first, last in map(plan.bounds, shards))


def _items(plan: Plan, shards: list[int], paths: list[str]) -> list[dict[str, Any]]:
    bounds = [(shard, *plan.bounds(shard)) for shard in shards]
    return [
        {"shard": shard, "first": first, "paths": paths[first:last]}
        for shard, first, last in bounds
    ]


def _finished_shards(
    items: list[dict[str, Any]], options: ReadingOptions, out: Path, workers: Workers
) -> Iterator[int]:
    """The number of images of each shard as it is finished."""
    finished = _dataset(items, options, out, workers)
    try:
        yield from map(_images_or_raise, finished.iter_rows())
    except RayError as error:
        reason = str(error).strip().splitlines()[-1]
        raise DatasetError(
            f"Ray gave up: {reason}; what is finished stays, run it again to go on"
        ) from error


def _dataset(
    items: list[dict[str, Any]], options: ReadingOptions, out: Path, workers: Workers
) -> ray.data.Dataset:
    count = worker_count(workers, machines())
    # A block a shard, so that the death of a worker costs no more than the shards that it had
    # begun. Ray Data restarts workers and begins their shards again by itself, without end: the
    # worker counts.
    finished = ray.data.from_items(items, override_num_blocks=len(items)).map_batches(
        ShardWorker,
        batch_size=1,
        fn_constructor_args=(options, str(out)),
        compute=ray.data.ActorPoolStrategy(size=min(count, len(items))),
        num_cpus=workers.cpus,
        num_gpus=workers.gpus or None,
    )
    finished.context.enable_progress_bars = False
    return finished


def _images_or_raise(row: dict[str, Any]) -> int:
    if row["failure"]:
        raise MotivNetError(str(row["failure"]))
    return int(row["images"])


def _tell(on_images: Callable[[int], object] | None, images: int) -> None:
    if on_images is not None and images:
        on_images(images)


def _forget_attempts(out: Path) -> None:
    """Removes the marks of the workers, and the folder unless there is something else in it."""
    attempts = out / ATTEMPTS_NAME
    if attempts.is_symlink():
        return
    with contextlib.suppress(OSError):
        for path in attempts.iterdir():
            if ATTEMPT.fullmatch(path.name):
                path.unlink(missing_ok=True)
            elif is_workspace(path):
                shutil.rmtree(path, ignore_errors=True)
        attempts.rmdir()


def _summary(out: Path, plan: Plan, *, skipped: int) -> DatasetSummary:
    rows = [finished_rows(part_path(out, shard)) or (0, 0) for shard in range(plan.shards)]
    if (images := sum(count for count, _ in rows)) != plan.images:
        raise DatasetError(
            f"{out} holds {images:,} rows for {plan.images:,} images; run it again to complete it"
        )
    return DatasetSummary(
        images=images, errors=sum(errors for _, errors in rows), shards=plan.shards, skipped=skipped
    )
