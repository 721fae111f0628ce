"""What ``motivnet-train fit`` is asked for, as a value."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from motivnet import strict_json
from motivnet.config import ModelConfig
from motivnet.datasets.sample import Sample
from motivnet.datasets.split import Split
from motivnet.errors import ConfigError
from motivnet.files import sha256_of
from motivnet.labels import labels_for
from motivnet.preprocess import InputRecipe
from motivnet_training.devices import Hardware
from motivnet_training.recipe import TrainingRecipe
from motivnet_training.run_folder import RunFolder, RunIdentity


@dataclass(frozen=True, slots=True, kw_only=True)
class FitRequest:
    """What to train, on what, how and where.

    Args:
        encoder: A weights file whose encoder to start from; the head is always fresh.
        tokens: Where a cached recipe keeps the encoder's tokens; ``tokens`` in the run folder if
        None.
        allow_outside: Whether a list may name images outside its folder.
        published: Also write the best weights under the names of the published file.
    """

    config: ModelConfig
    data: Path
    out: Path
    recipe: TrainingRecipe
    preprocess: InputRecipe
    seed: int = 0
    encoder: Path | None = None
    tokens: Path | None = None
    hardware: Hardware = dataclasses.field(default_factory=Hardware)
    checkpoint_seconds: float = 600.0
    resume: bool = False
    published: bool = False
    allow_outside: bool = False

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise ConfigError(f"the seed must be at least 0, not {self.seed}")
        if self.encoder is None and (self.recipe.needs_encoder or self.recipe.is_frozen):
            raise ConfigError(
                f"the recipe {self.recipe.name} is for a trained encoder: give one with --encoder, or --recipe scratch"
            )
        if self.tokens is not None and not self.recipe.cached:
            raise ConfigError(
                f"the recipe {self.recipe.name} uses no cached tokens: leave out --tokens, or take fast"
            )
        if self.hardware.strategy == "fsdp" and self.recipe.gradient_norm is not None:
            raise ConfigError(
                "fsdp cannot scale gradients down to a norm: set gradient_norm to null"
            )

    @property
    def labels(self) -> tuple[str, ...]:
        """The model's, in output order."""
        return labels_for(self.config.decoder.num_classes)

    @property
    def folder(self) -> RunFolder:
        """Where everything is written."""
        return RunFolder(self.out)

    @property
    def token_folder(self) -> Path:
        """Where the tokens of a cached recipe are."""
        return self.tokens or self.out / "tokens"


def identity_of(request: FitRequest, split: Split) -> RunIdentity:
    """What has to be the same when the training is resumed."""
    return RunIdentity(
        recipe=_hash(strict_json.dumps(request.recipe)),
        model=_hash(strict_json.dumps(request.config.to_dict())),
        encoder=sha256_of(request.encoder) if request.encoder else "none",
        training_images=_hash(_described(split.training, split.digests)),
        validation_images=_hash(_described(split.validation, split.digests)),
        seed=request.seed,
        preprocess=request.preprocess.name,
        processes=request.hardware.processes,
        strategy=request.hardware.strategy,
    )


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _described(samples: Sequence[Sample], digests: Mapping[str, str]) -> bytes:
    rows = (
        f"{each.name}\t{each.label}\t{each.distribution}\t{digests[each.name]}" for each in samples
    )
    return "\n".join(rows).encode("utf-8", "surrogatepass")
