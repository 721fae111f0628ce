"""Predictions for millions of images on the machines of a Ray cluster, one output file per shard.

A worker writes a shard's file whole or not at all; the shards of a dead worker are repeated by
another, and a later run does those that are missing.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from motivnet.errors import DatasetError, FileError, MissingDependencyError, MotivNetError
from motivnet.files import make_folder, write_atomic
from motivnet.path_kind import is_file
from motivnet.printable import one_line
from motivnet.workspace import is_workspace, write_lock
from motivnet_engines.inference.classifier import EmotionClassifier
from motivnet_engines.inference.image_files import predict_files
from motivnet_engines.serving.ray.cluster import Workers, machines, running_ray, worker_count
from motivnet_engines.serving.ray.reading import ReadingOptions, check_reading, open_classifier
from motivnet_engines.serving.ray.shards import (
    Plan,
    Source,
    finished_rows,
    keep_plan,
    list_images,
    make_plan,
    part_path,
    part_schema,
    write_part,
)

try:
    import ray.data
    from ray.exceptions import RayError
except ModuleNotFoundError as error:
    raise MissingDependencyError("ray", extra="ray") from error

logger = logging.getLogger(__name__)

ATTEMPTS_NAME = "_attempts"
MAX_ATTEMPTS = 4
"""How often one run starts a shard. Ray repeats one forever whose images kill their worker."""

_ATTEMPT = re.compile(r"\d{6,}\.[0-9a-f]{8}")
"""The name of a mark in that folder: the shard and a random number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetSummary:
    """The content of the output folder at the end; ``skipped`` shards existed before this run."""

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
    on_images: Callable[[int], object] = lambda _images: None,
    on_unreadable: Callable[[str], object] = logger.error,
) -> DatasetSummary:
    """Write Parquet files with exactly one row per image of ``source``, in its order.

    Ray is started on this machine, as ``running_ray`` says, unless it is initialised already, or
    ``address`` or the variable RAY_ADDRESS names a cluster. All machines must see ``out`` and the
    images under the same paths.

    Args:
        on_images: Called with the number of images of each finished shard.
        on_unreadable: Called with a line about each part of a folder that cannot be read.

    Raises:
        DatasetError: If ``source`` is not a list of images, names some outside its folder without
            ``allow_outside``, ``out`` was begun with another list, or shards stay unread.
        ConfigError: If there is no such cluster, or it has no room for the workers.
        FileError: If ``out`` is a file, cannot be written, or is being written by another run.
        MotivNetError: If a worker cannot open the artifact, or cannot write.
    """
    workers = workers or Workers()
    paths = list_images(source, allow_outside=allow_outside, on_unreadable=on_unreadable)
    options = options.for_workers(cpus=workers.cpus)
    plan = make_plan(paths, options, shard_size=shard_size)
    check_reading(options, gpus=workers.gpus)
    out = out.absolute()
    with _locked_folder(out):
        keep_plan(out, plan)
        shards = [(shard, *plan.bounds(shard)) for shard in range(plan.shards)]
        missing: list[dict[str, Any]] = [
            {"shard": shard, "first": first, "paths": paths[first:last]}
            for shard, first, last in shards
            if finished_rows(part_path(out, shard))[0] != last - first
        ]
        if done := plan.images - sum(len(item["paths"]) for item in missing):
            on_images(done)
        if missing:
            _forget_attempts(out)
            with running_ray(address):
                for images in _predict_shards(missing, options, out, workers):
                    on_images(images)
            _forget_attempts(out)
        return _summarise(out, plan, skipped=plan.shards - len(missing))


@contextlib.contextmanager
def _locked_folder(out: Path) -> Iterator[None]:
    """Create the output folder if necessary, and lock it for this run."""
    with contextlib.ExitStack() as stack:
        if is_file(out):
            raise FileError(f"{out} is a file; give a folder for --out")
        try:
            make_folder(out, private=True)
            alone = stack.enter_context(write_lock(out))
        except OSError as error:
            raise FileError(f"{out} cannot be written: {error.strerror or error}") from error
        if not alone:
            raise FileError(
                f"{out} is being written by another run; wait for it or choose a new folder"
            )
        yield


def _predict_shards(
    items: list[dict[str, Any]], options: ReadingOptions, out: Path, workers: Workers
) -> Iterator[int]:
    """Yield the number of images of each shard as it is finished."""
    count = worker_count(workers, machines())
    # One block per shard: the death of a worker then costs only the shards that it had started.
    # Ray Data restarts workers and repeats their shards by itself, forever: the worker counts.
    finished = ray.data.from_items(items, override_num_blocks=len(items)).map(
        ShardWorker,  # type: ignore[arg-type] # Ray's types forget that it may be a class
        fn_constructor_args=(options, str(out)),
        compute=ray.data.ActorPoolStrategy(size=min(count, len(items))),
        num_cpus=workers.cpus,
        num_gpus=workers.gpus or None,
    )
    finished.context.enable_progress_bars = False
    try:
        for row in finished.iter_rows():
            if row["failure"]:
                raise MotivNetError(row["failure"])
            yield row["images"]
    except RayError as error:
        reason = str(error).strip().splitlines()[-1]
        raise DatasetError(
            f"Ray gave up: {reason}; finished shards are kept, run it again to continue"
        ) from error


class ShardWorker:
    """A classifier that stays open from shard to shard; Ray Data makes one in each process.

    A user's mistake is returned in the column ``failure`` and not raised: Ray would wrap it into
    another error, and restart a worker that cannot open the artifact again and again.
    """

    def __init__(self, options: ReadingOptions, out: str) -> None:
        self._out = Path(out)
        self._classifier: EmotionClassifier | MotivNetError
        try:
            self._classifier = open_classifier(options)
        except MotivNetError as error:
            self._classifier = error
        self._embeddings = options.embeddings

    def __call__(self, item: dict[str, Any]) -> dict[str, Any]:
        """Turn a shard (``shard``, ``first``, ``paths``) into a file.

        Returns its ``images`` and ``failure``, which is empty if the file exists.
        """
        failure = ""
        try:
            if isinstance(self._classifier, MotivNetError):
                raise self._classifier
            self._write(self._classifier, item["shard"], item["first"], list(item["paths"]))
        except MotivNetError as error:
            failure = one_line(error)
        return {"images": len(item["paths"]), "failure": failure}

    def _write(
        self, classifier: EmotionClassifier, shard: int, first: int, paths: list[str]
    ) -> None:
        attempts = self._out / ATTEMPTS_NAME
        earlier = list(attempts.glob(f"{shard:06d}.*"))
        if len(earlier) >= MAX_ATTEMPTS:
            raise DatasetError(
                f"shard {shard} has ended its worker {len(earlier)} times: one of the images from "
                f"{paths[0]} to {paths[-1]} kills the process, or there is too little memory"
            )
        mark = attempts / f"{shard:06d}.{secrets.token_hex(4)}"
        write_atomic(mark, str(os.getpid()).encode(), private=True)
        results = predict_files(classifier, map(Path, paths))
        schema = part_schema(classifier.labels, embeddings=self._embeddings)
        write_part(part_path(self._out, shard), results, first=first, schema=schema)
        for path in (*earlier, mark):
            path.unlink(missing_ok=True)


def _forget_attempts(out: Path) -> None:
    """Remove the marks of the workers, and their folder unless there is something else in it."""
    attempts = out / ATTEMPTS_NAME
    if attempts.is_symlink():
        return
    with contextlib.suppress(OSError):
        for path in attempts.iterdir():
            if _ATTEMPT.fullmatch(path.name):
                path.unlink(missing_ok=True)
            elif is_workspace(path):
                shutil.rmtree(path, ignore_errors=True)
        attempts.rmdir()


def _summarise(out: Path, plan: Plan, *, skipped: int) -> DatasetSummary:
    rows = [finished_rows(part_path(out, shard)) for shard in range(plan.shards)]
    if (images := sum(count for count, _ in rows)) != plan.images:
        raise DatasetError(
            f"{out} holds {images:,} rows for {plan.images:,} images; run it again to complete it"
        )
    return DatasetSummary(
        images=images, errors=sum(errors for _, errors in rows), shards=plan.shards, skipped=skipped
    )
