"""Results for files and folders of images, where one that cannot be read does not stop the others."""

from __future__ import annotations

import glob
import itertools
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from motivnet.errors import FileError, MotivNetError
from motivnet.images import IMAGE_SUFFIXES
from motivnet.printable import one_line
from motivnet_engines.inference.classifier import EmotionClassifier
from motivnet_engines.inference.results import ImageResult


@dataclass(frozen=True, slots=True, kw_only=True)
class FileResult:
    """What became of one file: its faces, or the reason why there is no result."""

    path: Path
    result: ImageResult | None
    error: str | None


def image_paths(paths: Iterable[Path]) -> tuple[Path, ...]:
    """The files given, with each folder replaced by the images below it; see ``expanded_paths``.

    Raises:
        FileError: If a folder holds no image, or nothing fits a pattern.
    """
    return expanded_paths(paths, suffixes=IMAGE_SUFFIXES, kind="image")


def expanded_paths(
    paths: Iterable[Path], *, suffixes: Collection[str], kind: str
) -> tuple[Path, ...]:
    """The files given, with each folder replaced by the files of some kind below it in order of
    their names.

    A pattern that the shell did not expand (``photos/**/*.jpg``) is expanded, unless a file has
    that name; a file that it fits in two ways comes once. Hidden files and folders are left out. A
    path that is none of these is kept, for its reader to refuse.

    Args:
        suffixes: Of the files that are taken from folders, in lower case.
        kind: What errors call them.

    Raises:
        FileError: If a folder holds no such file, or nothing fits a pattern.
    """
    return tuple(itertools.chain.from_iterable(_expanded(path, suffixes, kind) for path in paths))


def predict_files(classifier: EmotionClassifier, paths: Iterable[Path]) -> Iterator[FileResult]:
    """One result per path, in order, while later files are being prepared.

    Raises:
        ArtifactError: If the model gives logits that are not finite.
    """
    asked, named = itertools.tee(paths)
    for path, outcome in zip(named, classifier.outcomes(asked), strict=True):
        if isinstance(outcome, MotivNetError):
            advice = "" if path.exists() or path.is_symlink() else "; check its name"
            yield FileResult(path=path, result=None, error=one_line(f"{outcome}{advice}"))
        else:
            yield FileResult(path=path, result=outcome, error=None)


def _expanded(path: Path, suffixes: Collection[str], kind: str) -> list[Path]:
    if path.is_dir():
        found = _files_below(path, suffixes)
        if not found:
            raise FileError(
                f"{path} holds no {kind} ({', '.join(sorted(suffixes))}); give another folder"
            )
        return found
    if not glob.has_magic(str(path)) or path.exists():
        return [path]
    matches = sorted(Path(match) for match in glob.glob(str(path), recursive=True))  # noqa: PTH207 - leaves hidden out
    if not matches:
        raise FileError(
            f"{path} fits no file; check the pattern, in which ** stands for any folders"
        )
    files = [
        file
        for match in matches
        for file in (_files_below(match, suffixes) if match.is_dir() else [match])
    ]
    if not files:
        raise FileError(
            f"{path} fits only folders that hold no {kind} ({', '.join(sorted(suffixes))})"
        )
    return list(dict.fromkeys(files))


def _files_below(folder: Path, suffixes: Collection[str]) -> list[Path]:
    return sorted(
        file
        for file in folder.rglob("*")
        if file.suffix.lower() in suffixes
        and file.is_file()
        and not any(part.startswith(".") for part in file.relative_to(folder).parts)
    )
