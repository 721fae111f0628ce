"""Whether a MotivNet is a viable Sapiens task: the criteria of the paper that there is data for."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from motivnet.datasets.read import EVALUATED, read_dataset
from motivnet.errors import CheckpointError, ConfigError
from motivnet.model.runtime import TorchRuntime
from motivnet.terminal import announced, progress
from motivnet_bench.environment import read_environment
from motivnet_bench.latency.candidates import Device, resolve_device
from motivnet_bench.viability.embeddings import compare_data, embed_images, find_images
from motivnet_bench.viability.performance import BatchedModel, measure_performance
from motivnet_bench.viability.result import ViabilityResult
from motivnet_bench.viability.weights import compare_models
from motivnet_export.source import ModelSource


@dataclass(frozen=True, slots=True, kw_only=True)
class ViabilityOptions:
    """What to measure, and how.

    Args:
        tests: Labelled datasets, for the benchmark performance.
        encoder: The weights file that the training started from, for the model similarity.
        data: The folder of images that is compared with ``reference``, for the data similarity.
        limit: Images at most: per class of each dataset, and in all of each other folder.
        resamples: Bootstrap samples.
        batch_size: Images per call.
        allow_outside: Whether a list of ``tests`` may name images outside its folder.
    """

    tests: tuple[Path, ...] = ()
    encoder: Path | None = None
    data: Path | None = None
    reference: Path | None = None
    limit: int | None = None
    resamples: int = 500
    seed: int = 0
    batch_size: int = 8
    threads: int | None = None
    device: Device = "auto"
    allow_outside: bool = False

    def __post_init__(self) -> None:
        if not (self.tests or self.encoder or self.data or self.reference):
            raise ConfigError(
                "there is nothing to measure; give --test, --encoder, or --data with --reference"
            )
        if (self.data is None) != (self.reference is None):
            raise ConfigError("--data and --reference go together: two folders are compared")
        if self.batch_size < 1 or (self.threads is not None and self.threads < 1) or self.seed < 0:
            raise ConfigError(
                "--batch-size and --threads must be at least 1, and --seed not negative"
            )
        if self.limit is not None and self.limit < 2:
            raise ConfigError(f"--limit must be at least 2, not {self.limit}")
        if self.resamples < 20:
            raise ConfigError(
                f"--resamples must be at least 20 for an interval of 95 %, not {self.resamples}"
            )


def measure_viability(
    source: ModelSource, options: ViabilityOptions, *, command_line: str = ""
) -> ViabilityResult:
    """Measure every criterion that the options ask for.

    Args:
        command_line: Repeats the run, for the report.

    Raises:
        CheckpointError: If the model's file holds no head, or the encoder's file no encoder.
        ConfigError: If PyTorch does not see the device.
        DatasetError: If a folder has no images.
    """
    if source.checkpoint is None or source.sha256 is None or source.fresh_head:
        raise CheckpointError(
            f"{source.name} holds an encoder alone; give the MotivNet that was trained from it"
        )
    device = resolve_device(options.device)
    # Everything is found before the model runs for long.
    datasets = [
        read_dataset(
            folder,
            labels=source.labels,
            splits=EVALUATED,
            limit=options.limit,
            allow_outside=options.allow_outside,
        )
        for folder in options.tests
    ]
    folders = [folder for folder in (options.data, options.reference) if folder is not None]
    files = [find_images(folder, limit=options.limit) for folder in folders]
    weights = source.load()
    similarity = None
    if options.encoder is not None:
        doing = f"comparing with {options.encoder.name}"
        with announced(doing), progress(doing):
            similarity = compare_models(weights.state_dict(), options.encoder)
    with TorchRuntime(
        weights, config=source.config, device=device, threads=options.threads
    ) as runtime:
        model = BatchedModel(
            runtime=runtime, preprocessing=source.preprocessing, batch_size=options.batch_size
        )
        performance = tuple(
            measure_performance(model, name, dataset, whole=options.limit is None)
            for name, dataset in zip(folder_names(options.tests), datasets, strict=True)
        )
        embeddings = [
            embed_images(model, folder, paths, name=name)
            for name, folder, paths in zip(folder_names(folders), folders, files, strict=True)
        ]
    data = None
    if embeddings:
        data = compare_data(*embeddings, resamples=options.resamples, seed=options.seed)
    return ViabilityResult(
        created=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        command_line=command_line,
        checkpoint=source.checkpoint.name,
        sha256=source.sha256,
        config=source.config,
        labels=source.labels,
        preprocessing=source.preprocessing,
        device=device,
        environment=read_environment(),
        performance=performance,
        model=similarity,
        data=data,
    )


def folder_names(folders: Sequence[Path]) -> tuple[str, ...]:
    """Return the last part of each path, and as many before it as tell different folders apart.

    A report is passed on and should not tell more of a path than is needed.
    """
    resolved = [folder.resolve() for folder in folders]
    different = len(set(resolved))
    for depth in range(1, max((len(path.parts) for path in resolved), default=0) + 1):
        names = tuple("/".join(path.parts[-depth:]) for path in resolved)
        if len(set(names)) == different:
            return names
    return ()
