"""Results for files and folders of images, where one that cannot be read does not stop the others."""

from __future__ import annotations

import glob
import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from motivnet.errors import FileError, MotivNetError
from motivnet.images import IMAGE_SUFFIXES
from motivnet_engines.classifier import EmotionClassifier
from motivnet_engines.results import ImageResult


@dataclass(frozen=True, slots=True, kw_only=True)
class FileResult:
    """What became of one file: its faces, or the reason why there is no result."""

    path: Path
    result: ImageResult | None
    error: str | None


def image_paths(paths: Iterable[Path]) -> tuple[Path, ...]:
    """The files given, with each folder replaced by the images below it in order of their names.

    A pattern that the shell did not expand (``photos/**/*.jpg``) is expanded, unless a file has that name. Hidden files
    and folders are left out. A path that is none of these is kept, for its reader to refuse.

    Raises:
        FileError: If a folder holds no image, or nothing fits a pattern.
    """
    return tuple(itertools.chain.from_iterable(_expanded(path) for path in paths))


def predict_files(
    classifier: EmotionClassifier, paths: Iterable[Path], *, on_files: Callable[[int], object] | None = None
) -> Iterator[FileResult]:
    """One result per path, in order, while later files are being prepared; ``on_files`` hears how many were finished.

    Raises:
        ArtifactError: If the model gives logits that are not finite.
    """
    asked, named = itertools.tee(paths)
    for path, outcome in zip(named, classifier.outcomes(asked), strict=True):
        if isinstance(outcome, MotivNetError):
            yield FileResult(path=path, result=None, error=" ".join(str(outcome).split()))
        else:
            yield FileResult(path=path, result=outcome, error=None)
        if on_files is not None:
            on_files(1)


def _expanded(path: Path) -> list[Path]:
    if path.is_dir():
        return _images_below(path)
    if not glob.has_magic(str(path)) or path.exists():
        return [path]
    found = sorted(Path(match) for match in glob.glob(str(path), recursive=True))  # noqa: PTH207 - leaves hidden out
    if not found:
        raise FileError(f"{path} fits no file")
    return [file for match in found for file in (_images_below(match) if match.is_dir() else [match])]


def _images_below(folder: Path) -> list[Path]:
    found = sorted(
        file
        for file in folder.rglob("*")
        if file.suffix.lower() in IMAGE_SUFFIXES
        and file.is_file()
        and not any(part.startswith(".") for part in file.relative_to(folder).parts)
    )
    if not found:
        raise FileError(f"{folder} holds no image ({', '.join(sorted(IMAGE_SUFFIXES))})")
    return found
