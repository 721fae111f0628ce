"""Where the weights of a build come from: a checkpoint, or random numbers for a model size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from msgspec.structs import replace

from motivnet.artifact import Artifact
from motivnet.artifact.fidelity import Fidelity, fidelity_from_metadata
from motivnet.artifact.manifest import Source
from motivnet.checkpoints import load_checkpoint, name_of
from motivnet.checkpoints.shards import (
    find_weights_file,
    is_index,
    is_shard,
    sha256_of_weights,
)
from motivnet.config import ModelConfig, config_from_name_or_path
from motivnet.errors import ArtifactError, CheckpointError, ConfigError
from motivnet.files import list_folder
from motivnet.labels import labels_for
from motivnet.model import MotivNet, build_model
from motivnet.path_kind import is_file, is_folder
from motivnet.preprocess import Preprocessing
from motivnet.printable import printable
from motivnet.terminal import progress

CHECKPOINTS = Path("checkpoints")
SUFFIXES = (".safetensors", ".pth", ".ckpt", ".pt")
DEFAULT_PREPROCESSING = "stretch"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSource:
    """A model that ``load`` gives as often as needed, a new one in FP32 each time, and its data."""

    load: Callable[[], MotivNet]
    name: str
    config: ModelConfig
    labels: tuple[str, ...]
    preprocessing: Preprocessing
    checkpoint: Path | None
    sha256: str | None
    fresh_head: bool
    trained_image_size: tuple[int, int] | None = None
    ema: bool = False
    fidelity: Fidelity | None = None

    def entry(self) -> Source:
        """Return the entry for the manifest of an artifact."""
        return Source(
            checkpoint=printable(self.checkpoint.name) if self.checkpoint else None,
            sha256=self.sha256,
            random_weights=self.checkpoint is None,
            fresh_head=self.fresh_head,
            config=self.config,
            trained_image_size=self.trained_image_size,
            ema=self.ema,
            fidelity=self.fidelity,
        )


def model_source(
    checkpoint: Path | None,
    *,
    model: str | None,
    preprocess: str | None,
    image_size: tuple[int, int] | None = None,
    ema: bool = False,
) -> ModelSource:
    """Return the source of ``--checkpoint`` and ``--model``, by default the newest checkpoint.

    Args:
        image_size: (height, width) of the model's input, if it is not the checkpoint's or model's.
        ema: Take the checkpoint's EMA weights.
        model: A named size or a configuration file; with a checkpoint, the sizes of its model.
        preprocess: The name of the preprocessing, if it is not the checkpoint's.

    Raises:
        CheckpointError: If the checkpoint cannot be loaded.
        ConfigError: If there is none, or ``model`` or ``preprocess`` are not known.
    """
    if not model:
        checkpoint = checkpoint or newest_checkpoint(CHECKPOINTS)
    config = config_from_name_or_path(model) if model else None
    if checkpoint is not None:
        return _source_of_checkpoint(checkpoint, config, preprocess, image_size=image_size, ema=ema)
    if ema:
        raise ConfigError("random weights have no EMA; leave --ema out, or give --checkpoint")
    assert model is not None and config is not None  # noqa: PT018 - no test
    name = Path(model).stem if model.endswith(".json") else model
    return random_source(name, config.at(image_size) if image_size else config, preprocess)


def random_source(name: str, config: ModelConfig, preprocess: str | None) -> ModelSource:
    """Return a source of random weights with a fixed seed."""
    size = config.encoder.image_size
    return ModelSource(
        load=lambda: build_model(config, seed=0),
        name=name,
        config=config,
        labels=labels_for(config.decoder.num_classes),
        preprocessing=Preprocessing.named(preprocess or DEFAULT_PREPROCESSING, size=size),
        checkpoint=None,
        sha256=None,
        fresh_head=False,
    )


def source_of_artifact(artifact: Artifact, checkpoint: Path | None) -> ModelSource:
    """Return the model that an artifact was made from.

    Raises:
        ArtifactError, ConfigError: As ``checkpoint_of_artifact`` and ``check_random_weights``.
    """
    preprocess, config = artifact.manifest.input.preprocessing.name, artifact.manifest.source.config
    path = checkpoint_of_artifact(artifact, checkpoint)
    if path is not None:
        ema = artifact.manifest.source.ema
        return _source_of_checkpoint(path, config, preprocess, ema=ema)
    check_random_weights(artifact)
    return random_source("random", config, preprocess)


def check_random_weights(artifact: Artifact) -> None:
    """Refuse an artifact of random weights that is smaller than the model that it describes.

    Otherwise a manifest of a kilobyte could ask for any amount of memory. Every precision has at
    least one byte per weight.

    Raises:
        ArtifactError: If its files are smaller.
    """
    parameters = artifact.manifest.source.config.parameters
    size = sum(entry.size for entry in artifact.manifest.files)
    if parameters > size:
        raise ArtifactError(
            f"{artifact.folder} describes a model of {parameters:,} weights, which its {size:,} "
            "bytes cannot hold; build it again"
        )


def checkpoint_of_artifact(artifact: Artifact, checkpoint: Path | None) -> Path | None:
    """Return the checkpoint that an artifact was made from, None for random weights.

    Without a path, the name in the manifest is looked for in ``checkpoints/`` and the working
    directory.

    Raises:
        ArtifactError: If the checkpoint is not found or is another file.
        ConfigError: If a checkpoint is given for an artifact of random weights.
    """
    source, folder = artifact.manifest.source, artifact.folder
    if source.random_weights:
        if checkpoint is not None:
            raise ConfigError(f"{folder} was built with random weights; leave --checkpoint out")
        return None
    name = Path(source.checkpoint or "")
    places = [find_weights_file(checkpoint)] if checkpoint else [CHECKPOINTS / name, name]
    found = [path for path in places if is_file(path)]
    if not found:
        problem = f"{name} is neither in {CHECKPOINTS}/ nor here"
        if checkpoint:
            problem = f"{checkpoint} does not exist"
        raise ArtifactError(
            f"{problem}; give the checkpoint that {folder} was made from with --checkpoint"
        )
    for path in found:
        if _digest(path) == source.sha256:
            return path
    raise ArtifactError(
        f"{found[0]} is not the checkpoint that {folder} was made from (SHA-256 differs); "
        "give that one with --checkpoint, or build the artifact again"
    )


def newest_checkpoint(folder: Path) -> Path:
    """Return the checkpoint in a folder that was written last.

    Raises:
        ConfigError: If there is none.
    """
    entries = list_folder(folder) if is_folder(folder) else []
    files = [
        path
        for path in entries
        if (path.suffix in SUFFIXES or is_index(path)) and is_file(path) and not is_shard(path)
    ]
    if not files:
        raise ConfigError(
            f"there is no checkpoint in {folder}/; give --checkpoint FILE, or --model NAME for "
            "random weights"
        )
    return max(files, key=lambda path: path.stat().st_mtime)


def _source_of_checkpoint(
    given: Path,
    config: ModelConfig | None,
    preprocess: str | None,
    *,
    image_size: tuple[int, int] | None = None,
    ema: bool,
) -> ModelSource:
    path = find_weights_file(given)
    digest = _digest(path)
    with progress(f"loading {path.name}"):
        loaded = load_checkpoint(path, config, image_size=image_size, ema=ema)
    size, trained_size = loaded.config.encoder.image_size, loaded.trained_image_size
    if preprocess is not None or loaded.preprocessing is None:
        recorded = loaded.preprocessing
        preprocessing = Preprocessing.named(
            preprocess or DEFAULT_PREPROCESSING,
            size=size,
            align=recorded is not None and recorded.aligns,
        )
    else:
        preprocessing = replace(loaded.preprocessing, size=size)
    first: list[MotivNet] = [loaded.model]

    def load() -> MotivNet:
        """Return the model just loaded the first time, later the file again if it is the same."""
        if first:
            return first.pop()
        if _digest(path) != digest:
            raise CheckpointError(f"{path} changed while it was exported; start again")
        return load_checkpoint(path, loaded.config, ema=ema, quiet=True).model

    return ModelSource(
        load=load,
        name=name_of(given),
        config=loaded.config,
        labels=loaded.labels,
        preprocessing=preprocessing,
        checkpoint=path,
        sha256=digest,
        fresh_head=loaded.fresh_head,
        trained_image_size=None if trained_size == size else trained_size,
        ema=ema,
        fidelity=fidelity_from_metadata(loaded.metadata),
    )


def _digest(path: Path) -> str:
    size = path.stat().st_size if is_file(path) and not is_index(path) else None
    with progress(f"checking {path.name}", total=size) as advance:
        return sha256_of_weights(path, on_bytes=advance)
