"""An artifact as a model repository of Triton, whole or not at all; models of others in the repository stay."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from motivnet import strict_json
from motivnet.artifact import Artifact, open_artifact
from motivnet.artifact.manifest import FileEntry, Manifest, Precision
from motivnet.errors import ArtifactError, ConfigError, FileError
from motivnet.files import atomic_folder, open_regular, read_bytes, sha256_of_stream
from motivnet.progress import progress
from motivnet_engines.serving.triton.configuration import (
    LABELS,
    Names,
    ensemble_configuration,
    model_configuration,
    names_of_models,
    preprocess_configuration,
)
from motivnet_engines.serving.triton.options import Choice, TritonOptions, chosen_model

MARK = "motivnet-triton.json"
"""Lies beside the models, lists those that are ours and says what they were made of; Triton looks at folders alone."""

_VERSION = "1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """What was exported: ``entry`` is what clients call, ``served`` the artifact's file, ``files`` all that is ours."""

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
    """The folder ``out`` as a model repository; the models that an earlier export left in it are
    replaced.

    Models and files of others in such a repository stay.

    Args:
        options: Names, batching, instances; ``TritonOptions()`` if None.

    Raises:
        ArtifactError: If the artifact cannot be trusted. ConfigError, EngineError, ParityError,
        RuntimeUnavailableError: If Triton cannot serve it so.
        FileError: If ``out`` holds files and was not written by an export, has a model of that name
            which is not ours, or cannot be written.
    """
    options = options or TritonOptions()
    opened = artifact if isinstance(artifact, Artifact) else open_artifact(artifact)
    choice = chosen_model(opened, options)
    names = names_of_models(opened.manifest, options)
    _check_out(opened, out, names)
    with atomic_folder(out, own=own_files, others="keep") as folder:
        _write_model(opened, choice, options, names, folder)
        if names.preprocess is not None:
            _write_preprocess(opened.manifest, choice, options, names, folder)
            _write_ensemble(opened.manifest, choice, names, folder)
        (folder / MARK).write_bytes(_mark(opened, choice, names, folder))
    return out


def own_files(folder: Path) -> frozenset[str]:
    """The files of a repository that an export may replace: those that its mark lists, and the
    mark.

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
        return strict_json.build(
            Mark, strict_json.loads(read_bytes(folder / MARK, follow_links=False))
        )
    except (strict_json.StrictJSONError, ArtifactError) as error:
        raise FileError(
            f"{folder / MARK} is not one that this version reads; choose another folder"
        ) from error


def _check_out(artifact: Artifact, out: Path, names: Names) -> None:
    if out.is_dir() and any(out.iterdir()):
        ours = _read_mark(out).models
        for name in (names.model, names.preprocess, names.entry):
            if name and name not in ours and os.path.lexists(out / name):
                raise FileError(
                    f"{out / name} is a model that was not exported from here; choose another folder"
                )
    if out.resolve().is_relative_to(artifact.folder.resolve()):
        raise ConfigError(
            f"{out} is inside the artifact, whose files the manifest lists; choose another folder"
        )


def _write_model(
    artifact: Artifact, choice: Choice, options: TritonOptions, names: Names, folder: Path
) -> None:
    manifest = artifact.manifest
    model = _folder_of_model(
        folder, names.model, model_configuration(manifest, choice, options, names)
    )
    _write_labels(manifest, model)
    if choice.engine is not None:
        _copy(artifact, choice.engine.path, model / _VERSION / "model.plan")
    elif not artifact.has_external_data:
        (model / _VERSION / "model.onnx").write_bytes(artifact.model_bytes())
    else:
        # Triton takes a graph of several files as a folder; the graph names its data relative to
        # itself.
        inside = model / _VERSION / "model.onnx"
        inside.mkdir()
        (inside / "model.onnx").write_bytes(artifact.model_bytes())
        _copy(artifact, f"{manifest.model}.data", inside / Path(f"{manifest.model}.data").name)


def _write_preprocess(
    manifest: Manifest, choice: Choice, options: TritonOptions, names: Names, folder: Path
) -> None:
    text = preprocess_configuration(manifest, choice, options, names)
    model = _folder_of_model(folder, names.preprocess or "", text)
    code = files("motivnet_engines.serving.triton").joinpath("preprocess.py").read_bytes()
    (model / _VERSION / "model.py").write_bytes(code)


def _write_ensemble(manifest: Manifest, choice: Choice, names: Names, folder: Path) -> None:
    model = _folder_of_model(folder, names.entry, ensemble_configuration(manifest, choice, names))
    _write_labels(manifest, model)
    # An ensemble has no file of its own and Triton wants the folder of its version all the same,
    # which version control and object stores drop when it is empty.
    (model / _VERSION / ".keep").touch()


def _folder_of_model(folder: Path, name: str, configuration: str) -> Path:
    model = folder / name
    (model / _VERSION).mkdir(parents=True)
    (model / "config.pbtxt").write_text(configuration)
    return model


def _write_labels(manifest: Manifest, model: Path) -> None:
    (model / LABELS).write_text(
        "".join(f"{label}\n" for label in manifest.labels), encoding="utf-8"
    )


def _copy(artifact: Artifact, path: str, target: Path) -> None:
    """Copies a file of the artifact; the bytes that were written are those that the manifest
    describes.

    Raises:
        ArtifactError: If they are not.
    """
    entry = artifact.manifest.entry(path)
    target.parent.mkdir(exist_ok=True)
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
            f"{path} is not the file that the manifest describes (SHA-256 or size differ); build the artifact again"
        )


def _mark(artifact: Artifact, choice: Choice, names: Names, folder: Path) -> bytes:
    manifest = artifact.manifest
    models = [name for name in (names.preprocess, names.model, names.entry) if name]
    mark = Mark(
        entry=names.entry,
        models=tuple(dict.fromkeys(models)),
        served=manifest.entry(manifest.model if choice.engine is None else choice.engine.path),
        precision=manifest.precision,
        max_batch=choice.max_batch,
        labels=manifest.labels,
        files=tuple(
            sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
        ),
    )
    return strict_json.dumps(mark)
