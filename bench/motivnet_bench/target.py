"""The target of a run: an artifact, and the PyTorch model that it was made from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from motivnet.artifact import Artifact, open_artifact
from motivnet.artifact.manifest import InputEntry
from motivnet.config import ModelConfig
from motivnet.parity import Precision

if TYPE_CHECKING:
    from motivnet.model.runtime import TorchRuntime

TorchCompute = Literal["float32", "bfloat16", "float16"]
TorchCompiler = Literal["inductor", "torch_tensorrt"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """An artifact and the checkpoint that it was made from; None if its weights are random."""

    name: str
    artifact: Artifact
    checkpoint: Path | None


def target_from_artifact(
    folder: Path, *, checkpoint: Path | None = None, needs_pytorch: bool = True
) -> Target:
    """Return the artifact in a folder with the checkpoint that its manifest names.

    Args:
        checkpoint: Path of that checkpoint; None to look for its name in ``checkpoints/`` and in
            the working directory.
        needs_pytorch: Whether PyTorch will run too; if not, the checkpoint is not looked for.

    Raises:
        ArtifactError: If the folder is no artifact, its files are damaged, its checkpoint is
            missing or another file, or it claims more random weights than its files can hold.
        ConfigError: If a checkpoint is given for an artifact of random weights.
    """
    artifact = open_artifact(folder)
    artifact.verify_files()
    found = None
    if needs_pytorch:
        from motivnet_export.source import check_random_weights, checkpoint_of_artifact

        found = checkpoint_of_artifact(artifact, checkpoint)
        if found is None:
            check_random_weights(artifact)
    return Target(name=folder.resolve().name, artifact=artifact, checkpoint=found)


def target_from_model(
    model: str,
    folder: Path,
    *,
    precision: Precision,
    batch_size: int,
    image_size: tuple[int, int] | None = None,
) -> Target:
    """Build an artifact with random weights of a named size in a folder below ``folder``.

    Raises:
        MotivNetError: As ``motivnet_export.build.build_artifact``.
    """
    from motivnet_export.build import build_artifact
    from motivnet_export.request import BuildRequest

    name = model_name(model)
    request = BuildRequest(
        model=model,
        out=folder / name,
        precision=precision,
        image_size=image_size,
        max_batch=max(8, batch_size),  # the build checks small batches too
        num_images=1,  # the weights are random, and PyTorch may need half a minute per image
    )
    return Target(name=name, artifact=build_artifact(request), checkpoint=None)


def model_name(model: str) -> str:
    """Return the name of a size, or of a configuration file."""
    return Path(model).stem if model.endswith(".json") else model


def pytorch_input(entry: InputEntry) -> InputEntry:
    """Return the input of the PyTorch model: always preprocessed, also if the artifact's is not."""
    return InputEntry(name=entry.name, dtype="float32", preprocessing=entry.preprocessing)


def open_pytorch(
    checkpoint: Path | None,
    config: ModelConfig,
    *,
    ema: bool = False,
    compute: TorchCompute = "float32",
    compiler: TorchCompiler | None = None,
    device: str = "cpu",
    threads: int | None = None,
) -> TorchRuntime:
    """Open the PyTorch model of a target; without a checkpoint, its random weights are made.

    Args:
        ema: Take the checkpoint's EMA weights.
    """
    from motivnet.checkpoints import load_model
    from motivnet.model import build_model
    from motivnet.model.runtime import TorchRuntime

    if checkpoint is None:
        model = build_model(config, seed=0)
    else:
        model = load_model(checkpoint, config, ema=ema)
    return TorchRuntime(
        model, config=config, compute=compute, compiler=compiler, device=device, threads=threads
    )
