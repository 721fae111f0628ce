"""Where a build's weights come from: a checkpoint, or random numbers for a size without one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from motivnet.artifact import Artifact
from motivnet.artifact.manifest import Source
from motivnet.checkpoints import load_checkpoint, name_of
from motivnet.config import ModelConfig, config_from_name_or_path
from motivnet.errors import ArtifactError, CheckpointError, ConfigError
from motivnet.files import sha256_of
from motivnet.labels import labels_for
from motivnet.model import MotivNet, build_model
from motivnet.preprocess import InputRecipe
from motivnet.printable import printable
from motivnet.progress import progress

CHECKPOINTS = Path("checkpoints")
SUFFIXES = (".safetensors", ".pth", ".ckpt", ".pt")
DEFAULT_RECIPE = "stretch"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSource:
    """A model that can be loaded as often as needed, always fresh and in FP32, and what is known of it."""

    load: Callable[[], MotivNet]
    name: str
    config: ModelConfig
    labels: tuple[str, ...]
    recipe: InputRecipe
    checkpoint: Path | None
    sha256: str | None
    fresh_head: bool

    def entry(self) -> Source:
        """What the manifest of an artifact says of this source."""
        return Source(
            checkpoint=printable(self.checkpoint.name) if self.checkpoint else None,
            sha256=self.sha256,
            random_weights=self.checkpoint is None,
            fresh_head=self.fresh_head,
            config=self.config,
        )


def model_source(
    checkpoint: Path | None, *, model: str | None, preprocess: str | None
) -> ModelSource:
    """The source that ``--checkpoint`` and ``--model`` name; without either, the newest checkpoint.

    Args:
        model: A named size or a configuration file; with a checkpoint it says what the checkpoint's
        sizes are.
        preprocess: A recipe's name, where it is not the checkpoint's own.

    Raises:
        CheckpointError: If the checkpoint cannot be loaded.
        ConfigError: If there is none, or ``model`` or ``preprocess`` name nothing.
    """
    config = config_from_name_or_path(model) if model else None
    if checkpoint is None and config is None:
        checkpoint = newest_checkpoint(CHECKPOINTS)
    if checkpoint is not None:
        return _from_checkpoint(checkpoint, config, preprocess)
    assert config is not None
    return random_source(
        Path(model or "").stem if (model or "").endswith(".json") else model or "",
        config,
        preprocess,
    )


def random_source(name: str, config: ModelConfig, preprocess: str | None = None) -> ModelSource:
    """Seeded random weights of these sizes."""
    return ModelSource(
        load=lambda: build_model(config, seed=0),
        name=name,
        config=config,
        labels=labels_for(config.decoder.num_classes),
        recipe=InputRecipe.named(preprocess or DEFAULT_RECIPE, size=config.encoder.image_size),
        checkpoint=None,
        sha256=None,
        fresh_head=False,
    )


def source_of_artifact(artifact: Artifact, checkpoint: Path | None) -> ModelSource:
    """The model that an artifact was made from.

    Raises:
        ArtifactError, ConfigError: As ``checkpoint_of_artifact`` and ``check_random_weights``.
    """
    recipe, config = artifact.manifest.input.recipe.name, artifact.manifest.source.config
    path = checkpoint_of_artifact(artifact, checkpoint)
    if path is not None:
        return _from_checkpoint(path, config, recipe)
    check_random_weights(artifact)
    return random_source("random", config, recipe)


def check_random_weights(artifact: Artifact) -> None:
    """Returns when an artifact of random weights is as large as the model of which it tells.

    A manifest of a kilobyte could ask for any number of them otherwise. No precision has less than
    a byte for each.

    Raises:
        ArtifactError: If its files are smaller.
    """
    parameters = artifact.manifest.source.config.parameters
    size = sum(entry.size for entry in artifact.manifest.files)
    if parameters > size:
        raise ArtifactError(
            f"{artifact.folder} tells of a model of {parameters:,} weights, which its {size:,} bytes cannot hold; "
            "build it again"
        )


def checkpoint_of_artifact(artifact: Artifact, checkpoint: Path | None) -> Path | None:
    """The very checkpoint that an artifact was made from; None for one of random weights.

    Args:
        checkpoint: Where it lies; if None, it is looked for by its name in ``checkpoints/`` and the
        working directory.

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
    places = [checkpoint] if checkpoint else [CHECKPOINTS / name, name]
    found = [path for path in places if path.is_file()]
    if not found:
        lacks = (
            f"{checkpoint} is not there"
            if checkpoint
            else f"{name} is neither in {CHECKPOINTS}/ nor here"
        )
        raise ArtifactError(
            f"{lacks}; give the checkpoint that {folder} was made from with --checkpoint"
        )
    for path in found:
        if _digest(path) == source.sha256:
            return path
    raise ArtifactError(
        f"{found[0]} is not the checkpoint that {folder} was made from (SHA-256 differs); "
        "give that one with --checkpoint, or build the artifact again"
    )


def _digest(path: Path) -> str:
    with progress(
        f"checking {path.name}", total=path.stat().st_size if path.is_file() else None
    ) as advance:
        return sha256_of(path, on_bytes=advance)


def newest_checkpoint(folder: Path) -> Path:
    """The checkpoint in a folder that was written last.

    Raises:
        ConfigError: If there is none.
    """
    files = [path for path in folder.glob("*") if path.suffix in SUFFIXES and path.is_file()]
    if not files:
        raise ConfigError(
            f"there is no checkpoint in {folder}/; give --checkpoint FILE, or --model NAME without weights"
        )
    return max(files, key=lambda path: path.stat().st_mtime)


def _from_checkpoint(path: Path, config: ModelConfig | None, preprocess: str | None) -> ModelSource:
    digest = _digest(path)
    with progress(f"loading {path.name}"):
        loaded = load_checkpoint(path, config)
    if preprocess is not None or loaded.recipe is None:
        recipe = InputRecipe.named(
            preprocess or DEFAULT_RECIPE, size=loaded.config.encoder.image_size
        )
    else:
        recipe = loaded.recipe
    first: list[MotivNet] = [loaded.model]

    def load() -> MotivNet:
        """The model just loaded the first time, and after that the file again if it is still the same."""
        if first:
            return first.pop()
        if _digest(path) != digest:
            raise CheckpointError(f"{path} changed while it was exported; start again")
        return load_checkpoint(path, loaded.config, quiet=True).model

    return ModelSource(
        load=load,
        name=name_of(path),
        config=loaded.config,
        labels=loaded.labels,
        recipe=recipe,
        checkpoint=path,
        sha256=digest,
        fresh_head=loaded.fresh_head,
    )
