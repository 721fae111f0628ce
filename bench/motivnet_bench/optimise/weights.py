"""The weights of a point: those of the full model, a refit of its head, or a student's."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from msgspec.structs import replace

from motivnet.checkpoints import load_checkpoint
from motivnet.config import ModelConfig
from motivnet.files import atomic_path, list_folder
from motivnet.path_kind import is_file, is_folder
from motivnet_bench.optimise.data import SEED, Faces
from motivnet_bench.optimise.models import Weights
from motivnet_bench.optimise.plan import Point
from motivnet_bench.optimise.request import OptimiseRequest
from motivnet_export.source import ModelSource
from motivnet_training.distill import DistillRequest, distill
from motivnet_training.kept_tokens import count_kept, most_used_tokens
from motivnet_training.refit import refit
from motivnet_training.refit_request import ANSWERS, RefitRequest
from motivnet_training.token_cache import images_per_batch

MODELS = "models"
"""Folder of the checkpoints that were trained for points."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trainer:
    """Makes the weights of points; ``work`` is for what only the trainings need."""

    request: OptimiseRequest
    source: ModelSource
    faces: Faces
    work: Path
    say: Callable[[str], None]

    @property
    def checkpoint(self) -> Path:
        """The full model."""
        path = self.source.checkpoint
        assert path is not None  # an optimisation begins with a checkpoint
        return path

    def weights_of(self, point: Point) -> Weights:
        """Return the weights of a point, which are trained unless that was done before.

        Raises:
            TrainingError: If a training fails.
            TrainingStoppedError: If it is stopped by a signal.
        """
        if point.kind == "full":
            return Weights(checkpoint=self.checkpoint, config=self.source.config)
        if point.kind == "student":
            return self._trained(point, self._teach)
        if self.request.refit:
            return self._trained(point, self._refit)
        config = self.source.config.at(point.image_size)
        if point.kind == "tokens":
            config = config.keeping(self._positions(point, config))
        return Weights(checkpoint=self.checkpoint, config=config)

    def _trained(self, point: Point, train: Callable[[Point, Path], Path]) -> Weights:
        """Return the weights in the file of a point, which ``train`` makes in a folder if needed.

        The file appears when it is complete, so that an interrupted run does not train twice.
        """
        name = f"{MODELS}/{point.key}.safetensors"
        file, folder = self.request.out / name, self.work / f"train-{point.key}"
        if not is_file(file):
            best = train(point, folder)
            with atomic_path(file) as temporary:
                shutil.copyfile(best, temporary)
        if is_folder(folder):
            shutil.rmtree(folder, ignore_errors=True)
        loaded = load_checkpoint(file, quiet=True)
        before = loaded.metadata.get("refit_accuracy_before")
        return Weights(
            checkpoint=file,
            config=loaded.config,
            file=name,
            before=None if before is None else 100 * float(before),
        )

    def _refit(self, point: Point, folder: Path) -> Path:
        """Train the head again; one that was interrupted starts again, which takes minutes."""
        if is_folder(folder):
            shutil.rmtree(folder)
        self.say(f"training the head for {point.title}")
        cache = self.work / "cache"
        summary = refit(
            RefitRequest(
                checkpoint=self.checkpoint,
                data=self.request.dataset,
                out=folder,
                image_size=point.image_size,
                keep_tokens=point.share if point.share < 1 else None,
                tokens=cache,
                seed=SEED,
            )
        )
        # The full model's answers are for every refit, the tokens for this one alone.
        for each in list_folder(cache):
            if each.name != ANSWERS:
                shutil.rmtree(each, ignore_errors=True)
        return Path(summary.checkpoint)

    def _teach(self, point: Point, folder: Path) -> Path:
        """Train a student, which goes on where an interruption left it."""
        assert point.config is not None
        self.say(f"training the {point.title}")
        summary = distill(
            DistillRequest(
                teacher=self.checkpoint,
                data=self.request.dataset,
                out=folder,
                config=point.config,
                answers=self.work / "answers",
                seed=SEED,
                resume=is_folder(folder),
            ),
            on_message=self.say,
        )
        return Path(summary.checkpoint)

    def _positions(self, point: Point, config: ModelConfig) -> tuple[int, ...]:
        """Return the tokens that the head uses most, over the images that are not measured."""
        return most_used_tokens(
            load_checkpoint(self.checkpoint, config, quiet=True).model,
            self.faces.others,
            count_kept(config.encoder.tokens, point.share),
            config=config.encoder,
            preprocess=replace(self.source.preprocessing, size=point.image_size),
            batch_size=images_per_batch(config.encoder.tokens),
        )
