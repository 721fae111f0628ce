"""The folder of one training: its files, and whether a training may be written to it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from motivnet.errors import FileError, TrainingError
from motivnet.files import list_folder, read_bytes, write_atomic
from motivnet.path_kind import kind_of
from motivnet.schema import Schema, SchemaError, decode, encode
from motivnet.workspace import write_lock


class RunIdentity(Schema, frozen=True, kw_only=True):
    """What has to be the same when a training is resumed; hashes of what is long."""

    recipe: str
    model: str
    encoder: str
    training_images: str
    validation_images: str
    seed: int
    preprocess: str
    processes: int
    strategy: str
    ema: bool = False
    teacher: str = "none"
    views: int = 0


_SHOWN = {
    "recipe": "recipe (compare recipe.yaml; epochs and rates are part of it)",
    "processes": "processes (--devices times --nodes)",
}
"""What a person needs to know besides a field's name."""


class RunFolder:
    """The paths of a training's files.

    ``resume`` is the state to resume from; ``best`` has the weights of the lowest validation loss,
    ``last`` those of the last epoch, ``published`` the best ones in the published layout;
    ``identity`` says what the training is.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.resume = path / "last.ckpt"
        self.best = path / "best.safetensors"
        self.last = path / "last.safetensors"
        self.published = path / "MotivNet.pth"
        self.identity = path / "run.json"
        self.recipe = path / "recipe.yaml"
        self.metrics = path / "metrics.csv"
        self.tokens = path / "tokens"
        self.tensorboard = path / "tensorboard"
        self.curves = path / "curves.png"
        self.confusion = path / "confusion.png"
        self.summary = path / "summary.json"

    @property
    def has_weights(self) -> bool:
        """Whether there is a model in it, with or without a state to resume from."""
        return any(kind_of(path) for path in (self.best, self.last, self.published))


def check_usable(folder: RunFolder, *, resume: bool) -> None:
    """Check that a training may be written to the folder.

    Args:
        resume: A training in the folder is to be continued; if there is none, one begins.

    Raises:
        TrainingError: If the folder holds a state to resume from or weights, and ``resume`` is off,
            a finished training whose state is gone, or a ``run.json`` that is not a training's.
        FileError: If it is a file, or holds other files.
    """
    path = folder.path
    kind = kind_of(path, output="--out")
    if kind not in (None, "folder"):
        raise FileError(f"{path} is a file; give a folder with --out")
    # With cached tokens alone, a training was interrupted before it began.
    if kind is None or not [each for each in list_folder(path) if each != folder.tokens]:
        return
    if kind_of(folder.identity) is None:
        raise FileError(f"{path} holds files that are not a training; give another --out")
    _read_identity(folder)  # a foreign run.json does not allow to overwrite files with our names
    if kind_of(folder.resume) is not None:
        if not resume:
            raise TrainingError(
                f"{path} holds a training already; continue it with --resume, or give another --out"
            )
    # Without the state a training starts from the beginning, in place of these weights. That is
    # right only if it was interrupted between the first weights and the first state.
    elif kind_of(folder.summary) is not None or (folder.has_weights and not resume):
        raise TrainingError(
            f"{path} holds the weights of a training, and no {folder.resume.name} to resume from; "
            "give another --out"
        )


@contextlib.contextmanager
def lock_folder(folder: RunFolder) -> Iterator[None]:
    """Make the folder if need be, and keep other processes from training in it during the block.

    Raises:
        FileError: If it cannot be written, or another process is training in it.
    """
    with contextlib.ExitStack() as stack:
        try:
            folder.path.mkdir(parents=True, exist_ok=True)
            is_sole = stack.enter_context(write_lock(Path(os.path.realpath(folder.path))))
        except OSError as error:
            reason = error.strerror or error
            raise FileError(
                f"{folder.path} cannot be written: {reason}; give another --out"
            ) from error
        if not is_sole:
            raise FileError(
                f"{folder.path}: another process is training in it; "
                "wait for it or give another --out"
            )
        yield


def check_identity(folder: RunFolder, identity: RunIdentity) -> None:
    """Check that the training in the folder, if there is one, is the one that is asked for.

    Raises:
        TrainingError: Naming what differs.
        FileError: If ``run.json`` cannot be read.
    """
    if kind_of(folder.identity) is None:
        return
    found = _read_identity(folder)
    names = [
        name
        for name in RunIdentity.__struct_fields__
        if getattr(found, name) != getattr(identity, name)
    ]
    if names:
        named = ", ".join(_SHOWN.get(name, name.replace("_", " ")) for name in names)
        raise TrainingError(
            f"{folder.path} holds a training with other values of: {named}; "
            "repeat its options, or give another --out"
        )


def write_identity(folder: RunFolder, identity: RunIdentity, *, recipe: str) -> None:
    """Write what the training is, and its recipe as YAML."""
    write_atomic(folder.identity, encode(identity))
    write_atomic(folder.recipe, recipe.encode())


def _read_identity(folder: RunFolder) -> RunIdentity:
    try:
        return decode(read_bytes(folder.identity), RunIdentity)
    except SchemaError as error:
        raise TrainingError(
            f"{folder.identity} is damaged, or not of a training: {error}; give another --out"
        ) from error
