"""Results for files and folders of images; one that cannot be read does not stop the others."""

from __future__ import annotations

import glob
import itertools
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from motivnet.datasets.image_folders import files_below
from motivnet.errors import FileError, MotivNetError
from motivnet.images import IMAGE_SUFFIXES
from motivnet.printable import one_line
from motivnet_engines.inference.classifier import EmotionClassifier
from motivnet_engines.inference.results import ImageResult


@dataclass(frozen=True, slots=True, kw_only=True)
class FileResult:
    """The result of one file, or the reason why there is none."""

    path: Path
    result: ImageResult | None
    error: str | None


def expand_paths(
    paths: Iterable[Path], *, suffixes: Collection[str] = IMAGE_SUFFIXES, kind: str = "image"
) -> tuple[Path, ...]:
    """Return the files given, with folders and patterns replaced by their files in order.

    A pattern that the shell did not expand (``photos/**/*.jpg``) is expanded here, unless a file
    has that name; a file that matches in two ways comes once. Hidden files and folders are left
    out. Any other path is kept, for its reader to refuse.

    Args:
        suffixes: Lower-case suffixes of the files to take from folders.
        kind: The name of such a file in error messages.

    Raises:
        FileError: If a folder holds no such file, or a pattern matches nothing.
    """
    expected = f"{kind} ({', '.join(sorted(suffixes))})"

    def expand(path: Path) -> list[Path]:
        if path.is_dir():
            found = files_below(path, suffixes=suffixes)
            if not found:
                raise FileError(f"{path} holds no {expected}; give another folder")
            return found
        if not glob.has_magic(str(path)) or path.exists():
            return [path]
        matches = sorted(map(Path, glob.glob(str(path), recursive=True)))  # noqa: PTH207 - leaves hidden out
        if not matches:
            raise FileError(
                f"{path} fits no file; check the pattern, in which ** stands for any folders"
            )
        files: list[Path] = []
        for match in matches:
            files += files_below(match, suffixes=suffixes) if match.is_dir() else [match]
        if not files:
            raise FileError(f"{path} fits only folders that hold no {expected}")
        return list(dict.fromkeys(files))

    return tuple(itertools.chain.from_iterable(map(expand, paths)))


def predict_files(classifier: EmotionClassifier, paths: Iterable[Path]) -> Iterator[FileResult]:
    """Yield one result per path, in order, while later files are being prepared.

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
