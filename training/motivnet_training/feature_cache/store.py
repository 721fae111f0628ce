"""Reading the cache of tokens: any image's, in any order, from any process."""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from motivnet.datasets.sample import Sample
from motivnet.errors import CheckpointError, TrainingError
from motivnet.progress import progress
from motivnet_training.feature_cache.key import TokenKey
from motivnet_training.feature_cache.shard import (
    SUFFIX,
    Rows,
    checksum,
    damaged,
    open_rows,
    read_description,
)


class _Place(NamedTuple):
    """Where the tokens of an image are; a tuple, because there are many."""

    number: int
    shard: Path
    row: int
    checksum: str


class TokenStore:
    """The tokens of one encoder, recipe and precision in a folder of caches.

    Opening reads the description of every shard and no tokens. The tokens of an image are compared
    with their checksum when they are first read, once for all processes forked from this one:
    checking the whole cache at the beginning would read hundreds of gigabytes. A store may be used
    in the workers of a data loader: a forked one keeps the memory mappings, which have no position
    that processes could disturb, a spawned one opens its own.

    Args:
        root: The folder of caches; each key has a folder of its own there.

    Raises:
        CheckpointError: If a shard is truncated, damaged or of another key.
        FileError: If a shard cannot be opened.
    """

    def __init__(self, root: Path, key: TokenKey) -> None:
        self.root = root
        self.key = key
        self.folder = root / key.folder_name
        self.shards = tuple(sorted(self.folder.glob(f"[!.]*{SUFFIX}")))
        self._places = _places(self.shards, key)
        self._checked = mmap.mmap(-1, max(1, len(self._places)))  # shared with forked processes
        self._rows: dict[Path, Rows] = {}

    @property
    def size(self) -> int:
        """Bytes of the files."""
        return sum(path.stat().st_size for path in self.shards)

    def tokens(self, digests: Sequence[str]) -> NDArray[np.float16]:
        """The tokens ``(B, N, D)`` of images by the hashes of their files, ``Sample.digest``.

        Raises:
            TrainingError: If the cache does not have one of them.
            CheckpointError: If the tokens of one are not those that were written.
        """
        result = np.empty((len(digests), *self.key.shape), np.float16)
        for tokens, digest in zip(result, digests, strict=True):
            place = self._place(digest)
            tokens[:] = self._opened(place.shard)[place.row]
            self._check(tokens, place)
        return result

    def missing(self, samples: Sequence[Sample]) -> dict[str, Sample]:
        """The samples whose images have no tokens here, by the hashes of their files; of equal images the first."""
        found: dict[str, Sample] = {}
        with progress("hashing images", total=len(samples)) as advance:
            for sample in samples:
                digest = sample.digest()
                if digest not in self:
                    found.setdefault(digest, sample)
                advance(1)
        return found

    def close(self) -> None:
        """Lets go of the open files; a later read opens them again."""
        self._rows = {}

    def __contains__(self, digest: object) -> bool:
        return digest in self._places

    def __len__(self) -> int:
        return len(self._places)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __reduce__(self) -> tuple[Callable[[Path, TokenKey], TokenStore], tuple[Path, TokenKey]]:
        """A spawned worker opens the store anew: neither handles nor shared memory can be sent to it."""
        return TokenStore, (self.root, self.key)

    def _place(self, digest: str) -> _Place:
        try:
            return self._places[digest]
        except KeyError as error:
            raise TrainingError(
                f"{self.folder} has no tokens of the image with SHA-256 {digest}; cache the tokens again"
            ) from error

    def _opened(self, shard: Path) -> Rows:
        if shard not in self._rows:
            self._rows[shard] = open_rows(shard)
        return self._rows[shard]

    def _check(self, tokens: NDArray[np.float16], place: _Place) -> None:
        if not self._checked[place.number]:
            if checksum(tokens) != place.checksum:
                raise damaged(place.shard)
            self._checked[place.number] = 1


def _places(shards: Iterable[Path], key: TokenKey) -> dict[str, _Place]:
    """Where each image is; of an image in two shards, which two machines may write, one place."""
    places: dict[str, _Place] = {}
    for shard in shards:
        description = read_description(shard)
        if description.key != key:
            raise CheckpointError(
                f"{shard} holds tokens of another encoder, input recipe or precision; delete it and run again"
            )
        for row, (image, tokens) in enumerate(
            zip(description.images, description.checksums, strict=True)
        ):
            places.setdefault(
                image, _Place(number=len(places), shard=shard, row=row, checksum=tokens)
            )
    return places
