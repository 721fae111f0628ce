"""What a model answers to images, or to several views of each: computed once, kept on disk.

A student learns from them, and a head that is trained again where there are no labels.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from motivnet.checkpoints import Checkpoint
from motivnet.datasets.sample import Sample
from motivnet.model import MotivNet
from motivnet.model.runtime import DTYPES, Compute
from motivnet.preprocess import Preprocessing
from motivnet_engines.faces.alignment import aligned
from motivnet_training.augmentation import augment
from motivnet_training.devices import Devices
from motivnet_training.feature_cache import TokenKey, TokenStore, Views, fill_store
from motivnet_training.feature_cache.encode import Images, check_range, on_device

IMAGES_PER_SHARD = 64
"""An interruption loses the answers to so many images at most."""

THE_IMAGE_ITSELF = Views(count=1, seed=0, augmentations="none")

Pixels = NDArray[np.uint8]


def view(pixels: Pixels, number: int, *, digest: str, views: Views) -> Pixels:
    """Return a view of an RGB image ``(H, W, 3)``, the same for every model that sees it.

    It follows from the seed, the number and the image alone, so that images which are added to a
    folder leave the answers to the others as they are.
    """
    if number == 0:
        return pixels
    return augment(pixels, views.augmentations, key=(views.seed, number, int(digest[:16], 16)))


def cache_answers(
    answering: Checkpoint,
    sha256: str,
    samples: Sequence[Sample],
    folder: Path,
    *,
    views: Views,
    preprocess: Preprocessing,
    compute: Compute,
    devices: Devices,
    batch_size: int,
) -> TokenStore:
    """Return the store of a model's answers ``(views, classes + width)`` to these images.

    Those that ``folder`` has are not computed again, whatever they were for. They are kept
    in FP16, for this user alone, with checksums.

    Args:
        sha256: Of the model's file.
        batch_size: Images per batch of the model.

    Raises:
        CheckpointError, FileError, ImageError, TrainingError: As ``cache_tokens``.
    """
    config = answering.config
    width = config.decoder.num_classes + config.encoder.embed_dim
    key = TokenKey(
        encoder=sha256,
        preprocess=preprocess,
        compute=compute,
        shape=(views.count, width),
        views=views,
    )

    @contextlib.contextmanager
    def ready() -> Iterator[_Answering]:
        with on_device(answering.model, devices.single_device):
            yield _Answering(model=answering.model, key=key, batch_size=batch_size)

    return fill_store(
        TokenStore(folder, key),
        samples,
        ready,
        batch_size=max(1, batch_size // views.count),
        shard_bytes=IMAGES_PER_SHARD * key.bytes_per_image,
    )


def answers_to_images(
    store: TokenStore, digests: Sequence[str], *, classes: int
) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Return logits ``(N, classes)`` and embeddings ``(N, width)`` of the images themselves."""
    rows = np.stack([store.tokens([digest])[0, 0] for digest in digests])
    return rows[:, :classes].astype(np.float64), rows[:, classes:].astype(np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answering:
    """A model on its device that answers to all views of images."""

    model: MotivNet
    key: TokenKey
    batch_size: int

    def __call__(self, images: Images) -> NDArray[np.float16]:
        """Return answers ``(images, views, classes + width)``."""
        views = self.key.views
        if views is None:
            raise ValueError("answers are to views")
        shown = [
            self.key.preprocess.pixels(view(pixels, number, digest=digest, views=views))
            for digest, sample in images
            for pixels in [aligned(self.key.preprocess, sample.pixels())]
            for number in range(views.count)
        ]
        rows = []
        for start in range(0, len(shown), self.batch_size):
            pixels = np.stack(shown[start : start + self.batch_size])
            rows.append(self._answer(self.key.preprocess.normalise(pixels)))
        values = torch.cat(rows).reshape(len(images), views.count, -1)
        half = values.to(torch.float16)
        check_range(half, values, [sample for _, sample in images])
        return np.asarray(half.numpy(), np.float16)

    def _answer(self, inputs: NDArray[np.float32]) -> Tensor:
        device, compute = self.model.encoder.pos_embed.device, self.key.compute
        reduced = compute != "float32"
        with (
            torch.inference_mode(),
            torch.autocast(
                device.type, dtype=DTYPES[compute] if reduced else None, enabled=reduced
            ),
        ):
            outputs = self.model.logits_and_embedding(torch.from_numpy(inputs).to(device))
            return torch.cat([each.float() for each in outputs], dim=1).cpu()
