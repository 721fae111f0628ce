"""Write an artifact as a Triton model repository, whole or not at all; other models in it stay."""

from __future__ import annotations

import logging
import os
from importlib.resources import files
from pathlib import Path

from motivnet.artifact import Artifact, open_artifact
from motivnet.artifact.engine_entry import EngineEntry
from motivnet.artifact.manifest import FileEntry, Manifest
from motivnet.errors import (
    ArtifactError,
    ConfigError,
    EngineError,
    FileError,
    ParityError,
    RuntimeUnavailableError,
)
from motivnet.files import list_folder, open_regular, read_bytes, sha256_of_stream
from motivnet.folders import atomic_folder
from motivnet.parity import Precision
from motivnet.path_kind import is_folder
from motivnet.schema import Schema, SchemaError, decode, encode
from motivnet.terminal import progress
from motivnet_engines.runtimes.own_engines import trust_advice, untrusted_engine
from motivnet_engines.runtimes.selection import parity_status
from motivnet_engines.serving.triton.configuration import (
    LABELS,
    Choice,
    Device,
    TritonOptions,
    ensemble_configuration,
    model_configuration,
    preprocess_configuration,
)

logger = logging.getLogger(__name__)

RECORD_FILE = "motivnet-triton.json"
"""A file beside the models that lists which of them are ours. Triton looks at folders alone."""

_RUNTIMES: dict[Device, tuple[str, ...]] = {
    "auto": ("onnxruntime-cuda", "onnxruntime"),
    "gpu": ("onnxruntime-cuda",),
    "cpu": ("onnxruntime",),
}
"""Our runtimes that compute as Triton's ONNX Runtime will, or may."""


class Record(Schema, frozen=True, kw_only=True):
    """What was exported.

    Clients call ``entry``, ``served`` is the artifact's file, and ``files`` are all that are ours.
    """

    entry: str
    models: tuple[str, ...]
    served: FileEntry
    precision: Precision
    max_batch: int
    labels: tuple[str, ...]
    files: tuple[str, ...]


def export_triton(
    artifact: Artifact | Path | str, out: Path, *, options: TritonOptions | None = None
) -> Path:
    """Write the folder ``out`` as a model repository.

    The models of an earlier export are replaced; models and files of others stay.

    Args:
        options: Names, batching, instances; ``TritonOptions()`` if None.

    Raises:
        ArtifactError: If the artifact's files do not match its manifest.
        ConfigError, EngineError, ParityError, RuntimeUnavailableError: If Triton cannot serve it
            so.
        FileError: If ``out`` holds files and was not written by an export, has a model of that name
            which is not ours, or cannot be written.
    """
    options = options or TritonOptions()
    opened = artifact if isinstance(artifact, Artifact) else open_artifact(artifact)
    choice = choose_model(opened, options)
    _check_out(opened, out, choice.models)
    with atomic_folder(out, own=own_files, others="keep") as folder:
        _write_model(opened, choice, folder)
        if not opened.manifest.input.any_size:
            _write_preprocess(choice, folder / choice.preprocess_name)
            _write_ensemble(choice, folder / options.name)
        written = (str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
        record = Record(
            entry=options.name,
            models=choice.models,
            served=choice.file,
            precision=opened.manifest.precision,
            max_batch=choice.max_batch,
            labels=opened.manifest.labels,
            files=tuple(sorted(written)),
        )
        (folder / RECORD_FILE).write_bytes(encode(record))
    return out


def choose_model(artifact: Artifact, options: TritonOptions) -> Choice:
    """Choose what Triton is to serve of an artifact.

    Raises:
        ConfigError, EngineError, RuntimeUnavailableError: If Triton cannot serve it so.
        ParityError: If the runtime that Triton uses is known to differ too much from PyTorch.
    """
    manifest = artifact.manifest
    engine = _choose_engine(manifest, _choose_form(artifact, options))
    largest = manifest.max_batch
    if engine is not None:
        largest = min(largest, engine.profile.max_batch)
    if options.max_batch is not None and options.max_batch > largest:
        what = "graph" if engine is None else "engine"
        raise ConfigError(
            f"max_batch {options.max_batch} is more than the {largest} that the {what} takes; "
            f"build it again with --max-batch {options.max_batch}"
        )
    device = _choose_device(manifest, engine, options.device)
    for runtime in _RUNTIMES[device] if engine is None else (engine.backend,):
        _check_parity(manifest, runtime)
    return Choice(
        manifest=manifest,
        options=options,
        engine=engine,
        max_batch=options.max_batch or largest,
        device=device,
    )


def _choose_form(artifact: Artifact, options: TritonOptions) -> str | None:
    """Return the form asked for; by default never an engine that this user did not build here."""
    if options.form is not None or options.trust_engines:
        return options.form
    if not untrusted_engine(artifact, "tensorrt"):
        return None
    way = trust_advice("--triton-form tensorrt")
    if artifact.manifest.kind == "engine":
        raise RuntimeUnavailableError(
            f"{artifact.folder} holds a tensorrt engine alone, "
            f"and this user did not build it on this machine; {way}"
        )
    logger.warning(
        "the tensorrt engine is not exported, as this user did not build it on this machine; %s",
        way,
    )
    return "onnx"


def _choose_engine(manifest: Manifest, form: str | None) -> EngineEntry | None:
    engine = manifest.engine("tensorrt")
    if form == "onnx" or (form is None and engine is None):
        if manifest.kind == "onnx":
            return None
        raise RuntimeUnavailableError(
            "the artifact is an engine of TensorRT-RTX alone, which Triton has no backend for; "
            "export the artifact that it was built from"
            if engine is None
            else "the artifact is an engine alone; its ONNX graph stayed where it was built"
        )
    if engine is None:
        raise RuntimeUnavailableError(
            "the artifact has no tensorrt engine; build one with: motivnet build-engine"
        )
    if engine.version_compatible:
        raise EngineError(
            "Triton runs no version-compatible engine of ours, which needs a lean runtime that "
            "Triton does not load; build one without --version-compatible, in the container's "
            "version of TensorRT"
        )
    if engine.profile.min_batch != 1:
        raise EngineError(
            f"the engine takes no batch below {engine.profile.min_batch}, and Triton sends some; "
            "build it again"
        )
    return engine


def _choose_device(manifest: Manifest, engine: EngineEntry | None, asked: Device) -> Device:
    # bf16 and fp8 have no operators for the CPU in ONNX Runtime.
    if engine is None and manifest.precision not in ("bf16", "fp8"):
        return asked
    if asked == "cpu":
        what = f"{manifest.precision} graph" if engine is None else "tensorrt engine"
        raise ConfigError(
            f"a {what} runs on GPUs alone; leave the device to auto, or export an fp32 graph"
        )
    return "gpu"


def _check_parity(manifest: Manifest, runtime: str) -> None:
    """Refuse what is known to be wrong: Triton itself compares nothing with PyTorch."""
    state = parity_status(manifest, runtime)
    if state == "failed":
        raise ParityError(
            f"{runtime} is too far from PyTorch with this artifact, and Triton would compute as it "
            "does; choose another form or device, or build the artifact again"
        )
    if state == "unverified":
        logger.warning(
            "%s was not compared with PyTorch; run on the machine of Triton: motivnet verify",
            runtime,
        )


def own_files(folder: Path) -> frozenset[str]:
    """Return the files that an export may replace: those that the record lists, and the record.

    Raises:
        FileError: If there is no record, or one that this version does not read.
    """
    return frozenset((RECORD_FILE, *_read_record(folder).files))


def _read_record(folder: Path) -> Record:
    if not os.path.lexists(folder / RECORD_FILE):
        raise FileError(
            f"{folder} holds files that are not a model repository of ours; choose another folder"
        )
    try:
        return decode(read_bytes(folder / RECORD_FILE, follow_links=False), Record)
    except (SchemaError, ArtifactError) as error:
        raise FileError(
            f"{folder / RECORD_FILE} is not one that this version reads; choose another folder"
        ) from error


def _check_out(artifact: Artifact, out: Path, models: tuple[str, ...]) -> None:
    if is_folder(out) and list_folder(out):
        ours = _read_record(out).models
        for name in models:
            if name not in ours and os.path.lexists(out / name):
                raise FileError(
                    f"{out / name} is a model that was not exported from here; "
                    "choose another folder"
                )
    if Path(os.path.realpath(out)).is_relative_to(os.path.realpath(artifact.folder)):
        raise ConfigError(
            f"{out} is inside the artifact, whose files the manifest lists; choose another folder"
        )


def _write_model(artifact: Artifact, choice: Choice, folder: Path) -> None:
    model = folder / choice.model_name
    version = _make_model(model, model_configuration(choice))
    _write_labels(choice, model)
    if choice.engine is not None:
        _copy(artifact, choice.engine.path, version / "model.plan")
    elif not artifact.has_external_data:
        (version / "model.onnx").write_bytes(artifact.model_bytes())
    else:
        # Triton takes a graph of several files as a folder; the graph names its data relative to
        # itself.
        inside = version / "model.onnx"
        inside.mkdir()
        (inside / "model.onnx").write_bytes(artifact.model_bytes())
        data = f"{choice.manifest.model}.data"
        _copy(artifact, data, inside / Path(data).name)


def _write_preprocess(choice: Choice, model: Path) -> None:
    version = _make_model(model, preprocess_configuration(choice))
    code = files("motivnet_engines.serving.triton").joinpath("preprocess.py").read_bytes()
    (version / "model.py").write_bytes(code)


def _write_ensemble(choice: Choice, model: Path) -> None:
    version = _make_model(model, ensemble_configuration(choice))
    _write_labels(choice, model)
    # An ensemble has no file, but Triton requires the folder of its version, which version control
    # and object stores drop if it is empty.
    (version / ".keep").touch()


def _make_model(model: Path, configuration: str) -> Path:
    """Create the folder of a model, and return that of its version."""
    version = model / "1"
    version.mkdir(parents=True)
    (model / "config.pbtxt").write_text(configuration)
    return version


def _write_labels(choice: Choice, model: Path) -> None:
    lines = "".join(f"{label}\n" for label in choice.manifest.labels)
    (model / LABELS).write_text(lines, encoding="utf-8")


def _copy(artifact: Artifact, path: str, target: Path) -> None:
    """Copy a file of the artifact, and check the bytes that were written against the manifest.

    Raises:
        ArtifactError: If size or hash differ.
    """
    entry = artifact.manifest.entry(path)
    with (
        open_regular(
            artifact.regular_path(path), max_bytes=entry.size, follow_links=False
        ) as source,
        target.open("xb") as copy,
        progress(f"copying {path}", total=entry.size) as advance,
    ):

        def keep(chunk: bytes) -> None:
            copy.write(chunk)
            advance(len(chunk))

        digest = sha256_of_stream(source, on_chunk=keep)
        size = copy.tell()
    if size != entry.size or digest != entry.sha256:
        raise ArtifactError(
            f"{path} is not the file that the manifest describes (SHA-256 or size differ); "
            "build the artifact again"
        )
