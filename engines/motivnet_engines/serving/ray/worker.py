"""What one process of a cluster does: opens the artifact once and turns shard after shard into its output file."""

from __future__ import annotations

import os
import re
import secrets
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motivnet.errors import DatasetError, MotivNetError
from motivnet.files import write_atomic
from motivnet.printable import one_line
from motivnet_engines.inference.classifier import EmotionClassifier
from motivnet_engines.inference.image_files import predict_files
from motivnet_engines.serving.ray.parts import part_path, part_schema, write_part
from motivnet_engines.serving.ray.reading import ReadingOptions, opened_classifier

ATTEMPTS_NAME = "_attempts"
ATTEMPT = re.compile(r"\d{6,}\.[0-9a-f]{8}")
"""The name of a mark there: the shard and a random number."""
MAX_ATTEMPTS = 4
"""How often a shard is begun in one run. Ray itself begins one without end whose images kill their worker."""


class ShardWorker:
    """A classifier that stays open from shard to shard; Ray Data makes one in each process.

    A user's mistake is given back in the column ``failure`` and not raised: Ray would wrap it into
    its own error, and restart a worker that cannot open the artifact time and again.
    """

    def __init__(self, options: ReadingOptions, out: str) -> None:
        self._out = Path(out)
        self._classifier: EmotionClassifier | MotivNetError
        try:
            self._classifier = opened_classifier(options)
        except MotivNetError as error:
            self._classifier = error
        self._embeddings = options.embeddings

    def __call__(self, batch: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """A batch of shards (``shard``, ``first``, ``paths``) to what became of each (``images``, ``failure``)."""
        shards = zip(batch["shard"], batch["first"], batch["paths"], strict=True)
        failures = [
            self._failure(int(shard), int(first), list(paths)) for shard, first, paths in shards
        ]
        images = [len(paths) for paths in batch["paths"]]
        return {
            "shard": batch["shard"],
            "images": np.array(images),
            "failure": np.array(failures, str),
        }

    def _failure(self, shard: int, first: int, paths: list[str]) -> str:
        """Empty when the shard's file is there."""
        try:
            if isinstance(self._classifier, MotivNetError):
                raise self._classifier
            self._write(self._classifier, shard, first, paths)
        except MotivNetError as error:
            return one_line(error)
        return ""

    def _write(
        self, classifier: EmotionClassifier, shard: int, first: int, paths: list[str]
    ) -> None:
        attempts = self._out / ATTEMPTS_NAME
        begun = list(attempts.glob(f"{shard:06d}.*"))
        if len(begun) >= MAX_ATTEMPTS:
            raise DatasetError(
                f"shard {shard} has ended its worker {len(begun)} times: one of the images from {paths[0]} to "
                f"{paths[-1]} kills the process, or there is too little memory"
            )
        mark = attempts / f"{shard:06d}.{secrets.token_hex(4)}"
        write_atomic(mark, str(os.getpid()).encode(), private=True)
        results = predict_files(classifier, map(Path, paths))
        schema = part_schema(classifier.labels, embeddings=self._embeddings)
        write_part(part_path(self._out, shard), results, first=first, schema=schema)
        for path in (*begun, mark):
            path.unlink(missing_ok=True)
