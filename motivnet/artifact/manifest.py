"""The contract between the stages: what an artifact is, how to feed it, how it was made, how close it is to PyTorch."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field
from typing import Any, Literal

from motivnet import strict_json
from motivnet.artifact.engine_entry import (
    ENGINE_BACKENDS,
    EngineBackend,
    EngineDevice,
    EngineEntry,
    EngineProof,
    HardwareCompatibility,
    ProofEvidence,
    ShapeProfile,
)
from motivnet.config import ModelConfig
from motivnet.errors import ArtifactError, ConfigError
from motivnet.labels import is_label
from motivnet.parity import (
    COMPUTE_DTYPES,
    PRECISIONS,
    Attempt,
    AttentionForm,
    BlockActivation,
    Comparison,
    Evidence,
    ParityReport,
    Precision,
)
from motivnet.preprocess import InputRecipe

__all__ = [
    "COMPUTE_DTYPES",
    "ENGINE_BACKENDS",
    "FILE_NAME",
    "FORMAT_VERSION",
    "PRECISIONS",
    "Attempt",
    "AttentionForm",
    "BlockActivation",
    "Comparison",
    "EngineBackend",
    "EngineDevice",
    "EngineEntry",
    "EngineProof",
    "Evidence",
    "FileEntry",
    "GraphSummary",
    "HardwareCompatibility",
    "InputDtype",
    "InputEntry",
    "Manifest",
    "ParityReport",
    "Precision",
    "ProofEvidence",
    "ShapeProfile",
    "Source",
]

FILE_NAME = "manifest.json"
FORMAT_VERSION: Literal[1] = 1

InputDtype = Literal["float32", "uint8"]

MAX_BATCH = 1024
MAX_MODEL_BYTES = (1 << 31) - 1
"""Where a protobuf message ends."""

MAX_FILE_BYTES = 1 << 28
"""Of a file that is no model: the reference, the calibration, a report."""

_BYTES_OF_A_WEIGHT = 5
"""Four in float32, and a share for what was computed at export."""

_OTHER_BYTES = 1 << 26
_WEIGHTS_IN_AN_ENGINE = 4
"""An engine may hold kernels for several GPUs, and weights in several layouts."""

_SHA256 = re.compile(r"[0-9a-f]{64}")
_MAX_PATH = 1_024


@dataclass(frozen=True, slots=True, kw_only=True)
class FileEntry:
    """A file of the artifact, relative to its folder, with size in bytes and hexadecimal SHA-256."""

    path: str
    size: int
    sha256: str

    def __post_init__(self) -> None:
        if not _is_plain_path(self.path):
            raise ArtifactError(
                f"file path {self.path[:80]!r} in the manifest is not a plain relative path"
            )
        if not _SHA256.fullmatch(self.sha256) or self.size < 0:
            raise ArtifactError(f"size or SHA-256 of {self.path!r} in the manifest is not valid")


@dataclass(frozen=True, slots=True, kw_only=True)
class InputEntry:
    """The one input: pixels (``uint8``, NHWC) or the recipe's result (``float32``, NCHW).

    Pixels have the model's size, or with ``any_size`` any height and width: the graph itself
    resizes them then.
    """

    name: str
    dtype: InputDtype
    recipe: InputRecipe
    any_size: bool = False

    def __post_init__(self) -> None:
        if self.any_size and self.dtype != "uint8":
            raise ArtifactError(
                "the manifest's input has any size and is not uint8: only pixels are resized"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where the weights came from: a checkpoint's file name and SHA-256, or random numbers.

    An artifact travels, and the names of folders on the machine of its build do not travel with it.
    """

    checkpoint: str | None
    sha256: str | None
    random_weights: bool
    fresh_head: bool
    config: ModelConfig

    def __post_init__(self) -> None:
        if self.sha256 is not None and not _SHA256.fullmatch(self.sha256):
            raise ArtifactError("the SHA-256 of the checkpoint in the manifest is not valid")
        if any((value is None) != self.random_weights for value in (self.checkpoint, self.sha256)):
            raise ArtifactError(
                "the manifest must name its checkpoint, unless the weights are random"
            )
        if self.checkpoint is not None and any(mark in self.checkpoint for mark in "/\\\0"):
            raise ArtifactError(
                f"the checkpoint {self.checkpoint[:80]!r} in the manifest is not the name of a file"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphSummary:
    """What is in the ONNX graph; the counts prove the precision and the attention form.

    ``compute_nodes`` counts the nodes that multiply matrices by the dtype in which they do;
    ``weight_bytes`` the bytes of the initialisers by dtype.
    """

    opset: int
    nodes: int
    attention_nodes: int
    compute_nodes: dict[str, int]
    weight_bytes: dict[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """All that an artifact says of itself.

    ``onnx``: the model is an ONNX graph, and there may be engines that were built from it.
    ``engine``: an engine alone. ``reference`` names the file of a few inputs with PyTorch's FP32
    outputs, ``calibration`` that of what ``motivnet calibrate`` measured. ``reports`` lists what
    ``motivnet-bench`` left in the folder: no part of the model and never verified, but the
    artifact's, and replaced with it.
    """

    format_version: Literal[1] = FORMAT_VERSION
    kind: Literal["onnx", "engine"]
    model: str
    files: tuple[FileEntry, ...]
    input: InputEntry
    outputs: tuple[str, ...]
    labels: tuple[str, ...]
    max_batch: int
    precision: Precision
    requested_precision: Precision
    attention: AttentionForm
    source: Source
    graph: GraphSummary
    parity: ParityReport
    attempts: tuple[Attempt, ...] = ()
    tools: dict[str, str] = field(default_factory=dict)
    reference: str | None = None
    calibration: str | None = None
    engines: tuple[EngineEntry, ...] = ()
    reports: tuple[FileEntry, ...] = ()

    def __post_init__(self) -> None:
        self._check_files()
        self._check_sizes()
        self._check_engines()
        if not 1 <= self.max_batch <= MAX_BATCH:
            raise ArtifactError(
                f"the manifest's max_batch must be between 1 and {MAX_BATCH:,}, not {self.max_batch}"
            )
        if len(self.labels) != self.source.config.decoder.num_classes or len(
            set(self.labels)
        ) != len(self.labels):
            raise ArtifactError("the manifest's labels do not fit its number of classes")
        if unfit := [label for label in self.labels if not is_label(label)]:
            raise ArtifactError(
                f"the manifest's label {unfit[0][:80]!r} is not a short printable text"
            )
        if self.input.recipe.size != self.source.config.encoder.image_size:
            raise ArtifactError("the manifest's input recipe does not have the model's size")

    def _check_files(self) -> None:
        paths = [entry.path.casefold() for entry in (*self.files, *self.reports)]
        if len(set(paths)) != len(paths) or FILE_NAME in paths:
            raise ArtifactError("the manifest names a file twice, or itself")
        if self.model not in {entry.path for entry in self.files}:
            raise ArtifactError(f"the manifest's model {self.model[:80]!r} is not among its files")
        for role, path in (("reference", self.reference), ("calibration", self.calibration)):
            if path is not None and path not in {entry.path for entry in self.files}:
                raise ArtifactError(f"the manifest's {role} {path[:80]!r} is not among its files")

    def _check_sizes(self) -> None:
        """What is read or hashed is no larger than a model of this configuration can make it."""
        weights = _BYTES_OF_A_WEIGHT * self.source.config.parameters + _OTHER_BYTES
        of_engine = _WEIGHTS_IN_AN_ENGINE * weights
        limits = {engine.path: of_engine for engine in self.engines} | {
            f"{self.model}.data": weights
        }
        if self.kind == "onnx":
            limits[self.model] = min(weights, MAX_MODEL_BYTES)
        for entry in self.files:
            if entry.size > (limit := limits.get(entry.path, MAX_FILE_BYTES)):
                raise ArtifactError(
                    f"the manifest's file {entry.path[:80]!r} has {entry.size:,} bytes; "
                    f"in an artifact of this model it has at most {limit:,}"
                )

    def _check_engines(self) -> None:
        backends = [engine.backend for engine in self.engines]
        if len(set(backends)) != len(backends):
            raise ArtifactError("the manifest names two engines of one backend")
        if missing := {engine.path for engine in self.engines} - {
            entry.path for entry in self.files
        }:
            raise ArtifactError(
                f"the manifest's engine {min(missing)[:80]!r} is not among its files"
            )
        if self.kind == "engine" and [engine.path for engine in self.engines] != [self.model]:
            raise ArtifactError(
                "the manifest is of an engine alone and does not name exactly that engine"
            )

    def engine(self, backend: str) -> EngineEntry | None:
        """The engine of a backend, None where the artifact has none."""
        return next((engine for engine in self.engines if engine.backend == backend), None)

    def entry(self, path: str) -> FileEntry:
        """The entry of a file by its path.

        Raises:
            ArtifactError: If the manifest names no such file.
        """
        for entry in self.files:
            if entry.path == path:
                return entry
        raise ArtifactError(f"the manifest names no file {path!r}")

    def to_json(self) -> bytes:
        """The text of ``manifest.json``."""
        return strict_json.dumps(self)

    @classmethod
    def from_json(cls, data: bytes) -> Manifest:
        """The manifest in the text of a ``manifest.json``.

        Raises:
            ArtifactError: If it is not strict JSON or breaks a rule of the manifest.
        """
        try:
            return strict_json.build(cls, _without_path(strict_json.loads(data)))
        except (strict_json.StrictJSONError, ConfigError) as error:
            raise ArtifactError(f"the manifest is not valid: {error}") from error


def _without_path(document: Any) -> Any:
    """Without what earlier builds wrote and is not told any more: where the checkpoint lay."""
    source = document.get("source") if isinstance(document, dict) else None
    if isinstance(source, dict):
        source.pop("path", None)
    return document


def _is_plain_path(path: str) -> bool:
    """Whether a path names the same file below a folder on every system and for every reader.

    No absolute path, drive, ``..``, backslash or trailing dot or space (Windows drops those),
    nothing invisible, and one Unicode form (NFC), because two names that look the same must be the
    same.
    """
    plain = (
        len(path) <= _MAX_PATH and path.isprintable() and unicodedata.normalize("NFC", path) == path
    )
    parts = path.split("/")
    return (
        plain
        and not any(mark in path for mark in "\\:")
        and all(part and part[-1] not in ". " for part in parts)
    )
