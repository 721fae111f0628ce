"""The folder of one training: what lies where, and what it says the training is."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from motivnet import strict_json
from motivnet.errors import FileError, TrainingError
from motivnet.files import read_bytes, write_atomic
from motivnet.workspace import sole_writer


@dataclass(frozen=True, slots=True, kw_only=True)
class RunIdentity:
    """What has to be the same when a training is resumed, as short texts; hashes where it is long."""

    recipe: str
    model: str
    encoder: str
    training_images: str
    validation_images: str
    seed: int
    preprocess: str
    processes: int
    strategy: str


_SHOWN = {
    "recipe": "recipe (compare recipe.yaml; epochs and rates are part of it)",
    "processes": "processes (--devices times --nodes)",
}
"""What a person needs to know besides a field's name."""


@dataclass(frozen=True, slots=True)
class RunFolder:
    """Where the files of a training are."""

    path: Path

    @property
    def resume(self) -> Path:
        """The state to resume from."""
        return self.path / "last.ckpt"

    @property
    def best(self) -> Path:
        """The weights of the lowest validation loss."""
        return self.path / "best.safetensors"

    @property
    def last(self) -> Path:
        """The weights of the last epoch."""
        return self.path / "last.safetensors"

    @property
    def published(self) -> Path:
        """The best weights under the names of the published file."""
        return self.path / "MotivNet.pth"

    @property
    def has_weights(self) -> bool:
        """Whether there is a model in it, with a state to resume from or without."""
        return any(path.exists() for path in (self.best, self.last, self.published))

    @property
    def identity(self) -> Path:
        """What the training is."""
        return self.path / "run.json"

    @property
    def recipe(self) -> Path:
        """The training recipe, which ``--config`` takes again."""
        return self.path / "recipe.yaml"

    @property
    def metrics(self) -> Path:
        """A row an epoch."""
        return self.path / "metrics.csv"

    @property
    def tensorboard(self) -> Path:
        """Event files."""
        return self.path / "tensorboard"

    @property
    def curves(self) -> Path:
        """Losses, accuracy and learning rates by epoch."""
        return self.path / "curves.png"

    @property
    def confusion(self) -> Path:
        """True against predicted classes."""
        return self.path / "confusion.png"

    @property
    def summary(self) -> Path:
        """What was trained and what came out."""
        return self.path / "summary.json"


def check_usable(folder: RunFolder, *, resume: bool) -> None:
    """Returns when a training may be written to the folder.

    Args:
        resume: A training in it is meant to go on; without one it begins.

    Raises:
        TrainingError: If it holds a state to go on from or weights, and ``resume`` is off, a
            finished training whose state is gone, or a ``run.json`` that is not one of a training.
        FileError: If it is a file, or holds other files.
    """
    path = folder.path
    if path.exists() and not path.is_dir():
        raise FileError(f"{path} is a file; give a folder with --out")
    if not path.is_dir() or not any(path.iterdir()):
        return
    if not folder.identity.exists():
        raise FileError(f"{path} holds files that are not a training; give another --out")
    _identity(
        folder
    )  # a run.json of somebody else is no leave to write over what has the names of ours
    if folder.resume.exists():
        if not resume:
            raise TrainingError(
                f"{path} holds a training already; go on with --resume, or give another --out"
            )
    # Without the state a training begins anew, in the place of these weights. That is right only
    # where it was interrupted between the first weights and the first state.
    elif folder.summary.exists() or (folder.has_weights and not resume):
        raise TrainingError(
            f"{path} holds the weights of a training, and no {folder.resume.name} to go on from; give another --out"
        )


@contextlib.contextmanager
def sole_training(folder: RunFolder) -> Iterator[None]:
    """The folder, made if need be, with this process as the only one that trains in it until the
    end of the block.

    Raises:
        FileError: If it cannot be written, or another process is training in it.
    """
    with contextlib.ExitStack() as stack:
        try:
            folder.path.mkdir(parents=True, exist_ok=True)
            is_sole = stack.enter_context(sole_writer(folder.path.resolve()))
        except OSError as error:
            raise FileError(
                f"{folder.path} cannot be written: {error.strerror or error}"
            ) from error
        if not is_sole:
            raise FileError(
                f"{folder.path}: another process is training in it; wait for it or give another --out"
            )
        yield


def check_identity(folder: RunFolder, identity: RunIdentity) -> None:
    """Returns when the training in the folder, if there is one, is the one that is asked for.

    Raises:
        TrainingError: Naming what differs.
        FileError: If ``run.json`` cannot be read.
    """
    if not folder.identity.exists():
        return
    found = _identity(folder)
    names = [
        name for name in RunIdentity.__slots__ if getattr(found, name) != getattr(identity, name)
    ]
    if names:
        named = ", ".join(_SHOWN.get(name, name.replace("_", " ")) for name in names)
        raise TrainingError(
            f"{folder.path} holds a training with other values of: {named}; repeat its options, or give another --out"
        )


def write_identity(folder: RunFolder, identity: RunIdentity, *, recipe: str) -> None:
    """Says in the folder what the training is."""
    write_atomic(folder.identity, strict_json.dumps(identity))
    write_atomic(folder.recipe, recipe.encode())


def _identity(folder: RunFolder) -> RunIdentity:
    try:
        return strict_json.build(RunIdentity, strict_json.loads(read_bytes(folder.identity)))
    except strict_json.StrictJSONError as error:
        raise TrainingError(
            f"{folder.identity} is damaged, or not of a training: {error}; give another --out"
        ) from error
