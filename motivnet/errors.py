"""Every error a user can cause, as one tree.

``MotivNetError`` is a user's mistake or a fault of the environment: its text is one line that says
what is wrong with the value and what to do. A bug of ours is a plain Python exception with a
traceback.

.. code-block:: text

    MotivNetError
    ├── ConfigError              a model configuration or the options of a command
    ├── FileError                a file that is missing, not regular, too large or not writable
    │   └── FileTooLargeError    a file with more bytes than are allowed
    ├── CheckpointError          a weights file that is damaged, unknown or does not fit the model
    ├── ImageError               a file that is not an image, or exceeds the limits
    ├── VideoError               a video, camera or stream that cannot be read or written
    ├── DatasetError             a folder of labelled images that cannot be read as one
    ├── TrainingError            a training that diverged, or did not learn enough to be kept
    │   └── ProcessLostError     a training that lost its other processes
    ├── TrainingStoppedError     a training that was stopped by a signal, its state saved
    ├── ArtifactError            an artifact folder whose manifest or files cannot be trusted
    ├── InputError               arrays that do not fit a runtime's inputs
    ├── RuntimeUnavailableError  a runtime, provider or device that is not available
    ├── ExportError              a model that could not be exported as asked
    ├── EngineError              an engine that could not be built, checked, verified or opened
    ├── ParityError              an artifact further from PyTorch than the tolerances allow
    ├── GateError                a benchmark that does not reach the required values
    ├── MissingDependencyError   an optional package that is not installed
    └── BrokenDependencyError    a package that is installed and cannot be loaded
"""

from __future__ import annotations

from functools import partial

from motivnet.printable import one_line


class MotivNetError(Exception):
    """Base of every error whose text is meant for the user; commands exit with ``exit_status``.

    The text is one printable line of bounded length, because it may quote a file of unknown origin
    and goes to terminals, logs, results and responses of the service.
    """

    exit_status = 1

    def __init__(self, message: object = "") -> None:
        super().__init__(one_line(message))


class ConfigError(MotivNetError):
    """A model configuration or the options of a command are not valid."""


class FileError(MotivNetError):
    """A file is missing, is not a regular file, is too large, or cannot be written."""


class FileTooLargeError(FileError):
    """A file has more bytes than are allowed."""


class CheckpointError(MotivNetError):
    """A weights file is damaged, of an unknown format, or does not fit the model."""


class ImageError(MotivNetError):
    """A file is not an image of an accepted format, or exceeds the limits."""


class VideoError(MotivNetError):
    """A video, camera or stream cannot be read, ends too early, or cannot be written."""


class DatasetError(MotivNetError):
    """A folder cannot be read as a set of labelled images."""


class TrainingError(MotivNetError):
    """A training diverged, or did not learn enough to be kept."""


class ProcessLostError(TrainingError):
    """A process of a training has lost the others, which report themselves why they ended."""


class TrainingStoppedError(MotivNetError):
    """A training was stopped by a signal, and has saved its state.

    Args:
        signal: The signal's number; the exit status is what a shell reports for it.
    """

    def __init__(self, message: str, *, signal: int) -> None:
        super().__init__(message)
        self.signal = signal
        self.exit_status = 128 + signal

    def __reduce__(self) -> tuple[partial[TrainingStoppedError], tuple[str]]:
        """Return how to pickle the error, whose argument is keyword-only."""
        return partial(TrainingStoppedError, signal=self.signal), (str(self),)


class ArtifactError(MotivNetError):
    """An artifact's manifest or one of its files cannot be trusted."""


class InputError(MotivNetError):
    """Arrays given to a runtime do not fit its inputs."""


class RuntimeUnavailableError(MotivNetError):
    """A runtime, execution provider or device was asked for and is not available."""


class ExportError(MotivNetError):
    """A model could not be exported as asked."""


class EngineError(MotivNetError):
    """An engine could not be built, checked, verified or opened.

    Args:
        problems: The parser's messages, one per problem.
        log: The end of the builder's log, without its noise.
    """

    def __init__(
        self, message: str, *, problems: tuple[str, ...] = (), log: tuple[str, ...] = ()
    ) -> None:
        super().__init__(message)
        self.problems = problems
        self.log = log


class ParityError(MotivNetError):
    """An artifact is further from PyTorch than the tolerances allow."""


class GateError(MotivNetError):
    """A benchmark does not reach the required values."""


class MissingDependencyError(MotivNetError):
    """An optional package is not installed.

    Args:
        package: The distribution's name.
        extra: The extra of this project that installs it.
    """

    def __init__(self, package: str, *, extra: str) -> None:
        super().__init__(
            f"{package} is not installed; install it with: pip install 'motivnet[{extra}]'"
        )
        self.package = package
        self.extra = extra

    def __reduce__(self) -> tuple[partial[MissingDependencyError], tuple[str]]:
        """Return how to pickle the error, whose argument is keyword-only."""
        return partial(MissingDependencyError, extra=self.extra), (self.package,)


class BrokenDependencyError(MotivNetError):
    """A package is installed and cannot be loaded.

    Args:
        package: The name it is imported by.
        reason: What it raised.
        repair: A command.
    """

    def __init__(self, package: str, *, reason: object, repair: str) -> None:
        self.package = package
        self.reason = one_line(reason, limit=400) or type(reason).__name__
        self.repair = repair
        super().__init__(
            f"{package} is installed but cannot be loaded: {self.reason}; repair it with: {repair}"
        )

    def __reduce__(self) -> tuple[partial[BrokenDependencyError], tuple[str]]:
        """Return how to pickle the error, whose arguments are keyword-only."""
        build = partial(BrokenDependencyError, reason=self.reason, repair=self.repair)
        return build, (self.package,)
