"""What a run over a dataset is: which images make up which shard, and what is done with them.

The plan is written once beside the shards. A later run goes on where an earlier one ended only if
it is the same plan, so that the rows of one folder all come from one list, one artifact and one set
of options.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Literal

from motivnet import strict_json
from motivnet.artifact import open_artifact
from motivnet.errors import ConfigError, DatasetError, FileError
from motivnet.files import read_bytes, sha256_of, write_atomic
from motivnet_engines.serving.ray.parts import parts_in
from motivnet_engines.serving.ray.paths import digest_of_paths
from motivnet_engines.serving.ray.reading import ReadingOptions

PLAN_NAME = "_plan.json"
"""Readers of Parquet folders (Arrow, Spark, DuckDB's globs) leave out what begins with an underscore."""

_WORDS = {
    "images": "another number of images",
    "shard_size": "another shard size",
    "paths_sha256": "another list of images",
    "artifact_sha256": "another artifact",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What must be the same for a run to be the continuation of another."""

    format_version: Literal[1] = 1
    images: int
    shard_size: int
    paths_sha256: str
    artifact_sha256: str
    runtime: str | None
    detect: bool
    detector_sha256: str | None
    unknown: bool
    classes_sha256: str | None
    embeddings: bool

    @property
    def shards(self) -> int:
        """How many there are; the last may be smaller."""
        return -(-self.images // self.shard_size)

    def bounds(self, shard: int) -> tuple[int, int]:
        """The first image of a shard, and the first one after it."""
        return shard * self.shard_size, min((shard + 1) * self.shard_size, self.images)


def plan_of_run(paths: list[str], options: ReadingOptions, *, shard_size: int) -> Plan:
    """The plan of these images and options.

    Raises:
        ConfigError: If ``shard_size`` is below 1.
        ArtifactError, FileError: If the artifact or a file of the options cannot be read.
    """
    if shard_size < 1:
        raise ConfigError(f"shard_size must be at least 1, not {shard_size}")
    artifact = open_artifact(options.artifact)
    return Plan(
        images=len(paths),
        shard_size=shard_size,
        paths_sha256=digest_of_paths(paths),
        # Of the manifest without its list of reports: a benchmark between two runs does not make
        # another artifact.
        artifact_sha256=hashlib.sha256(
            replace(artifact.manifest, reports=()).to_json()
        ).hexdigest(),
        runtime=options.runtime,
        detect=not options.no_detect,
        detector_sha256=None if options.detector is None else sha256_of(Path(options.detector)),
        unknown=options.unknown,
        classes_sha256=None if options.classes is None else sha256_of(Path(options.classes)),
        embeddings=options.embeddings,
    )


def keep_plan(out: Path, plan: Plan) -> None:
    """Writes the plan into a new or empty folder, or returns when it is the plan that lies there.

    Another plan without any part, of a run that ended before its first one, gives way.

    Raises:
        DatasetError: If the folder has parts of another plan.
        FileError: If it holds anything else, or cannot be written.
    """
    path = out / PLAN_NAME
    before = _plan_in(path) if path.exists() else None
    if before is not None and parts_in(out):
        _check_same(out, before, plan)
    elif before is None and out.is_dir() and any(out.iterdir()):
        raise FileError(f"{out} holds files and no {PLAN_NAME}; choose a new folder")
    else:
        write_atomic(path, strict_json.dumps(plan), private=True)


def _plan_in(path: Path) -> Plan:
    try:
        return strict_json.build(Plan, strict_json.loads(read_bytes(path)))
    except strict_json.StrictJSONError as error:
        raise DatasetError(f"{path} is not a plan: {error}; choose a new folder") from error


def _check_same(out: Path, before: Plan, now: Plan) -> None:
    for field in fields(Plan):
        if getattr(before, field.name) != getattr(now, field.name):
            what = _WORDS.get(field.name, f"another choice of {field.name.removesuffix('_sha256')}")
            raise DatasetError(
                f"{out} was begun with {what}; give the same as then, or choose a new folder"
            )
