"""What ``motivnet-train fit`` is asked for, as a value."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from motivnet.checkpoints.shards import sha256_of_weights
from motivnet.config import ModelConfig
from motivnet.datasets.sample import Sample
from motivnet.datasets.split import Split
from motivnet.errors import ConfigError
from motivnet.labels import labels_for
from motivnet.preprocess import Preprocessing
from motivnet.schema import encode
from motivnet_training.devices import Devices
from motivnet_training.recipe import TrainingRecipe
from motivnet_training.run_folder import RunFolder, RunIdentity


@dataclass(frozen=True, slots=True, kw_only=True)
class FitRequest:
    """What to train, on what, how and where.

    Args:
        encoder: A weights file whose encoder to start from.
        with_head: Whether to start from the head of that file too; else the head is fresh.
        ema: Take the EMA weights of that file.
        tokens: Where a cached recipe keeps the encoder's tokens; ``tokens`` in the run folder if
            None.
        allow_outside: Whether a list may name images outside its folder.
        published: Also write the best weights in the published layout.
    """

    config: ModelConfig
    data: Path
    out: Path
    recipe: TrainingRecipe
    preprocess: Preprocessing
    seed: int = 0
    encoder: Path | None = None
    with_head: bool = False
    ema: bool = False
    tokens: Path | None = None
    devices: Devices = field(default_factory=Devices)
    checkpoint_seconds: float = 600.0
    resume: bool = False
    published: bool = False
    allow_outside: bool = False

    def __post_init__(self) -> None:
        name = self.recipe.name
        if self.ema and self.encoder is None:
            raise ConfigError("--ema is for the weights of --encoder; give that, or leave it out")
        if self.encoder is None and (self.recipe.needs_encoder or self.recipe.is_frozen):
            raise ConfigError(
                f"the recipe {name} is for a trained encoder: "
                "give one with --encoder, or --recipe scratch"
            )
        if self.tokens is not None and not self.recipe.cached:
            raise ConfigError(
                f"the recipe {name} uses no cached tokens: leave out --tokens, or use fast"
            )
        if self.recipe.cached and self.devices.strategy == "fsdp":
            raise ConfigError(
                f"the recipe {name} trains the head alone, which fsdp cannot shard: use ddp"
            )

    @property
    def labels(self) -> tuple[str, ...]:
        """The model's labels, in output order."""
        return labels_for(self.config.decoder.num_classes)

    @property
    def folder(self) -> RunFolder:
        """Where everything is written."""
        return RunFolder(self.out)


def identify(request: FitRequest, split: Split) -> RunIdentity:
    """Return what has to be the same when the training is resumed."""
    return RunIdentity(
        recipe=_hash(encode(request.recipe)),
        model=_hash(encode(request.config.to_dict())),
        encoder=sha256_of_weights(request.encoder) if request.encoder else "none",
        ema=request.ema,
        training_images=_hash(_describe_samples(split.training, split.digests)),
        validation_images=_hash(_describe_samples(split.validation, split.digests)),
        seed=request.seed,
        preprocess=request.preprocess.text,
        processes=request.devices.processes,
        strategy=request.devices.strategy,
    )


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _describe_samples(samples: Sequence[Sample], digests: Mapping[str, str]) -> bytes:
    rows = (
        f"{each.name}\t{each.label}\t{each.distribution}\t{digests[each.name]}" for each in samples
    )
    return "\n".join(rows).encode("utf-8", "surrogatepass")
