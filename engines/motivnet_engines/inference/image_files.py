"""Results for image files; one that cannot be read does not stop the others."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

from motivnet.errors import FileError, MotivNetError
from motivnet.files import write_errors
from motivnet.path_kind import kind_of
from motivnet.printable import one_line
from motivnet_engines.inference.cascade import Classifier
from motivnet_engines.inference.downloads import FetchedImage, in_background, result_of
from motivnet_engines.inference.pipeline import Outcome
from motivnet_engines.inference.results import ImageResult

_AHEAD = 8


ImageFile: TypeAlias = Path | FetchedImage


@dataclass(frozen=True, slots=True, kw_only=True)
class FileResult:
    """The result of one file, or the reason why there is none."""

    image: ImageFile
    result: ImageResult | None
    error: str | None

    @property
    def path(self) -> Path:
        """Where the image can be read while this is the latest result."""
        return self.image.file if isinstance(self.image, FetchedImage) else self.image

    @property
    def name(self) -> str:
        """The path as given, or the name of what was fetched."""
        return self.image.name if isinstance(self.image, FetchedImage) else str(self.image)


def predict_files(classifier: Classifier, images: Iterable[ImageFile]) -> Iterator[FileResult]:
    """Yield one result per image, in order, while later ones are being fetched and prepared.

    Raises:
        ArtifactError: If the model gives logits that are not finite.
    """
    started: deque[tuple[ImageFile, str | None]] = deque()

    def paths() -> Iterator[Path]:
        for image, fetched in _fetch_ahead(images):
            if isinstance(image, FetchedImage) and fetched is not None:
                started.append((image, _keep(image, fetched)))
                yield image.file
            elif isinstance(image, Path):
                started.append((image, None))
                yield image

    for outcome in classifier.outcomes(paths()):
        image, failure = started.popleft()
        try:
            yield _result(image, outcome, failure)
        finally:
            if isinstance(image, FetchedImage):
                image.file.unlink(missing_ok=True)


def _fetch_ahead(images: Iterable[ImageFile]) -> Iterator[tuple[ImageFile, Future[bytes] | None]]:
    """Yield the images in order, and what is being fetched with its bytes to come."""
    waiting: deque[tuple[ImageFile, Future[bytes] | None]] = deque()
    for image in images:
        future = in_background(image.fetch) if isinstance(image, FetchedImage) else None
        waiting.append((image, future))
        while waiting and (waiting[0][1] is None or len(waiting) > _AHEAD):
            yield waiting.popleft()
    yield from waiting


def _keep(image: FetchedImage, fetched: Future[bytes]) -> str | None:
    """Write what was fetched to the image's file, or return why there is nothing to write."""
    try:
        data = result_of(fetched, name=image.name)
        with write_errors(image.file):
            image.file.write_bytes(data)
    except MotivNetError as error:
        return one_line(error)
    return None


def _result(image: ImageFile, outcome: Outcome, failure: str | None) -> FileResult:
    if isinstance(image, FetchedImage):
        if isinstance(outcome, MotivNetError):
            error = failure or one_line(str(outcome).replace(str(image.file), image.name))
            return FileResult(image=image, result=None, error=error)
        return FileResult(image=image, result=replace(outcome, name=image.name), error=None)
    if isinstance(outcome, MotivNetError):
        advice = "; check its name" if _is_missing(image) else ""
        return FileResult(image=image, result=None, error=one_line(f"{outcome}{advice}"))
    return FileResult(image=image, result=outcome, error=None)


def _is_missing(path: Path) -> bool:
    try:
        return kind_of(path) is None and not path.is_symlink()
    except FileError:  # the outcome says why
        return False
