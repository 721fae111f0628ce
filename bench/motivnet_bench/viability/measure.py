"""A MotivNet judged by as many of the three criteria as there is material for."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from pathlib import Path

from motivnet.datasets.read import JUDGED, read_dataset
from motivnet.datasets.sample import Dataset
from motivnet.errors import CheckpointError, ConfigError
from motivnet.model.runtime import TorchRuntime
from motivnet.progress import progress
from motivnet_bench.environment import read_environment
from motivnet_bench.latency.candidates import resolve_device
from motivnet_bench.viability.data_similarity import data_similarity
from motivnet_bench.viability.images import FedModel, embeddings_of, image_files
from motivnet_bench.viability.model_similarity import model_similarity
from motivnet_bench.viability.names import folder_names
from motivnet_bench.viability.performance import measure_performance
from motivnet_bench.viability.result import CriteriaResult, DataSimilarity, Performance
from motivnet_export.source import ModelSource


@dataclass(frozen=True, slots=True, kw_only=True)
class CriteriaOptions:
    """What to judge by, and how.

    Args:
        tests: Labelled folders, for the benchmark performance.
        encoder: The weights file that the training started from, for the model similarity.
        data: The folder of images that is compared with ``reference``, for the data similarity.
        limit: Images a class of each labelled folder, and of each other folder in all, at most.
        resamples: Bootstrap samples.
        allow_outside: Whether a list of ``tests`` may name images outside its folder.
    """

    tests: tuple[Path, ...] = ()
    encoder: Path | None = None
    data: Path | None = None
    reference: Path | None = None
    limit: int | None = None
    resamples: int = 500
    seed: int = 0
    batch: int = 8
    threads: int | None = None
    device: str = "auto"
    allow_outside: bool = False

    def __post_init__(self) -> None:
        if not self.tests and self.encoder is None and self.data is None and self.reference is None:
            raise ConfigError(
                "there is nothing to judge by; give --test, --encoder, or --data with --reference"
            )
        if (self.data is None) != (self.reference is None):
            raise ConfigError("--data and --reference go together: two folders are compared")
        if self.batch < 1 or (self.threads is not None and self.threads < 1) or self.seed < 0:
            raise ConfigError("--batch and --threads must be at least 1, and --seed not negative")
        if self.limit is not None and self.limit < 2:
            raise ConfigError(f"--limit must be at least 2, not {self.limit}")
        if self.resamples < 20:
            raise ConfigError(
                f"--resamples must be at least 20 for an interval of 95 %, not {self.resamples}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Folders:
    """The folders as they were found, before the model runs for long."""

    labelled: tuple[Dataset, ...]
    compared: tuple[tuple[Path, tuple[Path, ...]], ...]


def measure_criteria(
    source: ModelSource, options: CriteriaOptions, *, command: str = ""
) -> CriteriaResult:
    """The figures of every criterion that the options ask for.

    Args:
        command: What repeats the run, for the report.

    Raises:
        CheckpointError: If the model's file holds no head, or the encoder's file no encoder.
        ConfigError: If the device is not known or not there.
        DatasetError: If a folder has no images.
    """
    if source.checkpoint is None or source.sha256 is None or source.fresh_head:
        raise CheckpointError(
            f"{source.name} holds an encoder alone; give the MotivNet that was trained from it"
        )
    device = resolve_device(options.device)
    folders = _found(options, source.labels)
    weights = source.load()
    similar = None
    if options.encoder is not None:
        with progress(f"comparing with {options.encoder.name}"):
            similar = model_similarity(weights.state_dict(), options.encoder)
    with TorchRuntime(
        weights, config=source.config, device=device, threads=options.threads
    ) as runtime:
        model = FedModel(runtime=runtime, recipe=source.recipe, batch=options.batch)
        performance = _performance(model, folders, options)
        data = _data_similarity(model, folders, options)
    return CriteriaResult(
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        command=command,
        checkpoint=source.checkpoint.name,
        sha256=source.sha256,
        config=source.config,
        labels=source.labels,
        recipe=source.recipe,
        device=device,
        environment=read_environment(),
        performance=performance,
        model=similar,
        data=data,
    )


def _found(options: CriteriaOptions, labels: tuple[str, ...]) -> _Folders:
    compared = (options.data, options.reference) if options.data and options.reference else ()
    return _Folders(
        labelled=tuple(
            read_dataset(
                folder,
                labels=labels,
                parts=JUDGED,
                limit=options.limit,
                allow_outside=options.allow_outside,
            )
            for folder in options.tests
        ),
        compared=tuple((folder, image_files(folder, limit=options.limit)) for folder in compared),
    )


def _performance(
    model: FedModel, folders: _Folders, options: CriteriaOptions
) -> tuple[Performance, ...]:
    names = folder_names(options.tests)
    return tuple(
        measure_performance(model, name, dataset, whole=options.limit is None)
        for name, dataset in zip(names, folders.labelled, strict=True)
    )


def _data_similarity(
    model: FedModel, folders: _Folders, options: CriteriaOptions
) -> DataSimilarity | None:
    if not folders.compared:
        return None
    names = folder_names([folder for folder, _ in folders.compared])
    data, reference = (
        (name, embeddings_of(model, folder, files))
        for name, (folder, files) in zip(names, folders.compared, strict=True)
    )
    return data_similarity(data, reference, resamples=options.resamples, seed=options.seed)
