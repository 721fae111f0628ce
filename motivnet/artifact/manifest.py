"""The manifest of an artifact: what it is, how it is fed, how it was made, how close to PyTorch."""

from __future__ import annotations

import unicodedata
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from motivnet import schema
from motivnet.artifact.engine_entry import EngineEntry, Sha256
from motivnet.artifact.fidelity import Fidelity
from motivnet.artifact.quantisation import Quantisation
from motivnet.config import ModelConfig
from motivnet.errors import ArtifactError, ConfigError
from motivnet.labels import is_label
from motivnet.parity import Attempt, AttentionForm, ParityReport, Precision
from motivnet.preprocess import Preprocessing
from motivnet.printable import shortened
from motivnet.schema import Schema, SchemaError

FILE_NAME = "manifest.json"

InputDtype = Literal["float32", "uint8"]

MAX_BATCH = 1024
MAX_MODEL_BYTES = (1 << 31) - 1
"""The longest protobuf message."""

MAX_FILE_BYTES = 1 << 28
"""Of a file that is no model: the reference, the calibration, the escalation, a report."""

MAX_PURPOSE = 500
"""Characters that say what an artifact is for."""

_BYTES_PER_WEIGHT = 5
"""Four in float32, and a share for what was computed at export."""

_OTHER_BYTES = 1 << 26
_WEIGHTS_PER_ENGINE = 4
"""An engine may hold kernels for several GPUs, and weights in several layouts."""

_MAX_PATH = 1_024


class FileEntry(Schema, frozen=True, kw_only=True):
    """A file of the artifact, relative to its folder, with its size in bytes and its hash."""

    path: str
    size: Annotated[int, Meta(ge=0)]
    sha256: Sha256

    def __post_init__(self) -> None:
        _check(_is_plain_path(self.path), f"file path {_quote(self.path)}", "a plain relative path")


class InputEntry(Schema, frozen=True, kw_only=True):
    """The one input: pixels (``uint8``, NHWC) or preprocessed images (``float32``, NCHW).

    Pixels have the model's size. With ``any_size`` they have any size and the graph resizes them.
    """

    name: str
    dtype: InputDtype
    preprocessing: Preprocessing
    any_size: bool = False

    def __post_init__(self) -> None:
        if self.any_size and self.dtype != "uint8":
            raise ArtifactError("the manifest's input has any size, so its dtype must be uint8")
        if self.any_size and self.preprocessing.aligns:
            raise ArtifactError(
                "the manifest's input has any size, and a graph that resizes cannot align faces"
            )


class Source(Schema, frozen=True, kw_only=True):
    """Where the weights came from: a checkpoint's file name and hash, or random numbers.

    The folder of the checkpoint is left out, because an artifact is passed on to others. ``ema``
    means that they are the EMA weights of a checkpoint that holds others too.
    ``trained_image_size`` is (height, width) of the images that the positions were learnt for, if
    they were resampled to the size of ``config``. ``fidelity`` compares a student with its teacher.
    """

    checkpoint: str | None
    sha256: Sha256 | None
    random_weights: bool
    fresh_head: bool
    config: ModelConfig
    trained_image_size: tuple[int, int] | None = None
    ema: bool = False
    fidelity: Fidelity | None = None

    def __post_init__(self) -> None:
        if self.trained_image_size is not None:
            self.config.keeping(None).at(self.trained_image_size)  # refuses impossible sizes
        if any((value is None) != self.random_weights for value in (self.checkpoint, self.sha256)):
            raise ArtifactError(
                "the manifest must name its checkpoint, unless the weights are random"
            )
        name = self.checkpoint or ""
        _check(not set(name) & set("/\\\0"), f"checkpoint {_quote(name)}", "the name of a file")


class GraphSummary(Schema, frozen=True, kw_only=True):
    """What is in the ONNX graph; the counts prove the precision and the attention form.

    Attributes:
        compute_nodes: Number of nodes that multiply matrices, by the dtype in which they do.
        weight_bytes: Bytes of the initialisers by dtype.
    """

    opset: int
    nodes: int
    attention_nodes: int
    compute_nodes: dict[str, int]
    weight_bytes: dict[str, int]


class ModelIdentity(Schema, frozen=True, kw_only=True):
    """Which model a file of measurements belongs to, whatever it was compiled to.

    SHA-256 of the graph and of the checkpoint (None for random weights). Both are needed: a graph
    with its weights in a file beside it is the same for every checkpoint.
    """

    graph: str
    checkpoint: str | None


class Manifest(Schema, frozen=True, kw_only=True):
    """The content of ``manifest.json``.

    Attributes:
        kind: ``onnx``: the model is an ONNX graph, and there may be engines built from it.
            ``engine``: an engine alone.
        reference: File with a few inputs and PyTorch's FP32 outputs.
        quantisation: How the graph was quantised for OpenVINO on a CPU, and what that gained.
        calibration: File that ``motivnet calibrate`` wrote.
        escalation: File that ``motivnet calibrate --escalate`` wrote: when to ask a larger model.
        reports: Files that ``motivnet-bench`` wrote. They are not part of the model and are never
            verified, but they are removed when another artifact replaces this one.
        purpose: What the builder said that the artifact is for.
    """

    format_version: Literal[1] = 1
    kind: Literal["onnx", "engine"]
    model: str
    files: tuple[FileEntry, ...]
    input: InputEntry
    outputs: tuple[str, ...]
    labels: tuple[str, ...]
    max_batch: Annotated[int, Meta(ge=1, le=MAX_BATCH)]
    precision: Precision
    requested_precision: Precision
    attention: AttentionForm
    source: Source
    graph: GraphSummary
    parity: ParityReport
    attempts: tuple[Attempt, ...] = ()
    tools: dict[str, str] = msgspec.field(default_factory=dict)
    reference: str | None = None
    quantisation: Quantisation | None = None
    calibration: str | None = None
    escalation: str | None = None
    engines: tuple[EngineEntry, ...] = ()
    reports: tuple[FileEntry, ...] = ()
    purpose: Annotated[str, Meta(min_length=1, max_length=MAX_PURPOSE)] | None = None

    def __post_init__(self) -> None:
        self._check_files()
        self._check_sizes()
        self._check_engines()
        self._check_labels()
        if self.input.preprocessing.size != self.source.config.encoder.image_size:
            raise ArtifactError("the manifest's preprocessing does not have the model's size")

    def _check_files(self) -> None:
        paths = [entry.path.casefold() for entry in (*self.files, *self.reports)]
        if len(set(paths)) != len(paths) or FILE_NAME in paths:
            raise ArtifactError("the manifest names a file twice, or itself")
        for role in ("model", "reference", "calibration", "escalation"):
            if (path := getattr(self, role)) is not None:
                self._check_listed(role, path)

    def _check_sizes(self) -> None:
        """Limit what is read or hashed by what a model of this configuration can need."""
        weights = _BYTES_PER_WEIGHT * self.source.config.parameters + _OTHER_BYTES
        limits = {engine.path: _WEIGHTS_PER_ENGINE * weights for engine in self.engines}
        limits[f"{self.model}.data"] = weights
        if self.kind == "onnx":
            limits[self.model] = min(weights, MAX_MODEL_BYTES)
        for entry in self.files:
            limit = limits.get(entry.path, MAX_FILE_BYTES)
            if entry.size > limit:
                raise ArtifactError(
                    f"the manifest's file {_quote(entry.path)} has {entry.size:,} bytes; "
                    f"in an artifact of this model it has at most {limit:,}"
                )

    def _check_engines(self) -> None:
        if len({engine.backend for engine in self.engines}) != len(self.engines):
            raise ArtifactError("the manifest names two engines of one backend")
        for engine in self.engines:
            self._check_listed("engine", engine.path)
        if self.kind == "engine" and [engine.path for engine in self.engines] != [self.model]:
            raise ArtifactError("the manifest of an engine alone must name exactly that engine")

    def _check_labels(self) -> None:
        if len(self.labels) != self.source.config.decoder.num_classes:
            raise ArtifactError("the manifest's labels do not fit its number of classes")
        if len(set(self.labels)) != len(self.labels):
            raise ArtifactError("the manifest's labels are not distinct")
        for label in self.labels:
            _check(is_label(label), f"label {_quote(label)}", "a short printable text")

    def _check_listed(self, role: str, path: str) -> None:
        if path not in {entry.path for entry in self.files}:
            raise ArtifactError(f"the manifest's {role} {_quote(path)} is not among its files")

    def engine(self, backend: str) -> EngineEntry | None:
        """Return the engine of a backend, None if there is none."""
        return next((engine for engine in self.engines if engine.backend == backend), None)

    def entry(self, path: str) -> FileEntry:
        """Return the entry of a file by its path.

        Raises:
            ArtifactError: If the manifest names no such file.
        """
        for entry in self.files:
            if entry.path == path:
                return entry
        raise ArtifactError(f"the manifest names no file {path!r}")

    def model_identity(self) -> ModelIdentity:
        """Return the identity of the model; an engine alone has that of the graph it is from."""
        is_graph = self.kind == "onnx"
        graph = self.entry(self.model).sha256 if is_graph else self.engines[0].onnx_sha256
        return ModelIdentity(graph=graph, checkpoint=self.source.sha256)

    def to_json(self) -> bytes:
        """Return the text of ``manifest.json``."""
        return schema.encode(self)

    @classmethod
    def from_json(cls, data: bytes) -> Manifest:
        """Return the manifest in the text of a ``manifest.json``.

        Raises:
            ArtifactError: If it is not strict JSON or breaks a rule of the manifest.
        """
        try:
            return schema.decode(data, cls)
        except (SchemaError, ConfigError) as error:
            raise ArtifactError(f"the manifest is not valid: {error}") from error


def _check(valid: bool, what: str, wanted: str) -> None:
    if not valid:
        raise ArtifactError(f"the manifest's {what} is not {wanted}")


def _quote(text: str) -> str:
    return repr(shortened(text, 80))


def _is_plain_path(path: str) -> bool:
    """Return whether a path names the same file below a folder for every system and reader.

    Refused are absolute paths, drives, ``..``, backslashes, trailing dots or spaces (Windows drops
    them), invisible characters, and any Unicode form but NFC, because two names that look the same
    must be the same.
    """
    if len(path) > _MAX_PATH or not path.isprintable():
        return False
    if unicodedata.normalize("NFC", path) != path or "\\" in path or ":" in path:
        return False
    return all(part and part[-1] not in ". " for part in path.split("/"))
