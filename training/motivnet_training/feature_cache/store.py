"""Reads the tokens of any image in the cache, in any order, from any process."""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from motivnet.datasets.sample import Sample
from motivnet.errors import CheckpointError, TrainingError
from motivnet.terminal import progress
from motivnet_training.feature_cache.key import TokenKey
from motivnet_training.feature_cache.shard import (
    SUFFIX,
    ReadRow,
    checksum,
    damage_error,
    open_rows,
    read_description,
)


class _Place(NamedTuple):
    number: int
    shard: Path
    row: int
    checksum: str


class TokenStore:
    """The tokens of one encoder, preprocessing and precision in a folder of caches.

    Opening reads the description of every shard and no tokens, which may have hundreds of
    gigabytes: those of an image are compared with their checksum when they are first read, once for
    all processes forked from this one. A store may be used in the workers of a data loader: a
    forked one keeps the memory mappings, which have no position that processes could disturb; a
    spawned one opens the files again.

    Args:
        root: The folder of caches, with one folder per key.

    Raises:
        CheckpointError: If a shard is truncated, damaged or of another key.
        FileError: If a shard cannot be opened.
    """

    def __init__(self, root: Path, key: TokenKey) -> None:
        self.root = root
        self.key = key
        self.folder = root / key.folder_name
        self.shards = tuple(sorted(self.folder.glob(f"[!.]*{SUFFIX}")))
        self._places = _find_places(self.shards, key)
        self._checked = mmap.mmap(-1, max(1, len(self._places)))  # shared with forked processes
        self._rows: dict[Path, ReadRow] = {}

    def tokens(self, digests: Sequence[str]) -> NDArray[np.float16]:
        """Return the tokens ``(B, N, D)`` of images by the hashes of their files.

        Raises:
            TrainingError: If the cache does not have one of them.
            CheckpointError: If the tokens of one are not those that were written.
        """
        result = np.empty((len(digests), *self.key.shape), np.float16)
        for tokens, digest in zip(result, digests, strict=True):
            place = self._place(digest)
            if place.shard not in self._rows:
                self._rows[place.shard] = open_rows(place.shard)
            tokens[:] = self._rows[place.shard](place.row)
            if not self._checked[place.number]:
                if checksum(tokens) != place.checksum:
                    raise damage_error(place.shard)
                self._checked[place.number] = 1
        return result

    def missing(self, samples: Sequence[Sample]) -> dict[str, Sample]:
        """Return the samples without tokens by the hashes of their files, equal ones once."""
        found: dict[str, Sample] = {}
        with progress("hashing images", total=len(samples)) as advance:
            for sample in samples:
                digest = sample.digest()
                if digest not in self:
                    found.setdefault(digest, sample)
                advance(1)
        return found

    def __contains__(self, digest: object) -> bool:
        return digest in self._places

    def __len__(self) -> int:
        return len(self._places)

    def __reduce__(self) -> tuple[Callable[[Path, TokenKey], TokenStore], tuple[Path, TokenKey]]:
        """Open the store again in a spawned worker, which takes no handles nor shared memory."""
        return TokenStore, (self.root, self.key)

    def _place(self, digest: str) -> _Place:
        try:
            return self._places[digest]
        except KeyError as error:
            raise TrainingError(
                f"{self.folder} has no tokens of the image with SHA-256 {digest}; "
                "cache the tokens again"
            ) from error


def _find_places(shards: Iterable[Path], key: TokenKey) -> dict[str, _Place]:
    """Return where each image is; one that two machines have written to two shards, once."""
    places: dict[str, _Place] = {}
    for shard in shards:
        description = read_description(shard)
        if description.key != key:
            raise CheckpointError(
                f"{shard} holds tokens of another encoder, preprocessing or precision; "
                "delete it and run again"
            )
        for row, (image, tokens) in enumerate(
            zip(description.images, description.checksums, strict=True)
        ):
            places.setdefault(
                image, _Place(number=len(places), shard=shard, row=row, checksum=tokens)
            )
    return places
