"""What a full model answers for images, computed once and kept in a file beside the tokens."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from motivnet.array_files import MAX_BYTES, encode_npz, read_arrays
from motivnet.datasets.sample import Sample
from motivnet.errors import CheckpointError, FileError, TrainingError
from motivnet.files import make_folder, read_bytes, write_atomic
from motivnet.model import MotivNet
from motivnet.model.runtime import DTYPES, Compute
from motivnet.path_kind import kind_of
from motivnet.preprocess import Preprocessing
from motivnet.schema import Schema, encode
from motivnet.terminal import progress

_BLOCK = 256
"""Images between two writings of the file, so that an interruption costs no more than these."""


class AnswersKey(Schema, frozen=True, kw_only=True):
    """What answers depend on besides the image; ``checkpoint`` is the SHA-256 of the weights."""

    checkpoint: str
    preprocess: Preprocessing
    compute: Compute

    @property
    def file_name(self) -> str:
        """One name per key."""
        return f"answers-{hashlib.sha256(encode(self)).hexdigest()[:16]}.npz"


def answers_of(
    model: MotivNet,
    samples: Sequence[Sample],
    folder: Path,
    *,
    key: AnswersKey,
    digests: Mapping[str, str],
    batch_size: int = 1,
    device: str = "cpu",
) -> NDArray[np.float32]:
    """Return the logits ``(N, classes)`` of images, after computing those not in the file yet.

    Args:
        folder: Where the file is, whose name follows from the key.
        digests: ``Sample.digest`` by name.

    Raises:
        CheckpointError: If the file is damaged.
        FileError: If it cannot be written.
        TrainingError: If an answer is not finite.
    """
    path = folder / key.file_name
    known = _read(path, classes=model.decoder.num_classes)
    missing = {digests[each.name]: each for each in samples if digests[each.name] not in known}
    if missing:
        make_folder(folder, private=True)
        images = iter(missing.items())
        with progress("full model's answers", total=len(missing)) as advance:
            while block := list(itertools.islice(images, _BLOCK)):
                for batch in _batches(block, batch_size):
                    logits = _compute([each for _, each in batch], model, key=key, device=device)
                    known |= dict(zip((digest for digest, _ in batch), logits, strict=True))
                    advance(len(batch))
                _write(path, known, key=key)
    return np.stack([known[digests[each.name]] for each in samples])


def _batches(
    images: Sequence[tuple[str, Sample]], size: int
) -> Iterator[Sequence[tuple[str, Sample]]]:
    for start in range(0, len(images), size):
        yield images[start : start + size]


def _compute(
    samples: Sequence[Sample], model: MotivNet, *, key: AnswersKey, device: str
) -> NDArray[np.float32]:
    """Return the logits ``(B, classes)`` of one batch."""
    model = model.eval().to(device)
    pixels = np.stack([key.preprocess(sample.pixels()) for sample in samples])
    kind, reduced = torch.device(device).type, key.compute != "float32"
    with (
        torch.inference_mode(),
        torch.autocast(kind, dtype=DTYPES[key.compute] if reduced else None, enabled=reduced),
    ):
        logits = model(torch.from_numpy(pixels).to(device)).float().cpu().numpy()
    if not np.isfinite(logits).all():
        raise TrainingError(
            f"the full model's answer for {samples[0].name} or one of the {len(samples) - 1} after "
            "it is not finite; check its weights, or compute in float32"
        )
    return np.asarray(logits, np.float32)


def _read(path: Path, *, classes: int) -> dict[str, NDArray[np.float32]]:
    if kind_of(path) is None:
        return {}
    try:
        arrays: dict[str, NDArray[Any]] = read_arrays(
            read_bytes(path, max_bytes=MAX_BYTES), names=("digests", "logits"), max_bytes=MAX_BYTES
        )
    except FileError as error:
        raise CheckpointError(f"{path} {error}; delete it and run again") from error
    digests, logits = arrays["digests"], arrays["logits"]
    if (
        digests.dtype != np.uint8
        or logits.dtype != np.float32
        or digests.shape != (len(logits), hashlib.sha256().digest_size)
        or logits.shape != (len(digests), classes)
        or not np.isfinite(logits).all()
    ):
        raise CheckpointError(f"{path} does not hold answers of this model; delete it")
    return {row.tobytes().hex(): values for row, values in zip(digests, logits, strict=True)}


def _write(path: Path, known: Mapping[str, NDArray[np.float32]], *, key: AnswersKey) -> None:
    digests = np.frombuffer(b"".join(map(bytes.fromhex, known)), np.uint8).reshape(len(known), -1)
    content: dict[str, NDArray[Any]] = {
        "digests": digests,
        "logits": np.stack(list(known.values())),
    }
    write_atomic(path, encode_npz(key, content), private=True)
