"""Write an artifact as a Triton model repository, whole or not at all; other models in it stay."""

from __future__ import annotations

import os
from importlib.resources import files
from pathlib import Path

from motivnet.artifact import Artifact, open_artifact
from motivnet.artifact.manifest import FileEntry, Manifest
from motivnet.errors import ArtifactError, ConfigError, FileError
from motivnet.files import open_regular, read_bytes, sha256_of_stream
from motivnet.folders import atomic_folder
from motivnet.parity import Precision
from motivnet.schema import Schema, SchemaError, decode, encode
from motivnet.terminal import progress
from motivnet_engines.serving.triton.configuration import (
    LABELS,
    Names,
    ensemble_configuration,
    model_configuration,
    names_of_models,
    preprocess_configuration,
)
from motivnet_engines.serving.triton.options import Choice, TritonOptions, choose_model

MARK = "motivnet-triton.json"
"""A file beside the models that lists which of them are ours. Triton looks at folders alone."""

_VERSION = "1"


class Mark(Schema, frozen=True, kw_only=True):
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
    manifest, choice = opened.manifest, choose_model(opened, options)
    names = names_of_models(manifest, options)
    _check_out(opened, out, names)
    with atomic_folder(out, own=own_files, others="keep") as folder:
        _write_model(opened, choice, options, names, folder)
        if names.preprocess is not None:
            _write_preprocess(manifest, choice, options, names, folder)
            _write_ensemble(manifest, choice, names, folder)
        models = [name for name in (names.preprocess, names.model, names.entry) if name]
        written = (str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
        mark = Mark(
            entry=names.entry,
            models=tuple(dict.fromkeys(models)),
            served=manifest.entry(manifest.model if choice.engine is None else choice.engine.path),
            precision=manifest.precision,
            max_batch=choice.max_batch,
            labels=manifest.labels,
            files=tuple(sorted(written)),
        )
        (folder / MARK).write_bytes(encode(mark))
    return out


def own_files(folder: Path) -> frozenset[str]:
    """Return the files that an export may replace: those that the mark lists, and the mark.

    Raises:
        FileError: If there is no mark, or one that this version does not read.
    """
    return frozenset((MARK, *_read_mark(folder).files))


def _read_mark(folder: Path) -> Mark:
    if not os.path.lexists(folder / MARK):
        raise FileError(
            f"{folder} holds files that are not a model repository of ours; choose another folder"
        )
    try:
        return decode(read_bytes(folder / MARK, follow_links=False), Mark)
    except (SchemaError, ArtifactError) as error:
        raise FileError(
            f"{folder / MARK} is not one that this version reads; choose another folder"
        ) from error


def _check_out(artifact: Artifact, out: Path, names: Names) -> None:
    if out.is_dir() and any(out.iterdir()):
        ours = _read_mark(out).models
        for name in (names.model, names.preprocess, names.entry):
            if name and name not in ours and os.path.lexists(out / name):
                raise FileError(
                    f"{out / name} is a model that was not exported from here; "
                    "choose another folder"
                )
    if out.resolve().is_relative_to(artifact.folder.resolve()):
        raise ConfigError(
            f"{out} is inside the artifact, whose files the manifest lists; choose another folder"
        )


def _write_model(
    artifact: Artifact, choice: Choice, options: TritonOptions, names: Names, folder: Path
) -> None:
    manifest = artifact.manifest
    model = folder / names.model
    version = _make_model(model, model_configuration(manifest, choice, options, names))
    _write_labels(manifest, model)
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
        data = f"{manifest.model}.data"
        _copy(artifact, data, inside / Path(data).name)


def _write_preprocess(
    manifest: Manifest, choice: Choice, options: TritonOptions, names: Names, folder: Path
) -> None:
    configuration = preprocess_configuration(manifest, choice, options, names)
    version = _make_model(folder / (names.preprocess or ""), configuration)
    code = files("motivnet_engines.serving.triton").joinpath("preprocess.py").read_bytes()
    (version / "model.py").write_bytes(code)


def _write_ensemble(manifest: Manifest, choice: Choice, names: Names, folder: Path) -> None:
    model = folder / names.entry
    version = _make_model(model, ensemble_configuration(manifest, choice, names))
    _write_labels(manifest, model)
    # An ensemble has no file, but Triton requires the folder of its version, which version control
    # and object stores drop if it is empty.
    (version / ".keep").touch()


def _make_model(model: Path, configuration: str) -> Path:
    """Create the folder of a model, and return that of its version."""
    version = model / _VERSION
    version.mkdir(parents=True)
    (model / "config.pbtxt").write_text(configuration)
    return version


def _write_labels(manifest: Manifest, model: Path) -> None:
    (model / LABELS).write_text(
        "".join(f"{label}\n" for label in manifest.labels), encoding="utf-8"
    )


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
